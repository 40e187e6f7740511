"""Frames solved in bounded memory against the solvers that keep every beat."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.passes.fifos import insert_fifos, streams
from hw.timing import cycles
from hw.timing.fifo_sizing import size_fifos
from hw.timing.frames import Outcome, solve_frames
from hw.timing.periodic import PeriodicSchedule
from hw.timing.trace import attempt
from tests.builders.networks import random_graph


@pytest.mark.quick
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_frames_repeat_where_there_is_a_periodic_schedule(seed, long):
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, 3, (9, 14)) if long else random_graph(rng)
    sized = size_fifos(graph)
    depths = {edge: int(rng.choice([0, 2, sized.get(edge, 2), sized.get(edge, 0), 99])) for edge in streams(graph)}
    graph = insert_fifos(graph, sized if rng.random() < 0.3 else depths)
    trace, waits = attempt(graph, 1)
    bound = max(node.kernel.schedule().interval for node in graph)
    for interval in (bound, bound + int(rng.integers(1, 9)), 2 * bound):
        frames = solve_frames(graph, interval)
        assert (frames.outcome == Outcome.DEADLOCK) == bool(waits)
        if waits:
            assert set(frames.waits) == set(waits)
            continue
        assert frames.latency == trace.latency
        feasible = PeriodicSchedule(graph, (), interval).feasible
        if frames.outcome is Outcome.UNDECIDED:  # FIFOs that are deeper than a frame may need many frames
            frames = solve_frames(graph, interval, 2000)
        assert (frames.outcome is Outcome.REPEATS) == feasible
    if not waits:
        assert cycles.steady_state(graph) == (cycles.fastest(graph).interval, trace.latency)
