"""The test bench of a single kernel: RTL against ``execute`` and ``schedule``, with random stalls on both sides."""

import numpy as np

from hw import simulate, timing
from hw.graph import Graph, Node, Port
from hw.kernels.kernel import Kernel
from hw.rtl import generate
from hw.stream import Stream
from hw.synth.family import ECP5, Family


def alone(kernel: Kernel) -> Graph:
    """A graph of one node."""
    ins = tuple(f"in{i}" for i in range(len(kernel.inputs())))
    outs = tuple(f"out{i}" for i in range(len(kernel.outputs())))
    return Graph(
        (Node("dut", kernel, ins, outs),),
        tuple(Port(e, e, s.shape, s.dtype.name) for e, s in zip(ins, kernel.inputs(), strict=True)),
        tuple(Port(e, e, s.shape, s.dtype.name) for e, s in zip(outs, kernel.outputs(), strict=True)),
    )


def random_frames(stream: Stream, count: int, rng: np.random.Generator, low=None, high=None) -> np.ndarray:
    """Uniform integers of the stream's type, half of the frames at the ends of the range."""
    low = int(stream.dtype.min()) if low is None else low
    high = int(stream.dtype.max()) if high is None else high
    frames = rng.integers(low, high, (count, *stream.shape), endpoint=True)
    ends = rng.choice([low, high], frames.shape)
    frames = np.where((np.arange(count) % 2 == 0).reshape(-1, *[1] * len(stream.shape)), frames, ends)
    return np.where(frames >= 0, 1, -1) if stream.dtype.name == "BIPOLAR" else frames


def check(graph: Graph, frames: dict[str, np.ndarray], rng: np.random.Generator, family: Family = ECP5) -> None:
    """Simulate ``graph`` without and with random stalls; integers and cycle numbers must be equal."""
    design = generate(graph, family)
    simulate.lint(design)
    simulator = simulate.build(design)
    ins = dict(zip((p.edge for p in graph.inputs), design.inputs, strict=True))
    outs = dict(zip((p.edge for p in graph.outputs), design.outputs, strict=True))
    expected = graph.execute(frames)
    count = len(next(iter(frames.values())))
    for stall_in, stall_out in ((0.0, 0.0), (0.6, 0.0), (0.0, 0.7), (0.3, 0.4)):
        offers, ready = {}, {}
        for edge in ins:
            gaps = rng.geometric(1 - stall_in, graph.edges[edge].beats * count) - 1 if stall_in else 0
            offers[edge] = np.cumsum(np.broadcast_to(gaps, graph.edges[edge].beats * count))
        for edge in outs:
            ready[edge] = rng.random(4 * graph.edges[edge].beats * count + 64) >= stall_out
        result = simulator.run(
            {ins[e]: f for e, f in frames.items()},
            {ins[e]: o for e, o in offers.items()},
            {outs[e]: r for e, r in ready.items()},
        )
        for edge, port in outs.items():
            np.testing.assert_array_equal(result.outputs[port], expected[edge])
        trace = timing.simulate(graph, count, offers, ready)
        for edge, port in {**ins, **outs}.items():
            np.testing.assert_array_equal(result.taken[port], trace.taken[edge], err_msg=edge)
