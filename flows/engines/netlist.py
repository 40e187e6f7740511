"""Simulation of the build's netlist: an image on a virtual board through its host link, or a bare accelerator."""

from pathlib import Path

from flows.engines.engine import Engine, RunOptions, Traits
from flows.implementation import Implementation
from flows.simulation import EdgeBatch, simulate
from hw.boards.image import format_of
from hw.boards.virtual import VirtualBoard
from hw.host.driver import Driver
from hw.ir.frames import Batch
from hw.synth import netlist


def run_netlist(made: Implementation, file: Path, ints: EdgeBatch) -> EdgeBatch:
    """Integers of the output edges, from a simulation of the netlist ``file`` of ``made``.

    An image is simulated as a virtual board and run through its host link by the driver for real boards; a bare
    accelerator is run through its streams.
    """
    graph, image = made.hardware, made.image
    if image is None:
        design = netlist.design(file, made.family, made.rtl.inputs, made.rtl.outputs)
        return simulate(graph, design, ints)[0]
    entries = [port.edge for port in graph.inputs]
    with VirtualBoard(image, netlist.design(file, made.family)) as line:
        given, results = ([format_of(graph.edges[edge]) for edge in each] for each in (entries, graph.output_edges))
        driver = Driver(line, given, results, image.model)
        return dict(zip(graph.output_edges, driver.run(*(ints[edge] for edge in entries)), strict=True))


def _available(made: Implementation) -> str | None:
    if made.netlist is None:
        return (
            f"{made.folder} has no netlist that was simulated; build without --stop-after, for a family whose cells "
            "have models"
        )
    return None


def _run(made: Implementation, x: Batch, options: RunOptions) -> Batch:
    assert made.netlist is not None
    return made.graph.decode(run_netlist(made, made.netlist, made.graph.encode(x)))


ENGINE = Engine(
    "netlist",
    Traits("placed netlist", "the whole image behind its host link, against the emulator"),
    _run,
    _available,
)
