import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw.families import families
from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding
from hw.kernels.arg_max.kernel import ArgMax
from tests.kernels.kernel_bench import alone, check, check_resources, random_frames

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


@given(st.integers(1, 20), dtypes)
def test_output_holds_every_class(classes, dtype):
    kernel = ArgMax(classes, dtype, (2,))
    frames = np.full((classes, 2, classes), int(dtype.min()))
    frames[np.arange(classes), 1, np.arange(classes)] = int(dtype.max())
    (found,) = kernel.execute(frames)
    np.testing.assert_array_equal(found[..., 0], np.stack([np.zeros(classes), np.arange(classes)], axis=1))


@pytest.mark.slow
@pytest.mark.parametrize("family", families().values(), ids=families())
@pytest.mark.parametrize(("classes", "pe"), [(10, 5), (24, 2)])
def test_cost_as_estimated(tmp_path, family, classes, pe):
    """Even where PE is no power of two, indices are counted, not multiplied."""
    kernel = ArgMax(classes, DataType["INT12"], (), pe)
    check_resources(kernel, family, tmp_path)
    assert kernel.resources(family).dsp == 0


def test_bad_parameters():
    with pytest.raises(BitfabricError, match="0 classes"):
        ArgMax(0, DataType["INT9"])
    with pytest.raises(BitfabricError, match="FLOAT32"):
        ArgMax(3, DataType["FLOAT32"])


def test_folding_must_divide():
    kernel = ArgMax(10, DataType["INT9"])
    assert [f.pe for f in kernel.foldings()] == [1, 2, 5, 10]
    with pytest.raises(BitfabricError, match="PE 3 does not divide 10 classes; use one of 1, 2, 5, 10"):
        kernel.fold(Folding(3))
    with pytest.raises(BitfabricError, match="no SIMD"):
        kernel.fold(Folding(2, 2))
