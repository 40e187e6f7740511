from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw.fabric.resources import Resources
from hw.families import families, find_family
from hw.families.ecp5 import ECP5
from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding
from hw.ir.stream import container
from hw.kernels.shared import cell_costs
from hw.kernels.threshold.kernel import LANES, SEARCH, Threshold
from tests.kernels.kernel_bench import alone, check, check_foldings, check_resources, random_frames

INPUTS = ["BIPOLAR", "TERNARY", "UINT1", "INT3", "UINT6", "INT11", "INT20"]
OUTPUTS = [  # output, steps, output_min
    ("BIPOLAR", 1, None),
    ("UINT1", 1, None),
    ("TERNARY", 2, None),
    ("INT2", 3, None),
    ("INT4", 14, -7),
    ("UINT4", 15, None),
    ("INT6", 9, -3),
    ("UINT8", 255, None),
    ("INT8", 200, -100),
    ("UINT9", 300, 5),
]


@st.composite
def kernels(draw, most_steps=1023, groups=(1, 4), prefixes=((), (2,))):
    """A Threshold of random parameters, often with thresholds that are never or always reached."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = DataType[draw(st.sampled_from(INPUTS))]
    name, steps, least = draw(st.sampled_from([o for o in OUTPUTS if o[1] <= most_steps]))
    low, high = int(dtype.min()), int(dtype.max()) + 1
    if draw(st.booleans()) and high - low > 40:  # crowded, and away from the ends
        low, high = low + 10, low + 30
    pe = draw(st.integers(1, 4))
    channels = pe * draw(st.integers(*groups))
    thresholds = np.sort(rng.integers(low, high, (channels, steps), endpoint=True), axis=1)
    for row in range(channels):
        ends = draw(st.sampled_from([None, None, low, high]))
        if ends is not None and draw(st.booleans()):
            thresholds[row] = ends
    if draw(st.integers(0, 3)) == 0:
        thresholds[:] = thresholds[0]
    decreasing = rng.random(channels) < draw(st.sampled_from([0, 0, 0.5, 1]))
    prefix = draw(st.sampled_from(prefixes))
    return Threshold(thresholds, decreasing, dtype, DataType[name], prefix, pe, least)


def naive(kernel: Threshold, frames: np.ndarray) -> np.ndarray:
    """The definition, one comparison at a time."""
    least = int(kernel.output_dtype.min()) if kernel.output_min is None else kernel.output_min
    unit = 2 if kernel.output_dtype.name == "BIPOLAR" else 1
    steps = kernel.thresholds.shape[1]
    y = np.empty(frames.shape, np.int64)
    for index in np.ndindex(frames.shape):
        count = sum(int(frames[index]) >= int(t) for t in kernel.thresholds[index[-1]])
        y[index] = least + unit * (steps - count if kernel.decreasing[index[-1]] else count)
    return y


def nearby(kernel: Threshold, count: int, rng: np.random.Generator) -> np.ndarray:
    """Random frames, of which one in three sits on, or just below, a threshold."""
    dtype = kernel.input_dtype
    frames = random_frames(kernel.inputs()[0], count, rng)
    if dtype.name == "BIPOLAR":
        return frames
    channel = np.broadcast_to(np.arange(frames.shape[-1]), frames.shape)
    close = kernel.thresholds[channel, rng.integers(kernel.thresholds.shape[1], size=frames.shape)]
    close = close - rng.integers(2, size=frames.shape)
    frames = np.where(rng.random(frames.shape) < 1 / 3, close, frames)
    return np.clip(frames, int(dtype.min()), int(dtype.max()))


@settings(max_examples=7, deadline=None)
@given(kernels(), st.integers(0, 2**32))
def test_rtl_equals_model(kernel, seed):
    rng = np.random.default_rng(seed)
    check(alone(kernel), {"in0": nearby(kernel, 8, rng)}, rng)


@pytest.mark.parametrize(("channels", "pe", "bits"), [(66, 1, 3), (36, 2, 8)])
def test_rtl_of_large_memories(channels, pe, bits):
    """Groups and codes that need all kinds of memory: a constant, lookup tables, block RAM, tiles of block RAM."""
    rng = np.random.default_rng(7)
    dtype, steps = DataType["INT14"], (1 << bits) - 1
    thresholds = np.sort(rng.integers(-(2**13), 2**13 + 1, (channels, steps)), axis=1)
    kernel = Threshold(thresholds, rng.random(channels) < 0.5, dtype, DataType[f"UINT{bits}"], (2,), pe)
    parameters = kernel.rtl(ECP5).parameters
    assert parameters["BLOCK"] != 0
    assert (max(parameters["FILES"]) > 1) == (bits == 8)
    check(alone(kernel), {"in0": nearby(kernel, 3, rng)}, rng)


@settings(max_examples=60, deadline=None)
@given(kernels(prefixes=((), (3,), (2, 1))), st.booleans(), st.integers(0, 2**32))
def test_execute_equals_definition(kernel, narrow, seed):
    frames = nearby(kernel, 6, np.random.default_rng(seed))
    assert kernel.execute(frames[:0])[0].shape == frames[:0].shape
    if narrow:
        frames = frames.astype(container(kernel.input_dtype))
    (y,) = kernel.execute(frames)
    assert y.dtype == container(kernel.output_dtype)
    np.testing.assert_array_equal(y, naive(kernel, frames))


@pytest.mark.parametrize("steps", [SEARCH - 1, SEARCH])
@pytest.mark.parametrize(("channels", "count"), [(3, 20000), (LANES // 2, 50), (LANES // 2 + 1, 50), (2 * LANES, 50)])
def test_execute_many_rows(steps, channels, count):
    rng = np.random.default_rng(3)
    thresholds = np.sort(rng.integers(-500, 500, (channels, steps)), axis=1)
    falls = np.arange(channels) % 3 == 1
    kernel = Threshold(thresholds, falls, DataType["INT11"], DataType["UINT9"], output_min=0)
    frames = random_frames(kernel.inputs()[0], count, rng).astype(np.int16)
    counts = np.stack([np.searchsorted(thresholds[c], frames[:, c], "right") for c in range(channels)], axis=1)
    counts[:, falls] = steps - counts[:, falls]
    np.testing.assert_array_equal(kernel.execute(frames)[0], counts)


@settings(max_examples=30, deadline=None)
@given(kernels(), st.sampled_from(sorted(families())))
def test_folding_keeps_the_function(kernel, family):
    check_foldings(kernel, nearby(kernel, 4, np.random.default_rng(0)), find_family(family))


def test_bad_parameters():
    rows = np.array([[-4, 0, 3], [1, 1, 8]])
    good = Threshold(rows, np.zeros(2, bool), DataType["INT4"], DataType["UINT2"])
    for change, message in [
        ({"thresholds": rows[:, ::-1]}, "sorted"),
        ({"thresholds": rows + 1}, r"must lie in -8\.\.8"),
        ({"thresholds": rows.astype(float)}, "integers"),
        ({"thresholds": rows[:, :0]}, "integers"),
        ({"thresholds": rows[:, :2]}, "count from 0 to 2"),
        ({"output_min": -1}, "count from -1 to 2"),
        ({"output_dtype": DataType["FLOAT32"]}, "FLOAT32"),
        ({"input_dtype": DataType["FLOAT32"]}, "FLOAT32"),
        ({"decreasing": np.zeros(3, bool)}, "2 booleans"),
        ({"pe": 3}, "PE 3 does not divide 2 channels; use one of 1, 2"),
        ({"thresholds": np.zeros((2, 1024), int), "output_dtype": DataType["UINT12"], "output_min": 0}, "requant"),
    ]:
        with pytest.raises(BitfabricError, match=message):
            replace(good, **change)
    with pytest.raises(BitfabricError, match="no SIMD"):
        good.fold(Folding(1, 2))


@settings(max_examples=40, deadline=None)
@given(kernels(groups=(4, 40)), st.booleans(), st.sampled_from(sorted(families())))
def test_blocks_are_those_of_the_files(kernel, parity, name):
    """What the memories in block RAM cost follows from the words of their files, and the bits that differ there."""
    kernel, family = replace(kernel, parity=parity), find_family(name)
    for stage in range(kernel.code_bits):
        width, tiles = kernel._memories(stage)[2], kernel._tiles(stage, family)
        if not kernel._in_blocks(stage, family):
            continue
        used = [[_differing(memory.words) for memory in files] for files in kernel._stored(stage, family)]
        total = kernel._blocks(stage, family)
        check = cell_costs.parity(width + 1, family) if parity else Resources()
        if tiles is None:
            depth = kernel._memories(stage)[1]
            assert total.bram == sum(family.blocks(depth, each) for [each] in used)
            assert total.ff == sum(each + check.ff for [each] in used)
        else:
            assert total.bram == sum(each > 0 for files in used for each in files)
            rows = [sum(files) // tiles.rows for files in used]
            assert total.lut - len(used) * check.lut == sum(round(0.7 * wide * (tiles.rows - 1)) for wide in rows)


def _differing(words: list[int]) -> int:
    return sum(len({word >> bit & 1 for word in words}) > 1 for bit in range(max(words).bit_length()))


@pytest.mark.slow
@pytest.mark.parametrize("family", families().values(), ids=families())
@pytest.mark.parametrize(("steps", "output", "channels", "pe"), [(1, "BIPOLAR", 512, 2), (255, "UINT8", 8, 2)])
def test_block_rams_as_estimated(tmp_path, family, steps, output, channels, pe):
    rng = np.random.default_rng(1)
    thresholds = np.sort(rng.integers(-(2**17), 2**17, (channels, steps)), axis=1)
    kernel = Threshold(thresholds, np.zeros(channels, bool), DataType["INT18"], DataType[output], (), pe)
    check_resources(kernel, family, tmp_path)
