"""The logic of constant thresholds: numbers of any ranges, each compared with its own thresholds."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.kernels.shared.pipeline import Stage, header, named

ONE_CYCLE = 12, 7
"""Bits of a number, and its thresholds, up to which all logic lies in one cycle."""
ENCODED, DEPTH = 0.7, 1.2
"""Lookup tables that one more comparison side by side adds to the number, and tables for every bit of a digit's number:
synthesis takes some more where it saves a level."""
NARROW = 0.4
"""Lookup tables of a number of few bits, of those that tables of its results would take: these are monotone."""


@dataclass(frozen=True, eq=False)
class Comparators:
    """By channel c the number of ``codes[c]`` that a number reaches, or, where ``falling[c]``, does not reach.

    Attributes:
        width: bits of the word x that holds the numbers.
        places: (C,) the lowest bit of each number in x.
        bits: (C,) the bits of each number, at least 1.
        signed: (C,) bool, whether it is in two's complement.
        codes: (C, STEPS) thresholds on the number in offset binary, sorted, from 0 (always reached) to 2^bits (never).
        falling: (C,) bool.
        out_bits: bits of a result.
        out_min: what is added to it.
    """

    width: int
    places: np.ndarray
    bits: np.ndarray
    signed: np.ndarray
    codes: np.ndarray
    falling: np.ndarray
    out_bits: int
    out_min: int

    @property
    def steps(self) -> int:
        """Thresholds of a channel."""
        return self.codes.shape[1]

    @property
    def registers(self) -> int:
        """1 where the logic has a register in its middle. The same for every family, because cycle counts must not
        depend on it."""
        bits, steps = ONE_CYCLE
        return int(self.bits.max() > bits or self.steps > steps)

    # Cost.

    def _digits(self, bits: int, family: Family) -> tuple[int, ...] | None:
        """Bits of the digits, the lowest first; None where comparisons side by side need fewer lookup tables."""
        inputs = family.lut_inputs
        if inputs < 6:
            return None
        lowest, each = min(inputs, bits), inputs - self.steps.bit_length()
        rest = bits - lowest
        return (lowest, *(min(each, rest - i) for i in range(0, rest, each)))

    @cached_property
    def _distinct(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Bits, codes and directions of the channels, equal functions of the same number once."""
        keys = np.column_stack((self.places, self.bits, self.codes, self.falling))
        once = np.unique(keys, axis=0)
        return once[:, 1], once[:, 2:-1], once[:, -1]

    @property
    def varying_bits(self) -> np.ndarray:
        """By channel the bits of its result that are not constant, (C,)."""
        least = np.count_nonzero(self.codes == 0, axis=1)
        most = np.count_nonzero(self.codes < (1 << self.bits)[:, None], axis=1)
        ends = np.where(self.falling, self.steps - np.array([most, least]), np.array([least, most])) + self.out_min
        differ = (ends[0] ^ ends[1]) & (1 << self.out_bits) - 1
        return np.array([int(each).bit_length() for each in differ], np.int64)

    def only(self, channels: np.ndarray) -> "Comparators":
        """Those of the channels that ``channels``, bool, marks; there is one at least."""
        kept = {name: getattr(self, name)[channels] for name in ("places", "bits", "signed", "codes", "falling")}
        return replace(self, **kept)

    def logic(self, family: Family) -> Resources:
        """Cost for one position."""
        bits, codes, falls = self._distinct
        lut, middle = 0.0, 0
        for each in np.unique(bits).tolist():
            chosen = bits == each
            digits, count = self._digits(each, family), self.steps.bit_length()
            rows, counts = np.unique(np.column_stack((codes[chosen], falls[chosen])), axis=0, return_counts=True)
            if digits is None:
                moved = (rows[:, -1] > 0) | (self.out_min % (1 << count) > 0)
                tables, kept = _comparisons(rows[:, :-1], each) + moved * (count - 1), self.steps
            else:
                tables, kept = _tables(rows[:, :-1], digits), count + sum(digits[(len(digits) + 1) // 2 :])
            lut += float(counts @ tables)
            middle += int(chosen.sum()) * kept
        return Resources(round(lut), self.registers * middle)

    # Hardware.

    def stage(self, family: Family, about: str) -> Stage:
        """The module for one position."""
        late = self.registers
        text = header(f"{about}. Latency: {late} cycle{'s' * (late != 1)}.")
        text += "".join(f"{line}\n" for line in self._lines(family))
        module, text = named("constant_threshold_stage", text)
        return Stage(module, len(self.codes) * self.out_bits, late, {f"{module}.sv": text})

    def _lines(self, family: Family) -> Iterator[str]:
        yield "`default_nettype none"
        yield ""
        yield "module NAME ("
        yield "    input  wire logic clk,"
        yield f"    input  wire logic [{self.width - 1}:0] x,"
        yield f"    output      logic [{len(self.codes) - 1}:0][{self.out_bits - 1}:0] y"
        yield ");"
        for channel, row in enumerate(self.codes.tolist()):
            bits, low = int(self.bits[channel]), int(self.places[channel])
            digits = self._digits(bits, family) is not None
            common = f".IN_BITS({bits}), .OUT_BITS({self.out_bits}), .OUT_MIN({self.out_min}), .STEPS({self.steps}), "
            common += f".TABLE_INPUTS({family.lut_inputs}), " if digits else ""
            module = "bf_threshold_digits" if digits else "bf_threshold_comparisons"
            bounds = ", ".join(f"32'd{code}" for code in reversed(row))
            flip = f" ^ {bits}'d{1 << bits - 1}" if self.signed[channel] else ""
            yield f"  {module} #({common}.REGISTERED({self.registers}),"
            yield f"      .FALLS({int(self.falling[channel])}), .BOUNDS({{{bounds}}}))"
            yield f"  channel_{channel} (.clk, .x(x[{low}+:{bits}]{flip}), .y(y[{channel}]));"
        yield "endmodule"


def _comparisons(codes: np.ndarray, bits: int) -> np.ndarray:
    """Lookup tables of four inputs for comparisons side by side, and for the number that they make, by channel."""
    varying = (codes > 0) & (codes < 1 << bits)
    varying[:, 1:] &= codes[:, 1:] != codes[:, :-1]
    low = np.where(varying, codes, 1)
    compared = bits - np.bitwise_count((low & -low) - 1)  # the bits below the lowest one do not matter
    found = ENCODED * np.maximum(0, varying.sum(axis=1) - 2) + np.sum(varying * np.ceil((compared - 1) / 3), axis=1)
    return np.minimum(found, NARROW * codes.shape[1].bit_length() * 2.0 ** max(0, bits - 4))


def _tables(codes: np.ndarray, digits: tuple[int, ...]) -> np.ndarray:
    """Lookup tables of the search from digit to digit, by channel: a bit of a number that varies takes one."""
    found, low = np.zeros(len(codes)), 0
    for digit in digits:
        low += digit
        top = low == sum(digits)
        parts = codes if top else codes % (1 << low)
        reached = parts[:, None, :] <= np.arange(1 << digit)[:, None] << low - digit
        numbers = reached.sum(axis=2)  # (channels, digits), for the digits below all 0
        most = (parts < 1 << low).sum(axis=1)
        numbers = np.column_stack((numbers, most))
        varying = np.bitwise_or.reduce(numbers ^ numbers[:, :1], axis=1)
        found += np.bitwise_count(varying)
    return DEPTH * found
