"""The test bench of kernels and graphs: RTL against ``execute`` and ``schedule``, with random stalls on both sides."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from qonnx.core.datatype import DataType

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.families import reference_device
from hw.families.ecp5 import ECP5
from hw.ir.graph import Graph, Node, Port
from hw.ir.kernel import Kernel
from hw.ir.stream import Stream
from hw.ir.verdicts import carried, computed
from hw.kernels.calibration import COMPANION, separate
from hw.kernels.fifo.kernel import Fifo
from hw.rtl.design import RtlDesign, generate
from hw.simulation import verilator
from hw.synth import yosys
from hw.timing import accounting, cycles
from tests.measured import resources

WATCHED = 512
"""Cycles for each frame in which edges that carry fewer frames are watched."""


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


def probed(design: RtlDesign, graph: Graph, watched: Mapping[str, int]) -> tuple[RtlDesign, dict[str, str]]:
    """The design with an output port for every inner edge that gives a beat when one moves there; edge -> port.

    Edges in ``watched``, with fewer frames than the graph, have a port that says in each cycle, so many a frame,
    whether a beat moves.
    """
    inner = re.findall(r"logic (e(\d+)_\w+)_valid, \1_ready;", design.files[f"{design.top}.sv"])
    edges = list(graph.edges)
    probes = {edges[int(i)]: f"probe{i}" for _, i in inner}
    ports = "".join(
        f"    output logic probe{i}_valid,\n    output logic probe{i}_data,\n    input wire logic probe{i}_ready,\n"
        for _, i in inner
    )
    moves = {i: f"{wire}_valid & {wire}_ready" for wire, i in inner}
    body = "".join(
        f"  assign probe{i}_valid = 1'b1;\n  assign probe{i}_data = {move};\n"
        if edges[int(i)] in watched
        else f"  assign probe{i}_valid = {move};\n  assign probe{i}_data = 1'b0;\n"
        for i, move in moves.items()
    )
    text = design.files[f"{design.top}.sv"].replace(f"module {design.top} (\n", f"module {design.top} (\n{ports}")
    text = text.replace("endmodule", f"{body}endmodule")
    streams = {
        port: Stream((watched.get(edge, graph.edges[edge].beats),), DataType["UINT1"], 1)
        for edge, port in probes.items()
    }
    outputs = design.outputs | streams
    return replace(design, outputs=outputs, files=design.files | {f"{design.top}.sv": text}), probes


def check(graph: Graph, frames: dict[str, np.ndarray], rng: np.random.Generator, family: Family = ECP5) -> None:
    """Simulate ``graph`` without and with random stalls; integers, and cycle numbers on every edge, must be equal."""
    design = generate(graph, family)
    verilator.lint(design)
    count, given = len(next(iter(frames.values()))), computed(graph, frames)
    fewer = {edge: WATCHED for edge, there in carried(graph, count, given).items() if not there.all()} if given else {}
    watched, probes = probed(design, graph, fewer)
    simulator = verilator.build(watched)
    ins = dict(zip((p.edge for p in graph.inputs), design.inputs, strict=True))
    outs = dict(zip((p.edge for p in graph.outputs), design.outputs, strict=True))
    expected = graph.execute(frames)
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
        trace = cycles.simulate(graph, count, offers, ready, given)
        ports = {**ins, **outs, **probes}
        for edge, port in ports.items():
            taken = result.taken[port]
            if edge in fewer:
                taken = np.flatnonzero(result.outputs[port])
                assert result.cycles > max(each[-1] for each in trace.taken.values() if len(each))
            np.testing.assert_array_equal(taken, trace.taken[edge], err_msg=edge)
        for node in graph:
            if isinstance(node.kernel, Fifo) and not fewer:
                held = trace.occupancy(node.outputs[0])
                into, out = (result.taken[ports[edge]] for edge in (*node.inputs, *node.outputs))
                np.testing.assert_array_equal(accounting.occupancy(into, out, len(held)), held, err_msg=node.name)


def check_foldings(kernel: Kernel, x: np.ndarray, family: Family) -> None:
    """Whatever the folding of a kernel that takes as many beats as it gives: the same function, a beat an action."""
    (expected,) = kernel.execute(x)
    for folding in kernel.foldings():
        folded = kernel.fold(folding)
        assert folded.schedule().firings == folded.inputs()[0].beats
        assert folded.resources(family).lut > 0
        np.testing.assert_array_equal(folded.execute(x)[0], expected)


def check_resources(kernel: Kernel, family: Family, folder: Path, error: float = 0.2) -> None:
    """Synthesis takes the blocks and multipliers that the model says, and about the lookup tables."""
    used, estimate = synthesised(kernel, family, folder), kernel.resources(family)
    assert (used.bram, used.dsp) == (estimate.bram, estimate.dsp)
    assert abs(used.lut - estimate.lut) < error * used.lut + 10


def synthesised(kernel: Kernel, family: Family, folder: Path) -> Resources:
    """What synthesis counts for a kernel beside ``hw.kernels.calibration.COMPANION``, less the companion."""
    both = yosys.synthesise(generate(separate(kernel, COMPANION), family), reference_device(family), folder).resources
    return both - resources.kernels().rows[family.name, "the companion"].resources


def gated(design: RtlDesign, folder: Path) -> dict[str, set[str]]:
    """For every output port of the design the input ports (clock and reset left out) that gates lead from."""
    design.write(folder)
    script = f"read_slang --top {design.top} {' '.join(design.verilog)}\nproc\nflatten\nopt\nwrite_json design.json\n"
    yosys.run_script(script, folder, "gates", "reading the kernels")
    module = json.loads((folder / "design.json").read_text())["modules"][design.top]
    # Every bit that gates drive -> the bits they read. A register's output begins anew; what is read from a
    # memory depends on the address.
    reads: dict[int, set[int]] = {}
    for cell in module["cells"].values():
        bits: dict[str, set[int]] = {"input": set(), "output": set()}
        for port, connected in cell["connections"].items():
            bits[cell["port_directions"][port]] |= {bit for bit in connected if isinstance(bit, int)}
        for bit in bits["output"]:
            reads[bit] = set() if "dff" in cell["type"] else bits["input"]
    ports = {name: [b for b in port["bits"] if isinstance(b, int)] for name, port in module["ports"].items()}
    entered = {
        bit: name
        for name, bits in ports.items()
        if module["ports"][name]["direction"] == "input" and name not in ("clk", "rst")
        for bit in bits
    }
    found = {}
    for name, outside in ports.items():
        if module["ports"][name]["direction"] == "output":
            seen, waiting = set(outside), list(outside)
            while waiting:
                new = reads.get(waiting.pop(), set()) - seen
                seen |= new
                waiting += new
            found[name] = {entered[bit] for bit in seen if bit in entered}
    return found
