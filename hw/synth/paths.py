"""Timing paths of a placed design: nextpnr's critical path, and the slowest paths between groups of cells.

nextpnr reports one path only, the slowest of a clock. But it writes the delay of every arc as SDF (``--sdf``, IEEE
1497), from which ``slowest`` finds the others. As in nextpnr's own analysis, the clock reaches all registers at once.
"""

import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hw.host.errors import BitfabricError, ToolError

ROUTING = "routing"
"""The kind of a hop through wires; all other kinds are inside of cells."""


@dataclass(frozen=True)
class Hop:
    """One step of a path: its kind (clk-to-q, logic, routing, setup), the cell where it ends, its delay."""

    kind: str
    cell: str
    delay_ns: float


@dataclass(frozen=True)
class TimingPath:
    """A path from a register to a register: from the clock edge at the first, to the setup time of the last."""

    hops: tuple[Hop, ...]

    @property
    def delay_ns(self) -> float:
        """The whole delay: the shortest period of the clock for this path."""
        return sum(hop.delay_ns for hop in self.hops)

    @property
    def routing_ns(self) -> float:
        """The part of the delay that is in wires."""
        return sum(hop.delay_ns for hop in self.hops if hop.kind == ROUTING)

    @property
    def logic_ns(self) -> float:
        """The part of the delay that is in cells, registers included."""
        return sum(hop.delay_ns for hop in self.hops if hop.kind != ROUTING)

    @property
    def levels(self) -> int:
        """The number of cells between the registers; elements of a carry chain count one by one."""
        return sum(hop.kind == "logic" for hop in self.hops)

    def stops(self, group: Callable[[str], str]) -> list[str]:
        """The groups of cells that the path passes, in order; cells of the group ``""`` are left out."""
        found: list[str] = []
        for hop in self.hops:
            name = group(hop.cell)
            if name and (not found or found[-1] != name):
                found.append(name)
        return found


def comes_from(name: str, ports: Sequence[str]) -> bool:
    """Whether a clock's net or driver, as nextpnr names it, comes from one of the ``ports`` without a PLL."""
    return not {*ports}.isdisjoint(re.split(r"\W", name))


def critical_path(report: dict, without: Sequence[str] = ()) -> TimingPath:
    """The slowest path within one clock, from the report of nextpnr; without hops where it has none.

    Clocks that come from the ports ``without`` are left out.
    """
    within = [p for p in report["critical_paths"] if p["from"] == p["to"]]
    paths = [p["path"] for p in within if not comes_from(p["from"], without)]
    worst: list[dict] = max(paths, key=lambda path: sum(float(step["delay"]) for step in path), default=[])
    return TimingPath(tuple(Hop(step["type"], step["to"]["cell"], float(step["delay"])) for step in worst))


@dataclass(frozen=True)
class SlowestPaths:
    """The slowest path between each two groups, slowest first, as many as were asked for, of ``pairs`` in all."""

    paths: tuple[TimingPath, ...]
    pairs: int


def slowest(sdf: Path, group: Callable[[str], str], most: int, without: Sequence[str] = ()) -> SlowestPaths:
    """The slowest path from each group of cells to each, within one clock, from the delays in ``sdf``.

    ``group`` gives the group of a cell. Clocks that come from the ports ``without`` are left out. Raises ToolError for
    a file that is not nextpnr's SDF.
    """
    try:
        with open(sdf) as file:
            delays = _read(file)
    except OSError as error:
        raise BitfabricError(f"cannot read {sdf} ({error.strerror})") from None
    if delays.scale != "1ps" or not delays.setups:
        raise ToolError(f"{sdf} holds no delays in the form that nextpnr writes; use the nextpnr of requirements.lock")
    return _slowest(delays, group, most, without)


Pin = tuple[str, str]
"""A cell and its port."""


@dataclass(frozen=True)
class _Delays:
    """Delays in ps: ``wires`` from pin to pin, ``cells`` from the first port of a pin's cell to the second, ``setups``
    of data pins with the clock's port. ``kinds``: the type of each cell."""

    scale: str
    kinds: dict[str, str]
    wires: list[tuple[Pin, Pin, int]]
    cells: list[tuple[str, str, str, int]]
    setups: dict[Pin, tuple[int, str]]


_NAME = r"((?:\\.|[^\s()\\])+)"
_PORT = rf"(?:\((?:posedge|negedge) )?{_NAME}\)?"
_TIME = r"\(-?\d+:-?\d+:(-?\d+)\)"
_ARC = re.compile(rf"\((INTERCONNECT|IOPATH|SETUPHOLD) {_PORT} {_PORT} {_TIME} {_TIME}\)")
_CELL = re.compile(rf"\(INSTANCE {_NAME}?\)")
_HEAD = re.compile(r'\((CELLTYPE|TIMESCALE) "?([^")]*)"?\)')


