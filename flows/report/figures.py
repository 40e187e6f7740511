"""The report's figures: a frame on its way through the layers, FIFO occupancy, the critical path.

Each is one strip a row, as wide as the reader's window allows: positions are percentages, and only curves, which
carry no text, are stretched.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hw.ir.graph import Graph
from hw.kernels.fifo.kernel import Fifo
from hw.timing.trace import Trace

FRAMES = 3
"""Frames that the timeline shows."""
BINS = 400
"""Points of a curve."""


@dataclass(frozen=True)
class Tick:
    """A mark on the time axis: where in percent, which cycle, and which side of the mark its text goes."""

    at: float
    cycle: int
    anchor: str


@dataclass(frozen=True)
class Bar:
    """A span in percent of the strip; ``label`` says it in words."""

    start: float
    size: float
    kind: str
    label: str


@dataclass(frozen=True)
class Strip:
    """One row of a figure."""

    name: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Occupancy:
    """A FIFO over time: ``path`` is an SVG path in a box of ``BINS`` by 100, with ``depth`` as 100."""

    name: str
    depth: int
    width: int
    peak: int
    block: bool
    path: str


class Window:
    """The cycles that the figures show: from the first until ``FRAMES`` frames are out."""

    def __init__(self, trace: Trace) -> None:
        self.frames = min(FRAMES, trace.frames)
        last = [trace.taken[edge].reshape(trace.frames, -1)[self.frames - 1, -1] for edge in trace.graph.output_edges]
        self.cycles = int(max(last)) + 1

    def percent(self, cycle: float) -> float:
        return round(100 * cycle / self.cycles, 3)

    def ticks(self) -> list[Tick]:
        """Round cycle numbers, about six of them."""
        step = 10 ** int(np.floor(np.log10(max(1, self.cycles))))
        while self.cycles / step < 4:
            step = max(1, step // 2) if step % 2 == 0 else max(1, step // 5)
            if step == 1:
                break
        marks = range(0, self.cycles + 1, step)
        return [Tick(self.percent(c), c, "start" if c == 0 else "end" if self.percent(c) > 92 else "middle")
                for c in marks]  # fmt: skip


def timeline(trace: Trace, window: Window) -> list[Strip]:
    """When each layer worked on each of the first frames: from its first beat in to its last beat out."""
    strips = []
    for node in trace.graph:
        took = [trace.taken[edge].reshape(trace.frames, -1) for edge in node.inputs]
        gave = [trace.taken[edge].reshape(trace.frames, -1) for edge in node.outputs]
        bars = []
        for frame in range(window.frames):
            first = int(min(beats[frame, 0] for beats in took))
            last = int(max(beats[frame, -1] for beats in gave))
            label = f"{node.name}, frame {frame}: cycles {first:,} to {last:,}"
            bars.append(Bar(window.percent(first), window.percent(last + 1 - first), f"frame{frame}", label))
        strips.append(Strip(node.name, tuple(bars)))
    return strips


def accounts(trace: Trace) -> list[Strip]:
    """What each layer does with its cycles in the steady state: busy, starved, blocked."""
    strips = []
    for name, account in trace.stall_breakdowns().items():
        start, bars = 0.0, []
        parts = {
            "busy": account.busy,
            "starved": sum(account.starved.values()),
            "blocked": sum(account.blocked.values()),
        }
        for kind, cycles in parts.items():
            size = round(100 * cycles / account.cycles, 3)
            bars.append(Bar(round(start, 3), size, kind, f"{name}: {kind} {size:.0f} % of the cycles"))
            start += size
        strips.append(Strip(name, tuple(bars)))
    return strips


def occupancies(graph: Graph, trace: Trace, window: Window) -> list[Occupancy]:
    """Every FIFO's beats over the time of the timeline, and the most that it ever holds."""
    result = []
    for node in graph:
        if not isinstance(node.kernel, Fifo):
            continue
        held = trace.occupancy(node.outputs[0])
        depth = node.kernel.depth
        result.append(Occupancy(
            node.name, depth, node.kernel.stream.width, int(held.max()),
            node.kernel.block, _steps(held[: window.cycles], depth),
        ))  # fmt: skip
    return result


def _steps(values: np.ndarray, full: int) -> str:
    """The outline of a curve: of each of at most BINS spans the largest value."""
    edges = np.linspace(0, len(values), min(BINS, len(values)) + 1).astype(int)
    tops = np.maximum.reduceat(values, edges[:-1])
    scale = BINS / len(tops)
    points, last = ["M0 100"], None
    for i, top in enumerate(tops):
        y = round(100 - 100 * top / full, 1)
        if y != last:
            points.append(f"H{i * scale:g}V{y:g}")
            last = y
    return f"{''.join(points)}H{BINS}V100Z"


@dataclass(frozen=True)
class Hop:
    """A stretch of the critical path inside one layer, or on the way between cells."""

    start: float
    size: float
    kind: str
    owner: str
    delay_ns: float


def path(hops: Sequence[tuple[str, str, float]]) -> list[Hop]:
    """The critical path as stretches of logic and routing; ``hops`` are kind, owner and nanoseconds."""
    total = sum(delay for _, _, delay in hops)
    at, result = 0.0, []
    for kind, owner, delay in hops:
        size = 100 * delay / total
        result.append(Hop(round(at, 3), round(size, 3), "routing" if kind == "routing" else "logic", owner, delay))
        at += size
    return result
