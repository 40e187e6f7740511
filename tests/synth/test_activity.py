"""Counted activity: exact on designs whose every transition is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from qonnx.core.datatype import DataType

from hw.families import find_device, spec_of
from hw.families.ice40.energy import ENERGY
from hw.host.errors import BitfabricError
from hw.ir.stream import Stream
from hw.rtl.design import RtlDesign
from hw.simulation import verilator
from hw.synth import activity, yosys

PORTS = (
    "input wire logic clk, input wire logic rst, input wire logic s_valid, output logic s_ready, "
    "input wire logic [7:0] s_data, output logic m_valid, input wire logic m_ready, output logic [7:0] m_data"
)
STREAM = Stream((1, 1), DataType["UINT8"], 1)


def counted(
    body: str, device: str, folder: Path, words: np.ndarray, files: dict[str, str] | None = None
) -> tuple[dict[str, int], dict[str, activity.Part], int]:
    """The counters of a design that takes a word a cycle and gives one in the next, its parts, and the cycles."""
    text = f"module top ({PORTS});\n  assign s_ready = 1'b1;\n{body}endmodule\n"
    design = RtlDesign("top", {"s": STREAM}, {"m": STREAM}, {"top.sv": text, **(files or {})})
    part = find_device(device)
    made = yosys.synthesise(design, part, folder)
    below, parts = activity.design(made.netlist, part.family, design.inputs, design.outputs)
    result = verilator.build(below).run({"s": words.reshape(-1, 1, 1)})
    names = activity.names(parts)
    counts = {what: sum(result.counters[names[each, what]] for each in parts) for what in activity.COUNTS}
    return counts, parts, result.cycles


def toggled(values: np.ndarray) -> int:
    """Bits that differ between successive values of 8 bits, the first of which follows 0."""
    before = np.concatenate([[0], values[:-1]])
    return int(np.unpackbits((before ^ values).astype(np.uint8)).sum())


REGISTER = """  always_ff @(posedge clk) begin
    m_valid <= s_valid;
    m_data <= s_data;
  end
