"""Memories of 7 series: netlists of random memories give, with the models of their cells, what the RTL gives."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from qonnx.core.datatype import DataType

from hw.families import find_device
from hw.families.xc7 import XC7
from hw.host.errors import BitfabricError, ToolError
from hw.ir.stream import Stream
from hw.rtl.design import RtlDesign
from hw.simulation import verilator
from hw.synth import netlist, yosys

BYTE = DataType["UINT8"]
READS = ("keep", "old", "new", "reset")
"""What a port that writes shows: nothing new, the old word, the new word, and nothing new with a reset."""


class Memories:
    """A random design of memories that all take the same data, addresses and enables. A beat is 16 bytes: 72 bits of
    data, two addresses of 16 bits, and controls."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.declarations: list[str] = []
        self.outputs: list[str] = []
        self.files: dict[str, str] = {}
        self.bits = 0

    def _memory(self, depth: int, width: int, style: str, filled: bool = True) -> tuple[str, str, str]:
        name = f"mem{len(self.outputs)}"
        self.declarations.append(f'  (* ram_style = "{style}" *) logic [{width - 1}:0] {name}[{depth}];\n')
        if filled:
            limbs = self.rng.integers(0, 256, (depth, -(-width // 8)))
            limbs[:, 0] &= (1 << (width - 1) % 8 + 1) - 1
            self.files[f"{name}.hex"] = "".join(bytes(row.astype(np.uint8)).hex() + "\n" for row in limbs)
            self.declarations.append(f'  initial $readmemh("{name}.hex", {name});\n')
        bits = int(np.log2(depth))
        return name, f"a[{bits - 1}:0]", f"b[{bits - 1}:0]"

    def _output(self, width: int, name: str) -> str:
        self.outputs.append(f"{name}_q")
        self.bits += width
        self.declarations.append(f"  logic [{width - 1}:0] {name}_q;\n")
        return f"{name}_q"

    def single(self, depth: int, width: int, reads: str, style: str = "block") -> None:
        name, at, _ = self._memory(depth, width, style)
        q = self._output(width, name)
        show = {"keep": f"else {q} <= {name}[{at}];", "old": f"{q} <= {name}[{at}];",
                "new": f"if (write) {q} <= d[{width - 1}:0]; else {q} <= {name}[{at}];",
                "reset": f"if (clear) {q} <= '0; else if (!write) {q} <= {name}[{at}];"}[reads]  # fmt: skip
        self.declarations.append(
            f"  always_ff @(posedge clk) if (go) begin\n    if (write) {name}[{at}] <= d[{width - 1}:0];\n"
            f"    {show}\n  end\n"
        )

    def simple(self, depth: int, width: int, style: str = "block", bytes_of: int = 0) -> None:
        """One port writes, the other reads; with ``bytes_of`` bits for each write enable."""
        name, at, other = self._memory(depth, width, style)
        q = self._output(width, name)
        parts = range(0, width, bytes_of) if bytes_of else ()
        writes = "".join(f"    if (write && enable[{i}]) {name}[{at}][{lo}+:{bytes_of}] <= d[{lo}+:{bytes_of}];\n"
                         for i, lo in enumerate(parts))  # fmt: skip
        writes = writes or f"    if (write) {name}[{at}] <= d[{width - 1}:0];\n"
        self.declarations.append(
            f"  always_ff @(posedge clk) if (go) begin\n{writes}    {q} <= {name}[{other}];\n  end\n"
        )

    def dual(self, depth: int, width: int) -> None:
        """Two ports that write and read, each its own half."""
        name, _, _ = self._memory(depth, width, "block")
        bits = int(np.log2(depth)) - 1
        for half, bus in enumerate("ab"):
            q = self._output(width, f"{name}{bus}")
            data, word = f"{'~' if half else ''}d[{width - 1}:0]", f"{name}[{{1'b{half}, {bus}[{bits - 1}:0]}}]"
            self.declarations.append(
                f"  always_ff @(posedge clk) if (go) begin\n    if (enable[{half}]) {word} <= {data};\n"
                f"    else {q} <= {word};\n  end\n"
            )

    def shift(self, length: int) -> None:
        """A shift register without reset."""
        name = f"mem{len(self.outputs)}"
        q = self._output(1, name)
        self.declarations.append(
            f"  logic [{length - 1}:0] {name}_r;\n"
            f"  always_ff @(posedge clk) if (go) {name}_r <= {{{name}_r[{length - 2}:0], d[0]}};\n"
            f"  assign {q} = {name}_r[{length - 1}];\n"
        )

    def function(self) -> None:
        """A random function of eight bits."""
        name = f"mem{len(self.outputs)}"
        q = self._output(1, name)
        table = int.from_bytes(self.rng.bytes(32), "big")
        self.declarations.append(
            f"  localparam logic [255:0] {name}_t = 256'h{table:064x};\n"
            f"  always_ff @(posedge clk) if (go) {q} <= {name}_t[d[7:0]];\n"
        )

    def design(self) -> RtlDesign:
        lanes = -(-self.bits // 8)
        text = f"""
`default_nettype none
module memories (
    input  wire logic clk, input wire logic rst,
    input  wire logic s_valid, output logic s_ready, input wire logic [127:0] s_data,
    output      logic m_valid, input wire logic m_ready, output logic [{8 * lanes - 1}:0] m_data
);
  logic [71:0] d;
  logic [15:0] a, b;
  logic [7:0] enable;
  logic write, clear, go, work;
  assign {{clear, write, enable, b, a, d}} = s_data[113:0];
  assign s_ready = !work && !m_valid;
  assign go = s_valid && s_ready;
  always_ff @(posedge clk) begin
    if (rst) {{work, m_valid}} <= '0;
    else begin
      work <= go;
      if (work) m_valid <= 1'b1;
      else if (m_ready) m_valid <= 1'b0;
    end
  end
{"".join(self.declarations)}
  always_ff @(posedge clk) if (work) m_data <= {8 * lanes}'({{{", ".join(reversed(self.outputs))}}});
endmodule
"""
        ports = {"s": Stream((64, 16), BYTE, 16)}, {"m": Stream((64, lanes), BYTE, lanes)}
        return RtlDesign("memories", *ports, {"memories.sv": text, **self.files})


def _random(seed: int, count: int) -> Memories:
    """Memories of random shapes, and one of each kind that is rare."""
    made = Memories(rng := np.random.default_rng(seed))
    for _ in range(count):
        kind = rng.integers(3)
        if kind == 0:
            made.single(1 << rng.integers(6, 13), int(rng.integers(1, 37)), READS[rng.integers(4)])
        elif kind == 1:
            size = int(rng.choice([8, 9]))
            made.simple(
                1 << rng.integers(6, 11), size * int(rng.integers(1, 9)), bytes_of=size if rng.random() < 0.7 else 0
            )
        else:
            made.dual(1 << rng.integers(7, 13), int(rng.integers(1, 19)))
    return made


def _check(made: Memories, tmp_path: Path, beats: int) -> Counter:
    """Compare the netlist with the RTL; returns the kinds of cells."""
    design = made.design()
    synthesis = yosys.synthesise(design, find_device("xc7z020"), tmp_path)
    rng = np.random.default_rng(7)
    count = beats * 64
    frames = rng.integers(0, 256, (count, 16))
    near = rng.random(count) < 0.7  # addresses often the same again, the other port elsewhere
    frames[near, 9], frames[near, 10] = frames[near, 9] & 7, 0
    # A design must not read what another port writes in the same cycle: the ports differ in the lowest bit.
    frames[:, 11:13] = frames[:, 9:11]
    frames[:, 9] &= 0xFE
    frames[:, 11] |= 1
    frames = frames.reshape(beats, 64, 16)
    expected = verilator.build(design, ("-O0",)).run({"s": frames}).outputs["m"]
    assert len(np.unique(expected.reshape(count, -1), axis=0)) >= min(count // 2, 1 << made.bits)
    below = netlist.design(synthesis.netlist, XC7, design.inputs, design.outputs)
    got = verilator.build(below, ("-O0",)).run({"s": frames}).outputs["m"]
    np.testing.assert_array_equal(got, expected)
    return Counter(synthesis.cells)


def test_rare_cells_give_what_the_rtl_gives(tmp_path: Path) -> None:
    """The widest words, every RAM of lookup tables, shift registers and wide multiplexers."""
    made = Memories(np.random.default_rng(1))
    made.simple(512, 72, bytes_of=9)
    made.simple(512, 36)
    made.dual(1024, 36)
    for depth, width in ((32, 1), (64, 3), (128, 1), (256, 1)):
        made.single(depth, width, "old", "distributed")
    for depth, width in ((32, 6), (64, 3), (64, 1), (128, 1)):
        made.simple(depth, width, "distributed")
    made.shift(12)
    made.shift(40)
    made.function()
    cells = _check(made, tmp_path, 8)
    wanted = {"RAMB18E1", "RAMB36E1", "RAM32M", "RAM64M", "RAM128X1D", "SRL16E", "SRLC32E", "MUXF7", "MUXF8"}
    assert wanted <= set(cells), cells


@pytest.mark.slow
def test_two_joined_blocks_give_what_the_rtl_gives(tmp_path: Path) -> None:
    made = Memories(np.random.default_rng(1))
    made.single(65536, 1, "keep")
    made.single(65536, 1, "old")
    assert _check(made, tmp_path, 20)["RAMB36E1"] == 4


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_inferred_block_rams_give_what_the_rtl_gives(seed: int, tmp_path: Path) -> None:
    cells = _check(_random(seed, 12), tmp_path, 40)
    assert cells["RAMB18E1"] + cells["RAMB36E1"] >= 10


def test_what_has_no_model_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(kind: str, match: str, **parameters: str) -> None:
        cell = {"type": kind, "parameters": parameters, "connections": {}, "port_directions": {}}
        module = {"attributes": {"top": "1"}, "cells": {"one": cell}, "netnames": {}, "ports": {}}
        (tmp_path / "t.json").write_text(json.dumps({"modules": {"t": module}}))
        with pytest.raises(BitfabricError, match=match):
            netlist.design(tmp_path / "t.json", XC7)

    refused("FIFO36E1", r"^no model of FIFO36E1; synthesis for 7 series must not use it$")
    refused("RAMB36E1", r"^no model of RAMB36E1 with DOA_REG 1$", DOA_REG="1")
    refused("RAMB18E1", r"^no model of RAMB18E1 with IS_ENARDEN_INVERTED 1$", IS_ENARDEN_INVERTED="1")
    refused("RAMB36E1", r"^no model of RAMB36E1 with EN_ECC_READ TRUE$", EN_ECC_READ="TRUE")
    with pytest.raises(ToolError, match=r"cells_sim\.v has no model of FIFO36E1; pip install pyosys$"):
        yosys.library("xilinx/cells_sim.v", ["FDRE", "FIFO36E1"])
    with pytest.raises(ToolError, match=r"^cannot read Yosys's models in .*/xilinx/none\.v \(No such file"):
        yosys.library("xilinx/none.v", ["FDRE"])
    monkeypatch.setattr(yosys, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=r"^no yosys: pip install pyosys"):
        yosys.library("xilinx/cells_sim.v", ["FDRE"])
