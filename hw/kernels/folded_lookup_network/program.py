"""The programs of a folded lookup network: what its memories hold, step by step.

Bits are in words of PE. The words of a position are, one after the other, its own bits (of the encoder, or the input),
and those of each layer but the last. A step of the encoder makes one word, a step of a layer computes PE tables. Before
a layer there are GAP steps without effect, as its first tables may read bits that are still under way; their words are
written, too, and never read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hw.ir.kernel import Kernel
from hw.kernels.arg_max.kernel import ArgMax
from hw.kernels.lookup_layer.kernel import LookupLayer
from hw.kernels.lookup_layer.support import Table
from hw.kernels.popcount_class.kernel import PopcountClass
from hw.kernels.thermometer.kernel import Thermometer

GAP = 4
"""Steps from one that writes a word to the first that may read it, less one."""
NOTHING = Table((), 0)
"""The table of steps and lanes without effect."""


@dataclass(frozen=True, eq=False)
class Program:
    """The steps of a position.

    ``features`` and ``codes`` (E, PE): steps of the encoder, each the comparisons of a word, x[feature] >= code; E is 0
    without an encoder. ``wires`` (S, PE, K) and ``tables`` (S, PE, 2^K): steps of the layers; a wire is the number of a
    bit. The words of the first ``hidden`` of these are written, those of the others are the result: bits, or, of
    ``turns`` steps for each class, what is counted (0: there is no popcount). ``words``: words of bits of a position.
    """

    features: np.ndarray
    codes: np.ndarray
    wires: np.ndarray
    tables: np.ndarray
    hidden: int
    turns: int
    words: int


def program(kernels: Sequence[Kernel], pe: int) -> Program:
    """The program of the layers ``kernels`` with words of ``pe`` bits."""
    first, rest = kernels[0], [each for each in kernels if not isinstance(each, ArgMax)]
    features = codes = np.zeros((0, pe), np.int64)
    if isinstance(first, Thermometer):
        features, codes = (_padded(each, pe) for each in (first.features, first.codes))
        rest = rest[1:]
    layers = [each for each in rest if isinstance(each, LookupLayer)]
    count = next((each for each in rest if isinstance(each, PopcountClass)), None)
    outputs = layers[-1].reduced if layers else ()
    bits = rest[0].inputs()[0].shape[-1]
    own = -(-bits // pe)
    steps: list[Table] = []  # a multiple of pe tables, whose wires are numbers of bits
    start = 0  # the first bit of the layer before
    for layer in layers[:-1]:
        steps += [NOTHING] * GAP * pe
        begin = len(steps)
        steps += _moved(layer.reduced, start)
        steps += [NOTHING] * (-len(steps) % pe)
        start = own * pe + begin
    steps += [NOTHING] * GAP * pe
    hidden, turns = len(steps) // pe, 0
    if count is None:
        steps += _moved(outputs, start)
    else:
        passed = outputs if layers else [Table((wire,), 0b10) for wire in range(bits)]
        turns = max(1, -(-max(count.counts) // pe))
        for number in range(len(count.offsets)):
            steps += _moved([passed[wire] for wire in count.wires[count.groups == number]], start)
            steps += [NOTHING] * ((hidden + (number + 1) * turns) * pe - len(steps))
    inputs = max(1, *(len(each.wires) for each in steps))
    wires = [(*each.wires, *[0] * (inputs - len(each.wires))) for each in steps]
    tables = [_contents(each, inputs) for each in steps]
    shape = len(steps) // pe, pe
    return Program(
        features, codes, np.array(wires, np.int64).reshape(*shape, inputs),
        np.array(tables).reshape(*shape, 1 << inputs), hidden, turns, own + hidden,
    )  # fmt: skip


def _padded(values: np.ndarray, pe: int) -> np.ndarray:
    """Values (B,) as words (steps, pe); zeros behind them."""
    return np.pad(values, (0, -len(values) % pe)).reshape(-1, pe)


def _moved(tables: Sequence[Table], start: int) -> Iterator[Table]:
    """The tables, of bits that begin at the number ``start``."""
    for each in tables:
        yield Table(tuple(wire + start for wire in each.wires), each.contents)


def _contents(table: Table, inputs: int) -> np.ndarray:
    """The bits of a table of ``inputs`` inputs, of which the last ones have no effect."""
    size = 1 << len(table.wires)
    bits = np.array([table.contents >> address & 1 for address in range(size)], np.uint8)
    return np.tile(bits, (1 << inputs) // size)
