"""Requantization: scale, offset, shift, round and saturate, for outputs too wide for thresholds (FINN: Requant)."""

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import ClassVar, Self

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.errors import BitfabricError
from hw.kernels import cost
from hw.kernels.kernel import Folding, Kernel, Memory, Resources, Rtl, Schedule
from hw.stream import Stream, container
from hw.synth.family import ECP5, Family

ROUNDING = ("ROUND", "HALF_UP", "HALF_DOWN", "CEIL", "FLOOR", "UP", "DOWN")
"""QONNX's modes (``resolve_rounding_mode``): to nearest with ties to even, away from zero, towards zero; towards
plus and minus infinity; away from and towards zero. HALF_EVEN is another name of ROUND."""
SMALL = 64
"""Words of parameters that always stay in lookup tables, with a cycle less (as in lookup.sv)."""
LUTS_PER_BLOCK = 100
"""Parameters go to block RAM where that saves so many lookup tables a block."""
MAX_SHIFT = 200
MAX_OUTPUT = 30
"""Bits of the widest output."""
CHUNK = 1 << 16
"""Elements that ``execute`` works on at a time."""


def _signed_bits(low: int, high: int) -> int:
    """Bits of two's complement that hold ``low..high``."""
    return 1 + max(high.bit_length() if high >= 0 else 0, (-low - 1).bit_length() if low < 0 else 0)


@dataclass(frozen=True)
class _Arithmetic:
    """What the hardware computes: ``clip(round((x * multipliers + addends) / 2**shift))``, in the least bits.

    ``x`` is in ``low..high`` (a BIPOLAR input counts as 0 and 1). ``sum_bits`` hold the sum, and the shift.
    """

    multipliers: list[int]
    addends: list[int]
    shift: int
    rounding: str
    low: int
    high: int

    @property
    def multiplies(self) -> bool:
        return any(m != 1 for m in self.multipliers)

    @property
    def adds(self) -> bool:
        return any(self.addends)

    @property
    def sum_range(self) -> tuple[int, int]:
        ends = [m * x + a for m, a in zip(self.multipliers, self.addends, strict=True) for x in (self.low, self.high)]
        return min(ends), max(ends)

    @property
    def x_bits(self) -> int:
        return _signed_bits(self.low, self.high)

    @property
    def m_bits(self) -> int:
        return _signed_bits(min(self.multipliers), max(self.multipliers)) if self.multiplies else 0

    @property
    def a_bits(self) -> int:
        return _signed_bits(min(self.addends), max(self.addends)) if self.adds else 0

    @property
    def sum_bits(self) -> int:
        return max(_signed_bits(*self.sum_range), self.shift + 1)


