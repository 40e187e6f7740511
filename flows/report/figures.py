"""The data of the report's figures: the timeline of the layers, FIFO occupancy, the critical path.

A figure has one strip per row and the full width of the browser's window. Positions are percentages. Only curves are
stretched, because they contain no text.
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
    """A mark on the time axis: its position in percent, its cycle, and the anchor of its text."""

    at: float
    cycle: int
    anchor: str


@dataclass(frozen=True)
class Bar:
    """A span of a strip, in percent; ``label`` is its description."""

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
    """The cycles that the figures show: from the first cycle to the last output beat of ``FRAMES`` frames."""

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
    """The span of each layer for each of the first frames, from its first input beat to its last output beat."""
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
    """Each layer's cycles in the steady state as fractions: busy, starved (no input) and blocked (no output credit)."""
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
    """The occupancy of every FIFO over the time of the timeline, and its peak."""
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
    """A curve as an SVG path: the maximum of each of up to BINS spans of ``values``; ``full`` is the full height."""
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
    """A part of the critical path: logic inside one layer, or routing between cells."""

    start: float
    size: float
    kind: str
    owner: str
    delay_ns: float


def path(hops: Sequence[tuple[str, str, float]]) -> list[Hop]:
    """The critical path as a sequence of logic and routing; ``hops`` are (kind, owner, delay in ns)."""
    total = sum(delay for _, _, delay in hops)
    at, result = 0.0, []
    for kind, owner, delay in hops:
        size = 100 * delay / total
        result.append(Hop(round(at, 3), round(size, 3), "routing" if kind == "routing" else "logic", owner, delay))
        at += size
    return result
