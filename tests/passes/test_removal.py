"""The removal of channels that do nothing."""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw import kernels
from hw.faults.mutants import mutants
from hw.host.errors import BitfabricError
from hw.ir.graph import Graph, Node, Port
from hw.ir.kernel import Kernel
from hw.kernels.add.kernel import Add
from hw.kernels.arg_max.kernel import ArgMax
from hw.kernels.coded_matrix_vector.kernel import CodedMatrixVector
from hw.kernels.concat.kernel import Concat
from hw.kernels.constant_matrix.kernel import ConstantMatrix
from hw.kernels.constant_network.kernel import ConstantNetwork
from hw.kernels.constant_threshold.kernel import ConstantThreshold
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.exit.kernel import Exit
from hw.kernels.expert_matrix_vector.kernel import ExpertMatrixVector
from hw.kernels.folded_lookup_network.kernel import FoldedLookupNetwork
from hw.kernels.fork.kernel import Fork
from hw.kernels.lookup_network.kernel import LookupNetwork
from hw.kernels.margin.kernel import Margin
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.max_pool.kernel import MaxPool
from hw.kernels.merge.kernel import Merge
from hw.kernels.plane_depthwise.kernel import PlaneDepthwise
from hw.kernels.plane_matrix_vector.kernel import PlaneMatrixVector
from hw.kernels.requant.kernel import Requant
from hw.kernels.select.kernel import Select
from hw.kernels.sliding_window.kernel import SlidingWindow
from hw.kernels.sparse_matrix_vector.kernel import SparseMatrixVector
from hw.kernels.sparse_window.kernel import SparseWindow
from hw.kernels.table.kernel import Table
from hw.kernels.threshold.kernel import Threshold
from hw.kernels.tied_matrix_vector.kernel import TiedMatrixVector
from hw.kernels.width_converter.kernel import WidthConverter
from hw.lowering.lower import lower
from hw.passes.removal.analysis import RULES
from hw.passes.removal.remove import Removal, remove_channels
from hw.simulation.emulator import Emulator
from hw.verification.removal import check_removal
from tests.builders.networks import perceptron, random_graph
from tests.builders.planted import planted, unfolded
from tests.builders.random_images import RandomImages
from tests.builders.random_models import RandomModel

UINT2, INT4, INT8, BIPOLAR = (DataType[name] for name in ("UINT2", "INT4", "INT8", "BIPOLAR"))


def chain(*kernels: Kernel, dtype: str = "UINT2") -> Graph:
    """Kernels one after the other; the name of each is its operator and its number."""
    nodes, edge = [], "x"
    for number, kernel in enumerate(kernels):
        name = f"{kernel.op}{number}"
        nodes.append(Node(name, kernel, (edge,), (name,)))
        edge = name
    first, last = kernels[0].inputs()[0], kernels[-1].outputs()[0]
    return Graph(tuple(nodes), (Port("x", "x", first.shape, dtype),), (Port("y", edge, last.shape, "float64"),))


def every_input(graph: Graph, most: int = 4096) -> np.ndarray:
    """All frames of the only input, or random ones where there are more than ``most``."""
    stream = graph.edges[graph.inputs[0].edge]
    values = [-1, 1] if stream.dtype == BIPOLAR else list(range(int(stream.dtype.min()), int(stream.dtype.max()) + 1))
    if len(values) ** stream.elements <= most:
        frames = np.array(list(product(values, repeat=stream.elements)))
    else:
        frames = np.random.default_rng(0).choice(values, (64, stream.elements))
        frames[:2] = np.array([values[0], values[-1]])[:, None]
    return frames.reshape(-1, *graph.inputs[0].shape)


def removed(graph: Graph, granularity: int = 1) -> Removal:
    """The removal from a graph, which must compute the same for every input, on every edge, and in every layer."""
    removal, frames = remove_channels(graph, granularity), every_input(graph)
    if removal.layers:
        check_removal(removal, removal.graph, frames)
    np.testing.assert_array_equal(Emulator(removal.graph).run(frames), Emulator(graph).run(frames))
    return removal


def sizes(removal: Removal) -> dict[str, int]:
    """The channels that are left of every edge that a node writes."""
    return {edge: int(removal.kept[edge].sum()) for node in removal.original for edge in node.outputs}


def accumulated(weights: np.ndarray, dtype=UINT2, weight_dtype=INT4, prefix=()) -> MatrixVector:
    return MatrixVector(np.asarray(weights), weight_dtype, dtype, prefix)


