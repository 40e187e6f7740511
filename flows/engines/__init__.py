"""The slower engines: the RTL in Verilator, and the netlist behind its host link."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from hw.boards.image import Image, format_of, image
from hw.boards.targets import Target
from hw.boards.virtual import VirtualBoard
from hw.fabric.family import Family
from hw.host.driver import Driver
from hw.host.interface import Interface
from hw.host.ports import find_port, open_port
from hw.ir.graph import Graph
from hw.rtl.design import RtlDesign, generate
from hw.simulation import verilator, waveform
from hw.synth import netlist

Progress = Callable[[int, int], None]
"""Told of the frames that are done, and of all."""
EdgeBatch = dict[str, np.ndarray]
"""Integer frames ``(N, *shape)`` by edge of the graph."""


def by_port(graph: Graph, design: RtlDesign) -> dict[str, str]:
    """Edge of every graph port -> the stream port of the design."""
    ins = zip((port.edge for port in graph.inputs), design.inputs, strict=True)
    outs = zip(graph.output_edges, design.outputs, strict=True)
    return dict([*ins, *outs])


def run_rtl(
    graph: Graph, family: Family, ints: EdgeBatch, trace: Path | None = None, clock_mhz: float = 100.0
) -> tuple[EdgeBatch, verilator.Simulation]:
    """Integers of the output edges, and the simulation that gave them, of the graph's RTL; its waveform at a clock of
    ``clock_mhz`` goes into the file ``trace``."""
    design = generate(graph, family)
    names = by_port(graph, design)
    frames = {names[edge]: values for edge, values in ints.items()}
    if trace is None:
        result = verilator.build(design).run(frames)
    else:
        result = waveform.record(design, frames, trace, {port: edge for edge, port in names.items()}, clock_mhz)
    return {port.edge: result.outputs[names[port.edge]] for port in graph.outputs}, result


def board_image(
    target: Target, accelerator: RtlDesign, clock_mhz: float, model_hash: str, interval: int
) -> Image | None:
    """The image for a target's board; None for a bare device. An image knows the first 64 bits of the model's hash."""
    if target.board is None:
        return None
    return image(accelerator, target, clock_mhz, int(model_hash[:16], 16), interval)


def interface(graph: Graph, board: Image) -> Interface:
    """What a driver has to know of the graph in the image ``board``."""
    (port,) = graph.inputs
    exits = {each.name: each.steps for each in graph.outputs}
    formats = format_of(graph.edges[port.edge]), format_of(graph.edges[graph.outputs[0].edge])
    return Interface(board.model, board.baud, port.shape, port.dtype, port.steps, *formats, exits)


def run_netlist(
    graph: Graph, family: Family, accelerator: RtlDesign, board: Image | None, placed: Path, ints: EdgeBatch
) -> EdgeBatch:
    """Integers of the output edges, of the netlist file ``placed``.

    An image is run on a virtual board through its UART by the same driver as the real one; a bare accelerator
    through its streams.
    """
    if board is None:
        design = netlist.design(placed, family, accelerator.inputs, accelerator.outputs)
        names = by_port(graph, design)
        result = verilator.build(design).run({names[edge]: frames for edge, frames in ints.items()})
        return {port.edge: result.outputs[names[port.edge]] for port in graph.outputs}
    ((edge, frames),) = ints.items()
    with VirtualBoard(board, netlist.design(placed, family)) as line:
        given = graph.outputs[0].edge
        driver = Driver(line, format_of(graph.edges[edge]), format_of(graph.edges[given]), board.model)
        return {given: driver.run(frames)}


def run_board(
    graph: Graph, link: Interface, port: str | None, baud: int | None, ints: EdgeBatch, progress: Progress | None
) -> tuple[EdgeBatch, dict[str, int]]:
    """Integers of the output edges, of the board behind a serial port (None: the one that answers), and its counters:
    ``cycles`` of a frame; since its reset ``frames``, ``stalls`` (cycles in which a beat waited for the accelerator),
    ``errors`` (messages dropped) and, with parity, ``parity_errors`` (cycles in which a word with a parity error was
    used); frames ``resent`` by the host."""
    rate = baud or link.baud
    ((_, frames),) = ints.items()
    transport = open_port(port, rate) if port else find_port(rate, link.model)
    try:
        driver = Driver(transport, link.input_format, link.output_format, link.model)
        results = {graph.outputs[0].edge: driver.run(frames, progress)}
        return results, driver.status().counters | {"resent": driver.session.resent}
    finally:
        transport.close()
