import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw.ir.stream import Stream, container, decode, encode, smallest_dtype
from tests.kernels.kernel_bench import random_frames

pytestmark = pytest.mark.quick

NAMES = ["BIPOLAR", "TERNARY", *(f"INT{n}" for n in (2, 3, 8, 13, 16, 33, 41)), *(f"UINT{n}" for n in (1, 4, 8, 40))]


@given(st.sampled_from(NAMES), st.integers(1, 3), st.integers(1, 7), st.integers(1, 5), st.integers(0, 2**32))
def test_beats_carry_the_frames(name, rows, lanes, groups, seed):
    stream = Stream((rows, lanes * groups), DataType[name], lanes)
    frames = random_frames(stream, 3, np.random.default_rng(seed))
    beats = stream.pack(frames)
    assert beats.shape == (3 * stream.beats, -(-stream.width // 32))
    np.testing.assert_array_equal(stream.unpack(beats), frames)


def test_lane_zero_is_in_the_low_bits():
    assert Stream((3,), DataType["INT4"], 3).pack(np.array([[-1, 2, 3]])).tolist() == [[0x32F]]
    assert Stream((4,), DataType["BIPOLAR"], 2).pack(np.array([[1, -1, -1, 1]])).tolist() == [[1], [2]]


@given(st.integers(-(2**40), 2**40), st.integers(0, 2**40))
@example(-2, 0)
def test_smallest_dtype_holds_its_ends_and_no_narrower_one_does(low, span):
    dtype = smallest_dtype(low, low + span)
    assert dtype.allowed(low)
    assert dtype.allowed(low + span)
    narrower = DataType[f"{'INT' if low < 0 else 'UINT'}{dtype.bitwidth() - 1}"] if dtype.bitwidth() > 2 else None
    assert narrower is None or not (narrower.allowed(low) and narrower.allowed(low + span))


@pytest.mark.parametrize("name", NAMES)
def test_codes_of_the_ends(name):
    dtype = DataType[name]
    ends = np.array([dtype.min(), dtype.max()], dtype=np.int64)
    np.testing.assert_array_equal(decode(encode(ends, dtype), dtype), ends)
    assert decode(encode(ends, dtype), dtype).dtype == container(dtype)


def test_lanes_must_divide_the_channels():
    with pytest.raises(ValueError, match="do not divide"):
        Stream((2, 10), DataType["INT4"], 4)
