"""Adders built of a family's cells: the structure of lookup tables and carry cells is the sum, for all inputs."""

import itertools
from pathlib import Path

import pytest

import hw
from hw.host.errors import BitfabricError
from hw.synth import yosys

CELLS = Path(hw.__file__).parent / "kernels" / "cells"
STRUCTURES = {
    "bf_ternary_adder": ("BF_LUT6_2", "+/xilinx/cells_sim.v"),
    "bf_short_adder": ("BF_LUT4", "+/ecp5/cells_sim.v"),
    "bf_count_adder": ("BF_LUT4", "+/ecp5/cells_sim.v"),
}
"""By cell the macro that chooses the structure, and the models of the family's cells."""
CASES = [
    {},
    {"A_SHIFT": 2, "B_MINUS": 1, "WIDTH": 8},
    {"A_MINUS": 1, "C_MINUS": 1, "B_SHIFT": 1, "A_SIGNED": 1, "WIDTH": 7},
    {"A_BITS": 1, "B_BITS": 6, "C_SHIFT": 3, "C_BITS": 2, "C_MINUS": 1, "WIDTH": 9},
    {"A_SHIFT": 3, "B_SHIFT": 1, "B_SIGNED": 1, "C_SIGNED": 1, "C_BITS": 2, "WIDTH": 8},
]
SHORT = [
    {},
    {"A_BITS": 1, "B_BITS": 1, "WIDTH": 2, "B_MINUS": 1},
    {"B_MINUS": 1, "B_SHIFT": 1, "B_BITS": 2},
    {"A_SHIFT": 2, "A_BITS": 2, "A_SIGNED": 1, "WIDTH": 5},
    {"A_BITS": 1, "B_BITS": 1, "WIDTH": 4},
]
COUNTS = [
    {},
    {"A_BITS": 5, "B_BITS": 3, "WIDTH": 6},
    {"A_BITS": 1, "B_BITS": 2, "B_COUNTED": 1},
    {"A_BITS": 2, "B_BITS": 3, "B_COUNTED": 1},
    {"A_BITS": 4, "B_BITS": 3, "B_COUNTED": 1, "WIDTH": 5},
]
EVERY_SHORT = [
    {"A_SHIFT": s, "B_SHIFT": t, "A_SIGNED": g, "B_SIGNED": h, "B_MINUS": m, "A_BITS": a, "B_BITS": b, "WIDTH": w}
    for s, t, g, h, m, a, b in itertools.product((0, 1), (0, 2), (0, 1), (0, 1), (0, 1), (1, 3), (1, 2))
    for w in (3, max(s + a, t + b) + 1)
][::5]
EVERY = [
    {"A_SHIFT": s, "B_SHIFT": t, "A_SIGNED": g, "C_SIGNED": h, "A_MINUS": m, "B_MINUS": n, "C_MINUS": o,
     "A_BITS": 3, "B_BITS": b, "C_BITS": 2, "WIDTH": 7}
    for s, t, g, h, m, n, o, b in itertools.product((0, 2), (0, 1), (0, 1), (0, 1), (0, 1), (0, 1), (0, 1), (1, 3))
    if m + n + o < 3
][::7]  # fmt: skip


def prove(cell: str, parameters: dict[str, int], text: str, folder: Path) -> bool:
    """Whether the structure in ``text`` is the sum of the cell's source."""
    define, models = STRUCTURES[cell]
    (folder / "sum.sv").write_text((CELLS / f"{cell}.sv").read_text())
    (folder / "structure.sv").write_text(text)
    given = " ".join(f"-G {name}={value}" for name, value in parameters.items())
    script = f"""\
read_slang --top {cell} {given} sum.sv
rename {cell} gold
design -stash gold
read_slang --top {cell} {given} -D {define} structure.sv
rename {cell} gate
read_verilog -overwrite {models}
hierarchy -top gate
proc
flatten gate
design -copy-from gold gold
miter -equiv -flatten gold gate proof
hierarchy -top proof
proc
flatten
opt -full
sat -verify -prove trigger 0 proof
"""
    try:
        log = yosys.run_script(script, folder, "proof", "proof").read_text()
    except BitfabricError:
        assert "SAT proof finished - model found: FAIL!" in (folder / "proof.log").read_text()
        return False
    assert "SAT proof finished - no model found: SUCCESS!" in log
    return True


def text(cell: str) -> str:
    return (CELLS / f"{cell}.sv").read_text()


def label(parameters: dict[str, int]) -> str:
    return "-".join(f"{n}{v}" for n, v in parameters.items()) or "default"


@pytest.mark.parametrize("parameters", CASES, ids=label)
def test_three_operands(parameters, tmp_path):
    assert prove("bf_ternary_adder", parameters, text("bf_ternary_adder"), tmp_path)


@pytest.mark.parametrize("parameters", SHORT, ids=label)
def test_two_operands(parameters, tmp_path):
    assert prove("bf_short_adder", parameters, text("bf_short_adder"), tmp_path)


@pytest.mark.parametrize("parameters", COUNTS, ids=label)
def test_two_counts(parameters, tmp_path):
    """Whatever comes into the chain, for its end is open."""
    source = text("bf_count_adder")
    assert source.count(closed := "assign carries[0] = 1'b0;") == 1
    assert prove("bf_count_adder", parameters, source, tmp_path)
    assert prove("bf_count_adder", parameters, source.replace(closed, "assign carries[0] = a[0];"), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("index", range(len(EVERY)))
def test_every_combination_of_signs_and_places(index, tmp_path):
    assert prove("bf_ternary_adder", EVERY[index], text("bf_ternary_adder"), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("index", range(len(EVERY_SHORT)))
def test_every_short_adder(index, tmp_path):
    assert prove("bf_short_adder", EVERY_SHORT[index], text("bf_short_adder"), tmp_path)


@pytest.mark.parametrize(
    ("cell", "right", "wrong"),
    [
        ("bf_ternary_adder", "abc[1] & abc[2])) ^ inverted", "abc[1] | abc[2])) ^ inverted"),
        ("bf_short_adder", "(p & carry) |", "(p | carry) |"),
        ("bf_count_adder", "16'h66AA", "16'h66A2"),
    ],
)
def test_a_wrong_structure_is_found(cell, right, wrong, tmp_path):
    assert text(cell).count(right) == 1
    assert not prove(cell, {}, text(cell).replace(right, wrong), tmp_path)
