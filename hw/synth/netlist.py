"""Gate-level simulation: converts a netlist of Yosys or nextpnr to a design for ``hw.simulation.verilator``.

The netlist is a Yosys JSON file, written after synthesis or after place and route. It becomes Verilog with one instance
per cell. The instances are of this project's own models of the family's cells (``hw/families/F/models``), and for some
cells of 7 series of Yosys's; the family's ``CellDialect`` adapts each cell's pins and parameters to its model.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from hw.fabric.cells import Cell, CellDialect, string
from hw.fabric.family import Family
from hw.families import spec_of
from hw.host.errors import BitfabricError, UsageError
from hw.host.files import read_json
from hw.ir.stream import Stream
from hw.rtl.design import RtlDesign
from hw.synth import yosys


@dataclass(frozen=True)
class Addition:
    """SystemVerilog that is added to the module of a netlist: declarations of ``ports``, and the ``body``.

    Net number i of the netlist is ``n<i>``.
    """

    ports: tuple[str, ...] = ()
    body: str = ""


def models(family: Family) -> dict[str, str]:
    """The simulation models of a family's cells: file name -> source. Raises UsageError where there are none."""
    folder = spec_of(family).models
    if folder is None:
        raise _no_models(family)
    sources = sorted((p for p in folder.iterdir() if p.name.endswith(".sv")), key=lambda p: p.name)
    return {f"{family.name}_{p.name}": p.read_text() for p in sources}


def _no_models(family: Family) -> UsageError:
    return UsageError(f"no cell models for {family.name}: its netlists cannot be simulated")


