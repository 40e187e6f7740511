"""Early exits as kernels: verdicts of every pattern, and what they do to the cycles of frames."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw.host.errors import BitfabricError
from hw.ir.graph import Graph, Node, Port
from hw.ir.verdicts import carried, computed, shares
from hw.kernels.exit.kernel import Exit
from hw.kernels.fifo.kernel import Fifo
from hw.kernels.fork.kernel import Fork
from hw.kernels.margin.kernel import Margin
from hw.kernels.merge.kernel import Merge
from hw.timing import cycles
from tests.kernels.kernel_bench import check

LOGITS, CODES = DataType["INT4"], DataType["UINT3"]


def network(threshold=4, depth=2, features=6, classes=3, inner=True):
    """A graph of logits and features: frames leave with their logits, or their features are the late result.

    ``inner``: a second exit, of the frames that the first one lets go on.
    """
    wide, both = LOGITS, (LOGITS, LOGITS)
    nodes = [
        Node("logits_fork", Fork((classes,), wide, 2), ("logits",), ("logits_0", "logits_1")),
        Node("margin", Margin(classes, wide, threshold), ("logits_0",), ("margin",)),
        Node("margin_fork", Fork((1,), DataType["UINT1"], 2), ("margin",), ("margin_0", "margin_1")),
        Node("exit", Exit((features,), wide), ("margin_0", "features"), ("exit",)),
    ]
    late = "exit"
    if inner:
        nodes += [
            Node("again_fork", Fork((features,), wide, 2), ("exit",), ("again_0", "again_1")),
            Node("again_margin", Margin(features, wide, 2), ("again_0",), ("again_margin",)),
            Node("again_verdicts", Fork((1,), DataType["UINT1"], 2), ("again_margin",), ("again_v0", "again_v1")),
            Node("again_fork2", Fork((features,), wide, 2), ("again_1",), ("early", "waiting")),
            Node("again_queue", Fifo(Exit((features,), wide).outputs()[0], 8), ("waiting",), ("queued",)),
            Node("again_exit", Exit((features,), wide), ("again_v0", "queued"), ("again_exit",)),
            Node("early_queue", Fifo(Exit((features,), wide).outputs()[0], 16), ("early",), ("early_queued",)),
            Node("again_verdict_queue", Fifo(Margin(2, wide, 1).outputs()[0], 4), ("again_v1",), ("again_v1q",)),
            Node("again_merge", Merge((features,), both), ("again_v1q", "early_queued", "again_exit"), ("again",)),
        ]
        late = "again"
    nodes += [
        Node("late_queue", Fifo(Exit((features,), wide).outputs()[0], 4), (late,), ("late",)),
        Node("result_queue", Fifo(Margin(classes, wide, 1).inputs()[0], depth * classes), ("logits_1",), ("result",)),
        Node("verdict_queue", Fifo(Margin(2, wide, 1).outputs()[0], depth + 2), ("margin_1",), ("verdicts",)),
        Node("merge", Merge((classes,), both), ("verdicts", "result", "late"), ("merge",)),
    ]
    ports = (Port("logits", "logits", (classes,), wide.name), Port("features", "features", (features,), wide.name))
    return Graph(tuple(nodes), ports, (Port("merge", "merge", (classes,), wide.name),))


def frames_of(graph, count, rng):
    return {port.edge: rng.integers(-8, 8, (count, *port.shape)) for port in graph.inputs}


@pytest.mark.parametrize("inner", [False, True])
def test_rtl_of_every_verdict_equals_the_emulator_and_the_cycle_model(inner):
    """Without and with stalls on both sides, on every edge: those behind an exit have only the frames that go on."""
    graph, rng = network(features=3, inner=inner), np.random.default_rng(3)
    frames = frames_of(graph, 24, rng)
    verdicts = computed(graph, frames)
    assert all(0 < each.mean() < 1 for each in verdicts.values())
    check(graph, frames, rng)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), threshold=st.integers(1, 15), inner=st.booleans(), depth=st.integers(2, 5))
def test_no_frame_is_later_than_where_all_go_on(seed, threshold, inner, depth):
    """What is guaranteed is the case in which no frame leaves; and no verdicts lead to a deadlock."""
    rng = np.random.default_rng(seed)
    graph, count = network(threshold, depth, 3, inner=inner), 12
    frames = frames_of(graph, count, rng)
    given_verdicts = computed(graph, frames)
    stalls = {"merge": rng.random(400) < 0.5}
    worst = cycles.simulate(graph, count, None, stalls)
    trace = cycles.simulate(graph, count, None, stalls, given_verdicts)
    assert (trace.taken["merge"] <= worst.taken["merge"]).all()
    assert (trace.taken["logits"] <= worst.taken["logits"]).all()
    there = carried(graph, count, given_verdicts)
    for edge, taken in trace.taken.items():
        assert len(taken) == there[edge].sum() * graph.edges[edge].beats
    none = {name: np.zeros(count, bool) for name in given_verdicts}
    for edge, taken in cycles.simulate(graph, count, None, stalls, none).taken.items():
        np.testing.assert_array_equal(taken, worst.taken[edge])


def test_emulator_and_shares():
    """A frame's result is the early one if its margin reaches the threshold, and an inner exit decides for the rest."""
    graph, rng = network(features=3), np.random.default_rng(5)
    frames = frames_of(graph, 200, rng)
    made = graph.execute(dict(frames))["merge"]
    for logits, features, result in zip(frames["logits"], frames["features"], made, strict=True):
        ordered = sorted(logits)
        np.testing.assert_array_equal(result, logits if ordered[-1] - ordered[-2] >= 4 else features)
    nodes = shares(graph, 0.25)
    assert {nodes[name] for name in ("margin", "exit", "merge", "verdict_queue")} == {1.0}
    assert {nodes[name] for name in ("again_margin", "again_exit", "again_merge", "late_queue")} == {0.25}


def test_a_layer_that_waits_for_frames_that_left_is_refused():
    graph = network(features=3, inner=False)
    lost = Node("lost", Merge((3,), (LOGITS, LOGITS)), ("verdicts", "late", "result"), ("merge",))
    wrong = Graph((*graph.nodes[:-1], lost), graph.inputs, graph.outputs)
    with pytest.raises(BitfabricError, match="lost reads late, which frames that left early do not have"):
        carried(wrong, 3, {name: np.array([1, 0, 1], bool) for name in ("exit", "lost")})


def test_illegal_parameters():
    for make, words in (
        (lambda: Margin(1, LOGITS, 1), "two or more"),
        (lambda: Margin(4, LOGITS, 16), "take one of 1 to 15"),
        (lambda: Margin(4, DataType["BIPOLAR"], 1), "compares integers"),
        (lambda: Exit((6,), CODES, 4), "PE 4 does not divide 6"),
        (lambda: Merge((6,), (DataType["BIPOLAR"], CODES)), "or both BIPOLAR"),
    ):
        with pytest.raises(BitfabricError, match=words):
            make()
