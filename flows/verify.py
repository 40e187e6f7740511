"""Verification of RTL and netlists: all integers equal those of the emulator, all cycles those of the cycle model."""

from dataclasses import replace
from math import ceil

from flows.simulation import EdgeBatch, simulate, stream_names
from hw.fabric.family import Family
from hw.host.errors import BitfabricError
from hw.ir.graph import Graph, Port
from hw.ir.verdicts import branches, carried, computed
from hw.rtl.design import RtlDesign, generate
from hw.timing import cycles
from hw.timing.trace import Trace
from hw.verification.difference import first_difference


def check_rtl(graph: Graph, family: Family, ints: EdgeBatch, design: RtlDesign) -> tuple[dict[str, int], EdgeBatch]:
    """Simulate ``design``, the RTL of ``graph``, and compare it with the emulator and the cycle model.

    ``ints`` are integer frames by input edge. Returns the counts of ``equal`` with ``latency`` and ``interval`` in
    cycles, as simulated (the mean interval of a graph with early exits), and the integers. Raises BitfabricError with
    the first frame, layer and element that differ, or with the first beat that is transferred in another cycle.
    """
    expected = graph.execute(ints)
    got, result = simulate(graph, design, ints)
    for port in graph.outputs:
        if difference := first_difference(got[port.edge], expected[port.edge]):
            layer = _differing_layer(graph, family, ints)
            raise BitfabricError(f"the RTL differs from the emulator, first behind layer {layer}: {difference}")
    count = len(next(iter(ints.values())))
    given = computed(graph, ints)
    modelled = cycles.simulate(graph, count, verdicts=given)
    names = stream_names(graph, design)
    for edge, name in names.items():
        if difference := first_difference(result.taken[name][:, None], modelled.taken[edge][:, None]):
            raise BitfabricError(
                f"the RTL's cycles differ from the cycle model on {graph.titles.get(edge, edge)}: {difference}"
            )
    simulated = Trace(graph, count, modelled.offered, {e: result.taken[n] for e, n in names.items()})
    counts = equal(count, _elements(expected))
    interval = ceil(simulated.mean_interval) if given else simulated.interval
    return {**counts, "latency": simulated.latency, "interval": interval}, got


def equal(frames: int, elements: int) -> dict[str, int]:
    """The counts of a comparison in which all of ``elements`` integers are equal."""
    return {"frames": frames, "elements": elements, "mismatches": 0, "explained": 0, "arg_max_changes": 0}


def _elements(outputs: EdgeBatch) -> int:
    return sum(values.size for values in outputs.values())


def _differing_layer(graph: Graph, family: Family, ints: EdgeBatch) -> str:
    """The first layer with a wrong output, found by cutting the graph after each layer in turn."""
    few = {edge: frames[:4] for edge, frames in ints.items()}
    there = carried(graph, 4, computed(graph, few)) if branches(graph) else {}
    for count in range(1, len(graph.nodes) + 1):
        nodes = graph.nodes[:count]
        read = {edge for node in nodes for edge in node.inputs}
        ends = [edge for node in nodes for edge in node.outputs if edge not in read]
        if not all(there[edge].all() for edge in ends if edge in there):
            continue  # The simulation waits for all frames at every output.
        ports = tuple(Port(edge, edge, (1,), "int") for edge in ends)
        part = replace(graph, nodes=nodes, outputs=ports)
        got, _ = simulate(part, generate(part, family), few)
        if any(first_difference(got[edge], want) for edge, want in part.execute(few).items()):
            return nodes[-1].title
    return "none of the first four frames"


def check_netlist(got: EdgeBatch, expected: EdgeBatch, stage: str) -> dict[str, int]:
    """Compare the integers of a netlist (``stage``: placed or mapped) with the emulator's; returns the counts of
    ``equal``. Raises BitfabricError with the first frame and element that differ."""
    for edge, want in expected.items():
        if difference := first_difference(got[edge], want):
            raise BitfabricError(f"the {stage} netlist differs from the emulator: {difference}")
    return equal(len(next(iter(expected.values()))), _elements(expected))
