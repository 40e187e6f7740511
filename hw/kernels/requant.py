"""Requant: scale, offset, round, saturate; for outputs too wide for thresholds (FINN: Requant)."""

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import ClassVar, Self

import numpy as np
from qonnx.core.datatype import BaseDataType

from hw.errors import BitfabricError
from hw.kernels import cost
from hw.kernels.kernel import Folding, Kernel, Memory, Resources, Rtl, Schedule, packed_words
from hw.stream import Stream, container
from hw.synth.family import Family

ROUNDING = {"HALF_EVEN": "ROUND", **{m: m for m in ("ROUND", "HALF_UP", "HALF_DOWN", "CEIL", "FLOOR", "UP", "DOWN")}}
"""QONNX's rounding modes; HALF_UP and HALF_DOWN are symmetric about zero there, UP is away from it."""
LIMB_BITS = 17
MOST_SUM_BITS = 96


def _signed_bits(low: int, high: int) -> int:
    return 1 + max(int(high).bit_length(), int(-low - 1).bit_length() if low < 0 else 0)


@dataclass(frozen=True, eq=False)
class Requant(Kernel):
    """``y = clip(round((x * multiplier + addend) / 2**shift), low, high)`` on ``(*prefix, C)``, ``pe`` at a time.

    ``multiplier`` and ``addend`` are integers (C,); ``rounding`` is one of QONNX's modes.
    """

    op: ClassVar[str] = "requant"
    sources: ClassVar[tuple[str, ...]] = ("parts/rom.sv", "parts/stream_out.sv")

    multiplier: np.ndarray
    addend: np.ndarray
    shift: int
    rounding: str
    input_dtype: BaseDataType
    output_dtype: BaseDataType
    low: int
    high: int
    prefix: tuple[int, ...] = ()
    pe: int = 1

    def __post_init__(self) -> None:
        for name in ("multiplier", "addend"):
            values = np.asarray(getattr(self, name))
            if values.ndim != 1 or values.size == 0 or not all(-(2**63) <= int(v) < 2**63 for v in values.tolist()):
                raise BitfabricError(f"requant: {name} must be 64-bit integers, one a channel")
            object.__setattr__(self, name, values.astype(np.int64))
        if len(self.multiplier) != len(self.addend):
            raise BitfabricError(f"requant: {len(self.multiplier)} factors and {len(self.addend)} addends")
        if self.rounding.upper() not in ROUNDING:
            raise BitfabricError(f"requant: no rounding mode {self.rounding}; use one of {', '.join(ROUNDING)}")
        object.__setattr__(self, "rounding", ROUNDING[self.rounding.upper()])
        if self.shift < 0:
            raise BitfabricError(f"requant: shift {self.shift} is negative; scale the factors instead")
        if not int(self.output_dtype.min()) <= self.low <= self.high <= int(self.output_dtype.max()):
            raise BitfabricError(f"requant: {self.low}..{self.high} is no range of {self.output_dtype.name}")
        if self.output_dtype.bitwidth() > 31 or self.input_dtype.name == "BIPOLAR":
            raise BitfabricError("requant takes integers and gives at most 31 bits; use thresholds for BIPOLAR")
        if self.pe < 1 or self.channels % self.pe:
            legal = ", ".join(str(f.pe) for f in self.foldings())
            raise BitfabricError(f"requant: PE {self.pe} does not divide {self.channels} channels; use one of {legal}")
        if self._sum_bits > MOST_SUM_BITS:
            raise BitfabricError(f"requant: sums of {self._sum_bits} bits; {MOST_SUM_BITS} are the most")

    @property
    def channels(self) -> int:
        """Channels of the input."""
        return len(self.multiplier)

    def inputs(self) -> tuple[Stream, ...]:
        return (Stream((*self.prefix, self.channels), self.input_dtype, self.pe),)

    def outputs(self) -> tuple[Stream, ...]:
        return (Stream((*self.prefix, self.channels), self.output_dtype, self.pe),)

    def foldings(self) -> tuple[Folding, ...]:
        return tuple(Folding(pe) for pe in range(1, self.channels + 1) if self.channels % pe == 0)

    def fold(self, folding: Folding) -> Self:
        if folding.simd != 1:
            raise BitfabricError(f"requant has no SIMD, {folding.simd} was asked for; give only PE")
        return replace(self, pe=folding.pe)

    @cached_property
    def _sum_bits(self) -> int:
        ends = (int(self.input_dtype.min()), int(self.input_dtype.max()))
        sums = [x * m + b for m, b in zip(self.multiplier.tolist(), self.addend.tolist(), strict=True) for x in ends]
        return max(2, _signed_bits(min(sums), max(sums)))

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = frames
        kind = np.int64 if max(self._sum_bits, self.shift) <= 60 else object
        total = np.asarray(x).astype(np.int64).astype(kind) * self.multiplier.astype(kind) + self.addend.astype(kind)
        floor = total >> self.shift
        rest = total - (floor << self.shift)
        half = (1 << self.shift) >> 1
        above, tie = rest > half, (rest == half) & (self.shift > 0)
        up = {
            "FLOOR": np.zeros(x.shape, bool),
            "CEIL": rest > 0,
            "UP": (rest > 0) & (total > 0),
            "DOWN": (rest > 0) & (total < 0),
            "ROUND": above | tie & (floor % 2 == 1),
            "HALF_UP": above | tie & (total > 0),
            "HALF_DOWN": above | tie & (total < 0),
        }[self.rounding]
        if self.shift == 0:
            up = np.zeros(x.shape, bool)
        return (np.clip(floor + up.astype(bool), self.low, self.high).astype(container(self.output_dtype)),)

    @property
    def _left(self) -> int | None:
        """The logarithm of the one power of two that all factors are; None if they are not."""
        first = int(self.multiplier[0])
        same = first > 0 and first & (first - 1) == 0 and bool(np.all(self.multiplier == first))
        return first.bit_length() - 1 if same else None

    @property
    def _groups(self) -> int:
        same = all(np.all(values == values[0]) for values in (self.multiplier, self.addend))
        return 1 if same else self.channels // self.pe

    @property
    def _widths(self) -> tuple[int, int]:
        """Bits of a factor (0: a power of two for all) and of an addend (0: none)."""
        factor = 0 if self._left is not None else _signed_bits(int(self.multiplier.min()), int(self.multiplier.max()))
        addend = 0 if not self.addend.any() else _signed_bits(int(self.addend.min()), int(self.addend.max()))
        return factor, addend

    @property
    def _limbs(self) -> tuple[int, int]:
        return -(-(self.input_dtype.bitwidth() + 1) // LIMB_BITS), max(1, -(-self._widths[0] // LIMB_BITS))

    @property
    def _latency(self) -> int:
        return 5 if self._left is not None else 8

    def schedule(self) -> Schedule:
        every = np.ones(prod(self.prefix) * self.channels // self.pe, bool)
        return Schedule((every,), (every,), self._latency, self._latency + 1)

    def _style(self, family: Family) -> str:
        """Where the parameters are kept: block RAM where that many lookup tables are not worth it."""
        width = sum(self._widths) * self.pe
        return "block" if cost.rom(self._groups, width, family) > 64 * self._blocks(family) else "logic"

    def _blocks(self, family: Family) -> int:
        return sum(family.blocks(self._groups, bits * self.pe) for bits in self._widths if bits)

    def resources(self, family: Family) -> Resources:
        factor, addend = self._widths
        x_limbs, m_limbs = self._limbs
        bits, out, total = self.input_dtype.bitwidth(), self.output_dtype.bitwidth(), self._sum_bits
        whole = max(total - self.shift, 1)
        lut, ff = 2 * whole + 2 * out, 2 * bits + total + whole
        if factor:
            sums = (x_limbs * m_limbs - 1) + 1
            lut += sums * total
            ff += 2 * total + (m_limbs * x_limbs) * 2 * LIMB_BITS
        elif addend:
            lut += total
        dsp = self.pe * x_limbs * m_limbs if factor and family.dsp_bits else 0
        made = Resources(self.pe * lut, self.pe * ff, 0, dsp) + cost.stream_out(
            self.pe * out, self._latency + 1, family
        )
        if self._groups > 1:
            made += cost.counter(self._groups, family)
            if self._style(family) == "block":
                made += Resources(bram=self._blocks(family), ff=(factor + addend) * self.pe)
            else:
                width = (factor + addend) * self.pe
                made += Resources(lut=cost.rom(self._groups, width, family), ff=width)
        return made

    def rtl(self, family: Family) -> Rtl:
        factor, addend = self._widths
        x_limbs, m_limbs = self._limbs
        memories = {}
        for name, bits, values in (("MULTIPLIERS", factor, self.multiplier), ("ADDENDS", addend, self.addend)):
            if bits:
                codes = values.view(np.uint64) & np.uint64((1 << bits) - 1)
                rows = codes[: self._groups * self.pe].reshape(self._groups, self.pe)
                memories[name] = Memory(packed_words(rows, bits), bits * self.pe)
        return Rtl(
            self.op,
            {
                "PE": self.pe,
                "GROUPS": self._groups,
                "IN_BITS": self.input_dtype.bitwidth(),
                "IN_SIGNED": int(self.input_dtype.signed()),
                "X_LIMBS": x_limbs,
                "M_BITS": factor,
                "M_LIMBS": m_limbs,
                "LEFT": self._left or 0,
                "B_BITS": addend,
                "SUM_BITS": self._sum_bits,
                "SHIFT": self.shift,
                "ROUNDING": self.rounding,
                "LOW": self.low,
                "HIGH": self.high,
                "OUT_BITS": self.output_dtype.bitwidth(),
                "CREDITS": self._latency + 1,
                "STYLE": self._style(family),
            },
            memories,
        )
