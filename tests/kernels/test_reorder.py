"""Reorder: what its buffer waits for and releases, its number of places, and random orders in RTL."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw.host.errors import BitfabricError
from hw.kernels.calibration import separate
from hw.kernels.reorder.kernel import Reorder
from hw.timing.cycles import steady
from tests.kernels.kernel_bench import alone, check, random_frames

INT3 = DataType["INT3"]


def drawn(seed: int) -> Reorder:
    """A part of each axis of a small frame, backwards or with a step, some repeated, the axes in any order."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(size) for size in rng.integers(1, 6, int(rng.integers(1, 4))))
    start, loops, sizes = 0, [], []
    for axis in rng.permutation(len(shape)):
        stride, size = int(np.prod(shape[axis + 1 :])), shape[axis]
        by = int(rng.integers(1, 3)) * int(rng.choice([-1, 1, 1]))
        first = int(rng.integers(0, size))
        turns = len(range(first, size if by > 0 else -1, by))
        start += first * stride
        loops.append((turns, by * stride))
        sizes.append(turns)
        if rng.random() < 0.2:
            loops.insert(int(rng.integers(0, len(loops) + 1)), (2, 0))
            sizes.append(2)
    kernel = Reorder(shape, (int(np.prod(sizes)),), start, tuple(loops), INT3)
    return kernel.fold(kernel.foldings()[int(rng.integers(0, len(kernel.foldings())))])


@pytest.mark.quick
@settings(deadline=None)
@given(seed=st.integers(0, 10**6))
def test_every_beat_is_in_the_memory_while_it_is_read(seed):
    kernel = drawn(seed)
    buffer, beats = kernel.buffer, kernel._positions.reshape(-1, kernel.pe)[:, 0] // kernel.pe
    position, oldest = (offsets + buffer.start for offsets in buffer.offsets())
    assert np.all(beats >= position)
    assert np.all(beats < position + buffer.reach)
    assert np.all(position + buffer.reach <= buffer.frame)
    later = np.minimum.accumulate(beats[::-1])[::-1]
    assert np.all(later >= oldest)
    assert np.all(buffer.places >= position + buffer.reach - oldest)
    assert buffer.places <= 2 * buffer.frame + buffer.reach


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_frames_follow_each_other_without_a_pause(seed):
    kernel = drawn(seed)
    assert steady(alone(kernel)).interval == kernel.interval


@pytest.mark.quick
def test_a_transposed_frame_needs_two_and_pixels_in_order_few():
    transposed = Reorder((16, 16, 1), (16, 16, 1), 0, ((16, 1), (16, 16)), INT3)
    assert 256 < transposed.buffer.places <= 512
    space = Reorder((64, 8, 8), (128, 16, 2), 0, ((64, 64), (2, 4), (8, 8), (4, 1)), INT3, 2)
    assert space.buffer.places <= 2 * 8 * 8 // 2
    assert Reorder((64, 8, 8), (64, 8, 8), 0, ((4096, 1),), INT3).buffer.places <= 3


@pytest.mark.quick
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (((4, 2), (2, 4), 0, ((2, 1), (3, 2))), "do not give the elements"),
        (((4, 2), (2, 4), 1, ((2, 1), (4, 2))), "leave the frame"),
        (((4, 2), (2, 4), 6, ((2, 1), (4, -3))), "leave the frame"),
        (((4, 2), (8,), 0, ((8, 0), (0, 1))), "needs one turn or more"),
        (((4, 0), (8,), 0, ((8, 1),)), "must be positive"),
        (
            ((4, 2), (2, 4), 0, ((2, 1), (4, 2)), 2),
            "PE 2 does not divide the runs of neighbouring elements; use one of 1",
        ),
    ],
)
def test_what_is_no_order_is_refused(arguments, text):
    shape, out, start, loops, *pe = arguments
    with pytest.raises(BitfabricError, match=text):
        Reorder(shape, out, start, loops, INT3, *pe)


@pytest.mark.slow
@settings(max_examples=3, deadline=None)
@given(seeds=st.lists(st.integers(0, 10**6), min_size=8, max_size=8, unique=True))
def test_random_orders_in_rtl(seeds):
    rng, parts = np.random.default_rng(seeds[0]), [drawn(seed) for seed in seeds]
    check(separate(*parts), {f"s{n}_0": random_frames(each.inputs()[0], 3, rng) for n, each in enumerate(parts)}, rng)