def thresholds(kernel: Kernel, rows: list, output=UINT2, decreasing=None) -> Threshold:
    stream = kernel.outputs()[0]
    falls = np.zeros(len(rows), bool) if decreasing is None else np.array(decreasing)
    table = np.array(rows).clip(int(stream.dtype.min()), int(stream.dtype.max()) + 1)
    return Threshold(table, falls, stream.dtype, output, stream.shape[:-1])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), granularity=st.sampled_from([1, 2, 4]))
def test_outputs_are_the_same_for_every_input(seed, granularity):
    rng = np.random.default_rng(seed)
    types = [("UINT2", "INT4"), *[(str(rng.choice(["UINT2", "INT2", "BIPOLAR"])), "INT4") for _ in range(2)]]
    sizes_ = [4, int(rng.integers(3, 9)), int(rng.integers(3, 9)), int(rng.integers(2, 4))]
    graph = planted(perceptron(rng, sizes_, types, arg_max=bool(rng.integers(2))), rng)
    removal = removed(graph, granularity)
    for node in graph if removal.layers else ():
        if isinstance(node.kernel, MatrixVector):
            left = sizes(removal)[node.outputs[0]]
            assert left % granularity == 0 or left == node.kernel.mh


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), granularity=st.sampled_from([1, 2]))
def test_graphs_of_every_kernel(seed, granularity):
    rng = np.random.default_rng(seed)
    removed_from(planted(unfolded(random_graph(rng)), rng), granularity)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), granularity=st.sampled_from([1, 4]))
def test_lowered_models(seed, granularity):
    rng = np.random.default_rng(seed)
    draw = RandomImages(rng, True) if rng.integers(2) else RandomModel(rng, bool(rng.integers(2)))
    try:
        graph = lower(draw.model())
    except BitfabricError:
        return
    removed_from(planted(graph, rng), granularity, draw.frames(8))


def removed_from(graph: Graph, granularity: int, frames: np.ndarray | None = None) -> None:
    removal = remove_channels(graph, granularity)
    assert [node.name for node in removal.graph] == [node.name for node in graph]
    assert (removal.graph is graph) == (not removal.layers)
    if removal.layers:
        check_removal(removal, removal.graph, every_input(graph) if frames is None else frames)


def test_nothing_to_remove_leaves_the_graph_as_it_is():
    first = accumulated([[1, 2], [1, 3], [3, -1]])
    codes = thresholds(first, [[1, 2, 3], [1, 2, 3], [1, 4, 6]])
    graph = chain(first, codes, accumulated([[1, 2, 3], [2, 1, 1]]))
    assert remove_channels(graph).graph is graph
    assert remove_channels(graph, 0).graph is graph


@pytest.mark.quick
def test_constants_go_to_the_thresholds_behind_them_and_to_the_host():
    first = accumulated([[1, 2], [0, 0], [3, -1], [2, 2]])
    codes = thresholds(first, [[1, 2, 3], [0, 0, 8], [1, 4, 6], [-3, -3, -3]])
    second = accumulated([[1, 2, 3, 1], [-1, 3, 2, 2], [2, -1, 1, 0]])
    more = thresholds(second, [[2, 9, 12], [10, 12, 14], [0, 3, 5]])
    last = accumulated([[1, 2, 3], [-1, 0, 1]])
    removal = removed(chain(first, codes, second, more, last))
    assert sizes(removal) == {
        "matrix_vector0": 2, "threshold1": 2, "matrix_vector2": 3, "threshold3": 3, "matrix_vector4": 2,
    }  # fmt: skip
    # The constants are 2 and 3.
    moved = removal.graph.node("threshold3").kernel
    offset = np.array([7, 12, -2])
    np.testing.assert_array_equal(moved.thresholds, np.array([[2, 9, 12], [10, 12, 14], [0, 3, 5]]) - offset[:, None])
    assert str(removal.layers[0]) == "matrix_vector0: 2 of 4 channels are constant: removed; saves 4 weights"
    ended = removed(chain(first, codes, second))
    np.testing.assert_array_equal(ended.graph.outputs[0].steps[1].operands[0], offset)
    assert ended.weights == 4 + 6


def test_an_offset_that_float64_does_not_hold_stays_in_the_hardware():
    first = accumulated([[1, 2], [0, 0]])
    scaled = Requant(
        np.array([1 << 26, 0]), np.array([0, 5]), 0, "ROUND", first.outputs()[0].dtype, DataType["UINT30"],
        0, (1 << 30) - 1,
    )  # fmt: skip
    for weight, left in ((3, 1), (1 << 24, 2)):
        last = accumulated([[weight, 3], [weight, 1]], DataType["UINT30"], DataType["INT26"])
        removal = removed(chain(first, scaled, last))
        assert (sizes(removal)["requant1"] if removal.layers else 2) == left


