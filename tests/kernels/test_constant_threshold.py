"""Thresholds in the logic: the function of ``threshold``, in one or two cycles, in tables of four and of six inputs."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw.fabric.resources import Resources
from hw.families import families, find_family
from hw.families.xc7 import XC7
from hw.folding.search import Search
from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding
from hw.kernels.calibration import separate
from hw.kernels.constant_threshold.cases import cases, definition
from hw.kernels.constant_threshold.kernel import ConstantThreshold
from hw.kernels.threshold.kernel import Threshold
from hw.passes.fold import apply_folding
from tests.kernels.kernel_bench import alone, check, random_frames
from tests.kernels.test_threshold import kernels

AVAILABLE = Resources(10_000, 10_000, 50, 20)


def test_rtl_of_digits_equals_model():
    """The cases on a family with tables of six inputs; the contract test has them on one with four."""
    rng, parts = np.random.default_rng(5), [kernel for _, kernel in cases()]
    assert all(any("bf_threshold_digits" in text for text in kernel.rtl(XC7).sources.values()) for kernel in parts)
    assert {kernel.schedule().latency for kernel in parts} == {1, 2}
    frames = {f"s{n}_0": random_frames(kernel.inputs()[0], 8, rng) for n, kernel in enumerate(parts)}
    check(separate(*parts), frames, rng, XC7)


@settings(max_examples=40, deadline=None)
@given(kernels(most_steps=31, prefixes=((), (3,))), st.integers(0, 2**32))
def test_an_implementation_wherever_it_suits(kernel, seed):
    among = {each.op: each for each in kernel.implementations()}
    made = among.get("constant_threshold")
    assert (made is not None) == (kernel.steps <= 15)
    if made is None:
        return
    x = random_frames(kernel.inputs()[0], 5, np.random.default_rng(seed))
    np.testing.assert_array_equal(made.execute(x)[0], definition(kernel, x)[0])
    assert type(made.plain()) is Threshold
    assert made.plain().outputs() == made.outputs()
    assert {f.pe for f in made.foldings()} == {kernel.channels}


@pytest.mark.parametrize("given", ["UINT2", "INT3", "BIPOLAR", "TERNARY"])
def test_bits_of_a_result_that_vary(given):
    """Over all inputs: thresholds that are always or never reached, equal ones, falling channels, negative results."""
    rng, given = np.random.default_rng(4), DataType[given]
    steps = {"BIPOLAR": 1, "TERNARY": 2}.get(given.name, int(given.max() - given.min()))
    rows = np.sort(rng.choice([-8, -8, -2, 0, 3, 8], (40, steps)), axis=1)
    rows[:4] = np.where(np.arange(steps) < np.arange(4)[:, None], -8, 8)
    kernel = ConstantThreshold(rows, rng.random(40) < 0.5, DataType["INT4"], given, pe=40)
    (y,) = kernel.execute(np.tile(np.arange(-8, 8)[:, None], 40))
    codes = (y.astype(np.int64) + (given == DataType["BIPOLAR"])) // (1 + (given == DataType["BIPOLAR"]))
    changes = np.bitwise_or.reduce(codes ^ codes[:1], axis=0) & (1 << given.bitwidth()) - 1
    expected = [int(each).bit_length() for each in changes]
    np.testing.assert_array_equal(kernel.comparators.varying_bits, expected)
    assert 0 in expected
    some = np.arange(40) % 3 == 0
    np.testing.assert_array_equal(kernel.comparators.only(some).varying_bits, np.array(expected)[some])


def test_equal_channels_cost_as_much_as_one():
    """Lookup tables grow with the channels whose thresholds vary; those that are always or never reached take none."""
    rows = np.tile([[-9, 3, 20]], (8, 1))
    rows[2:] = 64
    few = ConstantThreshold(rows[:2], np.zeros(2, bool), DataType["INT7"], DataType["UINT2"], pe=2)
    many = ConstantThreshold(rows, np.zeros(8, bool), DataType["INT7"], DataType["UINT2"], pe=8)
    for family in families().values():
        logic = [k.resources(family).lut - replace(k, thresholds=k.thresholds * 0 + 64).resources(family).lut
                 for k in (few, many)]  # fmt: skip
        assert 0 < logic[0] == logic[1]


@pytest.mark.parametrize("family", families())
def test_the_search_takes_it_where_it_is_cheaper(family):
    rng, family = np.random.default_rng(3), find_family(family)
    rows = np.sort(rng.integers(-200, 200, (32, 3)), axis=1)
    graph = alone(Threshold(rows, np.zeros(32, bool), DataType["INT9"], DataType["UINT2"]))
    search = Search(graph, family, AVAILABLE)
    unrolled, folded = search.cheapest(1).folding["dut"], search.cheapest(32).folding["dut"]
    assert (unrolled, folded.implementation) == (Folding(32, implementation="constant_threshold"), "")
    assert type(apply_folding(graph, {"dut": unrolled}).node("dut").kernel) is ConstantThreshold


def test_bad_parameters():
    rows = np.arange(30).reshape(2, 15)
    good = ConstantThreshold(rows, np.zeros(2, bool), DataType["INT6"], DataType["UINT4"], pe=2)
    with pytest.raises(BitfabricError, match=r"^constant_threshold has all channels in a beat: PE=2, not 1$"):
        replace(good, pe=1)
    with pytest.raises(BitfabricError, match="on INT40; at most 15 on 31 bits"):
        replace(good, input_dtype=DataType["INT40"])
    more = np.arange(32).reshape(2, 16)
    with pytest.raises(BitfabricError, match="16 thresholds on INT6; at most 15"):
        replace(good, thresholds=more, output_dtype=DataType["UINT5"], output_min=0)
