"""The folded lookup network: its programs, what it refuses, and when the folding search takes it."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw import kernels
from hw.families import find_device
from hw.folding.choose import for_rate
from hw.folding.search import Search
from hw.host.errors import BitfabricError
from hw.kernels.arg_max.kernel import ArgMax
from hw.kernels.folded_lookup_network.cases import folded
from hw.kernels.folded_lookup_network.damage import damaged
from hw.kernels.folded_lookup_network.kernel import FoldedLookupNetwork
from hw.kernels.folded_lookup_network.program import GAP
from hw.kernels.lookup_layer.cases import random_layer
from hw.kernels.lookup_layer.kernel import LookupLayer
from hw.kernels.lookup_network.cases import classifier, named
from hw.kernels.lookup_network.kernel import LookupNetwork
from hw.kernels.popcount_class.kernel import PopcountClass
from hw.kernels.thermometer.kernel import Thermometer
from tests.kernels.kernel_bench import alone, random_frames


@st.composite
def networks(draw) -> FoldedLookupNetwork:
    """Random chains, in any folding."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    prefix, channels = draw(st.sampled_from([(), (3,)])), draw(st.sampled_from([3, 4, 8]))
    layers = []
    if draw(st.booleans()):
        dtype, bits = DataType[draw(st.sampled_from(["UINT3", "INT4", "BIPOLAR"]))], draw(st.integers(1, 20))
        levels = rng.integers(dtype.min() - 1, dtype.max() + 2, bits)
        layers.append(Thermometer(rng.integers(0, channels, bits), levels, channels, dtype, prefix))
        channels = bits
    for _ in range(draw(st.integers(0 if not layers else 1, 3))):
        outputs = draw(st.sampled_from([1, 5, 8, 12]))
        layers.append(LookupLayer(*random_layer(rng, channels, outputs, draw(st.integers(1, 5))), channels, prefix))
        channels = outputs
    if not layers or draw(st.booleans()):
        classes, count = draw(st.integers(2, 5)), draw(st.integers(0, 30))
        offsets = rng.integers(-3, 4, classes)
        wires = rng.integers(0, channels, count)
        layers.append(PopcountClass(wires, rng.integers(0, classes, count), offsets, channels, prefix))
        if draw(st.booleans()):
            layers.append(ArgMax(classes, layers[-1].output_dtype, prefix))
    foldings = folded(1, *layers).foldings()
    return folded(1, *layers).fold(draw(st.sampled_from(foldings)))


@settings(max_examples=60, deadline=None)
@given(networks(), st.integers(0, 2**32))
def test_a_program_computes_what_its_layers_do(kernel, seed):
    """Step by step, as the hardware does, and in as many steps as the schedule states."""
    (x,) = (random_frames(stream, 20, np.random.default_rng(seed)) for stream in kernel.inputs())
    stepwise = damaged(kernel, np.zeros(0, np.int64))
    np.testing.assert_array_equal(stepwise.execute(x)[0], kernel.execute(x)[0])
    made, (stream,) = kernel.program, kernel.inputs()
    assert kernel.schedule().firings * stream.lanes == stream.elements + int(np.prod(kernel.prefix)) * stream.lanes * (
        len(made.features) + len(made.wires)
    )
    assert made.wires.max() < made.words * kernel.pe


def test_cycles_fall_with_the_tables_of_a_cycle():
    kernel = folded(1, *classifier(np.random.default_rng(0), 10, (80,), 4, 4))
    assert [kernel.fold(folding).interval for folding in kernel.foldings()] == [
        10 + -(-30 // pe) + GAP + 4 * -(-20 // pe) for pe in (1, 2, 4, 8)
    ]


def test_implementations_lead_to_each_other():
    rng = np.random.default_rng(0)
    whole, one = named(*classifier(rng, 4, (12,), 4, 3)), LookupLayer(*random_layer(rng, 8, 4, 3), 8)
    for kernel in (whole, one):
        first, other = kernel.implementations()
        assert first is kernel
        assert isinstance(other, FoldedLookupNetwork)
        assert type(other.plain()) is type(kernel)
        assert other.plain().inputs() == kernel.inputs()
        checked = kernel.with_parity().implementations()[1]
        assert (other.parity, checked.parity, checked.plain().parity) == (False, True, True)
    encoder = whole.kernels[0]
    assert encoder.implementations() == (encoder,)


def test_what_cannot_be_folded_is_refused():
    rng = np.random.default_rng(0)
    encoder, layer, *_ = classifier(rng, 4, (12,), 4, 3)
    with pytest.raises(BitfabricError, match=r"^folded_lookup_network: a thermometer without tables; use the kernel"):
        folded(1, encoder)
    with pytest.raises(BitfabricError, match=r"^folded_lookup_network: PE=8; it must be 1, 2, 4 or 8, and divide"):
        folded(8, encoder, layer)
    with pytest.raises(BitfabricError, match=r"^folded_lookup_network: PE=3, SIMD=1 and M=1; it has PE=1 and SIMD=1,"):
        folded(1, encoder, layer).fold(folded(1, encoder, layer).folding.of({"PE": 3, "SIMD": 1}))


@pytest.mark.parametrize("name", ["ice40up5k", "lfe5u-25f", "gw1nr-9c"])
def test_the_search_folds_a_network_where_the_rate_allows_it(name):
    """A table a cycle for a low rate, and the pipeline where a frame a cycle is asked for."""
    device = find_device(name)
    graph = alone(named(*classifier(np.random.default_rng(0), 32, (900,), 4, 10)))
    search = Search(graph, device.family, device.capacity)
    slow, fast = for_rate(search, 100_000), for_rate(search, 1)
    assert slow.folding["dut"].implementation == "folded_lookup_network"
    assert fast.folding["dut"].implementation == ""
    assert slow.used.lut < fast.used.lut / 4
    front = search.pareto_front(device.capacity)
    assert front[0].folding == fast.folding
    if name != "ice40up5k":  # there it fills more of the block RAM than the pipeline of the logic
        assert front[-1].folding == slow.folding
    for faster, slower in combinations(front, 2):
        assert any(b < a for a, b in zip(vars(faster.used).values(), vars(slower.used).values(), strict=True))


def test_damage_is_found_beside_the_kernel():
    module = kernels.damage(FoldedLookupNetwork)
    assert module is not None
    kernel = folded(2, *classifier(np.random.default_rng(0), 4, (12,), 4, 3))
    assert module.bits(kernel) == sum(each.depth * each.width for each in kernel.memories().values())
    assert kernels.damage(LookupNetwork) is None