@pytest.mark.quick
def test_equal_and_negated_neurons_become_one():
    first = accumulated([[1, 2], [-1, -2], [1, 2], [3, 1]])
    bits = [[2], [-1], [2], [4]]
    codes = thresholds(first, bits, BIPOLAR)  # the second is minus the first: -s >= -1 where not s >= 2
    last = accumulated([[1, 2, 3, 4], [2, 1, -3, 1]], BIPOLAR, INT4)
    removal = removed(chain(first, codes, last))
    assert sizes(removal)["threshold1"] == 2
    np.testing.assert_array_equal(removal.graph.node("matrix_vector2").kernel.weights, [[1 - 2 + 3, 4], [2 - 1 - 3, 1]])
    assert (removal.layers[0].constant, removal.layers[0].equal) == (0, 2)
    # Of one-bit weights, the sum of two columns is no one-bit weight.
    last = accumulated([[1, -1, 1, 1], [-1, 1, 1, 1]], BIPOLAR, BIPOLAR)
    assert remove_channels(chain(first, codes, last)).layers == ()
    # Nor is a sum that the type does not hold; the pair that it holds becomes one.
    last = accumulated([[6, 1, 7, 4], [2, 1, -3, 1]], BIPOLAR, INT4)
    assert sizes(removed(chain(first, codes, last)))["threshold1"] == 3


def test_neurons_of_equal_weights_and_other_thresholds_stay():
    first = accumulated([[1, 2], [1, 2], [1, 2], [-128, 1], [128, -1]], weight_dtype=DataType["INT9"])
    codes = thresholds(first, [[2, 3, 4], [2, 3, 5], [2, 3, 5], [-9, 1, 2], [-9, 1, 2]])
    removal = removed(chain(first, codes, accumulated([[1, 2, 3, 1, 1], [2, 1, 2, 3, 1]])))
    assert sizes(removal)["threshold1"] == 4


def test_the_smallest_weight_has_no_negative_in_its_type():
    first = accumulated([[-1, -128], [1, -128]], weight_dtype=INT8)
    codes = thresholds(first, [[-9, 0, 1], [-9, 0, 1]])
    assert remove_channels(chain(first, codes, accumulated([[1, 2]]))).layers == ()


@pytest.mark.quick
def test_unused_channels_are_not_computed():
    first = accumulated([[1, 2], [3, 1], [2, -1]])
    codes = thresholds(first, [[1, 2, 3], [2, 4, 6], [0, 1, 2]])
    removal = removed(chain(first, codes, accumulated([[1, 0, 2], [2, 0, 1]])))
    assert sizes(removal)["matrix_vector0"] == 2
    assert str(removal.layers[0]) == "matrix_vector0: 1 of 3 channels is unused: removed; saves 2 weights"
    assert str(removal.layers[1]) == "matrix_vector2: reads fewer channels, saves 2 weights"


@pytest.mark.parametrize(("pad_value", "left"), [(0, 2), (2, 1)])
def test_a_constant_is_removed_before_padding_with_the_same_integer_only(pad_value, left):
    first = accumulated([[1], [0]], prefix=(4,))
    codes = thresholds(first, [[1, 2, 3], [0, 0, 8]])  # the second channel is 2
    window = SlidingWindow((4, 2), (3,), UINT2, pad=((1, 1),), pad_value=pad_value)
    last = accumulated(np.arange(12).reshape(2, 6) - 6, prefix=(4,))
    removal = remove_channels(chain(first, codes, window, last))
    assert (sizes(removal)["sliding_window2"] if removal.layers else 6) == 3 * left
    if removal.layers:
        removed(removal.original)


def test_depthwise_layers_and_pools():
    first = accumulated([[1], [0], [2], [1], [1]], prefix=(4,))
    codes = thresholds(first, [[1, 2, 3], [0, 0, 8], [1, 3, 5], [1, 2, 3], [1, 1, 2]])  # 2 is constant, 4 equals 1
    window = SlidingWindow((4, 5), (2,), UINT2)
    depthwise = Depthwise(np.array([[1, 2], [3, 1], [0, 0], [-1, -2], [1, 1]]), INT4, UINT2, (3,))
    more = thresholds(depthwise, [[1, 2, 3], [0, 2, 9], [0, 1, 2], [-9, -2, 0], [0, 1, 2]])
    pool = MaxPool((3, 5), (3,), UINT2)
    removal = removed(chain(first, codes, window, depthwise, more, pool, accumulated([[1, 2, 3, 1, 1]], prefix=(1,))))
    assert sizes(removal)["matrix_vector0"] == 3  # the fourth is another function of the first
    assert sizes(removal)["max_pool5"] == 3
    layer = next(each for each in removal.layers if each.layer == "depthwise3")
    assert (layer.channels, layer.constant, layer.equal, layer.unused, layer.weights) == (5, 2, 0, 0, 4)


