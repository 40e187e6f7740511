"""The frame rate of an image: that of its host link beside that of the accelerator."""

from flows.design_point import DesignPoint
from flows.facts.design import HostLink
from hw.boards.link_rate import LinkRate, link_rate
from hw.boards.targets import Target
from hw.ir.graph import Graph


def of_image(design: DesignPoint, target: Target, interval: int, latency: int) -> HostLink | None:
    """The rates of a design's image; None for a target that is no board.

    ``interval`` and ``latency`` are cycles of the accelerator. Raises BitfabricError where the board cannot have the
    clock.
    """
    rate = _rate(design.hardware, target, design.clock_mhz, interval, latency)
    if rate is None:
        return None
    return HostLink(
        fps=rate.fps,
        core_fps=rate.core_fps,
        clock_mhz=rate.clock_mhz,
        transport=rate.transport.kind,
        line=rate.transport.title,
        baud=rate.transport.baud,
        input_octets=rate.input_octets,
        output_octets=rate.output_octets,
        slots=rate.slots,
    )


def of_line(graph: Graph, target: Target, clock_mhz: float) -> float | None:
    """Frames per second of the line alone, which no folding exceeds; None and errors as of ``of_image``."""
    rate = _rate(graph, target, clock_mhz, 1, 0)
    return None if rate is None else rate.fps


def _rate(graph: Graph, target: Target, clock_mhz: float, interval: int, latency: int) -> LinkRate | None:
    if target.board is None:
        return None
    entries = [graph.edges[port.edge] for port in graph.inputs]
    results = [graph.edges[edge] for edge in graph.output_edges]
    return link_rate(target, clock_mhz, entries, results, interval, latency)
