import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw.errors import BitfabricError
from hw.kernels.arg_max import ArgMax
from hw.kernels.kernel import Folding
from tests.hw.kernel_bench import alone, check, random_frames

# Few different values: ties are frequent.
dtypes = st.sampled_from(["BIPOLAR", "UINT1", "INT2", "UINT3", "INT9"]).map(lambda name: DataType[name])


@settings(max_examples=6, deadline=None)
@given(st.integers(1, 3), st.integers(1, 7), dtypes, st.integers(1, 2), st.integers(0, 2**32))
@example(10, 1, DataType["INT9"], 2, 0)
@example(2, 2, DataType["BIPOLAR"], 1, 0)
@example(1, 5, DataType["UINT3"], 1, 0)
def test_rtl_equals_model(beats, pe, dtype, pixels, seed):
    rng = np.random.default_rng(seed)
    kernel = ArgMax(beats * pe, dtype, (pixels,), pe)
    check(alone(kernel), {"in0": random_frames(kernel.inputs()[0], 6, rng)}, rng)


@given(st.integers(1, 20), dtypes, st.integers(0, 2**32))
def test_execute_takes_the_first_of_the_greatest(classes, dtype, seed):
    kernel = ArgMax(classes, dtype)
    frames = random_frames(kernel.inputs()[0], 9, np.random.default_rng(seed))
    (found,) = kernel.execute(frames)
    for row, index in zip(frames.tolist(), found[:, 0], strict=True):
        assert row.index(max(row)) == index
    assert found.max() <= kernel.outputs()[0].dtype.max()


def test_folding_must_divide():
    kernel = ArgMax(10, DataType["INT9"])
    assert [f.pe for f in kernel.foldings()] == [1, 2, 5, 10]
    with pytest.raises(BitfabricError, match="PE 3 does not divide 10 classes; use one of 1, 2, 5, 10"):
        kernel.fold(Folding(3))
    with pytest.raises(BitfabricError, match="no SIMD"):
        kernel.fold(Folding(2, 2))
