"""Carry chains of ECP5 after synthesis: the same sums with open ends and without constants that are 0."""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.families import find_device
from hw.families.ecp5.carry_chains import OPEN, finish
from hw.rtl.design import RtlDesign
from hw.synth.yosys import synthesise
from tests.families.ecp5_netlist import evaluate

INPUTS = 6
"""Nets 2 to 7 are inputs of the module."""


def chain(draw: st.DrawFn, cells: int, marked: bool) -> dict[str, Any]:
    """A module of one chain with random contents and pins, of which the last bit has no reader or has one."""
    pin = st.sampled_from(["0", "1", *range(2, 2 + INPUTS)])
    net, made, sums = 100, {}, []
    carry: Any = draw(st.sampled_from(["0", "1", 2]))
    for i in range(cells):
        parameters = {"INJECT1_0": "NO", "INJECT1_1": "NO"}
        pins: dict[str, list[Any]] = {"CIN": [carry]}
        for half in (0, 1):
            first = marked and i == half == 0  # as in bf_count_adder: the carry is A
            contents = 0x000A if first else draw(st.integers(0, (1 << 16) - 1))
            parameters[f"INIT{half}"] = f"{contents:016b}"
            pins |= {f"{name}{half}": [draw(pin)] for name in "ABCD"}
            if first:
                pins |= {"C0": ["1"], "D0": ["1"]}
            net += 1
            pins[f"S{half}"] = [net]
            sums.append(net)
        net += 1
        carry = net
        pins["COUT"] = [carry]
        outputs = {"S0", "S1", "COUT"}
        directions = {name: "output" if name in outputs else "input" for name in pins}
        attributes = {OPEN: "1"} if marked else {}
        made[f"c{i}"] = {"type": "CCU2C", "parameters": parameters, "attributes": attributes,
                         "connections": pins, "port_directions": directions}  # fmt: skip
    read = sums[marked : len(sums) - draw(st.integers(0, 1))] + [carry] * draw(st.integers(0, 1))
    if cells > 1 and draw(st.integers(0, 3)) == 0:
        read.append(made["c0"]["connections"]["COUT"][0])  # in the middle
    ports = {"s": list(range(2, 2 + INPUTS)), "y": read}
    return {"cells": made, "ports": {name: {"bits": bits} for name, bits in ports.items()}}


@given(st.data())
def test_a_chain_without_its_ends_has_the_same_sums(data):
    marked = data.draw(st.booleans())
    module = chain(data.draw, data.draw(st.integers(1, 3)), marked)
    changed = deepcopy(module)
    finish(changed)
    words = np.arange(1 << INPUTS)
    inputs = {2 + i: words >> i & 1 for i in range(INPUTS)}
    expected = evaluate(module, inputs)
    for floating in (0, 1):
        found = evaluate(changed, inputs, floating)
        for bit in module["ports"]["y"]["bits"]:
            np.testing.assert_array_equal(found[bit], expected[bit])
    pins = [cell["connections"] for cell in changed["cells"].values()]
    assert not any(each[f"{name}{half}"] == ["0"] for each in pins for name in "ABCD" for half in (0, 1))
    (carry,) = list(module["cells"].values())[-1]["connections"]["COUT"]
    assert (pins[-1]["COUT"] == ["x"]) == (carry not in module["ports"]["y"]["bits"])
    again = deepcopy(changed)
    assert not finish(again)
    assert again == changed


@pytest.mark.parametrize(("width", "ends"), [(9, 0), (8, 2)])
def test_only_a_chain_of_an_even_number_of_bits_needs_a_cell_before_it(width, ends, tmp_path):
    source = (
        f"module top (input wire logic [{width - 1}:0] a, b, output logic [{width - 1}:0] y);\n"
        "  assign y = a - b;\nendmodule\n"
    )
    made = synthesise(RtlDesign("top", {}, {}, {"top.sv": source}), find_device("lfe5u-85f"), tmp_path)
    assert made.resources.lut == width + width % 2
    assert made.logic_cells == made.resources.lut + ends
