import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw.families.ecp5 import ECP5
from hw.families.xc7 import XC7
from hw.host.errors import BitfabricError
from hw.ir.stream import smallest_dtype
from hw.kernels.depthwise.kernel import Depthwise
from hw.timing import cycles
from tests.kernels.kernel_bench import alone, check, check_resources, random_frames
from tests.kernels.test_matrix_vector import weights_of

WEIGHTS = ["BIPOLAR", "TERNARY", "INT2", "INT4", "INT8", "INT16", "UINT2", "UINT5"]
INPUTS = ["BIPOLAR", "TERNARY", "UINT1", "UINT2", "INT4", "UINT8", "INT8", "INT16", "UINT20"]


def kernel_of(weight, data, channels, k, pe, rng, prefix=()):
    return Depthwise(weights_of(weight, (channels, k), rng), DataType[weight], DataType[data], prefix, pe)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(WEIGHTS), st.sampled_from(INPUTS), st.integers(1, 5), st.integers(1, 9),
    st.sampled_from([(), (2,), (2, 3)]), st.integers(0, 2**32),
)  # fmt: skip
def test_execute_is_a_dot_product_of_each_channel(weight, data, channels, k, prefix, seed):
    rng = np.random.default_rng(seed)
    kernel = kernel_of(weight, data, channels, k, 1, rng, prefix)
    frames = random_frames(kernel.inputs()[0], 4, rng)
    (y,) = kernel.execute(frames)
    windows = frames.astype(object).reshape(4, *prefix, k, channels)
    np.testing.assert_array_equal(y, (windows * kernel.weights.T.astype(object)).sum(axis=-2))


@settings(max_examples=4, deadline=None)
@given(
    st.sampled_from(WEIGHTS), st.sampled_from(INPUTS), st.integers(1, 6), st.integers(1, 3), st.integers(1, 9),
    st.sampled_from([(), (2,)]), st.integers(0, 2**32),
)  # fmt: skip
@example("BIPOLAR", "TERNARY", 2, 2, 9, (2,), 0)
@example("INT8", "UINT8", 3, 1, 4, (), 0)
def test_rtl_equals_model(weight, data, steps, pe, k, prefix, seed):
    rng = np.random.default_rng(seed)
    kernel = kernel_of(weight, data, steps * pe, k, pe, rng, prefix)
    check(alone(kernel), {"in0": random_frames(kernel.inputs()[0], 4, rng)}, rng)


def test_rtl_with_everything_in_block_ram():
    rng = np.random.default_rng(3)
    kernel = kernel_of("INT4", "UINT8", 140, 9, 1, rng)
    parameters = kernel.rtl(ECP5).parameters
    assert (parameters["STYLE"], parameters["SUM_STYLE"]) == ("block", "block")
    check(alone(kernel), {"in0": random_frames(kernel.inputs()[0], 3, rng)}, rng)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(WEIGHTS), st.integers(1, 6), st.integers(1, 9), st.sampled_from([(), (3,)]))
def test_a_beat_is_taken_every_cycle(weight, channels, k, prefix):
    kernel = kernel_of(weight, "UINT4", channels, k, 1, np.random.default_rng(0), prefix)
    assert cycles.steady(alone(kernel)).interval == kernel.inputs()[0].beats


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(WEIGHTS), st.sampled_from(INPUTS), st.integers(1, 9), st.integers(0, 2**32))
def test_output_range_is_reached(weight, data, k, seed):
    kernel = kernel_of(weight, data, 3, k, 1, np.random.default_rng(seed))
    low, high = int(DataType[data].min()), int(DataType[data].max())
    most = np.where(kernel.weights.T > 0, high, low)
    (y,) = kernel.execute(np.array([(high + low - most).ravel(), most.ravel()]))
    np.testing.assert_array_equal(y, np.stack(kernel.output_range()))
    assert kernel.output_dtype == smallest_dtype(int(y.min()), int(y.max()))


SHAPES = [
    ("INT8", "UINT8", 32, 4),
    ("BIPOLAR", "UINT8", 16, 4),
    ("BIPOLAR", "BIPOLAR", 64, 16),
    ("BIPOLAR", "TERNARY", 64, 8),
    ("INT4", "UINT4", 32, 8),
    ("INT8", "INT8", 256, 1),
    ("INT16", "UINT2", 16, 4),
]


def synthesis_takes_what_the_model_says(weight, data, channels, pe, family, tmp_path):
    kernel = kernel_of(weight, data, channels, 9, pe, np.random.default_rng(5))
    check_resources(kernel, family, tmp_path)
    assert kernel.resources(family).dsp == (pe if (weight, data) in (("INT8", "UINT8"), ("INT8", "INT8")) else 0)


def test_synthesis_takes_what_the_model_says(tmp_path):
    synthesis_takes_what_the_model_says(*SHAPES[0], ECP5, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("family", [ECP5, XC7], ids=lambda family: family.name)
@pytest.mark.parametrize(("weight", "data", "channels", "pe"), SHAPES)
def test_synthesis_of_every_product(weight, data, channels, pe, family, tmp_path):
    synthesis_takes_what_the_model_says(weight, data, channels, pe, family, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pe": 4}, "PE 4 does not divide 6 channels; use one of 1, 2, 3, 6"),
        ({"weights": np.zeros((6, 9), int)}, "not all BIPOLAR"),
        ({"weights": np.full((6, 9), 2)}, "a type that holds them is UINT2"),
        ({"weights": np.ones((6, 9))}, "matrix of integers"),
        ({"input_dtype": DataType["FLOAT32"]}, "FLOAT32"),
        ({"input_range": (0, 300)}, "not within UINT8"),
        ({"prefix": (0,)}, "1 or more"),
    ],
)
def test_bad_parameters(change, message):
    legal = {"weights": np.ones((6, 9), int), "weight_dtype": DataType["BIPOLAR"], "input_dtype": DataType["UINT8"]}
    with pytest.raises(BitfabricError, match=message):
        Depthwise(**legal | change)
