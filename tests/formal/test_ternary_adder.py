"""The adder of three operands: its structure of lookup tables and carry cells is the sum, for all inputs."""

import itertools
from pathlib import Path

import pytest

import hw
from hw.host.errors import BitfabricError
from hw.synth import yosys

SOURCE = Path(hw.__file__).parent / "kernels" / "cells" / "bf_ternary_adder.sv"
DEFINE = "BF_LUT6_2"
CASES = [
    {},
    {"A_SHIFT": 2, "B_MINUS": 1, "WIDTH": 8},
    {"A_MINUS": 1, "C_MINUS": 1, "B_SHIFT": 1, "A_SIGNED": 1, "WIDTH": 7},
    {"A_BITS": 1, "B_BITS": 6, "C_SHIFT": 3, "C_BITS": 2, "C_MINUS": 1, "WIDTH": 9},
    {"A_SHIFT": 3, "B_SHIFT": 1, "B_SIGNED": 1, "C_SIGNED": 1, "C_BITS": 2, "WIDTH": 8},
]
EVERY = [
    {"A_SHIFT": s, "B_SHIFT": t, "A_SIGNED": g, "C_SIGNED": h, "A_MINUS": m, "B_MINUS": n, "C_MINUS": o,
     "A_BITS": 3, "B_BITS": b, "C_BITS": 2, "WIDTH": 7}
    for s, t, g, h, m, n, o, b in itertools.product((0, 2), (0, 1), (0, 1), (0, 1), (0, 1), (0, 1), (0, 1), (1, 3))
    if m + n + o < 3
]  # fmt: skip


def prove(parameters: dict[str, int], text: str, folder: Path) -> bool:
    """Whether the structure in ``text`` is the sum of the original source."""
    (folder / "sum.sv").write_text(SOURCE.read_text())
    (folder / "structure.sv").write_text(text)
    given = " ".join(f"-G {name}={value}" for name, value in parameters.items())
    script = f"""\
read_slang --top bf_ternary_adder {given} sum.sv
rename bf_ternary_adder gold
design -stash gold
read_slang --top bf_ternary_adder {given} -D {DEFINE} structure.sv
rename bf_ternary_adder gate
read_verilog -overwrite +/xilinx/cells_sim.v
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


@pytest.mark.parametrize("parameters", CASES, ids=lambda p: "-".join(f"{n}{v}" for n, v in p.items()) or "default")
def test_the_structure_is_the_sum(parameters, tmp_path):
    assert prove(parameters, SOURCE.read_text(), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("index", range(len(EVERY)))
def test_every_combination_of_signs_and_places(index, tmp_path):
    assert prove(EVERY[index], SOURCE.read_text(), tmp_path)


def test_a_wrong_structure_is_found(tmp_path):
    text = SOURCE.read_text()
    assert text.count("abc[1] & abc[2])) ^ inverted") == 1
    assert not prove({}, text.replace("abc[1] & abc[2])) ^ inverted", "abc[1] | abc[2])) ^ inverted"), tmp_path)
