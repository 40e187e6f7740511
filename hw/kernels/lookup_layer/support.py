"""Tables without the inputs that they do not depend on."""

from typing import NamedTuple

import numpy as np


class Table(NamedTuple):
    """A table of the inputs ``wires``, no two of them equal: bit a of ``contents`` is its value at address a, of which
    wire 0 is the lowest bit."""

    wires: tuple[int, ...]
    contents: int


def reduced(wires: np.ndarray, tables: np.ndarray) -> tuple[Table, ...]:
    """Tables of ``wires`` (O, K) and contents ``tables`` (O, 2^K), each with the inputs that it depends on."""
    inputs = wires.shape[1]
    used = [_differs(tables, j).tolist() for j in range(inputs)]
    found = []
    for number, (sources, bits) in enumerate(zip(wires.tolist(), tables, strict=True)):
        if all(each[number] for each in used) and len(set(sources)) == inputs:
            found.append(Table(tuple(sources), _number(bits)))
        else:
            found.append(_reduce(sources, bits))
    return tuple(found)


def _differs(tables: np.ndarray, j: int) -> np.ndarray:
    """Which tables depend on input j."""
    halves = tables.reshape(len(tables), -1, 2, 1 << j)
    return np.asarray((halves[:, :, 0] != halves[:, :, 1]).any(axis=(1, 2)))


def _number(bits: np.ndarray) -> int:
    return int.from_bytes(np.packbits(bits, bitorder="little").tobytes(), "little")


def _reduce(wires: list[int], bits: np.ndarray) -> Table:
    """One table: inputs on the same wire become one, and then those without an effect are left out."""
    wires = list(wires)
    for j in range(len(wires) - 1, 0, -1):
        if (first := wires.index(wires[j])) < j:
            bits = bits[_addresses(len(bits), j, first)]
            del wires[j]
    for j in range(len(wires) - 1, -1, -1):
        halves = bits.reshape(-1, 2, 1 << j)
        if (halves[:, 0] == halves[:, 1]).all():
            bits = halves[:, 0].ravel()
            del wires[j]
    return Table(tuple(wires), _number(bits))


def _addresses(size: int, j: int, first: int) -> np.ndarray:
    """The addresses below ``size`` whose bits j and ``first`` are equal, in the order of their other bits."""
    rest = np.arange(size // 2)
    return np.asarray(rest >> j << j + 1 | (rest >> first & 1) << j | rest & (1 << j) - 1)