@dataclass(frozen=True, eq=False)
class Requant(Kernel):
    """``y[..., c] = clip(round((x[..., c] * multiplier[c] + addend[c]) / 2**shift), low, high)``, exactly.

    ``multiplier`` and ``addend`` are integers (C,), ``rounding`` one of QONNX's modes (see ``ROUNDING``).
    Input ``(*prefix, C)``, output ``(*prefix, C)``, both in ``pe`` lanes; ``pe`` divides C.
    Raises BitfabricError where parameters do not fit each other.
    """

    op: ClassVar[str] = "requant"
    sources: ClassVar[tuple[str, ...]] = (
        "parts/stream_out.sv",
        "parts/delay.sv",
        "parts/lookup.sv",
        "parts/rom.sv",
        "parts/requant_lane.sv",
    )

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
        multiplier, addend = np.asarray(self.multiplier), np.asarray(self.addend)
        if multiplier.ndim != 1 or not multiplier.size or multiplier.shape != addend.shape:
            raise BitfabricError(
                f"a requant needs one multiplier and addend a channel, not {multiplier.shape} and {addend.shape}"
            )
        if multiplier.dtype.kind not in "iu" or addend.dtype.kind not in "iu":
            raise BitfabricError(f"a requant multiplies and adds integers, not {multiplier.dtype}, {addend.dtype}")
        if self.pe < 1 or len(multiplier) % self.pe:
            raise BitfabricError(f"PE {self.pe} does not divide the {len(multiplier)} channels of a requant")
        if not 0 <= self.shift <= MAX_SHIFT:
            raise BitfabricError(f"a requant shifts right by 0 to {MAX_SHIFT} bits, not {self.shift}")
        rounding = {"HALF_EVEN": "ROUND"}.get(self.rounding.upper(), self.rounding.upper())
        if rounding not in ROUNDING:
            raise BitfabricError(f"no rounding mode {self.rounding}; there are {', '.join(ROUNDING)}")
        if not self.input_dtype.is_integer():
            raise BitfabricError(f"a requant takes integers, not {self.input_dtype.name}")
        output = self.output_dtype
        if not output.is_integer() or output == DataType["BIPOLAR"] or output.bitwidth() > MAX_OUTPUT:
            raise BitfabricError(
                f"a requant gives INT, UINT or TERNARY of at most {MAX_OUTPUT} bits, not {output.name}; "
                "use a threshold for BIPOLAR"
            )
        if not output.min() <= self.low <= self.high <= output.max():
            raise BitfabricError(f"a requant cannot clip to {self.low}..{self.high} in {output.name}")
        object.__setattr__(self, "multiplier", multiplier.astype(np.int64))
        object.__setattr__(self, "addend", addend.astype(np.int64))
        object.__setattr__(self, "rounding", rounding)

    @property
    def channels(self) -> int:
        """C."""
        return len(self.multiplier)

    def inputs(self) -> tuple[Stream, ...]:
        return (Stream((*self.prefix, self.channels), self.input_dtype, self.pe),)

    def outputs(self) -> tuple[Stream, ...]:
        return (Stream((*self.prefix, self.channels), self.output_dtype, self.pe),)

    def foldings(self) -> tuple[Folding, ...]:
        return tuple(Folding(pe=n) for n in range(1, self.channels + 1) if self.channels % n == 0)

    def fold(self, folding: Folding) -> Self:
        if folding.simd != 1:
            raise BitfabricError(f"a requant has no SIMD to fold; {folding.simd} asked for")
        return replace(self, pe=folding.pe)

    @cached_property
    def _arithmetic(self) -> _Arithmetic:
        multipliers, addends = self.multiplier.tolist(), self.addend.tolist()
        shift, rounding = self.shift, self.rounding
        low, high = int(self.input_dtype.min()), int(self.input_dtype.max())
        if self.input_dtype == DataType["BIPOLAR"]:
            addends = [a - m for m, a in zip(multipliers, addends, strict=True)]
            multipliers = [2 * m for m in multipliers]
            low, high = 0, 1
        # Factors of two that all share need no bits.
        common = 1 << shift
        for value in (*multipliers, *addends):
            common |= value
        zeros = (common & -common).bit_length() - 1
        multipliers, addends = [m >> zeros for m in multipliers], [a >> zeros for a in addends]
        shift -= zeros
        if shift == 0:
            rounding = "FLOOR"
        elif rounding == "CEIL" and any(addends):
            addends, rounding = [a + (1 << shift) - 1 for a in addends], "FLOOR"
        return _Arithmetic(multipliers, addends, shift, rounding, low, high)

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = frames
        plan = self._arithmetic
        rows = np.ascontiguousarray(x).reshape(-1, self.channels)
        exact = max(abs(end) for end in (*plan.sum_range, 1 << plan.shift)) < 1 << 62
        number = np.int64 if exact and max(map(abs, plan.multipliers)) < 1 << 62 else object
        multipliers, addends = np.array(plan.multipliers, number), np.array(plan.addends, number)
        y = np.empty(rows.shape, container(self.output_dtype))
        step = max(1, CHUNK // self.channels)
        for start in range(0, len(rows), step):
            part = rows[start : start + step].astype(np.int64)
            if self.input_dtype == DataType["BIPOLAR"]:
                part = (part + 1) >> 1
            total = part.astype(number) if number is object else part
            if plan.multiplies:
                total = total * multipliers
            if plan.adds:
                total = total + addends
            y[start : start + step] = np.clip(_divide(total, plan.shift, plan.rounding), self.low, self.high)
        return (y.reshape(x.shape),)

    # ---- hardware

    @property
    def _groups(self) -> int:
        plan = self._arithmetic
        constant = len(set(zip(plan.multipliers, plan.addends, strict=True))) == 1
        return 1 if constant else self.channels // self.pe

    def _limbs(self, family: Family) -> list[tuple[int, int]]:
        """Bits of the operands of each multiplier of a channel."""
        plan = self._arithmetic
        if not plan.multiplies:
            return []
        widths = []
        for bits, most in zip((plan.x_bits, plan.m_bits), family.dsp_bits or ECP5.dsp_bits or (18, 18), strict=True):
            count = 1 if bits <= most else (bits - 2) // (most - 1) + 1
            widths.append([most] * (count - 1) + [bits - (count - 1) * (most - 1)])
        return [(x, m) for x in widths[0] for m in widths[1]]

    @property
    def _fetch(self) -> int:
        groups = self._groups
        lookup = 0 if groups == 1 else 1 if groups <= SMALL else 2
        return max(lookup, 1) if self._arithmetic.multiplies else lookup

    @property
    def _levels(self) -> int:
        terms = max(1, len(self._limbs(ECP5))) + self._arithmetic.adds  # no family needs more
        return (terms - 1).bit_length()

    def schedule(self) -> Schedule:
        every = np.ones(prod(self.prefix) * self.channels // self.pe, bool)
        latency = 2 + self._fetch + self._levels + self._arithmetic.multiplies
        return Schedule((every,), (every,), latency, credits=latency + 1)

    def _in_blocks(self, family: Family) -> bool:
        depth, width = self._groups, self.pe * (self._arithmetic.m_bits + self._arithmetic.a_bits)
        return depth > SMALL and family.blocks(depth, width) * LUTS_PER_BLOCK < cost.rom(depth, width, family)

    def rtl(self, family: Family) -> Rtl:
        plan, groups = self._arithmetic, self._groups
        m_bits, a_bits = plan.m_bits, plan.a_bits
        limb_x, limb_m = family.dsp_bits or ECP5.dsp_bits or (18, 18)
        parameters: dict[str, int | str] = {
            "IN_BITS": self.input_dtype.bitwidth(),
            "SIGNED": int(plan.low < 0),
            "PE": self.pe,
            "GROUPS": groups,
            "M_BITS": m_bits,
            "A_BITS": a_bits,
            "SUM_BITS": plan.sum_bits,
            "SHIFT": plan.shift,
            "ROUNDING": plan.rounding,
            "LOW": self.low,
            "HIGH": self.high,
            "OUT_BITS": self.output_dtype.bitwidth(),
            "LIMB_X": limb_x,
            "LIMB_M": limb_m,
            "FETCH": self._fetch,
            "LEVELS": self._levels,
            "STYLE": "block" if self._in_blocks(family) else "logic",
        }
        if m_bits + a_bits == 0:
            return Rtl(self.op, parameters)
        words = [0] * groups
        for group in range(groups):
            for lane in range(self.pe):
                m, a = (values[group * self.pe + lane] for values in (plan.multipliers, plan.addends))
                word = (a & ((1 << a_bits) - 1)) << m_bits | (m & ((1 << m_bits) - 1))
                words[group] |= word << lane * (m_bits + a_bits)
        return Rtl(self.op, parameters, {"FILE": Memory(words, self.pe * (m_bits + a_bits))})

    def resources(self, family: Family) -> Resources:
        return Resources()


def _divide(values: np.ndarray, shift: int, rounding: str) -> np.ndarray:
    """``round(values / 2**shift)`` for integers, in arrays of int64 or of Python's own."""
    if shift == 0:
        return values
    whole = values >> shift
    if rounding == "FLOOR":
        return whole
    rest, half = values & ((1 << shift) - 1), 1 << (shift - 1)
    if rounding == "ROUND":
        return whole + (rest + (whole & 1) > half)
    if rounding == "HALF_UP":
        return whole + np.where(values >= 0, rest >= half, rest > half)
    if rounding == "HALF_DOWN":
        return whole + np.where(values >= 0, rest > half, rest >= half)
    if rounding == "CEIL":
        return whole + (rest > 0)
    if rounding == "UP":
        return whole + ((rest > 0) & (values >= 0))
    return whole + ((rest > 0) & (values < 0))
