"""Bitstreams for AMD boards, as far as they go without the tools: command lines, constraints, the check of FASM.

None of openXC7's tools runs here. FASM texts are made by hand in the format that nextpnr writes.
"""

import json
import re
import stat
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw.boards.image import image
from hw.boards.targets import find_target
from hw.fabric.resources import Resources
from hw.fabric.toolchain import Pin
from hw.families.xc7 import fasm, toolchain
from hw.families.xc7.readback import verify
from hw.host.errors import BitfabricError, UsageError
from hw.ir.stream import Stream
from hw.kernels.calibration import grid, separate
from hw.kernels.shared import cell_costs
from hw.rtl.design import RtlDesign, generate, instances
from hw.synth import nextpnr, pll
from hw.synth.yosys import synthesise

BOARDS = ("arty-a7-35", "arty-a7-100", "basys3", "cmod-a7-35", "pynq-z1", "pynq-z2")
ARTY = find_target("arty-a7-35").device


def program(folder: Path, name: str, text: str = "") -> Path:
    """An executable shell script, which stands for a tool whose command line is looked at."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A PATH with one empty folder, and no database."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv(toolchain.VARIABLE, raising=False)
    return tmp_path


def database(root: Path, part: str = "xc7a35tcsg324-1", family: str = "artix7") -> Path:
    (root / family / part).mkdir(parents=True)
    (root / family / part / "part.yaml").write_text("")
    return root / family


def test_what_is_missing_is_named_one_after_the_other(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = bare / "bin"
    assert toolchain.missing(ARTY).startswith("no nextpnr-himbaechel on PATH; github.com/openXC7")
    gowin = program(tools, "nextpnr-himbaechel", "echo 'Info: gowin'")
    assert toolchain.missing(ARTY).startswith(f"{gowin} was built without 7 series")
    program(tools, "nextpnr-himbaechel-xilinx", "echo 'Info: xilinx' >&2")
    assert toolchain.missing(ARTY).startswith("no fasm2frames on PATH")
    program(tools, "fasm2frames.py")
    assert toolchain.missing(ARTY).startswith("no xc7frames2bit on PATH")
    program(tools, "xc7frames2bit")
    assert toolchain.missing(ARTY).startswith(
        "no database of xc7a35tcsg324-1 in beside the programs: set PRJXRAY_DB_DIR"
    )
    database(bare / ".apio/packages/openxc7/prjxray-db")
    assert toolchain.missing(ARTY) == ""
    beside = database(bare / "share/nextpnr/prjxray-db")
    assert toolchain.database("xc7a35tcsg324-1") == beside  # before apio's
    monkeypatch.setenv(toolchain.VARIABLE, str(bare / "none"))
    assert str(bare / "none") in toolchain.missing(ARTY)
    given = database(bare / "given")
    monkeypatch.setenv(toolchain.VARIABLE, str(bare / "given"))
    assert toolchain.database("xc7a35tcsg324-1") == given


def test_the_command_lines_are_those_of_nextpnr_and_project_x_ray(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(toolchain.VARIABLE, str(bare / "db"))
    root = database(bare / "db")
    assert toolchain.TOOLCHAIN.options(ARTY, 1000) == ["--device", "xc7a35tcsg324-1"]
    assert toolchain.TOOLCHAIN.packing is not None
    (frames, first), (bits, second) = toolchain.TOOLCHAIN.packing(ARTY, "image.fasm", "image.new.bit")
    assert [frames.name, *first] == [
        "fasm2frames", "--part", "xc7a35tcsg324-1", "--db-root", str(root), "image.fasm", "image.fasm.frames",
    ]  # fmt: skip
    assert [bits.name, *second] == [
        "xc7frames2bit", "--part_file", str(root / "xc7a35tcsg324-1/part.yaml"), "--part_name", "xc7a35tcsg324-1",
        "--frm_file", "image.fasm.frames", "--output_file", "image.new.bit",
    ]  # fmt: skip


@pytest.mark.parametrize("name", BOARDS)
def test_constraints_place_every_port_and_the_clock_of_the_oscillator(name: str) -> None:
    target = find_target(name)
    board = target.board
    assert board is not None
    stream = Stream((1, 8), DataType["UINT8"], 1)
    core = RtlDesign("core", {"s": stream}, {"m": stream}, {"core.sv": ""})
    made = image(core, target, target.device.clock_mhz, 0)
    assert made.clock_mhz == board.clock.mhz
    text = toolchain.TOOLCHAIN.constrain(made.pins)
    # The part of XDC that nextpnr's parser takes: one command a line, each for one port in braces.
    form = r"(set_property (LOC|IOSTANDARD|PULLTYPE) (\w+)|create_clock -period ([\d.]+)) \[get_ports \{([\w\[\]]+)\}\]"
    lines = [re.fullmatch(form, line) for line in text.splitlines()]
    assert all(lines)
    found = {(match[5], match[2]): match[3] for match in lines if match and match[2]}
    assert found["clk_board", "LOC"] == board.clock.pin
    assert (found["uart_rx", "LOC"], found["uart_tx", "LOC"]) == (board.uart.rx, board.uart.tx)
    assert [found[f"led[{i}]", "LOC"] for i in range(len(board.leds))] == list(board.leds)
    assert found["uart_rx", "PULLTYPE"] == "PULLUP"
    ports = {port for port, _ in found}
    assert all(found[port, "IOSTANDARD"] == "LVCMOS33" for port in ports)
    (period,) = [match[4] for match in lines if match and match[4]]
    assert float(period) == pytest.approx(1000 / board.clock.mhz, abs=1e-3)


@pytest.mark.parametrize(("a", "b", "luts"), [(4, 4, 26), (8, 4, 54), (6, 6, 71), (8, 8, 134), (12, 8, 194)])
def test_products_without_a_multiplier_cost_what_yosys_makes_of_them(a: int, b: int, luts: int) -> None:
    """``luts``: a registered product after synthesis for a board."""
    assert cell_costs.soft_product(a, b) == pytest.approx(luts, rel=0.25)


MEMORIES = (
    "fifo UINT4x8 depth=16", "fifo INT12x4 depth=100", "requant INT16->INT8 M=0 C=16 PE=4",
    "accumulate_pool UINT8 (7, 7, 256) (7, 7) PE=1", "max_pool BIPOLAR (28, 28, 64) (2, 2) PE=4",
    "add INT8+INT8 (1, 2) C=64 PE=16",
)  # fmt: skip
"""Kernels with memories that are in block RAM, and in flip-flops."""


def test_block_rams_are_as_many_as_estimated(tmp_path: Path) -> None:
    """A block holds all bits of a word up to 18, though a board's design has it with two ports only."""
    kernels = [kernel for name, kernel in grid() if name in MEMORIES]
    graph = separate(*kernels)
    made = synthesise(generate(graph, ARTY.family), ARTY, tmp_path)
    counted = [made.instances[instance].bram for instance in instances(graph).values()]
    assert counted == [kernel.resources(ARTY.family).bram for kernel in kernels]
    assert sum(counted) == 7


