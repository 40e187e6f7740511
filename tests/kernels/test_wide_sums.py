"""Sums near and beyond 64 bits: exact, or refused by one line. Python's integers say what is right."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw.host.errors import BitfabricError
from hw.ir.kernel import Rtl
from hw.ir.stream import container, smallest_dtype
from hw.kernels.accumulate_pool.kernel import AccumulatePool
from hw.kernels.add.kernel import Add
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.shared.parameters import sum_range

INT64 = range(-(1 << 63), 1 << 63)
ints = st.integers(-(1 << 31), (1 << 31) - 1)


def signed(bits: int):
    return DataType[f"INT{bits}"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(ints, min_size=3, max_size=3), min_size=1, max_size=3), ints, ints)
def test_ranges_of_sums_never_wrap(rows, a, b):
    low, high = sorted((a << 30, b << 30))
    least, most = sum_range(np.array(rows), low, high)
    for row, lower, upper in zip(rows, least.tolist(), most.tolist(), strict=True):
        assert lower == sum(min(w * low, w * high) for w in row)
        assert upper == sum(max(w * low, w * high) for w in row)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 32), st.integers(2, 32), st.integers(1, 40), st.booleans())
def test_products_hold_their_extreme_sums_or_are_refused(weight_bits, bits, count, depthwise):
    """All inputs at an end of their range, with weights of one sign: the largest sums that there are."""
    top = (1 << weight_bits - 1) - 1
    weights = np.stack([np.full(count, top), np.full(count, -top - 1)])
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    reach = [w * x * count for w in (top, -top - 1) for x in (low, high)]
    kind = Depthwise if depthwise else MatrixVector
    if min(reach) not in INT64 or max(reach) not in INT64:
        with pytest.raises(BitfabricError, match="does not fit 64-bit integers; use fewer bits or fewer inputs"):
            kind(weights, signed(weight_bits), signed(bits))
        return
    kernel = kind(weights, signed(weight_bits), signed(bits))
    assert kernel.outputs()[0].dtype == smallest_dtype(min(reach), max(reach))
    ends = np.array([[low], [high]]).repeat(kernel.inputs()[0].elements, axis=1)
    got = kernel.execute(ends.astype(container(signed(bits))))[0]
    assert got.tolist() == [[w * x * count for w in (top, -top - 1)] for x in (low, high)]


@pytest.mark.parametrize("times", [(1 << 14, 1), (-(1 << 14) + 1, (1 << 14) - 1)])
def test_sums_of_two_streams_of_32_bits(times):
    low, high = -(1 << 31), (1 << 31) - 1
    kernel = Add((2,), (signed(32), signed(32)), times)
    frames = [np.array([[low, high], [high, low]], np.int32), np.array([[low, high], [low, high]], np.int32)]
    expected = times[0] * frames[0].astype(object) + times[1] * frames[1].astype(object)
    assert kernel.execute(*frames)[0].tolist() == expected.tolist()


def test_sums_of_windows():
    kernel = AccumulatePool((2, 2, 1), (2, 2), signed(32))
    assert kernel.output_range() == (-(1 << 33), (1 << 33) - 4)
    assert kernel.execute(np.full((1, 2, 2, 1), -(1 << 31), np.int32))[0].tolist() == [[[[-(1 << 33)]]]]
    with pytest.raises(BitfabricError, match="INT65 does not fit 64-bit integers"):
        AccumulatePool((1 << 17, 1 << 16, 1), (1 << 17, 1 << 16), signed(32))


@pytest.mark.quick
def test_parameters_of_modules_have_32_bits():
    """SystemVerilog's int has: a tool would cut off what is above."""
    Rtl("m", {"A": -(1 << 31), "B": ((1 << 32) - 1,), "C": "text"})
    for value in (1 << 31, (1 << 32,), -(1 << 31) - 1):
        with pytest.raises(BitfabricError, match=r"m: A = .* has more than 32 bits"):
            Rtl("m", {"A": value})