def test_both_inputs_of_a_sum_must_agree():
    dtype = DataType["UINT2"]
    fork = Node("fork", Fork((4,), dtype), ("x",), ("a", "b"))

    def path(name: str, source: str, rows: list) -> list[Node]:
        layer = accumulated(rows, dtype)
        quantizer = thresholds(layer, [[1, 2, 3]] * 4)
        return [Node(f"fc{name}", layer, (source,), (f"fc{name}",)),
                Node(f"act{name}", quantizer, (f"fc{name}",), (f"act{name}",))]  # fmt: skip

    rows = [[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]
    others = [[0, 0, 0, 0], [1, 0, 2, 0], [2, 0, 0, 1], [2, 0, 0, 1]]
    add = Add((4,), (dtype, dtype), (1, 2))
    last = Node("fc", accumulated([[1, 2, 3, 1], [1, 1, 1, 2]], add.outputs()[0].dtype), ("add",), ("fc",))
    nodes = (fork, *path("0", "a", rows), *path("1", "b", others), Node("add", add, ("act0", "act1"), ("add",)), last)
    removal = removed(Graph(nodes, (Port("x", "x", (4,), "UINT2"),), (Port("y", "fc", (2,), "float64"),)))
    # The first channel is constant in both, the fourth equals the third in both.
    assert removal.kept["add"].tolist() == [False, True, True, False]


def test_concatenations_and_selections():
    fork = Node("fork", Fork((2,), UINT2), ("x",), ("a", "b"))
    one, other = accumulated([[1, 2], [0, 0]]), accumulated([[2, 1], [1, 1], [1, 3]])
    nodes = (
        fork,
        Node("fc0", one, ("a",), ("fc0",)),
        Node("act0", thresholds(one, [[1, 2, 3], [0, 9, 9]]), ("fc0",), ("act0",)),
        Node("fc1", other, ("b",), ("fc1",)),
        Node("act1", thresholds(other, [[1, 2, 3], [2, 3, 4], [3, 5, 6]]), ("fc1",), ("act1",)),
        Node("concat", Concat(((2,), (3,)), (UINT2, UINT2)), ("act0", "act1"), ("concat",)),
        Node("select", Select((5,), ((0, 1, 2, 4),), UINT2), ("concat",), ("select",)),
        Node("fc2", accumulated([[1, 2, 3, 1], [2, 1, 1, 3]]), ("select",), ("fc2",)),
    )
    removal = removed(Graph(nodes, (Port("x", "x", (2,), "UINT2"),), (Port("y", "fc2", (2,), "float64"),)))
    assert {edge: sizes(removal)[edge] for edge in ("fc0", "fc1", "concat", "select")} == {
        "fc0": 1, "fc1": 2, "concat": 3, "select": 3,
    }  # fmt: skip


def test_requants_tables_and_classes():
    first = accumulated([[1, 2], [0, 0], [3, -1]])
    have = first.outputs()[0].dtype
    codes = Requant(np.array([3, 5, 2]), np.array([1, 9, 0]), 2, "ROUND", have, DataType["UINT3"], 0, 7)
    second = accumulated([[1, 1, 3], [-1, 2, 2]], DataType["UINT3"])
    sums = second.outputs()[0].dtype
    values = np.abs(np.arange(int(sums.min()), int(sums.max()) + 1)) % 8
    table = Table(np.stack([values, values]), sums, DataType["UINT3"])
    # The constant 2 goes to the addends of a requant, but stays before a table, which reads integers as they are.
    again = Requant(np.array([3, 2]), np.array([1, 0]), 2, "ROUND", sums, DataType["UINT3"], 0, 7)
    removal = removed(chain(first, codes, second, again))
    assert sizes(removal)["matrix_vector0"] == 2
    np.testing.assert_array_equal(removal.graph.node("requant3").kernel.addend, [1 + 3 * 2, 0 + 2 * 4])
    assert remove_channels(chain(first, codes, second, table)).layers == ()
    assert remove_channels(chain(first, codes, second, ArgMax(2, sums))).layers == ()
    # The class does not depend on a constant that all sums have.
    same = accumulated([[1, 2, 3], [-1, 2, 2]], DataType["UINT3"])
    assert sizes(removed(chain(first, codes, same, ArgMax(2, same.outputs()[0].dtype))))["matrix_vector0"] == 2


@pytest.mark.parametrize("empty", ["first", "second", "last", "all"])
def test_layers_of_zeros_keep_one_channel(empty):
    one, two, three = np.array([[1, 2], [3, 1], [2, 2]]), np.array([[1, 2, 1], [2, 3, 1]]), np.array([[1, 2], [2, 1]])
    for name, weights in (("first", one), ("second", two), ("last", three)):
        weights[:] *= empty not in (name, "all")
    layers = [accumulated(one)]
    layers += [thresholds(layers[0], [[1, 2, 3]] * 3) if empty not in ("first", "all") else None]
    layers[1] = layers[1] or thresholds(layers[0], [[0, 1, 1]] * 3)
    layers += [accumulated(two)]
    layers += [thresholds(layers[2], [[0, 1, 1]] * 2)]
    layers += [accumulated(three)]
    removal = removed(chain(*layers))
    assert min(sizes(removal).values()) == 1 if empty != "last" else sizes(removal)["matrix_vector2"] == 1
    assert sizes(removal)["matrix_vector4"] == 2


def test_a_kernel_of_another_package_leaves_the_graph_as_it_is():
    @dataclass(frozen=True, eq=False)
    class Own(Threshold):
        pass

    first = accumulated([[1, 2], [0, 0]])
    codes = thresholds(first, [[1, 2, 3], [0, 0, 8]])
    graph = chain(first, codes, accumulated([[1, 2]]))
    assert removed(graph).layers
    fields = (codes.thresholds, codes.decreasing, codes.input_dtype, codes.output_dtype)
    own = graph.with_kernels({"threshold1": Own(*fields)})
    assert remove_channels(own).graph is own


def test_every_kernel_that_lowering_makes_has_a_rule():
    """The others come after it: width converters, and what a folding makes of products and of chains. Networks with
    early exits or experts keep all of their channels."""
    known = {kernels.get(name) for name in kernels.names() if kernels.is_builtin(name)}
    assert known - set(RULES) == {
        WidthConverter,
        PlaneMatrixVector,
        PlaneDepthwise,
        SparseMatrixVector,
        TiedMatrixVector,
        CodedMatrixVector,
        SparseWindow,
        ConstantMatrix,
        ConstantNetwork,
        ConstantThreshold,
        LookupNetwork,
        FoldedLookupNetwork,
        ExpertMatrixVector,
        Exit,
        Margin,
        Merge,
    }


@pytest.mark.parametrize("what", ["offset", "weight", "threshold"])
def test_the_check_finds_an_error(what):
    first = accumulated([[1, 2], [0, 0], [3, -1]])
    codes = thresholds(first, [[1, 2, 3], [0, 0, 8], [1, 4, 6]])
    removal = remove_channels(chain(first, codes, accumulated([[1, 2, 3], [2, 1, 1]])))
    check_removal(removal, removal.graph, np.zeros((1, 2), int))
    if what == "offset":
        channels = removal.channels | {
            "threshold1": replace(removal.channels["threshold1"], offset=np.array([0, 3, 0]))
        }
        wrong, graph = replace(removal, channels=channels), removal.graph
    else:
        node = removal.graph.node("threshold1" if what == "threshold" else "matrix_vector0")
        field = "thresholds" if what == "threshold" else "weights"
        values = getattr(node.kernel, field).copy()
        values[1, 0] += 1 if what == "threshold" else -1
        changed = replace(node.kernel, **{field: values})
        assert changed.outputs()[0].dtype == node.kernel.outputs()[0].dtype
        wrong, graph = removal, removal.graph.with_kernels({node.name: changed})
    with pytest.raises(BitfabricError, match="the graph without channels that do nothing differs"):
        check_removal(wrong, graph, np.zeros((1, 2), int))


def test_the_check_finds_mutants_at_inputs_of_the_layers():
    """Every layer of what is left, with one small error: where that changes an output of the network, it is found."""
    found = 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        graph = planted(perceptron(rng, [4, 6, 5, 3], [("UINT2", "INT3"), ("UINT2", "INT4"), ("BIPOLAR", "INT3")]), rng)
        removal, frames = remove_channels(graph), every_input(graph)
        want = Emulator(graph).run(frames)
        for mutant in mutants(removal.graph, 40, seed) if removal.layers else ():
            wrong = removal.graph.with_kernels({mutant.layer: mutant.kernel})
            if not np.array_equal(Emulator(wrong).run(frames), want):
                with pytest.raises(BitfabricError, match=mutant.layer):
                    check_removal(removal, wrong, frames[:1])
                found += 1
    assert found > 20