def test_a_board_runs_at_its_oscillator_only() -> None:
    with pytest.raises(UsageError, match="no PLL setting for 50 MHz from 100 MHz"):
        pll.solve(100, 50, ARTY)


def test_a_board_without_package_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\ndevice: xc7z020\nclock: {pin: A1, mhz: 25}\nuart: {rx: A2, tx: A3, max_baud: 115200}\n"
    )
    with pytest.raises(UsageError, match=r"board mine: give 'package' and 'speed' of the xc7z020, as csg324 and '1'"):
        find_target(str(path))


def lut(bel: str, inputs: int, table: int, pins: dict[int, str]) -> dict:
    """A lookup table as nextpnr writes it: ``pins`` are physical pins with the inputs that are on them."""
    orig = {f"X_ORIG_PORT_A{pin}": names for pin, names in pins.items()}
    return {
        "type": "SLICE_LUTX",
        "parameters": {"INIT": f"{table:0{1 << inputs}b}"},
        "attributes": {"NEXTPNR_BEL": bel, "X_ORIG_TYPE": f"LUT{inputs}", **orig},
    }


RNG = np.random.default_rng(5)
WORDS = {f"INIT_{row:02X}": f"{int(RNG.integers(1 << 62)):0256b}" for row in (0, 7, 63)}
RAM = {
    "type": "RAMB18E1_RAMB18E1",
    "parameters": WORDS | {"INITP_03": "1" * 9, "READ_WIDTH_A": f"{18:032b}", "READ_WIDTH_B": f"{1:032b}",
                           "WRITE_WIDTH_A": "0", "WRITE_WIDTH_B": f"{9:032b}", "WRITE_MODE_A": "NO_CHANGE",
                           "WRITE_MODE_B": "WRITE_FIRST"},
    "attributes": {"NEXTPNR_BEL": "X30Y40/RAMB18_X1Y15.RAMB18E1"},
}  # fmt: skip
CELLS = {
    "and": lut("X20Y30/SLICE_X4Y37.A6LUT", 2, 0b1000, {4: "I0", 2: "I1"}),
    "both on one pin": lut("X20Y30/SLICE_X4Y37.B6LUT", 2, 0b0110, {1: "I0 I1"}),
    "xor six": lut("X21Y30/SLICE_X5Y37.C6LUT", 6, sum((i.bit_count() & 1) << i for i in range(64)),
                   {i + 1: f"I{5 - i}" for i in range(6)}),
    "upper": lut("X21Y30/SLICE_X5Y37.D6LUT", 1, 0b01, {3: "I0"}),
    "lower": lut("X21Y30/SLICE_X5Y37.D5LUT", 2, 0b1110, {1: "I0", 5: "I1"}),
    "zero": {"type": "SLICE_FFX", "parameters": {"INIT": "0"}, "attributes": {"NEXTPNR_BEL": "X20Y30/SLICE_X4Y37.AFF"}},
    "one": {"type": "SLICE_FFX", "parameters": {"INIT": "1"}, "attributes": {"NEXTPNR_BEL": "X20Y30/SLICE_X4Y37.BFF"}},
    "ram": RAM,
    "clock": {"type": "BUFGCTRL", "parameters": {}, "attributes": {"NEXTPNR_BEL": "X60Y70/BUFGCTRL_X0Y0.BUFGCTRL"}},
}  # fmt: skip


