"""No path of gates leads from what enters a kernel to `ready`, `valid` or data that leave it: all come from registers.

So kernels can be joined in any way without a loop of gates, and no path of gates is longer than a kernel.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
from qonnx.core.datatype import DataType

from hw import kernels
from hw.families.ecp5 import ECP5
from hw.ir.graph import Graph, Node, Port
from hw.ir.stream import Stream
from hw.kernels.accumulate_pool.kernel import AccumulatePool
from hw.kernels.add.kernel import Add
from hw.kernels.arg_max.kernel import ArgMax
from hw.kernels.concat.kernel import Concat
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.fifo.kernel import Fifo
from hw.kernels.fork.kernel import Fork
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.max_pool.kernel import MaxPool
from hw.kernels.requant.kernel import Requant
from hw.kernels.sliding_window.kernel import SlidingWindow
from hw.kernels.threshold.kernel import Threshold
from hw.kernels.upsample.kernel import Upsample
from hw.kernels.width_converter.kernel import WidthConverter
from hw.rtl.design import RtlDesign, generate
from hw.synth import yosys

INT4, UINT2 = DataType["INT4"], DataType["UINT2"]
WEIGHTS = np.arange(-16, 16).reshape(4, 8) // 4
STEPS = np.arange(12).reshape(4, 3) - 6
KERNELS = (
    AccumulatePool((4, 4, 2), (2, 2), UINT2),
    Add((2, 4), (INT4, UINT2), (3, -1), 2),
    ArgMax(6, INT4, (), 2),
    Concat(((2, 4), (2, 2)), (INT4, UINT2)),
    Concat(((4, 4), (4, 2), (4, 1)), (INT4, UINT2, UINT2), pixels=2),
    Depthwise(np.ones((4, 9), int), DataType["INT2"], UINT2, (4, 4), 2),
    Fifo(Stream((4,), INT4, 1), 3),
    Fifo(Stream((64,), DataType["INT16"], 8), 2048),
    Fork((2, 4), INT4, 3),
    MatrixVector(WEIGHTS, INT4, UINT2, pe=4, simd=8),
    MatrixVector(WEIGHTS, INT4, UINT2, pe=2, simd=4),
    MatrixVector(WEIGHTS, INT4, UINT2, pe=1, simd=1),
    MaxPool((4, 4, 2), (2, 2), UINT2),
    Requant(np.array([3, -5]), np.array([1, 2]), 3, "ROUND", DataType["INT8"], INT4, -8, 7),
    SlidingWindow((6, 6, 2), (3, 3), UINT2, pad=((1, 1),) * 2, simd=2),
    SlidingWindow((6, 6, 2), (3, 3), UINT2, pad=((1, 1),) * 2, simd=18),
    Threshold(STEPS, np.zeros(4, bool), INT4, UINT2),
    Upsample((2, 3, 2), (2, 2), INT4),
    WidthConverter(Stream((12,), INT4, 2), 4),
    WidthConverter(Stream((12,), INT4, 4), 2),
)


def side_by_side() -> Graph:
    """A graph of all kernels, none joined to another."""
    nodes, ins, outs = [], [], []
    for i, kernel in enumerate(KERNELS):
        taken = [Port(f"x{i}_{j}", f"x{i}_{j}", s.shape, s.dtype.name) for j, s in enumerate(kernel.inputs())]
        given = [Port(f"y{i}_{j}", f"y{i}_{j}", s.shape, s.dtype.name) for j, s in enumerate(kernel.outputs())]
        nodes.append(Node(f"n{i}", kernel, tuple(p.edge for p in taken), tuple(p.edge for p in given)))
        ins, outs = ins + taken, outs + given
    return Graph(tuple(nodes), tuple(ins), tuple(outs))


def gated(design: RtlDesign, folder) -> dict[str, set[str]]:
    """For every output port of the design the input ports (clock and reset left out) that gates lead from."""
    design.write(folder)
    script = f"read_slang --top {design.top} {' '.join(design.verilog)}\nproc\nflatten\nopt\nwrite_json design.json\n"
    yosys.run_script(script, folder, "gates", "reading the kernels")
    module = json.loads((folder / "design.json").read_text())["modules"][design.top]
    # Every bit that gates drive -> the bits they read. A register's output begins anew; what is read from a
    # memory depends on the address.
    reads: dict[int, set[int]] = {}
    for cell in module["cells"].values():
        bits = {"input": set(), "output": set()}
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
    for name, bits in ports.items():
        if module["ports"][name]["direction"] == "output":
            seen, waiting = set(bits), list(bits)
            while waiting:
                new = reads.get(waiting.pop(), set()) - seen
                seen |= new
                waiting += new
            found[name] = {entered[bit] for bit in seen if bit in entered}
    return found


@pytest.fixture(scope="module")
def design():
    assert {kernel.op for kernel in KERNELS} == set(kernels.names())
    return generate(side_by_side(), ECP5)


def test_all_that_leaves_a_kernel_comes_from_registers(design, tmp_path):
    found = gated(design, tmp_path)
    assert len(found) == len(design.inputs) + 2 * len(design.outputs)
    assert {name: ports for name, ports in found.items() if ports} == {}


@pytest.mark.parametrize(
    ("file", "right", "wrong", "path"),
    [
        ("bf_stream_join.sv", "always_ff @(posedge clk) s_ready <= rst || fire ? '1 : ~here;",
         "assign s_ready = {INPUTS{fire}};", ("s1_ready", "s2_valid")),
        ("bf_requant.sv", "assign s_ready  = credit;", "assign s_ready = credit || m_ready;",
         ("s17_ready", "m15_ready")),
    ],
)  # fmt: skip
def test_a_path_of_gates_is_found(design, tmp_path, file, right, wrong, path):
    text = design.files[file].replace(right, wrong).replace("here = s_valid | ~s_ready", "here = s_valid")
    assert text != design.files[file]
    found = gated(replace(design, files=design.files | {file: text}), tmp_path)
    assert path[1] in found[path[0]]