def load(netlist: Path) -> tuple[str, dict]:
    """The name and the JSON object of the top module of a Yosys JSON file.

    Raises BitfabricError for a file that cannot be read and for a number of top modules other than one.
    """
    try:
        modules = read_json(netlist)["modules"]
        tops = [name for name, module in modules.items() if int(str(module["attributes"].get("top", "0")), 2)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BitfabricError(f"cannot read the netlist {netlist} ({error}); build again") from None
    if len(tops) != 1:
        raise BitfabricError(f"netlist {netlist} has {len(tops)} top modules, not one; build again")
    return tops[0], modules[tops[0]]


def design(
    netlist: Path,
    family: Family,
    inputs: Mapping[str, Stream] | None = None,
    outputs: Mapping[str, Stream] | None = None,
    addition: Addition = Addition(),
) -> RtlDesign:
    """Convert a netlist file to a design that can be simulated.

    The netlist is that of an accelerator with the streams ``inputs`` and ``outputs``, or, without streams, that of an
    image. Its module has the ``addition``, too. Raises UsageError where there are no models of the family's cells, and
    BitfabricError for a file without exactly one top module and for a cell that the models do not cover.
    """
    top, module = load(netlist)
    if (dialect := spec_of(family).dialect) is None:
        raise _no_models(family)
    kinds = {cell["type"] for cell in module["cells"].values()} & dialect.library_cells
    library = {f"{family.name}_library.sv": yosys.library(dialect.library, kinds)} if kinds else {}
    text = models(family) | library | {f"{top}_netlist.sv": verilog(top, module, dialect, addition)}
    return RtlDesign(top, dict(inputs or {}), dict(outputs or {}), text)


def verilog(top: str, module: dict, dialect: CellDialect, addition: Addition = Addition()) -> str:
    """Write a module of a Yosys JSON file as Verilog, with the ``addition``. Net number i is named ``n<i>``."""
    # nextpnr assigns an arbitrary number to an unconnected bit of a port. Every real net has a name.
    known = {bit for net in module["netnames"].values() for bit in net["bits"] if isinstance(bit, int)}
    fresh = count(max(known, default=0) + 1)
    dialect.connect(module["cells"])
    cells = [cell for cell in module["cells"].values() if cell["type"] != "$scopeinfo"]
    body = [_instance(f"c{i}", cell, dialect, fresh) for i, cell in enumerate(cells)]
    ports, connect = [], []
    shared = {
        f"n{bit}": f"{name}[{i}]"
        for name, port in module["ports"].items()
        for i, bit in enumerate(port["bits"])
        if port["direction"] == "inout"
    }
    body = [re.sub(r"\bn\d+\b", lambda net: shared.get(net[0], net[0]), text) for text in body]
    for name, port in module["ports"].items():
        ports.append(f"    {port['direction']} wire logic [{len(port['bits']) - 1}:0] {name}")
        for i, bit in enumerate(port["bits"]):
            if port["direction"] == "output":
                connect.append(f"  assign {name}[{i}] = {_net(bit if bit in known else str(bit))};\n")
            elif port["direction"] == "input" and bit in known:
                connect.append(f"  assign {_net(bit)} = {name}[{i}];\n")
    body.append(addition.body)
    ports += addition.ports
    used = sorted({int(net) for text in (*connect, *body) for net in re.findall(r"\bn(\d+)\b", text)})
    wires = "".join(f"  wire n{net};\n" for net in used)
    head = f"// A netlist of placed or mapped cells.\nmodule {top} (\n" + ",\n".join(ports) + "\n);\n"
    return head + wires + "".join(connect) + "".join(body) + "endmodule\n"


def _net(bit: int | str) -> str:
    if isinstance(bit, int):
        return f"n{bit}"
    return "1'b1" if bit == "1" else "1'b0"


def _instance(name: str, raw: dict, dialect: CellDialect, fresh: Iterator[int]) -> str:
    """Write one cell as an instance of its model; ``fresh`` yields numbers for nets of open outputs."""
    outputs = {pin for pin, direction in raw["port_directions"].items() if direction == "output"}
    cell = Cell(raw["type"], dict(raw["parameters"]), dict(raw["connections"]), outputs)
    dialect.adapt(cell)
    values = {}
    for pin, bits in cell.pins.items():
        if pin in cell.outputs:
            # Open outputs are without bits, or "x".
            values[pin] = _joined([_net(bit) if isinstance(bit, int) else f"n{next(fresh)}" for bit in bits or ["x"]])
        else:
            values[pin] = dialect.value(cell, pin, _joined([_net(bit) for bit in bits]) if bits else None)
    settings = cell.settings | {
        key: _literal(value) for key, value in cell.parameters.items() if not dialect.ignored.fullmatch(key)
    }
    contents = {key: settings.pop(key) for key in dialect.contents.get(cell.kind, ()) if key in settings}
    given = f" #({', '.join(f'.{key}({value})' for key, value in settings.items())})" if settings else ""
    connected = contents | _vectors(cell, values, dialect, fresh)
    wired = ", ".join(f".{pin}({value})" for pin, value in connected.items())
    return f"  {cell.kind}{given} {name} ({wired});\n"


def _joined(nets: list[str]) -> str:
    """Concatenate nets to one Verilog value; the first net is the lowest bit."""
    return nets[0] if len(nets) == 1 else "{" + ", ".join(reversed(nets)) + "}"


def _literal(value: str) -> str:
    """Convert a parameter value from Yosys JSON to a Verilog literal; undefined bits become 0."""
    text = string(value)
    return f"{len(value)}'b{re.sub('[xz]', '0', value)}" if text is None else f'"{text}"'


def _vectors(cell: Cell, values: dict[str, str], dialect: CellDialect, fresh: Iterator[int]) -> dict[str, str]:
    """Pin -> Verilog value, with numbered scalar pins joined to the vectors that the models declare."""
    result: dict[str, str] = {}
    groups: dict[str, dict[int, str]] = {}
    for pin, value in values.items():
        match = dialect.vector.fullmatch(pin)
        if match is None or match[1] in values or cell.kind not in dialect.vectored:
            result[pin] = value
        else:
            groups.setdefault(match[1], {})[int(match[2])] = value
    for name, members in groups.items():
        output = any(f"{name}{joint}{i}" in cell.outputs for i in members for joint in ("", "_"))
        missing = (lambda: f"n{next(fresh)}") if output else (lambda: "1'b0")
        result[name] = _joined([members.get(i) or missing() for i in range(max(members) + 1)])
    return result