def bits(of: "np.ndarray | list[int]") -> str:
    return f"64'b{''.join(str(int(bit)) for bit in reversed(list(of)))}"


ADDRESS = np.arange(64)
PIN = {i + 1: ADDRESS >> i & 1 for i in range(6)}
FASM = f"""\
# a comment, and a pip
INT_L_X4Y37.IMUX_L0.WW2END0
CLBLM_L_X10Y37.SLICEM_X0.ALUT.INIT[63:0] = {bits(PIN[4] & PIN[2])}
CLBLM_L_X10Y37.SLICEM_X0.BLUT.INIT[63:0] = {bits([0] * 64)}
CLBLM_L_X10Y37.SLICEL_X1.CLUT.INIT[63:0] = {bits(np.bitwise_xor.reduce(list(PIN.values())))}
CLBLM_L_X10Y37.SLICEL_X1.DLUT.INIT[63:0] = {bits(np.where(PIN[6], 1 - PIN[3], PIN[1] | PIN[5]))}
CLBLL_R_X13Y37.SLICEL_X0.CLUT.INIT[63:0] = {bits(PIN[5])}
CLBLM_L_X10Y37.SLICEM_X0.AFF.ZINI
CLBLM_L_X10Y37.SLICEM_X0.AFF.ZRST
CLBLM_L_X10Y37.SLICEM_X0.BFF.ZRST
BRAM_L_X30Y35.RAMB18_Y1.IN_USE
BRAM_L_X30Y35.RAMB18_Y1.READ_WIDTH_A_18
BRAM_L_X30Y35.RAMB18_Y1.READ_WIDTH_B_1
BRAM_L_X30Y35.RAMB18_Y1.WRITE_WIDTH_B_9
BRAM_L_X30Y35.RAMB18_Y1.WRITE_MODE_A_NO_CHANGE
{"".join(f"BRAM_L_X30Y35.RAMB18_Y1.{row}[255:0] = 256'b{word}" + chr(10) for row, word in WORDS.items())}\
BRAM_L_X30Y35.RAMB18_Y1.INITP_03[255:0] = 256'b{"1" * 9:0>256}
BRAM_L_X30Y35.RAMB18_Y1.ZINIT_A[17:0] = 18'b{"1" * 18}
"""


