"""The folder of an IP core: its source, port document, testbench with golden frames, wrappers and scripts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hw.host.errors import UsageError
from hw.host.files import make_folder, write_json, write_text
from hw.host.interface import Interface
from hw.host.text import one_line
from hw.ip_core import zynq
from hw.ip_core.core import IpCore
from hw.ip_core.registers import ADDRESS_BITS

INTERFACE = "zynq/interface.json"
"""The model's frames and host steps, for the driver of a Zynq."""
MARK = "bitfabric-ip.json"
"""A file that says that a folder is an exported core."""
PART = "xc7z020clg400-1"
"""The part of the packaging script where the core was built for none of AMD's."""
FILES = {
    "{name}.core": "fusesoc.core.j2",
    "component.xml": "component.xml.j2",
    "{name}_litex.py": "litex_module.py.j2",
    "{name}_amaranth.py": "amaranth_module.py.j2",
    "constraints/{name}.xdc": "constraints.xdc.j2",
    "constraints/{name}.sdc": "constraints.sdc.j2",
    "constraints/{name}.lpf": "constraints.lpf.j2",
    "vivado/package_ip.tcl": "package_ip.tcl.j2",
    "quartus/project.tcl": "quartus.tcl.j2",
    "sim/{name}_tb.sv": "testbench.sv.j2",
    "sim/{name}_tb_clock.sv": "testbench_clock.sv.j2",
    "sim/{name}_tb.cpp": "testbench.cpp.j2",
    "sim/Makefile": "Makefile.j2",
    "sim/test_{name}.py": "cocotb_test.py.j2",
    "sim/run_cocotb.py": "run_cocotb.py.j2",
}
"""File of a core -> its template."""


@dataclass(frozen=True)
class BuildFacts:
    """What a core's build says of it.

    ``model``: path and SHA-256 of the model; ``device``: what it was built for, at ``clock_mhz``; ``interval`` and
    ``latency`` in cycles.
    """

    bitfabric: str
    model: Mapping[str, str]
    device: str
    clock_mhz: float
    interval: int
    latency: int


def signals(core: IpCore) -> list[tuple[str, str, int]]:
    """Every port of the top module: name, direction ("in" or "out"), bits."""
    found = [("aclk", "in", 1), ("aresetn", "in", 1)]
    for stream in core.streams:
        there, back = ("in", "out") if stream.entry else ("out", "in")
        found += [
            (f"{stream.name}_tvalid", there, 1),
            (f"{stream.name}_tready", back, 1),
            (f"{stream.name}_tdata", there, stream.bits),
            (f"{stream.name}_tkeep", there, stream.octets),
            (f"{stream.name}_tlast", there, 1),
        ]
    if core.registers:
        for name, bits, direction in (
            ("awvalid", 1, "in"), ("awready", 1, "out"), ("awaddr", ADDRESS_BITS, "in"), ("awprot", 3, "in"),
            ("wvalid", 1, "in"), ("wready", 1, "out"), ("wdata", 32, "in"), ("wstrb", 4, "in"),
            ("bvalid", 1, "out"), ("bready", 1, "in"), ("bresp", 2, "out"),
            ("arvalid", 1, "in"), ("arready", 1, "out"), ("araddr", ADDRESS_BITS, "in"), ("arprot", 3, "in"),
            ("rvalid", 1, "out"), ("rready", 1, "in"), ("rdata", 32, "out"), ("rresp", 2, "out"),
        ):  # fmt: skip
            found.append((f"s_axil_{name}", direction, bits))
    if core.design.parity:
        found.append(("parity_error", "out", 1))
    return [*found, ("frame_error", "out", 1)]


def document(core: IpCore, facts: BuildFacts) -> dict[str, Any]:
    """The port document as data for JSON."""
    return {
        "name": core.name,
        "top": core.name,
        "prefix": core.prefix,
        "source": f"{core.name}.sv",
        "bitfabric": facts.bitfabric,
        "model": dict(facts.model),
        "device": facts.device,
        "clock": "aclk",
        "clock_mhz": facts.clock_mhz,
        "reset": "aresetn, synchronous, active low",
        "interval_cycles": facts.interval,
        "latency_cycles": facts.latency,
        "parity": core.design.parity,
        "defines": ["BF_LUT6_2"] if "`ifdef BF_LUT6_2" in core.source else [],
        "streams": [stream.to_json() for stream in core.streams],
        "registers": [register.to_json() for register in core.registers],
        "signals": [{"name": n, "direction": d, "bits": b} for n, d, b in signals(core)],
    }


def write(
    core: IpCore, facts: BuildFacts, golden: Mapping[str, np.ndarray], folder: Path, interface: Interface | None = None
) -> list[Path]:
    """Write the folder of a core; returns its files.

    ``golden``: integer frames ``(N, *shape)`` of every stream of the accelerator, by its name there. ``interface``: the
    model's frames and host steps, for the driver of a Zynq; None for a core that has none. The folder must be new,
    empty, or one that this function wrote. Raises UsageError where it is not.
    """
    check_folder(folder)
    name, frames = core.name, len(next(iter(golden.values())))
    described = document(core, facts)
    given = {
        "frames": frames,
        "facts": described,
        "signals": signals(core),
        "clock_mhz": facts.clock_mhz,
        "part": facts.device if facts.device.startswith("xc7") and "-" in facts.device else PART,
        "patience": 10_000 + 4 * (facts.latency + facts.interval),
        "class_name": "".join(part.capitalize() for part in name.split("_") if part),
        "names": {s.name: ", ".join(f"`{plain(port.name)}`" for port in s.tensors) for s in core.streams},
        "describe": describe,
        "zynq_files": interface is not None,
        "plain": plain,
    }
    texts = {path.format(name=name): core.render(template, **given) for path, template in FILES.items()}
    texts[f"{name}.sv"] = core.source
    texts["README.md"] = core.render("ports.md.j2", **given)
    if interface is not None:
        texts |= zynq.texts(core, interface, given)
    for stream in core.streams:
        words = stream.words(golden[stream.wire])
        texts[f"sim/{stream.name}.hex"] = "".join(f"{word}\n" for word in words)
    make_folder(folder)
    for path, text in texts.items():
        make_folder((folder / path).parent)
        write_text(folder / path, text)
    write_json(folder / f"{name}.json", described)
    jsons = [f"{name}.json"]
    if interface is not None:
        write_json(folder / INTERFACE, interface.to_json())
        jsons.append(INTERFACE)
    write_json(folder / MARK, {"name": name})
    return [folder / path for path in (*texts, *jsons)]


def check_folder(folder: Path) -> None:
    """Raise UsageError for a folder with files that are no exported core's."""
    if folder.is_file():
        raise UsageError(f"{folder} is a file; choose a folder for the core (-o)")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise UsageError(f"{folder} holds files that no export has written; choose another folder (-o)")


def plain(name: str) -> str:
    """A tensor's name in one line of a document, without what Markdown would read as its own."""
    return one_line(name, 80).replace("`", "'").replace("|", "/")


def describe(step: Mapping[str, Any]) -> str:
    """A host step in a few words: the operator, small operands and attributes."""
    parts = []
    for operand in step["operands"]:
        values: Sequence[Any] = operand["values"]
        parts.append(f"{values[0]:g}" if len(values) == 1 else f"{len(values)} values, see the JSON file")
    parts += [f"{key}={value}" for key, value in step["attributes"].items() if value is not None]
    return f"{step['op']}({', '.join(map(str, parts))})"
