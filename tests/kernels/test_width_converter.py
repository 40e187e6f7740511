import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw.host.errors import BitfabricError
from hw.ir.stream import Stream
from hw.kernels.fifo.kernel import Fifo
from hw.kernels.width_converter.kernel import WidthConverter
from tests.kernels.kernel_bench import alone, check, random_frames

dtypes = st.sampled_from(["BIPOLAR", "UINT1", "INT3", "TERNARY", "UINT8", "INT17"]).map(lambda name: DataType[name])


@settings(max_examples=8, deadline=None)
@given(dtypes, st.integers(1, 3), st.integers(1, 6), st.integers(1, 5), st.booleans(), st.integers(0, 2**32))
def test_rtl_equals_model(dtype, groups, lanes, ratio, join, seed):
    rng = np.random.default_rng(seed)
    narrow, wide = lanes, lanes * ratio
    stream = Stream((2, wide * groups), dtype, narrow if join else wide)
    kernel = WidthConverter(stream, wide if join else narrow)
    check(alone(kernel), {"in0": random_frames(stream, 4, rng)}, rng)


@settings(max_examples=8, deadline=None)
@given(dtypes, st.integers(1, 12), st.integers(2, 9), st.booleans(), st.integers(0, 2**32))
def test_fifo_rtl_equals_model(dtype, beats, depth, block, seed):
    rng = np.random.default_rng(seed)
    stream = Stream((beats, 600 if block else 5), dtype, 150 if block else 5)
    kernel = Fifo(stream, depth + 62 if block else depth)
    assert kernel.block == (block and kernel.depth * stream.width > 4096)
    check(alone(kernel), {"in0": random_frames(stream, 3, rng)}, rng)


def test_lanes_must_divide():
    with pytest.raises(BitfabricError, match="neither divides"):
        WidthConverter(Stream((12,), DataType["INT4"], 4), 6)
