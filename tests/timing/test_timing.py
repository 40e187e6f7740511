"""Accounts, occupancy, deadlocks and the steady state, by hand and against brute force."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw.host.errors import BitfabricError
from hw.ir.graph import Graph, Node, Port
from hw.ir.stream import Stream
from hw.kernels.fifo.kernel import Fifo
from hw.kernels.width_converter.kernel import WidthConverter
from hw.passes import fifos
from hw.passes.fifos import insert_fifos
from hw.timing import cycles, fifo_sizing
from hw.timing.fifo_sizing import size_fifos
from hw.timing.periodic import PeriodicSchedule
from hw.timing.trace import attempt
from tests.builders.networks import random_graph
from tests.kernels.kernel_bench import check, random_frames

UINT1 = DataType["UINT1"]


def narrow_middle(depth: int) -> Graph:
    """4 beats of 2 lanes a frame -> 8 of 1 lane -> a FIFO -> 4 of 2 lanes: one narrow stretch."""
    wide, thin = Stream((8,), UINT1, 2), Stream((8,), UINT1, 1)
    nodes = (
        Node("first", Fifo(wide, 2), ("x",), ("a",)),
        Node("split", WidthConverter(wide, 1), ("a",), ("b",)),
        Node("b_fifo", Fifo(thin, depth), ("b",), ("b_fifo",)),
        Node("merge", WidthConverter(thin, 2), ("b_fifo",), ("y",)),
    )
    return Graph(nodes, (Port("x", "x", (8,), "UINT1"),), (Port("y", "y", (8,), "UINT1"),))


@pytest.mark.quick
def test_accounts_by_hand():
    # Beats of 2 are wanted every other cycle: split is always busy, the FIFO before it has a beat too many each time.
    trace = cycles.steady(narrow_middle(4))
    assert (trace.interval, trace.period) == (8, 1)
    accounts = trace.stall_breakdowns()
    assert {name: (a.busy, a.starved, a.blocked) for name, a in accounts.items()} == {
        "first": (4, {"x": 0}, {"a": 4}),
        "split": (8, {"a": 0}, {"b": 0}),
        "b_fifo": (8, {"b": 0}, {"b_fifo": 0}),
        "merge": (8, {"b_fifo": 0}, {"y": 0}),
    }
    # A reader that is ready in every fourth cycle blocks all before it, a beat of 2 every 4 cycles.
    ready = np.arange(16 * 20) % 4 == 0
    slow = cycles.simulate(narrow_middle(4), 16, ready={"y": ready}).stall_breakdowns(2)
    assert {name: (a.busy, a.cycles) for name, a in slow.items()} == {
        "first": (8, 32), "split": (16, 32), "b_fifo": (16, 32), "merge": (16, 32),
    }  # fmt: skip
    assert slow["merge"].blocked == {"y": 16}
    assert slow["split"].blocked == {"b": 16}
    # One that gets a beat every fourth cycle starves.
    fast = cycles.simulate(narrow_middle(4), 16, offers={"x": 4 * np.arange(64)}).stall_breakdowns()
    assert fast["first"].starved == {"x": 12}
    assert fast["merge"].starved == {"b_fifo": 8}


@pytest.mark.quick
def test_occupancy_by_hand():
    trace = cycles.simulate(narrow_middle(4), 3, ready={"y": np.arange(40) >= 40})
    held = trace.occupancy("b_fifo")
    assert held.max() == 4
    assert held[39] == 4
    assert held[-1] == 0
    assert held[0] == 0
    assert trace.occupancy("a").max() == 2
    with pytest.raises(BitfabricError, match="no node writes an edge x"):
        trace.occupancy("x")
    with pytest.raises(BitfabricError, match="longer trace than one of 3"):
        trace.stall_breakdowns(3)


@pytest.mark.quick
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_the_steady_state_goes_on_and_its_accounts_are_whole(seed):
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    graph = insert_fifos(graph, size_fifos(graph))
    trace = cycles.steady(graph)
    assert trace.period is not None
    assert cycles.steady_state(graph) == (trace.interval, trace.latency)
    longer, waits = attempt(graph, trace.frames + 3 * trace.period + 1)  # which solves frame by frame
    assert not waits
    extended = cycles.simulate(graph, longer.frames)
    for edge in graph.edges:
        np.testing.assert_array_equal(extended.taken[edge], longer.taken[edge])
        np.testing.assert_array_equal(extended.offered[edge], longer.offered[edge])
    for edge, taken in longer.taken.items():
        ends = taken.reshape(longer.frames, -1)[:, -1]
        np.testing.assert_array_equal(np.diff(ends[trace.frames - 1 :: trace.period]), trace.interval * trace.period)
        assert taken[: len(trace.taken[edge])].tolist() == trace.taken[edge].tolist()
    for node in graph:
        account, plan = trace.stall_breakdowns()[node.name], node.kernel.schedule()
        assert account.cycles == trace.interval * trace.period
        least = plan.interval * trace.period
        assert account.busy == least or (plan.buffer and account.busy > least)
        assert min(account.busy, *account.starved.values(), *account.blocked.values()) >= 0
        for edge in node.outputs:
            held = trace.occupancy(edge)
            assert 0 == held.min() < held.max() <= plan.credits
            assert held[-1] <= 1


@settings(max_examples=2, deadline=None)
@given(st.integers(0, 2**32))
def test_beats_of_random_graphs_in_rtl(seed):
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    depths = size_fifos(graph)
    graph = insert_fifos(graph, {edge: int(depth + rng.integers(0, 3)) for edge, depth in depths.items()})
    check(graph, {port.edge: random_frames(graph.edges[port.edge], 3, rng) for port in graph.inputs}, rng)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_a_deadlock_names_what_is_full_and_the_least_depth_that_frees_it(seed):
    graph = random_graph(np.random.default_rng(seed))
    try:
        cycles.simulate(graph, 2)
    except cycles.Deadlock as error:
        message = str(error)
    else:
        return
    assert re.match(r"deadlock: edge \w+, without a FIFO, is full", message)
    match = re.search(r"edge (\w+), .*; a FIFO of depth (\d+) there frees them$", message)
    if match is None:
        assert message.endswith(
            "one FIFO is not enough to free them: take the depths of hw.timing.fifo_sizing.size_fifos"
        )
        cycles.simulate(insert_fifos(graph, size_fifos(graph)), 2)
        return
    edge, depth = match[1], int(match[2])
    cycles.simulate(insert_fifos(graph, {edge: depth}), 2)
    if depth > 2:
        with pytest.raises(cycles.Deadlock) as caught:
            cycles.simulate(insert_fifos(graph, {edge: depth - 1}), 2)
        if re.match(
            rf"deadlock: FIFO {edge}_fifo of depth {depth - 1} is full.*; depth {depth} frees", str(caught.value)
        ):
            return
        # Beside a FIFO that is nearly deep enough, one on another edge may do as well.
        other = re.match(r"deadlock: edge (\w+), .*; a FIFO of depth (\d+) there frees them$", message)
        assert other is not None
        cycles.simulate(insert_fifos(graph, {edge: depth - 1, other[1]: int(other[2])}), 2)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1.0, 1.0, 1.3, 2.5]))
def test_schedules_agree_with_simulation(seed, slower):
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    best = fifo_sizing.min_interval(graph)
    assert best >= max(node.kernel.schedule().interval for node in graph)
    wanted = int(best * slower)
    depths = size_fifos(graph, None if slower == 1 else wanted)
    assert fifo_sizing.interval(graph, depths) <= wanted
    for edge, depth in depths.items():
        assert fifo_sizing.interval(graph, depths | {edge: depth - 1 if depth > 2 else 0}) > wanted
    # Depths at random: a schedule exists exactly where the simulation is as fast.
    edges = sorted({node.outputs[0] for node in graph} - set(graph.output_edges))
    for _ in range(4):
        schedule = PeriodicSchedule(insert_fifos(graph, dict.fromkeys(edges, 2)), edges, wanted)
        tried = {edge: int(rng.choice([0, 0, 2, 3, depths.get(edge, 9)])) for edge in edges}
        reached = fifo_sizing.interval(graph, tried)
        assert schedule.attempt(tried) == (reached <= wanted)
        if reached < np.inf:
            assert cycles.steady_state(insert_fifos(graph, tried)).interval == reached
    with pytest.raises(BitfabricError, match=f"every {best - 1} cycles; {best} is the least"):
        size_fifos(graph, best - 1)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32))
def test_loops_that_wind_through_long_frames_are_found(seed):
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, 3, (9, 14))
    best = fifo_sizing.min_interval(graph)
    assert (
        fifo_sizing.interval(graph, {edge: stream.beats + 2 for edge, stream in fifos.streams(graph).items()}) == best
    )
    schedule = PeriodicSchedule(insert_fifos(graph, dict.fromkeys(fifos.streams(graph), 2)), fifos.streams(graph), best)
    depths = {edge: max(2, peak) for edge, peak in schedule.peaks().items()}
    assert schedule.attempt(depths)
    for _ in range(6):  # from a schedule to the next, as FIFOs are shortened
        edge = str(rng.choice([edge for edge, depth in sorted(depths.items()) if depth]))
        tried = depths | {edge: int(rng.choice([0, 2, rng.integers(2, depths[edge] + 1)]))}
        holds = schedule.attempt({edge: tried[edge]})
        assert holds == (fifo_sizing.interval(graph, tried) <= best)
        depths = tried if holds else depths