def compare(folder: Path, cells: dict, text: str) -> None:
    (folder / "image.placed.json").write_text(json.dumps({"modules": {"image": {"cells": cells}}}))
    (folder / "image.fasm").write_text(text)
    verify(folder / "image.placed.json", folder / "image.fasm")


def test_a_right_fasm_is_taken(tmp_path: Path) -> None:
    compare(tmp_path, CELLS, FASM)


LINES = [
    i for i, line in enumerate(FASM.splitlines()) if "INIT" in line and "ZINIT" not in line and "CLBLL_R" not in line
]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(LINES), st.integers(0, 63))
def test_every_wrong_bit_of_a_table_or_a_memory_is_found(line: int, place: int) -> None:
    lines = FASM.splitlines()
    text = list(lines[line])
    at = len(text) - 1 - place
    text[at] = "1" if text[at] == "0" else "0"
    lines[line] = "".join(text)
    with tempfile.TemporaryDirectory() as folder, pytest.raises(BitfabricError, match="wrong bitstream") as caught:
        compare(Path(folder), CELLS, "\n".join(lines))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("CLBLM_L_X10Y37.SLICEM_X0.AFF.ZINI\n", "", r"FF AFF in row 37, half 0 lacks ZINI"),
        ("SLICEM_X0.BFF.ZRST\n", "SLICEM_X0.BFF.ZRST\nCLBLM_L_X10Y37.SLICEM_X0.BFF.ZINI\n", "but has ZINI"),
        ("READ_WIDTH_A_18", "READ_WIDTH_A_9", "RAMB18E1 in row 35, half 1"),
        ("BRAM_L_X30Y35.RAMB18_Y1.IN_USE\n", "", "RAMB18E1"),
        ("WRITE_MODE_A_NO_CHANGE", "WRITE_MODE_A_READ_FIRST", "RAMB18E1"),
        ("X10Y37.SLICEM_X0.ALUT", "X10Y38.SLICEM_X0.ALUT", "LUT A in row 37"),
        ("CLBLL_R_X13Y37.SLICEL_X0.CLUT.INIT", "CLBLL_R_X13Y37.SLICEL_X0.CLUT.RAM\nX.Y", "RAM in lookup tables"),
        ("64'b", "63'q", "is no FASM"),
        ("18'b111", "18'b1111", "do not fit its range"),
    ],
)
def test_every_other_difference_is_found(old: str, new: str, fault: str, tmp_path: Path) -> None:
    assert old in FASM
    with pytest.raises(BitfabricError, match=fault) as caught:
        compare(tmp_path, CELLS, FASM.replace(old, new, 1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"type": "DSP48E1_DSP48E1", "parameters": {}, "attributes": {}}, "DSP48E1_DSP48E1, which is not compared"),
        (lut("X1Y1/SLICE_X0Y0.A6LUT", 4, 0, {}) | {"attributes": {"NEXTPNR_BEL": "X1Y1/SLICE_X0Y0.A6LUT",
         "X_ORIG_TYPE": "SRL16E"}}, "SRL16E, which is not compared"),
        (lut("nowhere", 4, 0, {}), "no place that is known"),
        (RAM | {"parameters": RAM["parameters"] | {"READ_WIDTH_A": f"{36:032b}"}}, "READ_WIDTH_A 36 is not compared"),
    ],
)  # fmt: skip
def test_a_cell_that_is_not_compared_makes_no_bitstream(change: dict, fault: str, tmp_path: Path) -> None:
    with pytest.raises(BitfabricError, match=fault):
        compare(tmp_path, CELLS | {"other": change}, FASM)


