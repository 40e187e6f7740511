from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw.errors import BitfabricError
from hw.kernels.kernel import Folding
from hw.kernels.requant import ROUNDING, Requant
from tests.hw.kernel_bench import alone, check, random_frames

MODES = sorted(ROUNDING)


def rounded(value: Fraction, mode: str) -> int:
    """QONNX's rounding modes, by definition."""
    away = ceil(abs(value)) * (1 if value > 0 else -1)
    if mode in ("ROUND", "HALF_EVEN"):
        return round(value)
    if mode in ("CEIL", "FLOOR"):
        return ceil(value) if mode == "CEIL" else floor(value)
    if mode in ("UP", "DOWN"):
        return away if mode == "UP" else int(value)
    size = abs(value)
    nearest = floor(size + Fraction(1, 2)) if mode == "HALF_UP" else ceil(size - Fraction(1, 2))
    return nearest * (1 if value > 0 else -1)


@st.composite
def requants(draw, most_factor=40, most_shift=12):
    dtype = DataType[draw(st.sampled_from(["INT5", "UINT7", "INT20", "UINT33", "INT41"]))]
    output = DataType[draw(st.sampled_from(["INT4", "UINT9", "INT16"]))]
    pe, groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["power", "same", "channel"]))
    size = pe * groups
    bits = draw(st.integers(1, min(most_factor, 90 - dtype.bitwidth())))
    factors = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), size)
    addends = rng.integers(-(2**20), 2**20, size)
    if kind == "power":
        factors = np.full(size, 1 << draw(st.integers(0, 5)))
    if kind != "channel":
        factors, addends = np.full(size, factors[0]), np.full(size, draw(st.sampled_from([0, 1, -3, 77])))
    shift = draw(st.integers(0, most_shift))
    low = int(output.min()) + draw(st.integers(0, 1))
    mode = draw(st.sampled_from(MODES))
    return Requant(factors, addends, shift, mode, dtype, output, low, int(output.max()), (2,), pe), rng


def near_ties(kernel: Requant, count: int, rng: np.random.Generator) -> np.ndarray:
    """Frames of small numbers, in which ties of both signs are frequent, and of the type's ends."""
    frames = random_frames(kernel.inputs()[0], count, rng)
    low = max(int(kernel.input_dtype.min()), -40)
    frames[::3] = rng.integers(low, min(40, int(kernel.input_dtype.max())), frames[::3].shape, endpoint=True)
    return frames


@settings(max_examples=60, deadline=None)
@given(requants())
def test_execute_is_the_definition(made):
    kernel, rng = made
    frames = near_ties(kernel, 9, rng)
    (found,) = kernel.execute(frames)
    for index in np.ndindex(frames.shape):
        factor, addend = int(kernel.multiplier[index[-1]]), int(kernel.addend[index[-1]])
        exact = rounded(Fraction(int(frames[index]) * factor + addend, 1 << kernel.shift), kernel.rounding)
        assert found[index] == min(max(exact, kernel.low), kernel.high)


@pytest.mark.parametrize("mode", MODES)
def test_ties_of_both_signs(mode):
    kernel = Requant([1], [0], 1, mode, DataType["INT6"], DataType["INT6"], -32, 31)
    x = np.arange(-32, 32)[:, None]
    expected = [[rounded(Fraction(int(v), 2), mode)] for v in x[:, 0]]
    np.testing.assert_array_equal(kernel.execute(x)[0], expected)


@settings(max_examples=7, deadline=None)
@given(requants())
def test_rtl_equals_model(made):
    kernel, rng = made
    check(alone(kernel), {"in0": near_ties(kernel, 9, rng)}, rng)


@settings(max_examples=2, deadline=None)
@given(st.integers(0, 2**32))
@example(1)
def test_every_mode_and_a_wide_product_in_rtl(seed):
    rng = np.random.default_rng(seed)
    kernel = Requant(
        rng.integers(-(2**40), 2**40, 2), rng.integers(-(2**50), 2**50, 2), 60, MODES[seed % len(MODES)],
        DataType["INT40"], DataType["INT16"], -32768, 32767, (), 2,
    )  # fmt: skip
    check(alone(kernel), {"in0": near_ties(kernel, 12, rng)}, rng)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rounding": "NEAREST"}, "no rounding mode NEAREST"),
        ({"shift": -1}, "negative"),
        ({"low": -300}, "no range of INT8"),
        ({"pe": 4}, "PE 4 does not divide 6 channels; use one of 1, 2, 3, 6"),
        ({"addend": np.zeros(5)}, "6 factors and 5 addends"),
        ({"multiplier": np.full(6, 2**62), "input_dtype": DataType["INT40"]}, "bits; 96 are the most"),
    ],
)
def test_bad_parameters_are_refused(changes, message):
    good = {
        "multiplier": np.ones(6), "addend": np.zeros(6), "shift": 2, "rounding": "FLOOR", "low": -128, "high": 127,
        "input_dtype": DataType["INT12"], "output_dtype": DataType["INT8"],
    }  # fmt: skip
    with pytest.raises(BitfabricError, match=message):
        Requant(**good | changes)
    with pytest.raises(BitfabricError, match="no SIMD"):
        Requant(**good).fold(Folding(1, 2))
