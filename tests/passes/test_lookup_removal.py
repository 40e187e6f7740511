"""The removal of what does nothing from lookup networks."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw.kernels.arg_max.kernel import ArgMax
from hw.kernels.lookup_layer.kernel import LookupLayer
from hw.kernels.popcount_class.kernel import PopcountClass
from hw.kernels.thermometer.kernel import Thermometer
from hw.passes.removal.analysis import depends_on_inputs
from tests.passes.test_removal import chain, removed, sizes

UINT2 = DataType["UINT2"]
XOR, AND, NAND, FIRST, ONE = [0, 1, 1, 0], [0, 0, 0, 1], [1, 1, 1, 0], [0, 1, 0, 1], [1, 1, 1, 1]


def layer(channels: int, *tables: tuple[tuple[int, ...], list[int]], prefix: tuple[int, ...] = ()) -> LookupLayer:
    wires, contents = zip(*tables, strict=True)
    return LookupLayer(np.array(wires), np.array(contents), channels, prefix)


def test_levels_that_never_decide_and_equal_ones_are_removed():
    encoder = Thermometer(np.array([0, 0, 1, 1, 0]), np.array([1, 0, 4, 2, 1]), 2, UINT2)
    removal = removed(chain(encoder, layer(5, ((0, 1), AND), ((2, 3), XOR), ((4, 3), AND))))
    assert sizes(removal) == {"thermometer0": 2, "lookup_layer1": 3}
    assert [str(each) for each in removal.layers] == [
        "thermometer0: 2 of 5 bits are constant, 1 equals another: removed",
        "lookup_layer1: reads fewer channels, saves 8 table bits",  # Two tables only pass a bit on.
    ]
    kernel = removal.graph.node("lookup_layer1").kernel
    assert [each.wires for each in kernel.reduced] == [(0,), (1,), (0, 1)]


def test_tables_that_are_constant_equal_or_each_others_negation_are_removed():
    first = layer(4, ((0, 1), AND), ((1, 0), AND), ((0, 1), NAND), ((2, 3), ONE), ((2, 2), XOR), ((2, 3), FIRST))
    second = layer(6, ((0, 2), XOR), ((1, 5), AND), ((2, 5), AND), ((3, 4), AND), ((4, 5), [0, 0, 1, 1]))
    removal = removed(chain(first, second, PopcountClass(np.arange(5), np.array([0, 0, 1, 1, 1]), np.zeros(2, int), 5),
                            dtype="UINT1"))  # fmt: skip
    assert sizes(removal) == {"lookup_layer0": 2, "lookup_layer1": 3, "popcount_class2": 2}
    assert [str(each) for each in removal.layers] == [
        "lookup_layer0: 2 of 5 tables are constant, 2 equal others: removed; saves 16 table bits",
        "lookup_layer1: 2 of 4 tables are constant: removed; saves 8 table bits",
    ]


def test_outputs_that_only_pass_a_bit_on_count_as_no_tables():
    first = layer(3, ((0, 1), AND), ((1, 2), XOR), ((0, 0), FIRST), ((1, 1), FIRST), ((2, 2), FIRST))
    removal = removed(chain(first, layer(5, ((0, 2), XOR), ((2, 0), AND)), dtype="UINT1"))
    assert [str(each) for each in removal.layers] == [
        "lookup_layer0: 1 of 2 tables is unused: removed; saves 4 table bits"
    ]


def test_a_bit_that_no_table_depends_on_is_removed_where_it_is_made():
    encoder = Thermometer(np.array([0, 1, 1]), np.array([1, 1, 2]), 2, UINT2)
    removal = removed(chain(encoder, layer(3, ((0, 1), FIRST), ((2, 0), AND))))
    assert sizes(removal)["thermometer0"] == 2
    assert str(removal.layers[0]) == "thermometer0: 1 of 3 bits is unused: removed"


def test_the_constants_of_a_class_are_an_offset_of_its_sum():
    first = layer(2, ((0, 1), ONE), ((0, 1), ONE), ((0, 1), AND), ((0, 1), XOR))
    count = PopcountClass(np.arange(4), np.array([0, 0, 0, 1]), np.array([0, 5]), 4)
    removal = removed(chain(first, count, dtype="UINT1"))
    assert removal.graph.node("popcount_class1").kernel.offsets.tolist() == [0, 5]
    removal = removed(chain(first, count, ArgMax(2, count.output_dtype), dtype="UINT1"))
    assert removal.graph.node("popcount_class1").kernel.offsets.tolist() == [2, 5]


def test_a_network_without_an_effect_is_known():
    encoder, table = Thermometer(np.array([0, 1]), np.array([0, 4]), 2, UINT2), layer(2, ((0, 1), XOR))
    assert not depends_on_inputs(chain(encoder, table))
    assert not depends_on_inputs(chain(encoder, table, ArgMax(1, DataType["UINT1"])))
    assert depends_on_inputs(chain(Thermometer(np.array([0, 1]), np.array([1, 4]), 2, UINT2), table))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 16))
def test_networks_of_few_features_compute_the_same(seed):
    """Few features of few bits, so that levels are equal, tables small, and much is removed."""
    rng = np.random.default_rng(seed)
    features, bits, prefix = int(rng.integers(1, 4)), int(rng.integers(1, 8)), ((), (2,))[rng.integers(2)]
    kernels = [Thermometer(rng.integers(0, features, bits), rng.integers(-1, 5, bits), features, UINT2, prefix)]
    for _ in range(rng.integers(1, 4)):
        outputs, inputs = int(rng.integers(1, 9)), int(rng.integers(1, 4))
        tables = rng.integers(0, 2, (outputs, 1 << inputs))
        tables[rng.random(outputs) < 0.2] = 1
        kernels.append(LookupLayer(rng.integers(0, bits, (outputs, inputs)), tables, bits, prefix))
        bits = outputs
    if rng.integers(2):
        classes, counted = int(rng.integers(1, 4)), int(rng.integers(0, 9))
        groups, offsets = rng.integers(0, classes, counted), rng.integers(-2, 3, classes)
        kernels.append(PopcountClass(rng.integers(0, bits, counted), groups, offsets, bits, prefix))
    graph = chain(*kernels)
    removal = removed(graph)
    for node in removal.graph if removal.layers and depends_on_inputs(graph) else ():
        if isinstance(node.kernel, LookupLayer) and node.outputs[0] not in removal.graph.output_edges:
            assert len(set(node.kernel.reduced)) == len(node.kernel.reduced)
