"""Chains of lookup layers become one pipeline, and the chains again."""

import numpy as np
import pytest
from qonnx.core.datatype import DataType

from hw.host.errors import BitfabricError
from hw.ir.graph import Graph, Node, Port
from hw.ir.kernel import Kernel
from hw.ir.origin import Origin
from hw.kernels.arg_max.kernel import ArgMax
from hw.kernels.lookup_layer.cases import random_layer
from hw.kernels.lookup_layer.kernel import LookupLayer
from hw.kernels.lookup_network.cases import classifier, named
from hw.kernels.lookup_network.kernel import LookupNetwork
from hw.kernels.thermometer.kernel import Thermometer
from hw.passes.fold import plain
from hw.passes.lookups import fused, unfused


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
