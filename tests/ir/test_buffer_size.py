"""The minimum size of a buffer against the examination of every firing and beat."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.ir.buffer import Buffer, Loop
from hw.ir.buffer_size import fitted


def every_firing(buffer: Buffer) -> int:
    """The places, from all firings and beats of the frames."""
    position, oldest = buffer.offsets()
    frames = 3 + (buffer.delay + buffer.release) // max(len(position), buffer.beats)
    frame, beats = np.arange(frames)[:, None], frames * buffer.beats
    ends = -(-np.minimum(position + (buffer.start + buffer.reach), buffer.frame) // buffer.words_per_beat)
    need = np.maximum(ends + frame * buffer.beats, 0).ravel()
    oldest = (oldest + buffer.start + frame * buffer.frame).ravel()
    firing, beat = np.arange(len(need)), np.arange(beats)
    taken = beat
    if len(position) > buffer.beats:
        first = np.searchsorted(np.maximum.accumulate(need), beat + 1)  # the first firing that needs the beat
        latest = np.where(first < len(need), first - buffer.delay, len(need))
        taken = np.minimum.accumulate((latest - beat)[::-1])[::-1] + beat
    ready = np.where(need > 0, taken[need - 1] + buffer.delay, 0)
    cycle = np.maximum(np.maximum.accumulate(ready - firing), 0) + firing
    moves = np.flatnonzero(np.diff(oldest, append=frames * buffer.frame + buffer.start))
    written = np.searchsorted(taken, cycle[moves] + buffer.release)
    return max(buffer.words_per_beat, int((written * buffer.words_per_beat - oldest[moves]).max()))


@st.composite
def windows(draw) -> Buffer:
    """Buffers of sliding windows of any geometry, as the kernel makes them."""
    height, width, beats, pixels = (draw(st.integers(1, n)) for n in (40, 6, 3, 3))
    width *= pixels
    kernel, stride, dilation = ([draw(st.integers(1, 3)) for _ in range(2)] for _ in range(3))
    pad = [[draw(st.integers(0, 4)) for _ in range(2)] for _ in range(2)]
    size = [
        max(1, (n + sum(p) - d * (k - 1) - 1) // s + 1)
        for n, p, d, k, s in zip((height, width), pad, dilation, kernel, stride, strict=True)
    ]
    group = draw(st.sampled_from([n for n in (1, 2, 3) if size[1] % n == 0]))
    line, window = width * beats * stride[0], beats * stride[1] * group
    frees = draw(st.sampled_from([(line, window), (line, 0), (0, 0)]))
    parts = draw(st.booleans())  # a window in one beat
    loops = (
        Loop(size[0], line, frees[0]),
        Loop(size[1] // group, window, frees[1]),
        Loop(1 if parts else kernel[0], width * beats * dilation[0], 0),
        Loop(1 if parts else kernel[1], dilation[1] * beats, 0),
        Loop(beats, 1, 0),
    )
    reach = 1 + (parts and (kernel[0] - 1) * dilation[0] * width + (kernel[1] - 1) * dilation[1]) * beats
    return Buffer(
        beats=height * width * beats // pixels,
        places=pixels,
        start=-(pad[0][0] * width + pad[1][0]) * beats,
        reach=reach,
        loops=loops,
        delay=draw(st.integers(1, 3)),
        release=draw(st.integers(1, 3)),
        words_per_beat=pixels,
    )


@pytest.mark.quick
@settings(max_examples=300, deadline=None)
@given(windows())
def test_the_least_places_are_those_that_every_firing_gives(buffer):
    if buffer.monotone():
        assert fitted(buffer) == replace(buffer, places=every_firing(buffer))
