"""Chains of lookup layers, and of products and thresholds in logic, become one pipeline, and the chains again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw.host.errors import BitfabricError
from hw.ir.graph import Graph, Node, Port
from hw.ir.kernel import Kernel
from hw.ir.origin import Origin
from hw.kernels.arg_max.kernel import ArgMax
from hw.kernels.constant_matrix.kernel import ConstantMatrix
from hw.kernels.constant_network import cases as constants
from hw.kernels.constant_network.kernel import ConstantNetwork
from hw.kernels.lookup_layer.cases import random_layer
from hw.kernels.lookup_layer.kernel import LookupLayer
from hw.kernels.lookup_network.cases import classifier, named
from hw.kernels.lookup_network.kernel import LookupNetwork
from hw.kernels.thermometer.kernel import Thermometer
from hw.passes.chains import fused, joined, parted, unfused
from hw.passes.fold import current_folding, plain
from tests.kernels.kernel_bench import random_frames


def chain(*kernels: Kernel) -> Graph:
    edges = ["x", *(f"e{n}" for n in range(len(kernels)))]
    nodes = (Node(f"n{n}", k, (edges[n],), (edges[n + 1],), Origin(f"m{n}")) for n, k in enumerate(kernels))
    first, last = kernels[0].inputs()[0], kernels[-1].outputs()[0]
    ports = Port("in", "x", first.shape, first.dtype.name), Port("out", edges[-1], last.shape, last.dtype.name)
    return Graph(tuple(nodes), ports[:1], ports[1:])


def test_a_chain_becomes_one_pipeline_and_the_chain_again():
    rng = np.random.default_rng(0)
    graph = chain(*classifier(rng, 6, (30, 24), 4, 4))
    one = fused(graph)
    assert [type(node.kernel) for node in one] == [LookupNetwork]
    assert unfused(one).nodes == graph.nodes
    assert plain(one).nodes == graph.nodes
    assert unfused(graph) is graph
    x = {"x": rng.integers(0, 16, (50, 6))}
    np.testing.assert_array_equal(one.execute(x)["e4"], graph.execute(x)["e4"])


@pytest.mark.parametrize(("first", "names"), [(slice(0, 1), ["n0"]), (slice(3, 5), ["n0", "n1"])])
def test_what_has_no_lookup_layer_stays(first, names):
    kernels = classifier(np.random.default_rng(1), 4, (12, 12), 4, 3)[first]
    graph = chain(*kernels)
    assert fused(graph) is graph
    assert [node.name for node in graph] == names


def test_a_chain_ends_where_positions_change():
    rng = np.random.default_rng(2)
    bits = Thermometer(np.arange(4), np.full(4, 3), 4, DataType["UINT3"], (2,))
    each = LookupLayer(*random_layer(rng, 4, 6, 2), 4, (2,))
    joined = LookupLayer(*random_layer(rng, 12, 5, 4), 12)
    last = LookupLayer(*random_layer(rng, 5, 3, 2), 5)
    graph = chain(bits, each, joined, last)
    one = fused(graph)
    assert [(node.name, node.kernel.op) for node in one] == [("n0", "lookup_network"), ("n2", "lookup_network")]
    assert unfused(one).nodes == graph.nodes


def test_layers_in_another_order_are_refused():
    encoder, layer, count, last = classifier(np.random.default_rng(3), 4, (12,), 4, 3)
    with pytest.raises(BitfabricError, match=r"^lookup_network: layer1, thermometer, cannot be in a pipeline behind"):
        named(layer, encoder)
    with pytest.raises(BitfabricError, match=r"^lookup_network: layer0, arg_max, cannot be in a pipeline$"):
        named(last)
    with pytest.raises(BitfabricError, match=r"^lookup_network has no layers$"):
        LookupNetwork(())
    wider = ArgMax(4, count.outputs()[0].dtype)
    with pytest.raises(BitfabricError, match="arg_max, cannot be in a pipeline behind popcount_class"):
        named(encoder, layer, count, wider)


TYPES = st.sampled_from([("INT4", "UINT3"), ("BIPOLAR", "BIPOLAR"), ("TERNARY", "INT2"), ("INT3", "TERNARY")])


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32), types=TYPES, zeros=st.sampled_from([0.0, 0.5, 0.95]), adders=st.integers(1, 4),
    tables=st.sampled_from([4, 6]), shape=st.sampled_from([((), 1), ((4,), 1), ((2, 2), 2)]),
)  # fmt: skip
def test_products_and_thresholds_become_one_pipeline(seed, types, zeros, adders, tables, shape):
    """The same function, in no more cycles but one for the read of the buffer before it, with less logic."""
    rng, (weight, data), (prefix, pixels) = np.random.default_rng(seed), types, shape
    if weight == "BIPOLAR":
        zeros = 0.0
    graph = chain(*constants.perceptron(rng, (5, 6, 4), weight, data, zeros, prefix, pixels, adders, tables))
    one = joined(graph)
    assert [(node.name, type(node.kernel)) for node in one] == [("n0", ConstantNetwork)]
    assert parted(one).nodes == unfused(one).nodes == graph.nodes
    assert current_folding(one) == current_folding(graph)
    assert [(n.name, n.kernel.op) for n in plain(one)] == [(n.name, n.kernel.op) for n in plain(graph)]
    (only,) = one
    x = {"x": random_frames(graph.edges["x"], 20, rng)}
    np.testing.assert_array_equal(one.execute(x)["e2"], graph.execute(x)["e2"])
    apart = [node.kernel.schedule().latency for node in graph]
    assert only.kernel.schedule().latency <= sum(apart) + 1
    assert only.kernel.interval == graph.nodes[0].kernel.interval


def test_thresholds_alone_and_other_positions_stay_apart():
    rng = np.random.default_rng(5)
    steps = constants.quantizer(rng, DataType["INT6"], DataType["UINT3"], 4, (2,))
    more = constants.quantizer(rng, DataType["UINT3"], DataType["UINT2"], 4, (2,))
    assert joined(graph := chain(steps, more)) is graph
    (product,) = constants.perceptron(rng, (8, 3), "INT3", "UINT2")
    one = joined(chain(steps, more, product))
    assert [node.kernel.op for node in one] == ["constant_threshold", "constant_threshold", "constant_matrix"]


def test_a_chain_is_cut_where_its_buffer_would_be_larger():
    """A buffer behind many outputs has a place for each stage before it, since the last buffer."""
    rng = np.random.default_rng(6)
    *narrow, _, last = constants.perceptron(rng, (6, 4, 4, 4, 60), "INT4", "UINT2", adders=1)
    assert isinstance(last, ConstantMatrix)
    steps = constants.quantizer(rng, narrow[-1].outputs()[0].dtype, DataType["UINT2"], 4)
    one = joined(chain(*narrow, steps, last))
    assert [node.kernel.op for node in one] == ["constant_network", "constant_network"]


def test_what_a_constant_network_refuses():
    rng = np.random.default_rng(7)
    first, _, last = constants.perceptron(rng, (5, 6, 4), "INT4", "UINT3")
    with pytest.raises(BitfabricError, match=r"^constant_network: layer1, constant_matrix, cannot be in a pipeline be"):
        constants.named(first, last)
    with pytest.raises(BitfabricError, match=r"^constant_network: layer0, arg_max, cannot be in a pipeline$"):
        constants.named(ArgMax(4, DataType["INT4"]))
    with pytest.raises(BitfabricError, match=r"^constant_network is made of folded layers"):
        constants.named(first).fold(first.folding)
