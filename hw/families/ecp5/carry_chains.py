"""Carry chains of ECP5 as nextpnr places them best: with open ends, and without constants to be routed.

nextpnr puts a cell before a chain whose carry input is connected, even to a constant, and one behind a chain whose
carry output is, even to nothing. Each takes two lookup tables. Yosys connects both ends of all chains. After synthesis
they are opened where that has no effect:

- the end of a chain whose last carry nothing reads;
- the beginning of a chain of ``bf_count_adder``: its first bit gives its operand A as the carry, whatever comes in;
- the beginning of a chain with a constant carry in whose last half cell is free: all bits move up by half a cell, and
  the first half makes the constant.

An input that is constant 0 would be routed from a cell that makes 0 for the whole design, and one of 1 is an open pin.
So the tables of a chain have 1 in its place.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

OPEN = "bf_open_ends"
"""The attribute of the cells of ``bf_count_adder``."""

Cell = dict[str, Any]
"""A cell of a Yosys JSON module."""

_PARAMETERS, _PINS = ("INIT{}", "INJECT1_{}"), ("A{}", "B{}", "C{}", "D{}", "S{}")
"""Those of one half of a cell, which is one bit of a chain."""
_CARRIES = {"0": f"{0x0000:016b}", "1": f"{0x0008:016b}"}
"""Contents of a bit whose carry is constant, where all its inputs are 1."""


def finish(module: dict[str, Any]) -> bool:
    """Open the ends of the carry chains of a Yosys JSON module, and take constants out; whether anything changed."""
    opened = open_ends(module)
    cells = [cell for cell in module["cells"].values() if cell["type"] == "CCU2C"]
    changed = sum(_without_zeros(cell, half) for cell in cells for half in (0, 1))
    return opened or changed > 0


def open_ends(module: dict[str, Any]) -> bool:
    """Open the ends of carry chains in a Yosys JSON module; whether any had to be opened."""
    readers = _readers(module)
    opened = False
    for chain in _chains(module):
        first, last = chain[0]["connections"], chain[-1]["connections"]
        constant, marked = first["CIN"][0], OPEN in chain[0]["attributes"]
        inside = all(readers[cell["connections"]["COUT"][0]] == 1 for cell in chain[:-1])
        ends = last["COUT"] == ["x"] or not readers[last["COUT"][0]]
        if ends and last["COUT"] != ["x"]:
            last["COUT"], opened = ["x"], True
        if constant not in ("0", "1"):
            continue
        if marked:
            first["CIN"], opened = ["x"], True
        elif ends and inside and not readers[last["S1"][0]]:
            _move_up(chain, constant)
            first["CIN"], opened = ["x"], True
    return opened


def _readers(module: dict[str, Any]) -> Counter[int]:
    """The number of readers of each net: inputs of cells, and ports of the module."""
    found: Counter[int] = Counter()
    for cell in module["cells"].values():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] != "output":
                found.update(bit for bit in bits if isinstance(bit, int))
    for port in module["ports"].values():
        found.update(bit for bit in port["bits"] if isinstance(bit, int))
    return found


def _chains(module: dict[str, Any]) -> Iterator[list[Cell]]:
    """The cells of each carry chain, in order."""
    cells = [cell for cell in module["cells"].values() if cell["type"] == "CCU2C"]
    behind = {cell["connections"]["CIN"][0]: cell for cell in cells}
    carries = {cell["connections"]["COUT"][0] for cell in cells} - {"x"}
    for cell in cells:
        if cell["connections"]["CIN"][0] in carries:
            continue
        chain = [cell]
        while (carry := chain[-1]["connections"]["COUT"][0]) != "x" and carry in behind:
            chain.append(behind[carry])
        yield chain


def _move_up(chain: list[Cell], constant: str) -> None:
    """Move the bits of a chain, whose last half cell is free, up by half a cell; the first half makes ``constant``."""
    unread = chain[-1]["connections"]["S1"]
    bits = [
        ([cell["parameters"][key.format(half)] for key in _PARAMETERS],
         [cell["connections"][key.format(half)] for key in _PINS])
        for cell in chain
        for half in (0, 1)
    ]  # fmt: skip
    bits = [([_CARRIES[constant], "NO"], [*(["1"] for _ in "ABCD"), unread]), *bits[:-1]]
    for number, (parameters, pins) in enumerate(bits):
        cell, half = chain[number // 2], number % 2
        cell["parameters"].update({key.format(half): value for key, value in zip(_PARAMETERS, parameters, strict=True)})
        cell["connections"].update({key.format(half): value for key, value in zip(_PINS, pins, strict=True)})


def _without_zeros(cell: Cell, half: int) -> bool:
    """Give the inputs of half a cell that are 0 the value 1, with contents that have the same result; whether any was.

    The lowest four bits of the contents, by A and B alone, also tell which carry begins here.
    """
    pins, key = cell["connections"], f"INIT{half}"
    zeros = [place for place, name in enumerate("ABCD") if pins[f"{name}{half}"] == ["0"]]
    keep = 15 - sum(1 << place for place in zeros)
    contents = int(cell["parameters"][key], 2)
    cell["parameters"][key] = f"{sum((contents >> (i & keep) & 1) << i for i in range(16)):016b}"
    pins.update({f"{'ABCD'[place]}{half}": ["1"] for place in zeros})
    return bool(zeros)
