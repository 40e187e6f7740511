import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw.families.ecp5 import ECP5
from hw.families.xc7 import XC7
from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding
from hw.ir.stream import container, smallest_dtype
from hw.kernels.matrix_vector.kernel import MatrixVector
from tests.kernels.kernel_bench import alone, check, random_frames, synthesised

WEIGHTS = ["BIPOLAR", "TERNARY", "INT2", "INT3", "INT4", "INT8", "INT16", "UINT2", "UINT5", "UINT16"]
INPUTS = ["BIPOLAR", "UINT1", "UINT2", "TERNARY", "INT4", "UINT8", "INT11", "INT16", "UINT16"]


def weights_of(name, shape, rng):
    """Uniform weights of a type, a quarter of them at its ends."""
    low, high = int(DataType[name].min()), int(DataType[name].max())
    ends = rng.choice([low, high], shape)
    if name == "BIPOLAR":
        return ends
    return np.where(rng.random(shape) < 0.25, ends, rng.integers(low, high, shape, endpoint=True))


def kernel_of(weight, data, mh, mw, pe, simd, rng, prefix=()):
    return MatrixVector(weights_of(weight, (mh, mw), rng), DataType[weight], DataType[data], prefix, pe, simd)


@settings(max_examples=8, deadline=None)
@given(
    st.sampled_from(WEIGHTS), st.sampled_from(INPUTS), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4),
    st.integers(1, 9), st.sampled_from([(), (2,), (1, 3)]), st.integers(0, 2**32),
)  # fmt: skip
def test_rtl_equals_model(weight, data, nf, pe, sf, simd, prefix, seed):
    rng = np.random.default_rng(seed)
    kernel = kernel_of(weight, data, nf * pe, sf * simd, pe, simd, rng, prefix)
    check(alone(kernel), {"in0": random_frames(kernel.inputs()[0], 4, rng)}, rng)


@pytest.mark.parametrize(
    ("weight", "data", "mh", "mw", "pe", "simd"),
    [
        ("BIPOLAR", "BIPOLAR", 2, 75, 2, 25),
        ("BIPOLAR", "TERNARY", 2, 75, 2, 25),
        ("BIPOLAR", "UINT8", 4, 21, 2, 7),
        ("INT8", "BIPOLAR", 2, 20, 1, 10),
        ("INT4", "UINT4", 2, 12, 1, 6),
        ("INT16", "INT16", 2, 12, 1, 3),
    ],
)
def test_rtl_at_the_ends_of_the_accumulator(weight, data, mh, mw, pe, simd):
    rng = np.random.default_rng(mw)
    low, high = int(DataType[weight].min()), int(DataType[weight].max())
    rows = np.stack([np.full(mw, (low, high)[m % 2]) for m in range(mh)])
    kernel = MatrixVector(rows, DataType[weight], DataType[data], (), pe, simd)
    least, most = int(DataType[data].min()), int(DataType[data].max())
    frames = np.stack([np.full(mw, least), np.full(mw, most), np.where(np.arange(mw) % 2, least, most)])
    (y,) = kernel.execute(frames)
    reached = kernel.output_range()
    assert y.min() == reached[0].min()
    assert y.max() == reached[1].max()
    assert kernel.accumulator_dtype == smallest_dtype(y.min(), y.max())
    check(alone(kernel), {"in0": frames}, rng)


@settings(max_examples=4, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 9), st.integers(0, 2**32))
def test_rtl_counts_ternary_inputs(nf, pe, sf, simd, seed):
    rng = np.random.default_rng(seed)
    kernel = kernel_of("BIPOLAR", "TERNARY", nf * pe, sf * simd, pe, simd, rng, (3, 2))
    assert kernel.datapath == "ternary"
    check(alone(kernel), {"in0": random_frames(kernel.inputs()[0], 4, rng)}, rng)


def test_schedule_does_not_grow_with_the_image():
    kernel = kernel_of("BIPOLAR", "UINT2", 8, 18, 2, 3, np.random.default_rng(2), (500, 700))
    schedule = kernel.schedule()
    assert schedule.consumes[0].size == schedule.produces[0].size == 24
    assert schedule.interval == schedule.firings == 24 * 500 * 700


def test_rtl_with_everything_in_block_ram():
    rng = np.random.default_rng(7)
    kernel = kernel_of("BIPOLAR", "BIPOLAR", 4, 64 * 70, 2, 70, rng)
    parameters = kernel.rtl(ECP5).parameters
    assert (parameters["STYLE"], parameters["BUFFER"]) == ("block", "block")
    check(alone(kernel), {"in0": random_frames(kernel.inputs()[0], 3, rng)}, rng)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(WEIGHTS[:7]), st.sampled_from(INPUTS[:5]), st.integers(1, 3), st.integers(0, 2**32))
def test_output_range_is_what_some_input_reaches(weight, data, mw, seed):
    kernel = kernel_of(weight, data, 3, mw, 1, 1, np.random.default_rng(seed))
    dtype = DataType[data]
    values = [v for v in range(int(dtype.min()), int(dtype.max()) + 1) if dtype.allowed(v)]
    (y,) = kernel.execute(np.array(list(itertools.product(values, repeat=mw))))
    low, high = kernel.output_range()
    np.testing.assert_array_equal(y.min(axis=0), low)
    np.testing.assert_array_equal(y.max(axis=0), high)
    assert kernel.accumulator_dtype == smallest_dtype(low.min(), high.max())


