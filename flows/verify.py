"""The exactness ladder: each engine against the one before it, integer by integer and cycle by cycle."""

from dataclasses import replace

import numpy as np

from flows.engines import EdgeBatch, by_port, run_rtl
from hw.fabric.family import Family
from hw.host.errors import BitfabricError
from hw.ir.graph import Graph, Port
from hw.rtl.design import generate
from hw.timing import cycles
from hw.timing.trace import Trace


def first_difference(got: np.ndarray, want: np.ndarray) -> str | None:
    """Where two batches of integers differ first, in words; None where they are equal."""
    differs = np.asarray(got) != np.asarray(want)
    if not differs.any():
        return None
    at = np.unravel_index(int(np.argmax(differs)), differs.shape)
    frames = int(np.any(differs.reshape(len(differs), -1), axis=1).sum())
    element = "".join(f"[{i}]" for i in at[1:])
    return (
        f"frame {at[0]}, element {element}: {got[at]} instead of {want[at]} ({frames} of {len(differs)} frames differ)"
    )


def check_rtl(graph: Graph, family: Family, ints: EdgeBatch) -> tuple[dict[str, int], EdgeBatch]:
    """Simulate the RTL and hold it against the emulator and the cycle model.

    ``ints`` are integer frames by input edge. Returns ``frames``, ``mismatches`` (0), ``latency`` and
    ``interval`` in cycles, as simulated, and the integers. Raises BitfabricError with the first frame, layer and
    element that differ, or with the first beat that moves in another cycle.
    """
    expected = graph.execute(ints)
    got, result = run_rtl(graph, family, ints)
    for port in graph.outputs:
        if difference := first_difference(got[port.edge], expected[port.edge]):
            layer = _differing_layer(graph, family, ints)
            raise BitfabricError(f"the RTL differs from the emulator, first behind layer {layer}: {difference}")
    count = len(next(iter(ints.values())))
    modelled = cycles.simulate(graph, count)
    names = by_port(graph, generate(graph, family))
    for edge, name in names.items():
        if difference := first_difference(result.taken[name][:, None], modelled.taken[edge][:, None]):
            raise BitfabricError(f"the RTL's cycles differ from the cycle model on {edge}: {difference}")
    simulated = Trace(graph, count, modelled.offered, {e: result.taken[n] for e, n in names.items()})
    return {"frames": count, "mismatches": 0, "latency": simulated.latency, "interval": simulated.interval}, got


def _differing_layer(graph: Graph, family: Family, ints: EdgeBatch) -> str:
    """The first layer whose own output is wrong, by cutting the graph after each layer in turn."""
    few = {edge: frames[:4] for edge, frames in ints.items()}
    for count in range(1, len(graph.nodes) + 1):
        nodes = graph.nodes[:count]
        read = {edge for node in nodes for edge in node.inputs}
        ends = [edge for node in nodes for edge in node.outputs if edge not in read]
        ports = tuple(Port(edge, edge, (1,), "int") for edge in ends)
        part = replace(graph, nodes=nodes, outputs=ports)
        got, _ = run_rtl(part, family, few)
        if any(first_difference(got[edge], want) for edge, want in part.execute(few).items()):
            return nodes[-1].name
    return "none of the first four frames"


def check_netlist(got: EdgeBatch, expected: EdgeBatch, stage: str) -> dict[str, int]:
    """Hold the integers of a netlist, placed or mapped, against the emulator's. Raises BitfabricError as
    ``check_rtl``."""
    for edge, want in expected.items():
        if difference := first_difference(got[edge], want):
            raise BitfabricError(f"the {stage} netlist differs from the emulator: {difference}")
    return {"frames": len(next(iter(expected.values()))), "mismatches": 0}