def _read(lines: Iterable[str]) -> _Delays:
    """Read SDF. Of each delay, the maximum over corners and edges counts."""
    made = _Delays("", {}, [], [], {})
    scale = kind = cell = ""
    for line in lines:
        if arc := _ARC.search(line):
            what, first, second, rise, fall = arc.groups()
            delay = max(int(rise), int(fall))
            if what == "INTERCONNECT":
                made.wires.append((_pin(first), _pin(second), delay))
            elif what == "IOPATH":
                made.cells.append((cell, _plain(first), _plain(second), delay))
            else:  # The first time is the setup time, the second the hold time.
                pin, setup = (cell, _plain(first)), int(rise)
                if pin not in made.setups or setup > made.setups[pin][0]:
                    made.setups[pin] = setup, _plain(second)
        elif instance := _CELL.search(line):
            cell = _plain(instance[1] or "")
            made.kinds[cell] = kind
        elif head := _HEAD.search(line):
            if head[1] == "CELLTYPE":
                kind = head[2]
            else:
                scale = head[2]
    return replace(made, scale=scale)


def _plain(name: str) -> str:
    return re.sub(r"\\(.)", r"\1", name)


def _pin(name: str) -> Pin:
    cell, _, port = _plain(name).rpartition("/")
    return cell, port


Source = tuple[str, str]
"""Where paths start: the group of the register, and the driver of its clock."""
Arrival = tuple[int, str, Pin | None]
"""The latest arrival in ps, the kind of the last hop, and the pin before it (None at the register)."""


def _slowest(delays: _Delays, group: Callable[[str], str], most: int, without: Sequence[str] = ()) -> SlowestPaths:
    """Propagate, in topological order, the latest arrival of each source at each pin (static timing analysis)."""
    clocks = {(delays.kinds[cell], port) for (cell, _), (_, port) in delays.setups.items()}
    drivers = {sink: "/".join(driver) for driver, sink, _ in delays.wires}
    after: dict[Pin, list[tuple[Pin, int, str]]] = defaultdict(list)
    waiting: dict[Pin, int] = defaultdict(int)
    arrivals: dict[Pin, dict[Source, Arrival]] = defaultdict(dict)

    def arrive(pin: Pin, source: Source, time: int, kind: str, before: Pin | None) -> None:
        if source not in arrivals[pin] or time > arrivals[pin][source][0]:
            arrivals[pin][source] = time, kind, before

    for driver, sink, delay in delays.wires:
        after[driver].append((sink, delay, ROUTING))
        waiting[sink] += 1
    for cell, first, second, delay in delays.cells:
        if (delays.kinds[cell], first) in clocks:
            arrive((cell, second), (group(cell), drivers.get((cell, first), "")), delay, "clk-to-q", None)
        else:
            after[cell, first].append(((cell, second), delay, "logic"))
            waiting[cell, second] += 1
    ready = deque(pin for pin in {*after, *arrivals} if not waiting[pin])
    while ready:
        pin = ready.popleft()
        for sink, delay, kind in after.get(pin, ()):
            for source, (time, _, _) in arrivals[pin].items():
                arrive(sink, source, time + delay, kind, pin)
            waiting[sink] -= 1
            if not waiting[sink]:
                ready.append(sink)
    worst: dict[tuple[str, str], tuple[int, Pin, Source]] = {}
    for pin, (setup, port) in delays.setups.items():
        end, clock = group(pin[0]), drivers.get((pin[0], port), "")
        if comes_from(clock, without):
            continue
        for source, (time, _, _) in arrivals[pin].items():
            pair = source[0], end
            if source[1] == clock and time + setup > worst.get(pair, (-1,))[0]:
                worst[pair] = time + setup, pin, source
    ordered = sorted(worst.values(), key=lambda found: (-found[0], found[1]))[:most]
    return SlowestPaths(tuple(_hops(arrivals, pin, source, time) for time, pin, source in ordered), len(worst))


def _hops(arrivals: Mapping[Pin, Mapping[Source, Arrival]], end: Pin, source: Source, total: int) -> TimingPath:
    """The path that arrives last at ``end`` from ``source``, ``total`` ps long with the setup time."""
    hops = [("setup", end[0], total)]
    pin: Pin | None = end
    while pin is not None:
        time, kind, before = arrivals[pin][source]
        hops.append((kind, pin[0], time))
        pin = before
    since = [time for _, _, time in hops[1:]] + [0]
    spans = [Hop(kind, cell, (time - at) / 1000) for (kind, cell, time), at in zip(hops, since, strict=True)]
    return TimingPath(tuple(reversed(spans)))
