"""Holds the FASM that nextpnr wrote against its own placed netlist.

nextpnr's bitstreams have differed from right netlists (``open_fabric``). This module computes once more, from the
placed netlist, what the bitstream has to hold: the table of every lookup table behind the pins to which the router has
moved its inputs, the initial value of every flip-flop, and the contents, widths and write modes of every block RAM. The
routing is not compared.

A cell is found by what its site and the tile of the FASM have in common: the row, the half of the tile, and the letter.
Cells of one row are compared as a collection, because only the database knows their columns.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hw.families.xc7 import fasm
from hw.host.errors import BitfabricError
from hw.host.files import read_json

Place = tuple[str, ...]
"""Kind of cell, row, half, and letter or name of the element."""
_BEL = re.compile(r"(?:.*/)?(SLICE|RAMB18)_X(\d+)Y(\d+)[./](\w+)")
_TILE = re.compile(r"CLBL[LM]_[LR]_X\d+Y(\d+)\.SLICE[LM]_X([01])\.(.+)")
_RAM = re.compile(r"(BRAM_[LR]_X\d+Y(\d+)\.RAMB18_Y([01]))\.(.+)")
_WIDTHS = ("READ_WIDTH_A", "READ_WIDTH_B", "WRITE_WIDTH_A", "WRITE_WIDTH_B")
_MODES = ("WRITE_MODE_A", "WRITE_MODE_B")
_TALL = 5
"""Rows of logic beside a block RAM tile, which has two RAMB18E1."""
_THROUGH = frozenset(sum(1 << i for i in range(64) if i >> pin & 1) for pin in range(6))
"""Tables that pass one pin on: the router makes them where it goes through a lookup table."""


def verify(netlist: Path, configuration: Path) -> None:
    """Compare a FASM file with the placed netlist. Raises BitfabricError with the first place where they differ, and
    for a cell that is not compared."""
    try:
        (module,) = read_json(netlist)["modules"].values()
        expected = _expected(module["cells"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BitfabricError(f"cannot read the placed netlist {netlist} ({error}); build again") from None
    found = _found(fasm.read(configuration))
    for place in sorted(expected.keys() | found.keys()):
        wanted, there = Counter(expected.get(place, ())), Counter(found.get(place, ()))
        extra = [value for value in there - wanted if place[0] != "LUT" or value not in _THROUGH]
        lacking = list(wanted - there)
        if extra or lacking:
            what, row, half, element = place
            what += f" {element}" if element else ""
            said = f"{_shown(lacking)} of the placed netlist, but has {_shown(extra)}"
            raise BitfabricError(
                f"{configuration}: {what} in row {row}, half {half} lacks {said}; nextpnr would make a wrong "
                "bitstream: take another version, and tell openXC7"
            )


def _shown(values: list[Hashable]) -> str:
    return str(values[0])[:60] if values else "nothing"


def _expected(cells: Mapping[str, Mapping[str, Any]]) -> dict[Place, list[Hashable]]:
    """What the FASM has to state, by place."""
    found: dict[Place, list[Hashable]] = defaultdict(list)
    tables: dict[tuple[str, str, str], dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for name, cell in cells.items():
        kind, attributes = cell["type"], cell["attributes"]
        if kind in ("SLICE_LUTX", "SLICE_FFX", "RAMB18E1_RAMB18E1"):
            bel = _BEL.fullmatch(str(attributes.get("NEXTPNR_BEL", "")))
            if bel is None:
                raise BitfabricError(f"cell {name} of the placed netlist has no place that is known; build again")
            _, x, y, element = bel.groups()
        if kind == "SLICE_LUTX":
            made_from = str(attributes.get("X_ORIG_TYPE", "")).strip()
            if not re.fullmatch(r"LUT[1-6]|INV", made_from):
                raise BitfabricError(
                    f"cell {name} is a {made_from or kind}, which is not compared; no bitstream is made"
                )
            tables[x, y, element[0]][element[1]] = cell
        elif kind == "SLICE_FFX":
            if _number(cell, "INIT") == 0:
                found["FF", y, str(int(x) & 1), element].append("ZINI")
        elif kind == "RAMB18E1_RAMB18E1":
            found["RAMB18E1", str(int(y) // 2 * _TALL), str(int(y) & 1), ""].append(_memory(cell))
        elif kind.startswith(("RAMB36", "DSP48", "FIFO")):
            raise BitfabricError(f"cell {name} is a {kind}, which is not compared; no bitstream is made")
    for (x, y, letter), halves in tables.items():
        found["LUT", y, str(int(x) & 1), letter].append(_table(halves.get("6"), halves.get("5")))
    return found


def _number(cell: Mapping[str, Any], parameter: str) -> int:
    return int(re.sub("[xz]", "0", str(cell["parameters"].get(parameter, "0"))) or "0", 2)


def _table(six: Mapping[str, Any] | None, five: Mapping[str, Any] | None) -> int:
    """The 64 bits of a lookup table: bit j is its output where pin A1 to A6 is bit 0 to 5 of j.

    With two functions inside, ``five`` has the lower half, and pin A6 is 1 for ``six``.
    """
    bits = 0
    for address in range(64):
        cell = six if six is not None and (five is None or address >= 32) else five
        assert cell is not None
        inputs = 0
        for pin in range(6):
            if address >> pin & 1:
                for name in re.findall(r"I([0-5])", str(cell["attributes"].get(f"X_ORIG_PORT_A{pin + 1}", ""))):
                    inputs |= 1 << int(name)
        bits |= (_number(cell, "INIT") >> inputs & 1) << address
    return bits


def _memory(cell: Mapping[str, Any]) -> Hashable:
    """Contents, parity contents, and the features of widths and modes of a RAMB18E1."""
    features = set()
    for name in _WIDTHS:
        width = _number(cell, name)
        if width not in (0, 1, 2, 4, 9, 18):
            raise BitfabricError(f"a RAMB18E1 with {name} {width} is not compared; no bitstream is made")
        if width > 1:  # width 1 has no bit of its own
            features.add(f"{name}_{width}")
    for name in _MODES:
        mode = str(cell["parameters"].get(name, "WRITE_FIRST")).strip()
        if mode != "WRITE_FIRST":
            features.add(f"{name}_{mode}")
    rows = [f"INIT_{row:02X}" for row in range(64)], [f"INITP_{row:02X}" for row in range(8)]
    words, parity = (tuple(_number(cell, name) for name in names) for names in rows)
    return words, parity, frozenset(features)


def _found(features: Mapping[str, int]) -> dict[Place, list[Hashable]]:
    """What the FASM states, by place."""
    found: dict[Place, list[Hashable]] = defaultdict(list)
    memories: dict[str, dict[str, int]] = defaultdict(dict)
    for name, value in features.items():
        if tile := _TILE.fullmatch(name):
            row, half, rest = tile.groups()
            if table := re.fullmatch(r"([ABCD])LUT\.INIT", rest):
                found["LUT", row, half, table[1]].append(value)
            elif re.fullmatch(r"[ABCD]LUT\.(RAM|SRL|SMALL)", rest):
                raise BitfabricError(f"{name}: RAM in lookup tables is not compared; no bitstream is made")
            elif register := re.fullmatch(r"(\w+)\.ZINI", rest):
                found["FF", row, half, register[1]].append("ZINI")
        elif ram := _RAM.fullmatch(name):
            memories[ram[1]][ram[4]] = value
    for memory, own in memories.items():
        if "IN_USE" in own:
            match = re.fullmatch(r"BRAM_[LR]_X\d+Y(\d+)\.RAMB18_Y([01])", memory)
            assert match is not None
            found["RAMB18E1", match[1], match[2], ""].append(_stated(own))
    return found


def _stated(own: Mapping[str, int]) -> Hashable:
    words = tuple(own.get(f"INIT_{row:02X}", 0) for row in range(64))
    parity = tuple(own.get(f"INITP_{row:02X}", 0) for row in range(8))
    return words, parity, frozenset(_settings(own))


def _settings(own: Mapping[str, int]) -> Iterator[str]:
    """The features of widths and modes; those of width 1 have no bit of their own."""
    for name in own:
        if re.fullmatch(r"(READ|WRITE)_(WIDTH|MODE)_[AB]_\w+|SDP_\w+|DO[AB]_REG", name) and not name.endswith("_1"):
            yield name
