"""The place-and-route tools of an FPGA family: their programs, options, constraint files and cell counts."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hw.fabric.devices import Device
from hw.fabric.resources import Resources


@dataclass(frozen=True)
class Pin:
    """A port of the design at a pin of the package. Raises ValueError for names of other characters than words have.

    Attributes:
        port: the port.
        site: the pin's name.
        io: the I/O standard, as the family's tool names it.
        pull: the pull resistor; None: the tool's default.
        mhz: frequency of the clock at this pin; None: no clock.
    """

    port: str
    site: str
    io: str
    pull: Literal["up", "down", "none"] | None = None
    mhz: float | None = None

    def __post_init__(self) -> None:
        for pattern, text in ((r"[A-Za-z_]\w*(\[\d+\])?", self.port), (r"\w+", self.site), (r"\w+", self.io)):
            if not re.fullmatch(pattern, text, re.ASCII):
                raise ValueError(f"{text!r} cannot stand in a constraint file")


@dataclass(frozen=True)
class Tool:
    """A tool that comes as a wheel or as a native program.

    Attributes:
        name: the native program.
        wheel: the distribution that holds the tool; its import package is called the same, with ``_`` for ``-``.
            "": there is none.
        entry: Python code that runs the wheel's tool with the arguments of ``sys.argv``.
        others: further names of the native program.
        wasm: whether the wheel holds WebAssembly, which the runtime of YoWASP compiles at the first start.
    """

    name: str
    wheel: str = ""
    entry: str = ""
    others: tuple[str, ...] = ()
    wasm: bool = False


def yowasp(name: str, wheel: str) -> Tool:
    """A tool of the YoWASP project: WebAssembly in a wheel, entered by ``run_<program>``. The name of a nextpnr wheel
    states the architecture; the name of the native program does not always."""
    program = wheel.removeprefix("yowasp-") if name.startswith("nextpnr") else name
    module, run = wheel.replace("-", "_"), f"run_{program.replace('-', '_')}"
    return Tool(name, wheel, f"import sys; from {module} import {run}; sys.exit({run}(sys.argv[1:]))", wasm=True)


@dataclass(frozen=True)
class Toolchain:
    """Place and route of one family with nextpnr.

    Attributes:
        router: nextpnr.
        packer: makes the bitstream.
        unpacker: converts a bitstream to the packer's input format; None: there is no such tool.
        pins: suffix of the constraint file.
        pins_option: arguments that name the constraint file; its name is appended to the last one.
        constrain: writes the text of the constraint file.
        configuration: suffix of nextpnr's output for the packer, and the arguments that name it; the name is appended
            to the last one. None: the packer reads the placed netlist.
        bitstream: suffix of the bitstream.
        cells: cell type in nextpnr's utilisation report -> its resources.
        router_options: arguments of nextpnr for every device.
        large_options: cells of a netlist, flip-flops included, from which on nextpnr has more arguments, and these.
        pack_options: arguments of the packer for every device.
        output_option: arguments of the packer before the name of the bitstream.
        out_of_context: arguments for a design without pins; None: nextpnr has no such mode for the family, and
            ``hw.synth.ports`` removes the ports instead.
        pads: types of the input and the output pad cell that ports need in the netlist; None: nextpnr adds pads itself.
        simulates: whether the cell models cover placed netlists; if not, the synthesised netlist is simulated instead.
        packing: where the bitstream is made in several steps: the tools and their arguments, for a device, the name of
            the configuration and that of the bitstream. ``packer`` is one of them.
        verify: compares the configuration with the placed netlist before it is packed; raises BitfabricError where
            they differ.
        missing: what is missing on this machine to place and route for a device, in words; "" where nothing is. None:
            the tools are packages that bitfabric depends on.
    """

    router: Tool
    packer: Tool
    pins: str
    pins_option: tuple[str, ...]
    constrain: Callable[[Iterable[Pin]], str]
    configuration: tuple[str, tuple[str, ...]] | None
    bitstream: str
    cells: Mapping[str, Resources]
    unpacker: Tool | None = None
    router_options: tuple[str, ...] = ()
    large_options: tuple[int, tuple[str, ...]] | None = None
    pack_options: tuple[str, ...] = ()
    output_option: tuple[str, ...] = ()
    out_of_context: tuple[str, ...] | None = None
    pads: tuple[str, str] | None = None
    simulates: bool = True
    packing: Callable[[Device, str, str], Sequence[tuple[Tool, Sequence[str]]]] | None = None
    verify: Callable[[Path, Path], None] | None = None
    missing: Callable[[Device], str] | None = None

    def options(self, device: Device, cells: int) -> list[str]:
        """Arguments of nextpnr for a device, and a netlist of so many cells."""
        package = ["--package", device.package] if device.package else []
        speed = ["--speed", device.speed] if device.speed else []
        least, more = self.large_options or (0, ())
        return [*device.nextpnr, *package, *speed, *self.router_options, *(more if cells >= least else ())]

    def count(self, utilisation: Mapping[str, Mapping[str, int]]) -> Resources:
        """Resources of a design from the counts of cells in nextpnr's report."""
        total = Resources()
        for kind, each in self.cells.items():
            used = utilisation.get(kind, {}).get("used", 0)
            total += Resources(*(used * value for value in vars(each).values()))
        return total
