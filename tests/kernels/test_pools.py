import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw.families.ecp5 import ECP5
from hw.families.xc7 import XC7
from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding
from hw.ir.stream import smallest_dtype
from hw.kernels.accumulate_pool.kernel import AccumulatePool
from hw.kernels.max_pool.kernel import MaxPool
from hw.timing import cycles
from tests.kernels.kernel_bench import alone, check, check_resources, random_frames

POOLS = {MaxPool: np.max, AccumulatePool: np.sum}
DTYPES = ["BIPOLAR", "UINT1", "TERNARY", "UINT2", "UINT8", "INT3", "INT8", "INT16"]
dtypes = st.sampled_from(DTYPES).map(lambda name: DataType[name])


@st.composite
def pools(draw):
    """A pool of any kind, small."""
    pe, groups, k = draw(st.integers(1, 3)), draw(st.integers(1, 6)), draw(st.integers(1, 3))
    axes = draw(st.sampled_from([1, 2]))
    windows = draw(st.booleans())
    kernel = tuple(draw(st.integers(1, 3)) for _ in range(axes))
    spatial = tuple(draw(st.integers(1, 3)) if windows else size * k + draw(st.integers(0, size)) for size in kernel)
    return draw(st.sampled_from(list(POOLS)))((*spatial, pe * groups), kernel, draw(dtypes), pe, windows)


def naive(pool, frames):
    """Every window by itself, in Python's integers."""
    reduce = POOLS[type(pool)]
    wide = frames.astype(object)
    if pool.windows:
        return reduce(wide.reshape(len(frames), *pool.shape[:-1], -1, pool.channels), axis=-2)
    y = np.zeros((len(frames), *pool.out_shape), object)
    for place in np.ndindex(*pool.out_shape[:-1]):
        window = tuple(slice(p * k, p * k + k) for p, k in zip(place, pool.kernel, strict=True))
        y[(slice(None), *place)] = reduce(wide[(slice(None), *window)], axis=tuple(range(1, len(window) + 1)))
    return y


@settings(max_examples=60, deadline=None)
@given(pools(), st.integers(0, 2**32))
def test_execute_is_every_window_by_itself(pool, seed):
    frames = random_frames(pool.inputs()[0], 3, np.random.default_rng(seed))
    (y,) = pool.execute(frames)
    assert y.shape[1:] == pool.outputs()[0].shape
    np.testing.assert_array_equal(y, naive(pool, frames))


@settings(max_examples=4, deadline=None)
@given(pools(), st.integers(0, 2**32))
@example(MaxPool((5, 7, 6), (2, 3), DataType["INT5"], 2), 0)
@example(MaxPool((4, 4, 3), (2, 2), DataType["BIPOLAR"], 3), 0)
@example(AccumulatePool((3, 3, 6), (3, 3), DataType["BIPOLAR"], 1), 0)
def test_rtl_equals_model(pool, seed):
    rng = np.random.default_rng(seed)
    check(alone(pool), {"in0": random_frames(pool.inputs()[0], 3, rng)}, rng)


@pytest.mark.parametrize("shape", [(4, 40, 8), (4, 4, 140)])
def test_rtl_with_accumulators_in_block_ram(shape):
    pool = AccumulatePool(shape, (2, 2), DataType["INT8"], 1)
    assert pool.resources(ECP5).bram == (1 if shape[1] > shape[2] else 2)
    rng = np.random.default_rng(5)
    check(alone(pool), {"in0": random_frames(pool.inputs()[0], 3, rng)}, rng)


@settings(max_examples=40, deadline=None)
@given(pools())
def test_a_beat_is_taken_every_cycle(pool):
    assert cycles.steady(alone(pool)).interval == pool.inputs()[0].beats


@given(dtypes, st.integers(1, 50))
def test_sums_have_the_narrowest_type(dtype, k):
    pool = AccumulatePool((k, 1), (k,), dtype)
    low, high = int(dtype.min()), int(dtype.max())
    (y,) = pool.execute(np.array([np.full((k, 1), low), np.full((k, 1), high)]))
    assert (y.min(), y.max()) == pool.output_range() == (k * low, k * high)
    assert pool.output_dtype == smallest_dtype(k * low, k * high)
    assert AccumulatePool((k, 1), (k,), DataType["INT16"], input_range=(0, 1)).output_dtype == smallest_dtype(0, k)


SHAPES = [
    MaxPool((16, 16, 16), (2, 2), DataType["UINT4"], 4),
    MaxPool((32, 32, 64), (2, 2), DataType["BIPOLAR"], 16),
    MaxPool((8, 8, 16), (3, 3), DataType["INT8"], 2, True),
    MaxPool((32, 32, 64), (2, 2), DataType["INT8"], 1),
    AccumulatePool((7, 7, 256), (7, 7), DataType["UINT8"], 1),
    AccumulatePool((9, 9, 16), (2, 2), DataType["INT8"], 4),
]


def test_synthesis_takes_what_the_model_says(tmp_path):
    check_resources(SHAPES[0], ECP5, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("family", [ECP5, XC7], ids=lambda family: family.name)
@pytest.mark.parametrize("pool", SHAPES, ids=lambda pool: pool.op)
def test_synthesis_of_every_kind(pool, family, tmp_path):
    check_resources(pool, family, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pe": 4}, "PE 4 does not divide 6 channels; use one of 1, 2, 3, 6"),
        ({"kernel": (2,)}, "a kernel size for each"),
        ({"kernel": (2, 5)}, "larger than"),
        ({"kernel": (0, 1)}, "1 or more"),
        ({"shape": (4, 0, 6)}, "1 or more"),
        ({"dtype": DataType["FLOAT32"]}, "FLOAT32"),
    ],
)
@pytest.mark.parametrize("pool", POOLS)
def test_bad_parameters(pool, change, message):
    legal = {"shape": (4, 4, 6), "kernel": (2, 2), "dtype": DataType["INT8"]}
    with pytest.raises(BitfabricError, match=message):
        pool(**legal | change)


def test_bad_range_and_folding():
    with pytest.raises(BitfabricError, match="not within UINT8"):
        AccumulatePool((4, 6), (2,), DataType["UINT8"], input_range=(0, 256))
    pool = MaxPool((4, 6), (2,), DataType["UINT8"])
    assert pool.foldings() == (*map(Folding, (1, 2, 3, 6)), Folding(6, 1, 2), Folding(6, 1, 4))
    assert pool.fold(Folding(3)).inputs()[0].lanes == pool.fold(Folding(3)).outputs()[0].lanes == 3
    with pytest.raises(BitfabricError, match="no SIMD"):
        pool.fold(Folding(2, 2))