"""


def test_toggles_of_a_register_are_those_of_its_data(tmp_path: Path) -> None:
    words = np.random.default_rng(1).integers(0, 256, 300)
    counts, parts, cycles = counted(REGISTER, "ice40up5k", tmp_path, words)
    assert cycles == 301  # the last word leaves the register in the cycle after it came
    come = np.concatenate([words, words[-1:]])  # the values at s_data and m_data before every clock edge
    left = np.concatenate([[0], words])
    registers = toggled(come) + toggled(left) + 2 + 1  # s_valid falls and rises; m_valid only rises
    ports = 1 + 1  # rst falls and m_ready rises
    assert parts[""].clocked == 9
    assert counts == {
        "toggles": registers + ports,
        "transitions": 2 * (toggled(come) + 2) + toggled(left) + 1 + ports,  # what comes is read by a register
        "reads": 0,
        "multiplications": 0,
    }


def test_a_counter_toggles_as_often_as_it_carries(tmp_path: Path) -> None:
    body = (
        "  logic [11:0] count;\n  always_ff @(posedge clk) count <= rst ? 0 : count + 1;\n"
        "  assign m_valid = 1'b1;\n  assign m_data = count[11:4];\n"
    )
    cycles = 1 << 10
    counts, parts, taken = counted(body, "lfe5u-25f", tmp_path, np.zeros(cycles, int))
    assert taken == cycles
    assert sum(part.clocked for part in parts.values()) == 12
    value = np.arange(cycles)
    register = int(np.unpackbits((value[1:] ^ value[:-1]).astype(">u2").view(np.uint8)).sum())
    following = int(np.unpackbits(((value + 1) ^ value).astype(">u2").view(np.uint8)).sum())
    carry = counts["toggles"] - register - following - 3  # s_valid, m_ready and rst change once
    # Carry k rises and falls each time the low k bits overflow; a cell of the chain has two bits and one carry out.
    assert 0 <= carry <= 2 * sum(cycles >> k for k in range(1, 12))


MEMORY = """  (* rom_style = "block" *) logic [7:0] rom[512];
  initial $readmemh("rom.hex", rom);
  always_ff @(posedge clk) begin
    m_valid <= s_valid;
    m_data <= rom[{1'b0, s_data}];
  end
"""


def test_reads_of_a_block_ram_are_counted_when_its_address_changes(tmp_path: Path) -> None:
    words = np.repeat(np.arange(1, 101), 3)
    rom = "".join(f"{(37 * word) % 256:02x}\n" for word in range(512))
    counts, parts, _ = counted(MEMORY, "ice40up5k", tmp_path, words, {"rom.hex": rom})
    assert [len(part.memories) for part in parts.values() if part.memories] == [1]
    assert counts["reads"] == 100


def test_a_netlist_without_a_clock_is_refused() -> None:
    with pytest.raises(BitfabricError, match="no port clk"):
        activity.parts({"ports": {}, "cells": {}, "netnames": {}}, find_device("ice40up5k").family)


PUBLISHED = {28: 613.5, 56: 616.65, 112: 624.2, 224: 641.3}
"""Bits of a counter clocked with 12 MHz -> microamperes of the core (tinyVision.ai, iCE40 Power Testing)."""
HALTED, BLANK, COUNTER, LUT_PRODUCT, DSP_PRODUCT = 92.1, 85.6, 645.0, 996.0, 882.0
"""The same with a halted clock, without a design, and for a counter of 24 bits alone and with a product of two counters
of 8 bits, in lookup tables (208 logic cells) and in a multiplier."""
VOLTS, MHZ = 1.219, 12
PRODUCT = """  logic [23:0] count;
  logic [7:0] a, b;
  always_ff @(posedge clk)
    if (rst) begin count <= 0; a <= 0; b <= 0; end
    else begin count <= count + 1'b1; a <= a + 8'd3; b <= b + 8'd5; end
  wire [15:0] product = a * b;
  assign m_valid = 1'b1;
  assign m_data = {7'd0, count[23] | &a | &b | ^product};
"""


def test_the_coefficients_of_an_ice40_follow_from_the_published_currents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def picojoules(microamperes: float) -> float:
        return microamperes * VOLTS / MHZ

    bits = np.array(list(PUBLISHED))
    clocked, alone = np.polyfit(bits, [picojoules(each - HALTED) for each in PUBLISHED.values()], 1)
    cycles = 1 << 15
    idle = np.zeros(cycles, int)
    with_dsp, parts, _ = counted(PRODUCT, "ice40up5k", tmp_path / "dsp", idle)
    assert [len(part.multipliers) for part in parts.values() if part.multipliers] == [1]
    assert with_dsp["multiplications"] == cycles - 1
    spec = spec_of(find_device("ice40up5k").family)
    plain = replace(spec, synthesis=replace(spec.synthesis, passes="synth_ice40"))
    with monkeypatch.context() as patch:
        patch.setattr(yosys, "spec_of", lambda family: plain)
        in_tables, parts, _ = counted(PRODUCT, "ice40up5k", tmp_path / "lut", idle)
    assert not any(part.multipliers for part in parts.values())
    # Two bits of a counter toggle in a cycle: the register, the sum and the carry; 14 pins see it.
    counter = 14.0
    product = picojoules(LUT_PRODUCT - COUNTER) - 16 * clocked
    transition = product / (in_tables["transitions"] / cycles - counter)
    multiplier = picojoules(DSP_PRODUCT - COUNTER) - 16 * clocked
    multiplier -= transition * (with_dsp["transitions"] / cycles - counter)
    derived = (BLANK * VOLTS / 1000, alone - counter * transition, clocked, transition, multiplier)
    stated = (ENERGY.static_mw, ENERGY.cycle_pj, ENERGY.clocked_pj, ENERGY.transition_pj, ENERGY.multiplier_pj)
    np.testing.assert_allclose(derived, stated, rtol=0.01)
