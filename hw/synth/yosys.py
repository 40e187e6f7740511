"""Synthesis with Yosys: converts SystemVerilog to a netlist of the family's cells and counts the cells of every layer.

The design is flattened, so that Yosys optimises logic across kernels. Afterwards each cell is attributed to one
instance (see ``hw.synth.owners``). ``hw.families.F.synthesis`` states the cost of the cells of a family.
"""

import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import which

from hw.fabric.devices import Device
from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.families import spec_of
from hw.host.errors import BitfabricError, ToolError
from hw.host.files import write_text
from hw.rtl.design import RtlDesign
from hw.synth import tool
from hw.synth.owners import owners

ENTRY = "import sys; from pyosys import libyosys as ys; ys.run_pass('script ' + sys.argv[-1], ys.Design())"

CONFLICT = re.compile(r"Driver-driver conflict for .* and constant .*")


@dataclass(frozen=True)
class LutKinds:
    """Lookup tables by what they do: compute any function, lie on a carry chain, or are memory (RAM, shift registers).

    Where no cell of the family is a carry together with its lookup table (iCE40, 7 series), those on a chain count as
    ``logic``.
    """

    logic: int = 0
    carry: int = 0
    memory: int = 0

    def __add__(self, other: "LutKinds") -> "LutKinds":
        return LutKinds(self.logic + other.logic, self.carry + other.carry, self.memory + other.memory)


@dataclass(frozen=True)
class Synthesis:
    """A synthesised design.

    Attributes:
        top: name of the top module.
        device: the target device.
        netlist: the Yosys JSON file.
        log: the log of Yosys.
        cells: cell type -> count.
        resources: cost of all cells.
        logic_cells: the logic cells that the family's packer needs at least; None where that is not known.
        instances: cost of each instance under ``scope`` of ``synthesise``; ``""`` is the cost of all other cells.
        luts: the lookup tables of each instance by what they do.
        seconds: wall-clock time.
    """

    top: str
    device: Device
    netlist: Path
    log: Path
    cells: dict[str, int]
    resources: Resources
    logic_cells: int | None
    instances: dict[str, Resources]
    luts: dict[str, LutKinds]
    seconds: float


def version() -> str:
    """Name and version of the synthesis tool."""
    return tool.version("pyosys", "yosys", "-V")


def library(name: str, cells: Collection[str]) -> str:
    """The modules ``cells`` of a file of Yosys's data, as ``xilinx/cells_sim.v``, without their timing.

    Raises ToolError where Yosys's folder of data, the file or one of the cells is not found.
    """
    path = _data() / name
    try:
        text = path.read_text()
    except OSError as error:
        raise ToolError(f"cannot read Yosys's models in {path} ({error.strerror}); pip install pyosys") from None
    found = {m[1]: m[0] for m in re.finditer(r"^module (\w+)\b.*?^endmodule\n", text, re.DOTALL | re.MULTILINE)}
    if missing := sorted(set(cells) - set(found)):
        raise ToolError(f"{path} has no model of {', '.join(missing)}; pip install pyosys")
    timing = re.compile(r"^\s*specify\b.*?\bendspecify\n", re.DOTALL | re.MULTILINE)
    return "".join(timing.sub("", found[cell]) + "\n" for cell in sorted(cells))


def _data() -> Path:
    """Yosys's folder of data."""
    wheel = find_spec("pyosys")
    if wheel is not None and wheel.origin:
        return Path(wheel.origin).parent / "share"
    if found := which("yosys"):
        return Path(found).resolve().parent.parent / "share" / "yosys"
    raise ToolError("no yosys: pip install pyosys, or put yosys on PATH")


def run_script(script: str, folder: Path, name: str, what: str) -> Path:
    """Write a Yosys script to ``name.ys`` in ``folder`` and run it; returns the path of the log.

    Raises BitfabricError with the error of Yosys, or where Yosys is missing.
    """
    command = tool.locate("pyosys", ENTRY, "yosys", "pyosys")
    write_text(folder / f"{name}.ys", script, durable=False)
    log = folder / f"{name}.log"
    arguments = [f"{name}.ys"] if len(command) > 1 else ["-s", f"{name}.ys"]
    # Yosys writes the paths of its temporary files into scripts without quotes: a relative one has no spaces.
    tool.run([*command, *arguments], folder, log, what, {"TMPDIR": "."})
    return log


def synthesise(design: RtlDesign, device: Device, out: Path, scope: str = "") -> Synthesis:
    """Synthesise ``design`` for ``device`` in the folder ``out``.

    Writes the sources, ``<top>.json`` (the netlist for nextpnr), ``<top>.ys`` and ``<top>.log``. The netlist has no pad
    cells. ``scope`` is the hierarchical name (``"a.b"``) of the instance whose children ``Synthesis.instances`` lists;
    by default the top module. Raises BitfabricError with the error of Yosys, or where Yosys is missing.
    """
    spec = spec_of(device.family)
    started = time.monotonic()
    design.write(out)
    netlist, made = out / f"{design.top}.json", out / f"{design.top}.json.new"
    for name, text in spec.synthesis.files.items():
        write_text(out / name, text, durable=False)
    passes = " ".join((device.passes or spec.synthesis.passes, *device.synthesis, "-top", design.top))
    defines = spec.synthesis.defines if device.defines is None else device.defines
    options = " ".join(("--top", design.top, *(f"-D {name}" for name in defines)))
    script = f"read_slang {options} {' '.join(design.verilog)}\n{passes}\nautoname\nwrite_json {made.name}\n"
    log = run_script(script, out, design.top, "synthesis")
    check_drivers(log)
    content = tool.read_output(made)
    module = content["modules"][design.top]
    if spec.synthesis.finish is not None and spec.synthesis.finish(module):
        write_text(made, json.dumps(content), durable=False)
    tool.publish(made, netlist)
    cells = Counter(cell["type"] for cell in module["cells"].values())
    total, instances, luts = count(module, device.family, scope)
    packed = spec.packing.count(module["cells"]) if spec.packing else None
    seconds = time.monotonic() - started
    return Synthesis(design.top, device, netlist, log, dict(cells), total, packed, instances, luts, seconds)


def check_drivers(log: Path) -> None:
    """Raise ToolError where Yosys says that it replaced a driven net with a constant: the netlist would be wrong."""
    if found := CONFLICT.search(log.read_text(errors="replace")):
        raise ToolError(
            f"Yosys replaced a net of the design with a constant ({found[0]}, see {log}), so its netlist is wrong; "
            "write the net another way, or try another version of Yosys"
        )


def count(module: dict, family: Family, scope: str = "") -> tuple[Resources, dict[str, Resources], dict[str, LutKinds]]:
    """Resources of a Yosys JSON module, in total and by instance under ``scope``, and its lookup tables by instance.

    Raises BitfabricError for a cell type without a stated cost in the family.
    """
    synthesis = spec_of(family).synthesis
    parts: dict[str, Resources] = defaultdict(Resources)
    luts: dict[str, LutKinds] = defaultdict(LutKinds)
    for name, owner in owners(module, scope).items():
        kind = module["cells"][name]["type"]
        if kind in synthesis.cost:
            cost = synthesis.cost[kind]
            parts[owner] += cost
            luts[owner] += LutKinds(**{synthesis.use(kind): cost.lut})
        elif kind not in synthesis.free:
            raise BitfabricError(f"synthesis left a cell of unknown cost, {kind} ({name}); write that part another way")
    return sum(parts.values(), Resources()), dict(parts), dict(luts)
