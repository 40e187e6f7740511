"""Place and route with nextpnr, and the bitstream with the family's packer (see hw.fabric.toolchain).

The tools run in the output folder with relative names, because their WebAssembly builds cannot open an absolute path
below the system's temporary folder. An output file gets its final name when it is complete.
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import floor
from pathlib import Path

from hw.fabric.devices import Device
from hw.fabric.resources import Resources
from hw.fabric.toolchain import Pin, Tool, Toolchain
from hw.families import spec_of
from hw.host.errors import BitfabricError, ToolError, UsageError
from hw.host.files import make_folder, write_text
from hw.native import process
from hw.native.cores import cores
from hw.synth import paths, ports, tool


class NoRoom(BitfabricError):
    """A design that cannot be placed because the device is too small.

    ``needed``: its logic cells as nextpnr counts them, where its log has them.
    """

    def __init__(self, message: str, needed: int | None) -> None:
        super().__init__(message)
        self.needed = needed


@dataclass(frozen=True)
class PinClock:
    """A clock that comes from outside, beside that of the design: the ``port`` where it enters, its frequency, and the
    maximum that the logic on it reaches, in MHz."""

    port: str
    mhz: float
    fmax_mhz: float

    @property
    def met(self) -> bool:
        """Whether the logic is fast enough for the clock."""
        return self.fmax_mhz >= self.mhz


@dataclass(frozen=True)
class Placement:
    """A placed and routed design.

    Attributes:
        device: the device.
        netlist: the placed netlist, Yosys JSON.
        config: the input file of the packer; None out of context, where there is no bitstream.
        log: the log of nextpnr.
        clock_mhz: the requested clock.
        fmax_mhz: the maximum clock of the design.
        seed: the seed of this placement.
        tried: seed -> maximum clock with that seed.
        resources: cells as nextpnr counts them.
        critical_path: the slowest path.
        delays: the delay of every arc (SDF), where they were asked for.
        seconds: wall-clock time.
        pin_clocks: the other clocks of the design.
    """

    device: Device
    netlist: Path
    config: Path | None
    log: Path
    clock_mhz: float
    fmax_mhz: float
    seed: int
    tried: dict[int, float]
    resources: Resources
    critical_path: paths.TimingPath
    delays: Path | None
    seconds: float
    pin_clocks: tuple[PinClock, ...] = ()

    @property
    def met(self) -> bool:
        """Whether the requested clock is reached, and every other clock."""
        return self.fmax_mhz >= self.clock_mhz and all(each.met for each in self.pin_clocks)

    def check(self, path: str) -> None:
        """Raise BitfabricError if the design misses a clock; the error states the critical ``path`` and a clock that
        the design meets, or the clock from outside that it misses."""
        seeds = "" if len(self.tried) == 1 else f", with the best of {len(self.tried)} seeds"
        for each in self.pin_clocks:
            if not each.met:
                raise BitfabricError(
                    f"{self.device.name}: the logic on the clock at {each.port} reaches {each.fmax_mhz:.1f} MHz"
                    f"{seeds}, not the {each.mhz:g} MHz that it has; choose a slower link in the board file"
                )
        if self.fmax_mhz < self.clock_mhz:
            raise BitfabricError(
                f"{self.device.name}: the placed design reaches {self.fmax_mhz:.1f} MHz{seeds}, not "
                f"{self.clock_mhz:g} MHz; critical path {path}; build with --clock {floor(self.fmax_mhz)}"
            )

    def describe_path(self, group: Callable[[str], str] | None = None) -> str:
        """The critical path in one line. ``group`` names the part of the design that a cell belongs to (``""``: none);
        by default its instance in the top module."""
        path = self.critical_path
        stops = path.stops(group or instance_in_name)
        return (f"{path.delay_ns:.1f} ns ({path.logic_ns:.1f} logic in {path.levels} levels, "
                f"{path.routing_ns:.1f} routing): {' -> '.join(stops)}")  # fmt: skip


def instance_in_name(cell: str, scope: str = "") -> str:
    """The instance under ``scope`` that the name of a cell begins with, or the name; ``""`` for an unnamed cell."""
    name = cell.removeprefix(f"{scope}.") if scope else cell
    return "" if name.startswith("$") else name.partition(".")[0]


@dataclass(frozen=True)
class _Try:
    """The run of one seed, whose output files have names of their own."""

    seed: int
    fmax_mhz: float
    pin_clocks: tuple[PinClock, ...]
    report: dict
    products: dict[str, Path]


def toolchain(device: Device) -> Toolchain:
    """The place-and-route tools of a device. Raises UsageError where there are none."""
    tools = spec_of(device.family).toolchain
    if tools is None or not device.routable:
        raise UsageError(f"{device.name} is a synthesis-only target: there is no open place and route for it")
    return tools


def missing(device: Device) -> str:
    """What is missing on this machine to place and route for a device, in words; "" where nothing is known to be."""
    tools = toolchain(device)
    return tools.missing(device) if tools.missing else ""


def version(tools: Toolchain) -> str:
    """Name and version of nextpnr. Raises ToolError where it is a program that is not there."""
    if tools.router.wheel:
        return tool.version(tools.router.wheel, tools.router.name, "--version")
    try:
        said = process.run([*tool.command(tools.router), "--version"])
    except BitfabricError as error:
        raise ToolError(str(error)) from None
    return ((said.stdout or said.stderr).strip().splitlines() or [tools.router.name])[0]


def place_and_route(
    netlist: Path,
    device: Device,
    out: Path,
    clock_mhz: float,
    pins: Sequence[Pin] | None = None,
    seeds: Sequence[int] = (1, 2, 3),
    jobs: int | None = None,
    delays: bool = False,
) -> Placement:
    """Place and route a Yosys JSON netlist in the folder ``out``, for a clock of ``clock_mhz``.

    ``pins`` are the pins of its ports; without them the design is placed out of context: no pads, no bitstream. Where
    the first seed misses the clock, the others are tried too, ``jobs`` at a time (default: one per processor), and the
    fastest result is kept. It may still miss the clock, see ``Placement.met``. Writes ``<name>.placed.json``,
    ``<name>.report.json``, ``<name>.nextpnr.log`` and the input of the packer, and with ``delays`` ``<name>.sdf``;
    ``<name>`` is that of the netlist.
    Raises BitfabricError where the tool is missing or fails, and UsageError for a device without place and route.
    """
    tools = toolchain(device)
    started = time.monotonic()
    make_folder(out)
    name = netlist.name.removesuffix(".json")
    source = out / f"{name}.routed.json"
    detached = pins is None and tools.out_of_context is None
    outside, cells = ports.prepare(netlist, source, detached, tools.pads)
    base = [*tool.command(tools.router), *tools.options(device, cells),
            "--json", source.name, "--freq", f"{clock_mhz:g}", "--timing-allow-fail"]  # fmt: skip
    if pins is None and tools.out_of_context:
        base += tools.out_of_context
    placed_pins = [Pin(ports.CLOCK, device.clock_pin, "LVCMOS33")] if detached else pins
    if placed_pins is not None:
        write_text(out / f"{name}.{tools.pins}", tools.constrain(placed_pins), durable=False)
        base += [*tools.pins_option[:-1], f"{tools.pins_option[-1]}{name}.{tools.pins}"]
    config = tools.configuration if pins is not None else None
    entered = [pin for pin in pins or () if pin.mhz]

    def attempt(some: Sequence[int]) -> list[_Try]:
        parts = ["placed.json", "report.json", "nextpnr.log", *([config[0]] if config else [])]
        parts += ["sdf"] if delays else []
        made = {seed: {part: out / f"{name}.seed{seed}.{part}" for part in parts} for seed in some}
        commands = []
        for seed, files in made.items():
            options = ["--write", files["placed.json"].name, "--report", files["report.json"].name]
            options += [*config[1][:-1], f"{config[1][-1]}{files[config[0]].name}"] if config else []
            options += ["--sdf", files["sdf"].name] if delays else []
            commands.append(([*base, *options, "--seed", str(seed)], files["nextpnr.log"]))
        try:
            tool.run_all(commands, out, "place and route", jobs or cores())
        except BitfabricError as error:
            raise _no_room(str(error), [log for _, log in commands], device) or error from None
        reports = {seed: tool.read_output(files["report.json"]) for seed, files in made.items()}
        return [_Try(seed, *_clocks(reports[seed], entered), reports[seed], files) for seed, files in made.items()]

    # One seed is usually enough. If it misses the clock, the others run in parallel.
    tries = attempt(seeds[:1])
    if tries[0].fmax_mhz < clock_mhz or not all(each.met for each in tries[0].pin_clocks):
        tries += attempt(seeds[1:])
    best = max(tries, key=lambda t: (all(each.met for each in t.pin_clocks), t.fmax_mhz))
    if detached:
        ports.restore(best.products["placed.json"], outside)
    for part, path in best.products.items():
        tool.publish(path, out / f"{name}.{part}")
    for path in (path for t in tries if t is not best for path in t.products.values()):
        path.unlink()
    source.unlink()
    netlist_made = out / f"{name}.placed.json"
    return Placement(
        device,
        netlist_made,
        None if pins is None else out / f"{name}.{config[0]}" if config else netlist_made,
        out / f"{name}.nextpnr.log",
        clock_mhz,
        best.fmax_mhz,
        best.seed,
        {t.seed: t.fmax_mhz for t in tries},
        tools.count(best.report["utilization"]),
        paths.critical_path(best.report, [each.port for each in best.pin_clocks]),
        out / f"{name}.sdf" if delays else None,
        time.monotonic() - started,
        best.pin_clocks,
    )


_NO_ROOM = re.compile(r"(?i)(?:unable|failed) to place|no bels|legal placement|expand region|utili[sz]ation limit")
_USED = re.compile(r"Info:\s+(\w+):\s*(\d+)/\s*(\d+)\s+\d+%")


def _no_room(message: str, logs: Sequence[Path], device: Device) -> NoRoom | None:
    """The error for a placement that failed because the device is full; None where another reason is given."""
    if not _NO_ROOM.search(message):
        return None
    used: dict[str, tuple[int, int]] = {}
    for log in logs:
        used |= {kind: (int(n), int(most)) for kind, n, most in _USED.findall(log.read_text(errors="replace"))}
    full = [f"{kind} {n} of {most} ({n - most} too many)" for kind, (n, most) in used.items() if n > most]
    packing = spec_of(device.family).packing
    cell = used.get(packing.cell) if packing else None
    said = ", ".join(full) or message.removeprefix("place and route failed: ").partition("; log: ")[0]
    if not full and cell and packing:
        said = f"{said} ({packing.cell} {cell[0]} of {cell[1]})"
    return NoRoom(said, cell[0] if cell else None)


def pack(placement: Placement) -> Path:
    """Make the bitstream, beside the placed netlist and under its name. Raises BitfabricError out of context."""
    if placement.config is None:
        raise BitfabricError("a design placed out of context has no bitstream; build it for a board")
    tools = toolchain(placement.device)
    stem = placement.netlist.name.removesuffix(".placed.json")
    bit = placement.netlist.with_name(f"{stem}.{tools.bitstream}")
    made = bit.with_suffix(f".new.{tools.bitstream}")
    if tools.verify is not None:
        tools.verify(placement.netlist, placement.config)
    if tools.packing is None:
        arguments = [*tools.pack_options, *placement.device.pack, placement.config.name]
        steps: Sequence[tuple[Tool, Sequence[str]]] = [(tools.packer, [*arguments, *tools.output_option, made.name])]
    else:
        steps = tools.packing(placement.device, placement.config.name, made.name)
    for each, options in steps:
        log = bit.with_suffix(f".{each.name}.log")
        tool.run([*tool.command(each), *options], bit.parent, log, "bitstream packing")
    return tool.publish(made, bit)


def _clocks(report: dict, pins: Sequence[Pin]) -> tuple[float, tuple[PinClock, ...]]:
    """The Fmax of the design's own clock, and the clocks that enter at ``pins``.

    A pin whose clock is the design's own, or goes to the PLL only, is none of these.
    """
    found = {name: float(entry["achieved"]) for name, entry in report["fmax"].items()}
    if not found:
        raise BitfabricError("place and route found no clock in the design")
    others = {name: pin for name in found for pin in pins if paths.comes_from(name, [pin.port])}
    own = [fmax for name, fmax in found.items() if name not in others]
    if not own:
        return min(found.values()), ()
    return min(own), tuple(PinClock(pin.port, pin.mhz or 0.0, found[name]) for name, pin in others.items())
