"""What becomes of the values of a user's frames: every value of a small batch against a count by hand."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw.host.errors import UsageError
from hw.host.steps import run, step
from hw.ir.graph import Port
from hw.ir.input_values import read_frames

pytestmark = pytest.mark.quick


def integers(dtype):
    return Port("x", "x", (4,), dtype)


def quantized(bits, signed=False, scale=1.0, zero_point=0.0, before=(), narrow=False):
    last = step("Quant", np.float32(scale), np.float32(zero_point), bits=bits, signed=signed, narrow=narrow,
                rounding_mode="ROUND")  # fmt: skip
    return Port("x", "x", (4,), "float32", (*before, last, step("Cast", to="int16")))


@given(
    st.sampled_from(["UINT4", "INT3", "TERNARY", "UINT1", "BIPOLAR"]),
    st.lists(st.integers(-80, 80).map(lambda n: n / 4), min_size=8, max_size=8),
)
def test_values_that_an_integer_input_cannot_have_are_counted_rounded_and_clipped(dtype, values):
    given_frames = np.float32(values).reshape(2, 4)
    low, high = int(DataType[dtype].min()), int(DataType[dtype].max())
    frames, found = read_frames(integers(dtype), given_frames, clip=True)
    beyond = fractions = 0
    for value, kept in zip(values, frames.ravel().tolist(), strict=True):
        whole = round(Fraction(value))  # half to even
        outside = not low <= whole <= high or (dtype == "BIPOLAR" and whole == 0)
        beyond += outside
        fractions += not outside and whole != value
        if dtype == "BIPOLAR":
            assert kept == (1 if whole >= 0 else -1)
        else:
            assert kept == min(max(whole, low), high)
    assert (found.out_of_range, found.fractions, found.values) == (beyond, fractions, 8)
    assert found.codes == len(set(frames.ravel().tolist()))
    assert found.doubtful == (found.altered > 0)
    if found.altered:
        assert f"{fractions:,} rounded, {beyond:,} clipped" in found.statement
        with pytest.raises(UsageError, match=f"{found.altered} of 8 values are none"):
            read_frames(integers(dtype), given_frames)
    else:
        np.testing.assert_array_equal(read_frames(integers(dtype), given_frames)[0], given_frames)


def test_one_value_in_a_hundred_may_be_altered_and_is_counted():
    frames = np.zeros((50, 4), np.float32)
    frames[0, :2] = 15.5, 3.25
    kept, found = read_frames(integers("UINT4"), frames)
    assert kept[0].tolist() == [15, 3, 0, 0]
    assert (found.altered, found.doubtful) == (2, True)
    assert found.statement.startswith("input x: 2 of 200 values (1.00%) are no UINT4 integers: 1 rounded, 1 clipped; ")
    frames[1, 0] = -1
    with pytest.raises(UsageError, match=r"3 of 200 values are none \(1.5%\), as 15.5 in frame 0; .*--clip to round"):
        read_frames(integers("UINT4"), frames)
    assert read_frames(integers("UINT4"), frames, clip=True)[1].altered == 3


CAUSES = [
    (integers("UINT4"), 1 / 16, "between 0 and 0.9375, the input covers 0 to 15 (normalised twice?)"),
    (integers("UINT4"), 16, "between 0 and 240, the input covers 0 to 15 (not normalised?)"),
    (quantized(4), 1 / 16, "0.00% of 64 values saturate the model's quantizer, 2 of its 16 codes occur; the values lie "
     "between 0 and 0.9375, the input covers 0 to 15 (normalised twice?)"),
    (quantized(8, scale=1 / 255), 16, "of 64 values saturate the model's quantizer, 2 of its 256 codes occur; the "
     "values lie between 0 and 240, the input covers 0 to 1 (not normalised?)"),
    (quantized(4, True, before=(step("Sub", np.float32(8)), step("Div", np.float32(2)))), 1, "covers -8 to 22"),
]  # fmt: skip


@pytest.mark.parametrize(("port", "scale", "said"), CAUSES)
def test_the_likely_cause_is_named(port, scale, said):
    frames = np.float32(np.arange(64).reshape(16, 4) % 16 * scale)
    statement = read_frames(port, frames, clip=True)[1]
    assert said in statement.statement or said in statement.cause


@given(
    st.integers(1, 5), st.booleans(), st.booleans(), st.sampled_from([0.25, 1.0, 3.0]), st.integers(-3, 3),
    st.lists(st.integers(-40, 40).map(lambda n: n / 4), min_size=8, max_size=8),
)  # fmt: skip
def test_what_the_models_quantizer_clips_is_counted_and_unchanged(bits, signed, narrow, scale, zero_point, values):
    bits = max(2, bits) if signed else bits
    narrow = narrow and bits > 1
    port = quantized(bits, signed, scale, zero_point, narrow=narrow)
    given_frames = np.float32(values).reshape(2, 4)
    frames, found = read_frames(port, given_frames)
    np.testing.assert_array_equal(frames, given_frames)
    low = -(1 << bits - 1) + narrow if signed else 0
    high = low + (1 << bits) - 1 - (2 if signed and narrow else 1 if narrow else 0)
    high = (1 << bits - 1) - 1 if signed else high
    codes = [round(Fraction(float(np.float32(value) / np.float32(scale) + np.float32(zero_point)))) for value in values]
    assert found.out_of_range == sum(not low <= code <= high for code in codes)
    assert found.possible_codes == high - low + 1
    assert found.codes == len(np.unique(run(port.steps, given_frames)))
    fewest = 4 if found.possible_codes >= 4 else 2
    assert found.doubtful == (found.out_of_range > 0.05 * 8 or found.codes < fewest)


def test_one_code_of_a_bipolar_quantizer_is_doubtful_and_two_are_not():
    port = Port("x", "x", (4,), "float32", (step("Sub", np.float32(8)), step("BipolarQuant"), step("Cast", to="int8")))
    frames = np.float32(np.arange(64).reshape(16, 4) % 16)
    good, bad = (read_frames(port, frames * scale)[1] for scale in (1, 1 / 16))
    assert (good.codes, good.possible_codes, good.doubtful) == (2, 2, False)
    assert (bad.codes, bad.doubtful) == (1, True)


def test_a_clip_before_the_quantizer_saturates_too():
    before = (step("Clip", np.float32(-1), np.float32(1)), step("Transpose", perm=(0, 2, 1)))
    last = step("Quant", np.float32(0.25), np.float32(0), bits=4, signed=True, narrow=False, rounding_mode="ROUND")
    port = Port("x", "x", (2, 3), "float32", (*before, last))
    found = read_frames(port, np.float32([[[-2, 0, 0.5], [1, 1.5, -1]]]))[1]
    assert (found.out_of_range, found.covered) == (2, None)


def test_numbers_beyond_float32_are_refused():
    frames = np.zeros((3, 4))
    frames[1, 2] = 1e300
    with pytest.raises(UsageError, match="holds numbers beyond float32 in frame 1"):
        read_frames(quantized(4), frames)
    with pytest.raises(UsageError, match="NaN or infinity in frame 0"):
        read_frames(integers("UINT4"), np.full((3, 4), np.nan), clip=True)
