"""Kernels of lookup networks: tables without unused inputs, popcounts of any size, refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw.families import reference_device
from hw.families.ecp5 import ECP5
from hw.folding.choose import for_budget
from hw.folding.search import Search
from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding
from hw.kernels.lookup_layer.evaluate import evaluate
from hw.kernels.lookup_layer.kernel import LookupLayer
from hw.kernels.lookup_layer.support import reduced
from hw.kernels.lookup_network.cases import classifier, named
from hw.kernels.popcount_class.kernel import PopcountClass
from hw.kernels.popcount_class.plan import Count, plan
from hw.kernels.thermometer.kernel import Thermometer
from hw.passes.fold import current_folding
from tests.kernels.kernel_bench import alone


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), channels=st.integers(1, 6), inputs=st.integers(1, 8))
def test_tables_keep_their_function_and_only_inputs_that_matter(seed, channels, inputs):
    rng = np.random.default_rng(seed)
    wires = rng.integers(0, channels, (5, inputs))
    tables = rng.integers(0, 2, (5, 1 << inputs))
    tables[rng.random(5) < 0.5] &= np.repeat(rng.integers(0, 2, 1 << inputs >> 1), 2)
    x = np.arange(1 << channels)[:, None] >> np.arange(channels) & 1
    expected = evaluate(x, wires, tables)
    for number, (used, contents) in enumerate(reduced(wires, tables)):
        address = (x[:, list(used)] << np.arange(len(used))).sum(axis=1, dtype=np.int64)
        np.testing.assert_array_equal([contents >> int(a) & 1 for a in address], expected[:, number])
        assert len(set(used)) == len(used)
        for j in range(len(used)):
            assert any((contents >> a ^ contents >> (a ^ 1 << j)) & 1 for a in range(1 << len(used)))


@pytest.mark.parametrize("count", [1, 63, 64, 65, 200])
def test_tables_are_evaluated_in_words_of_64_frames(count):
    rng = np.random.default_rng(count)
    x, wires, tables = rng.integers(0, 2, (count, 9)), rng.integers(0, 9, (7, 3)), rng.integers(0, 2, (7, 8))
    address = (x[:, wires] << np.arange(3)).sum(axis=2)
    np.testing.assert_array_equal(evaluate(x, wires, tables), tables[np.arange(7), address])


@pytest.mark.parametrize("inputs", [4, 6])
def test_a_plan_counts_every_bit_once(inputs):
    def bits(count: Count) -> int:
        return sum(map(bits, count.parts)) + count.carry if count.parts else count.bits

    for n in range(300):
        tree = plan(n, inputs)
        assert bits(tree) == tree.bits == n
    assert plan(210, 4).luts(ECP5) == 352
    assert plan(210, 6).cost < 270


def test_what_is_refused():
    one, zero = np.ones((1, 1), int), np.zeros(1, int)
    refused = {
        "at most 8 inputs": lambda: LookupLayer(np.zeros((1, 9), int), np.zeros((1, 512), int), 9),
        "zeros and ones of shape (1, 2)": lambda: LookupLayer(0 * one, np.array([[0, 2]]), 3),
        "wires to inputs 4..4 of 3": lambda: LookupLayer(4 * one, np.array([[0, 1]]), 3),
        "features 3..3 of 3 channels": lambda: Thermometer(zero + 3, zero, 3, DataType["UINT4"]),
        "give one each": lambda: Thermometer(zero, np.zeros(2, int), 3, DataType["UINT4"]),
        "not FLOAT32": lambda: Thermometer(zero, zero, 3, DataType["FLOAT32"]),
        "groups 2..2; they must be from 0 to 1": lambda: PopcountClass(zero, zero + 2, np.zeros(2, int), 3),
        "a group for each wire": lambda: PopcountClass(zero, np.zeros(2, int), zero, 3),
        "adders_per_stage=9": lambda: PopcountClass(zero, zero, zero, 3, adders_per_stage=9),
        "table_inputs=5": lambda: PopcountClass(zero, zero, zero, 3, table_inputs=5),
        "M=1": lambda: LookupLayer(0 * one, np.array([[0, 1]]), 3).fold(Folding(2, 3)),
    }
    for text, make in refused.items():
        with pytest.raises(BitfabricError) as raised:
            make()
        assert text in str(raised.value)
        assert "\n" not in str(raised.value)


def test_the_clock_chooses_the_adders_between_registers():
    network = named(*classifier(np.random.default_rng(0), 8, (60,), 4, 4))
    slow, fast = (network.tuned(ECP5, mhz) for mhz in (40, 400))
    assert slow.folding.adders_per_stage == 3
    assert fast.folding.adders_per_stage == 1
    assert fast.schedule().latency > slow.schedule().latency
    assert network.tuned(ECP5, 40).folding == slow.folding
    table = Search(alone(network), ECP5, reference_device(ECP5).capacity, clock_mhz=400)
    assert for_budget(table, reference_device(ECP5).capacity).folding == {"dut": fast.folding}
    assert current_folding(alone(fast)) == {"dut": fast.folding}
