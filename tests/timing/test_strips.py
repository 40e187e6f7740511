"""FIFO depths from strips of images against those from whole images."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.passes.fifos import insert_fifos, streams
from hw.timing import cycles, fifo_sizing
from hw.timing.fifo_sizing import size_fifos
from hw.timing.periodic import slowest
from hw.timing.strips import divide
from tests.builders.networks import tall_graph


@pytest.mark.quick
def test_a_strip_is_the_graph_of_an_image_of_fewer_rows():
    rng = [np.random.default_rng(0) for _ in range(2)]
    tall, low = tall_graph(rng[0], 96), tall_graph(rng[1], 32)
    division = divide(tall, 2)
    assert division is not None
    assert division.parts % 3 == 0
    strip = division.strip(division.parts // 3)
    schedules = zip(strip, (node for node in low if node.name in {n.name for n in strip}), strict=True)
    for part, whole in schedules:
        ours, theirs = part.kernel.schedule(), whole.kernel.schedule()
        assert (part.name, ours.firings, ours.interval) == (whole.name, theirs.firings, theirs.interval)
        assert ours.buffer == theirs.buffer
    assert cycles.steady_state(insert_fifos(low, size_fifos(low))).interval * 3 == slowest(tall)
    assert fifo_sizing._of_strips(tall, None) == size_fifos(tall)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32))
def test_strips_need_the_fifos_of_whole_images(seed):
    graph = tall_graph(np.random.default_rng(seed), 64)
    whole, strips = size_fifos(graph), size_fifos(graph, most_beats=0)
    widths = {edge: stream.width for edge, stream in streams(graph).items()}
    bits, ours = (sum(depth * widths[edge] for edge, depth in depths.items()) for depths in (whole, strips))
    best = cycles.steady_state(insert_fifos(graph, whole))
    assert cycles.steady_state(insert_fifos(graph, strips)).interval == best.interval == fifo_sizing.min_interval(graph)
    assert ours <= 1.05 * bits
