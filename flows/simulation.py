"""The RTL of a graph, simulated with Verilator."""

from pathlib import Path

import numpy as np

from hw.fabric.identifiers import identifiers
from hw.ir.graph import Graph
from hw.rtl.design import RtlDesign
from hw.simulation import verilator, waveform

EdgeBatch = dict[str, np.ndarray]
"""Integer frames ``(N, *shape)`` by edge of the graph."""


def stream_names(graph: Graph, design: RtlDesign) -> dict[str, str]:
    """Edge of every port of the graph -> stream port of the design."""
    ins = zip((port.edge for port in graph.inputs), design.inputs, strict=True)
    outs = zip(graph.output_edges, design.outputs, strict=True)
    return dict([*ins, *outs])


def simulate(
    graph: Graph, design: RtlDesign, ints: EdgeBatch, trace: Path | None = None, clock_mhz: float = 100.0
) -> tuple[EdgeBatch, verilator.Simulation]:
    """Simulate ``design``, the RTL of ``graph``; returns the integers of the output edges, and the simulation.

    ``trace`` is a file for the waveform, with a clock of ``clock_mhz``. Raises BitfabricError where a tool fails.
    """
    names = stream_names(graph, design)
    frames = {names[edge]: values for edge, values in ints.items()}
    if trace is None:
        result = verilator.build(design).run(frames)
    else:
        shown = identifiers(graph.edges, prefixed=True)
        ports = {port: shown[edge] for edge, port in names.items()}
        layers = identifiers((node.name for node in graph), prefixed=True)
        origins = {layers[node.name]: node.origin.name for node in graph if node.origin.name not in ("", node.name)}
        result = waveform.record(design, frames, trace, ports, origins, clock_mhz)
    return {port.edge: result.outputs[names[port.edge]] for port in graph.outputs}, result