def test_fasm_has_bits_in_parts_and_in_several_bases(tmp_path: Path) -> None:
    path = tmp_path / "x.fasm"
    path.write_text("A.B[7:4] = 4'hA\nA.B[1:0]=2'b10 # low\n\nA.C\nA.D[3]\nA.E[3:0] = 9\n")
    assert fasm.read(path) == {"A.B": 0xA2, "A.C": 1, "A.D": 8, "A.E": 9}


ROUTER = """echo "$@" > arguments
for option in "$@"; do
  case "$before" in
    --write) cp image.given.json "$option" ;;
    --report) cp report.given.json "$option" ;;
  esac
  case "$option" in fasm=*) cp image.given.fasm "${option#fasm=}" ;; esac
  before=$option
done
"""
REPORT = {
    "fmax": {"clk_board": {"achieved": 123.0, "constraint": 100.0}},
    "critical_paths": [{"from": "posedge clk", "to": "posedge clk", "path": []}],
    "utilization": {
        "SLICE_LUTX": {"used": 5, "available": 65200},
        "SLICE_FFX": {"used": 2, "available": 65200},
        "RAMB18E1_RAMB18E1": {"used": 1, "available": 150},
    },
}
NETLIST = {
    "modules": {
        "image": {
            "attributes": {"top": "1"},
            "ports": {
                "clk_board": {"direction": "input", "bits": [2]},
                "uart_tx": {"direction": "output", "bits": [3]},
            },
            "cells": {},
            "netnames": {"sent": {"hide_name": 0, "bits": [3], "attributes": {}}},
        }
    }
}


def test_from_a_netlist_to_a_bitstream(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs only note how they were called, and leave files that were made by hand."""
    monkeypatch.setenv(toolchain.VARIABLE, str(bare / "db"))
    database(bare / "db")
    program(bare / "bin", "nextpnr-himbaechel", ROUTER)
    program(bare / "bin", "fasm2frames", 'echo "$@" > frames.arguments; : > "$6"')
    program(bare / "bin", "xc7frames2bit", 'cp "$6" "$8"')
    (bare / "image.json").write_text(json.dumps(NETLIST))
    (bare / "image.given.json").write_text(json.dumps({"modules": {"image": {"cells": CELLS}}}))
    (bare / "report.given.json").write_text(json.dumps(REPORT))
    (bare / "image.given.fasm").write_text(FASM)
    pins = [Pin("clk_board", "E3", "LVCMOS33", mhz=100), Pin("uart_tx", "D10", "LVCMOS33")]
    placed = nextpnr.place_and_route(bare / "image.json", ARTY, bare, 100, pins)
    assert (placed.fmax_mhz, placed.resources) == (123.0, Resources(lut=5, ff=2, bram=1))
    assert (bare / "arguments").read_text().split() == [
        "--device", "xc7a35tcsg324-1", "--json", "image.routed.json", "--freq", "100", "--timing-allow-fail",
        "-o", "xdc=image.xdc", "--write", "image.seed1.placed.json", "--report", "image.seed1.report.json",
        "-o", "fasm=image.seed1.fasm", "--seed", "1",
    ]  # fmt: skip
    assert nextpnr.pack(placed) == bare / "image.bit"
    assert (bare / "frames.arguments").read_text().split()[-2:] == ["image.fasm", "image.fasm.frames"]
    (bare / "image.bit").unlink()
    (bare / "image.fasm").write_text(FASM.replace("READ_WIDTH_A_18", "READ_WIDTH_A_9"))
    with pytest.raises(BitfabricError, match="wrong bitstream"):
        nextpnr.pack(placed)
    assert not (bare / "image.bit").exists()