@pytest.mark.parametrize(
    ("weight", "data", "exact"),
    [("INT8", "INT8", np.float32), ("INT16", "UINT16", np.float64), ("INT28", "UINT24", np.int64)],
)
def test_execute_is_exact_in_every_arithmetic(weight, data, exact):
    rng = np.random.default_rng(1)
    kernel = kernel_of(weight, data, 5, 300, 5, 300, rng, (2,))
    assert kernel._matrix.dtype == exact
    frames = random_frames(kernel.inputs()[0], 8, rng)
    (y,) = kernel.execute(frames)
    np.testing.assert_array_equal(y, (frames.astype(object) @ kernel.weights.T.astype(object)).astype(np.int64))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["BIPOLAR", "TERNARY", "UINT1", "INT2", "INT4"]), st.sampled_from(INPUTS[:5]), st.integers(1, 70),
    st.integers(1, 200), st.sampled_from([(), (2,), (1, 3)]), st.integers(0, 4), st.integers(0, 2**32),
)  # fmt: skip
def test_execute_equals_the_product_of_integers(weight, data, mh, mw, prefix, frames, seed):
    rng = np.random.default_rng(seed)
    kernel = kernel_of(weight, data, mh, mw, 1, 1, rng, prefix)
    x = random_frames(kernel.inputs()[0], frames, rng)
    (y,) = kernel.execute(x)
    assert y.dtype == container(kernel.accumulator_dtype)
    np.testing.assert_array_equal(y, x.astype(np.int64) @ kernel.weights.T)
    np.testing.assert_array_equal(kernel.execute(x.astype(np.int64))[0], y)


def test_one_bit_products_are_counted():
    rng = np.random.default_rng(6)
    counted = {
        (weight, data): kernel_of(weight, data, 9, 70, 1, 1, rng)._signs
        for weight in ("BIPOLAR", "TERNARY", "INT4")
        for data in ("BIPOLAR", "TERNARY", "UINT1", "UINT2")
    }
    assert {types for types, signs in counted.items() if signs} == set(
        itertools.product(("BIPOLAR", "TERNARY"), ("BIPOLAR", "TERNARY", "UINT1"))
    )
    assert {types for types, signs in counted.items() if signs and signs.nonzero is None} == {("BIPOLAR", "BIPOLAR")}


def test_narrow_input_range_narrows_the_accumulator():
    kernel = MatrixVector(np.full((1, 4), 3), DataType["INT3"], DataType["UINT8"], input_range=(0, 5))
    assert kernel.accumulator_dtype == DataType["UINT6"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pe": 4}, "pe=4 does not divide the 6 outputs; legal: 1, 2, 3, 6"),
        ({"simd": 5}, "simd=5 does not divide the 8 inputs; legal: 1, 2, 4, 8"),
        ({"weights": np.zeros((6, 8), int)}, "not all BIPOLAR"),
        ({"weights": np.full((6, 8), 2)}, "a type that holds them is UINT2"),
        ({"weights": np.ones((6, 8))}, "matrix of integers"),
        ({"weights": np.ones(8, int)}, "outputs by inputs"),
        ({"input_dtype": DataType["FLOAT32"]}, "input type FLOAT32"),
        ({"input_range": (0, 300)}, "not within UINT8"),
    ],
)
def test_bad_input(change, message):
    legal = {"weights": np.ones((6, 8), int), "weight_dtype": DataType["BIPOLAR"], "input_dtype": DataType["UINT8"]}
    with pytest.raises(BitfabricError, match=message):
        MatrixVector(**legal | change)


def test_foldings_are_all_legal_and_change_no_result():
    rng = np.random.default_rng(3)
    kernel = kernel_of("INT4", "UINT2", 6, 10, 1, 1, rng)
    frames = random_frames(kernel.inputs()[0], 4, rng)
    foldings = kernel.foldings()
    assert len(foldings) == 16
    assert [f.pe * f.simd for f in foldings] == sorted(f.pe * f.simd for f in foldings)
    for folding in foldings:
        folded = kernel.fold(folding)
        assert folded.schedule().firings == 60 // (folding.pe * folding.simd)
        np.testing.assert_array_equal(folded.execute(frames)[0], kernel.execute(frames)[0])
    with pytest.raises(BitfabricError, match="legal"):
        kernel.fold(Folding(4, 1))


@pytest.mark.parametrize("family", [ECP5, XC7], ids=lambda family: family.name)
@pytest.mark.parametrize(
    ("weight", "data", "mh", "mw", "pe", "simd", "bram", "dsp"),
    [
        ("INT8", "INT8", 4, 520, 2, 4, 3, 8),
        ("BIPOLAR", "BIPOLAR", 8, 128, 2, 32, 0, 0),
        ("BIPOLAR", "TERNARY", 8, 128, 2, 32, 0, 0),
    ],
)
def test_synthesis_takes_what_the_model_says(weight, data, mh, mw, pe, simd, bram, dsp, family, tmp_path):
    kernel = kernel_of(weight, data, mh, mw, pe, simd, np.random.default_rng(5))
    used = synthesised(kernel, family, tmp_path)
    estimate = kernel.resources(family)
    assert (used.bram, used.dsp) == (estimate.bram, estimate.dsp) == (bram, dsp)
    assert used.lut == pytest.approx(estimate.lut, rel=0.15)
    assert used.ff == pytest.approx(estimate.ff, rel=0.15)


def test_a_folding_shares_nothing_that_depends_on_it():
    rng = np.random.default_rng(0)
    weights = rng.integers(-4, 4, (4, 6))
    for data in ("INT3", "UINT4", "BIPOLAR"):
        whole = MatrixVector(weights, DataType["INT3"], DataType[data])
        for folding in whole.foldings():
            assert whole.planes
            built = MatrixVector(weights, DataType["INT3"], DataType[data], pe=folding.pe, simd=folding.simd)
            folded = whole.fold(folding)
            assert folded.planes == built.planes
            assert folded.rtl(ECP5).parameters == built.rtl(ECP5).parameters
            whole = folded
