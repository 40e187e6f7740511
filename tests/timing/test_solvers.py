"""The compiled solvers against plain Python statements of the same recurrences, and the cache of compiled code."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.host.errors import BitfabricError
from hw.native import compiler
from hw.native.library import Library
from hw.passes.fifos import insert_fifos, streams
from hw.timing import accounting
from hw.timing.periodic import PeriodicSchedule
from hw.timing.recurrences import UNKNOWN
from hw.timing.trace import attempt
from tests.builders.networks import random_graph
from tests.timing import plain


def padded(cycles: list[int], beats: int) -> np.ndarray:
    return np.array(cycles + [UNKNOWN] * (beats - len(cycles)))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_beats_and_stalls_equal_a_simulation_cycle_by_cycle(seed, fifos):
    rng = np.random.default_rng(seed)
    graph, frames = random_graph(rng), 2
    if fifos:  # else most graphs end in a deadlock
        graph = insert_fifos(
            graph, {edge: int(rng.integers(2, stream.beats + 3)) for edge, stream in streams(graph).items()}
        )
    offers = {}
    for port in graph.inputs:
        beats = frames * graph.edges[port.edge].beats
        offers[port.edge] = np.sort(rng.integers(0, rng.integers(1, 4 * beats), beats))
    ready = {edge: rng.random(rng.integers(0, 100)) < 0.5 for edge in graph.output_edges}
    offered, taken, _ = plain.simulate(graph, frames, offers, ready)
    trace, waits = attempt(graph, frames, offers, ready)
    for edge in graph.edges:
        np.testing.assert_array_equal(trace.offered[edge], padded(offered[edge], len(trace.offered[edge])), edge)
        np.testing.assert_array_equal(trace.taken[edge], padded(taken[edge], len(trace.taken[edge])), edge)
    assert bool(waits) == any(len(taken[edge]) < len(trace.taken[edge]) for edge in graph.edges)
    if waits:
        return
    for name, (cycles, waited) in plain.stalls(graph, frames, 1, offered, taken).items():
        ours = accounting.stall_breakdowns(graph, frames, 1, trace.offered, trace.taken)[name]
        assert (ours.cycles, ours.starved | ours.blocked) == (cycles, waited)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1.0, 1.0, 1.2]))
def test_periodic_schedules_equal_longest_paths_found_plainly(seed, slower):
    rng = np.random.default_rng(seed)
    edges = streams(graph := random_graph(rng))
    interval = int(slower * max(node.kernel.schedule().interval for node in graph))
    unbounded = insert_fifos(graph, dict.fromkeys(edges, 2))
    schedule = PeriodicSchedule(unbounded, edges, interval)
    constraints = plain.Constraints(unbounded, {f"{edge}_fifo" for edge in edges})
    cycle = dict.fromkeys(constraints.above, 0)
    for port in graph.inputs:
        beats = constraints.consumer[port.edge]
        cycle.update({beat: i * interval // len(beats) for i, beat in enumerate(beats)})
    assert schedule.feasible == constraints.relax(cycle, interval)

    def check() -> None:
        for edge in unbounded.edges:
            if beats := constraints.consumer.get(edge):
                np.testing.assert_array_equal(schedule.cycles(edge), [cycle[beat] for beat in beats], edge)

    if not schedule.feasible:
        return
    check()
    peaks = schedule.peaks()
    for share in (0.0, 0.2, 0.5, 1.0):  # of the FIFOs may be shorter than the schedule needs
        depths = {
            edge: max(2, int(rng.integers(1, peaks[edge] + 1)) if rng.random() < share else peaks[edge])
            for edge in edges
        }
        constraints = plain.Constraints(insert_fifos(graph, depths))
        raised = dict(cycle)
        holds = constraints.relax(raised, interval)
        assert schedule.attempt(depths) == holds
        cycle = raised if holds else cycle
        check()


def test_a_missing_compiler_and_a_folder_without_access_are_named(tmp_path, monkeypatch):
    library = Library("hw.timing", ("stalls.cpp",), headers=("tables.hpp",))
    (tmp_path / "file").touch()
    monkeypatch.setenv("BITFABRIC_CACHE", str(tmp_path / "file"))
    with pytest.raises(BitfabricError, match=r"^cannot write to .*; set BITFABRIC_CACHE to another folder$"):
        library.build()
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setenv("CXX", "")
    compiler.compiler.cache_clear()
    try:
        with pytest.raises(BitfabricError, match=r"^no C\+\+ compiler .*: apt-get install g\+\+, or set CXX$"):
            library.build()
    finally:
        compiler.compiler.cache_clear()


def test_processes_that_compile_at_once_leave_one_library(tmp_path):
    code = "from hw.native.library import Library\nprint(Library('hw.kernels.sliding_window', ('unfold.cpp',)).build())"
    command = [sys.executable, "-c", code]
    environment = {"BITFABRIC_CACHE": str(tmp_path)}
    running = [
        subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    places = {process.communicate()[0].strip() for process in running}
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(places) == 1
    library = Path(places.pop())
    assert list((tmp_path / "native").iterdir()) == [library.parent]
    assert re.search(r"unfold-[0-9a-f]{32}/unfold\.so$", str(library))
