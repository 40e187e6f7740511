"""Requantization: scale, offset, shift, round and saturate, for outputs too wide for thresholds (FINN: Requant)."""

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import ClassVar, Self

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.errors import BitfabricError
from hw.kernels import cost, pixel
from hw.kernels.kernel import Folding, Kernel, Memory, Resources, Rtl, Schedule, with_parity
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


def _multiplier(family: Family) -> tuple[int, int]:
    """Signed bits of the multipliers that products are made of, 18 by 18 at least: the latency hangs on it and is the
    same in every family. Synthesis makes them of several smaller DSPs, or of logic."""
    x, m = family.dsp_bits or (0, 0)
    return max(x, 18), max(m, 18)


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

    @cached_property
    def multiplies(self) -> bool:
        return any(m != 1 for m in self.multipliers)

    @cached_property
    def adds(self) -> bool:
        return any(self.addends)

    @cached_property
    def sum_range(self) -> tuple[int, int]:
        ends = [m * x + a for m, a in zip(self.multipliers, self.addends, strict=True) for x in (self.low, self.high)]
        return min(ends), max(ends)

    @cached_property
    def x_bits(self) -> int:
        return _signed_bits(self.low, self.high)

    @cached_property
    def m_bits(self) -> int:
        return _signed_bits(min(self.multipliers), max(self.multipliers)) if self.multiplies else 0

    @cached_property
    def a_bits(self) -> int:
        return _signed_bits(min(self.addends), max(self.addends)) if self.adds else 0

    @cached_property
    def sum_bits(self) -> int:
        return max(_signed_bits(*self.sum_range), self.shift + 1)


@dataclass(frozen=True, eq=False)
class Requant(Kernel):
    """``y[..., c] = clip(round((x[..., c] * multiplier[c] + addend[c]) / 2**shift), low, high)``, exactly.

    ``multiplier`` and ``addend`` are integers (C,), those of ``addend`` of any size; ``rounding`` is one of QONNX's
    modes (see ``ROUNDING``).
    Input ``(*prefix, C)``, output ``(*prefix, C)``, both ``pe`` channels of ``pixels`` positions at a time; ``pe``
    divides C, and is C for more than one position. ``parity`` protects parameters in block RAM.
    Raises BitfabricError where parameters do not fit each other.
    """

    op: ClassVar[str] = "requant"
    sources: ClassVar[tuple[str, ...]] = (
        "parts/stream_out.sv",
        "parts/delay.sv",
        "parts/lookup.sv",
        "parts/parity.sv",
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
    pixels: int = 1
    parity: bool = False

    def __post_init__(self) -> None:
        multiplier, addend = np.asarray(self.multiplier), np.asarray(self.addend)
        if multiplier.ndim != 1 or not multiplier.size or multiplier.shape != addend.shape:
            raise BitfabricError(
                f"a requant needs one multiplier and addend a channel, not {multiplier.shape} and {addend.shape}"
            )
        wide = addend.dtype == object and all(isinstance(value, int) for value in addend)
        if multiplier.dtype.kind not in "iu" or not (wide or addend.dtype.kind in "iu"):
            raise BitfabricError(f"a requant multiplies and adds integers, not {multiplier.dtype}, {addend.dtype}")
        if self.pe < 1 or len(multiplier) % self.pe:
            raise BitfabricError(f"PE {self.pe} does not divide the {len(multiplier)} channels of a requant")
        several = pixel.counts((*self.prefix, len(multiplier)))
        pixel.check(self.op, self.pixels, several, pe=(self.pe, len(multiplier)))
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
        object.__setattr__(self, "addend", addend if wide else addend.astype(np.int64))
        object.__setattr__(self, "rounding", rounding)

    @property
    def channels(self) -> int:
        """C."""
        return len(self.multiplier)

    @property
    def lanes(self) -> int:
        """Elements at a time."""
        return self.pe * self.pixels

    def inputs(self) -> tuple[Stream, ...]:
        return (Stream((*self.prefix, self.channels), self.input_dtype, self.lanes),)

    def outputs(self) -> tuple[Stream, ...]:
        return (Stream((*self.prefix, self.channels), self.output_dtype, self.lanes),)

    def foldings(self) -> tuple[Folding, ...]:
        parts = (Folding(pe=n) for n in range(1, self.channels + 1) if self.channels % n == 0)
        several = pixel.counts((*self.prefix, self.channels))
        return (*parts, *(Folding(self.channels, pixels=n) for n in several))

    def fold(self, folding: Folding) -> Self:
        if folding.simd != 1:
            raise BitfabricError(f"a requant has no SIMD to fold; {folding.simd} asked for")
        return replace(self, pe=folding.pe, pixels=folding.pixels)

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

    @cached_property
    def _apart(self) -> tuple[int, int] | None:
        """What ``execute`` multiplies apart, so that int64 holds the parts of the sum: so many bits at a time, so many
        times, from the low end of x. None where it does not hold them either."""
        plan = self._arithmetic
        largest = max(map(abs, (*plan.sum_range, *plan.multipliers, *plan.addends, 1 << plan.shift)))
        if largest < 1 << 62:
            return 0, 0
        most, needed = 60 - plan.m_bits, max(plan.x_bits + plan.m_bits, plan.a_bits) - 59
        if most < 1 or not 0 < needed < plan.shift:
            return None
        times = -(-needed // most)
        bits = -(-needed // times)
        return (bits, times) if bits * times < plan.shift else None

    @cached_property
    def _operands(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """Multipliers, and the parts of the addends that go with those of x, the highest last: int64, or Python's
        integers."""
        plan, (bits, times) = self._arithmetic, self._apart or (0, 0)
        number = object if self._apart is None else np.int64
        parts = [[a >> i * bits & (1 << bits) - 1 for a in plan.addends] for i in range(times)]
        parts.append([a >> times * bits for a in plan.addends])
        return np.array(plan.multipliers, number), [np.array(values, number) for values in parts]

    def _sums(self, x: np.ndarray) -> tuple[np.ndarray, int]:
        """``x * multipliers + addends`` of integers (rows, C), and by how many bits it is to be shifted.

        Of a sum in parts the low ones only say, in a bit of their own, whether anything is left below the high one:
        all that a rounding asks.
        """
        bits, times = self._apart or (0, 0)
        multipliers, addends = self._operands
        x = x.astype(multipliers.dtype, copy=False)
        if not times:
            return x * multipliers + addends[-1], self._arithmetic.shift
        mask = (1 << bits) - 1
        carry, left = np.zeros_like(x), np.zeros_like(x)
        for i in range(times):
            part = (x >> i * bits & mask) * multipliers + addends[i] + carry
            carry, left = part >> bits, left | (part & mask)
        total = (x >> times * bits) * multipliers + addends[-1] + carry
        return 2 * total + (left != 0), self._arithmetic.shift - times * bits + 1

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = frames
        rounding = self._arithmetic.rounding
        rows = np.ascontiguousarray(x).reshape(-1, self.channels)
        y = np.empty(rows.shape, container(self.output_dtype))
        step = max(1, CHUNK // self.channels)
        for start in range(0, len(rows), step):
            part = rows[start : start + step].astype(np.int64)
            if self.input_dtype == DataType["BIPOLAR"]:
                part = (part + 1) >> 1
            total, shift = self._sums(part)
            y[start : start + step] = np.clip(divided(total, shift, rounding), self.low, self.high)
        return (y.reshape(x.shape),)

    # ---- hardware

    @property
    def _groups(self) -> int:
        plan = self._arithmetic
        constant = len(set(zip(plan.multipliers, plan.addends, strict=True))) == 1
        return 1 if constant else self.channels // self.pe

    def _limbs(self, family: Family) -> list[tuple[int, int, int]]:
        """The multipliers of a channel: bits of both operands, and the product's place in the sum."""
        plan = self._arithmetic
        if not plan.multiplies:
            return []
        sides = []
        for bits, most in zip((plan.x_bits, plan.m_bits), _multiplier(family), strict=True):
            count = 1 if bits <= most else (bits - 2) // (most - 1) + 1
            sides.append([(min(most, bits - i * (most - 1)), i * (most - 1)) for i in range(count)])
        return [(x, m, x_at + m_at) for x, x_at in sides[0] for m, m_at in sides[1]]

    @property
    def _fetch(self) -> int:
        groups = self._groups
        lookup = 0 if groups == 1 else 1 if groups <= SMALL else 2
        return max(lookup, 1) if self._arithmetic.multiplies else lookup

    @property
    def _levels(self) -> int:
        terms = max(1, len(self._limbs(ECP5))) + self._arithmetic.adds  # multipliers are no narrower elsewhere
        return (terms - 1).bit_length()

    def schedule(self) -> Schedule:
        every = np.ones(prod(self.prefix) * self.channels // self.lanes, bool)
        latency = 2 + self._fetch + self._levels + self._arithmetic.multiplies
        return Schedule((every,), (every,), latency, credits=latency + 1)

    def _in_blocks(self, family: Family) -> bool:
        depth, width = self._groups, self.lanes * (self._arithmetic.m_bits + self._arithmetic.a_bits)
        return depth > SMALL and family.blocks(depth, width) * LUTS_PER_BLOCK < cost.rom(depth, width, family)

    def checked(self, family: Family) -> bool:
        return self.parity and self._in_blocks(family)

    def _stored(self, family: Family) -> Memory:
        """The parameters' memory, with its parity bits where it has some."""
        protect = with_parity if self.checked(family) else Memory
        return protect(self._words(), self.lanes * (self._arithmetic.m_bits + self._arithmetic.a_bits))

    def rtl(self, family: Family) -> Rtl:
        plan, groups = self._arithmetic, self._groups
        m_bits, a_bits = plan.m_bits, plan.a_bits
        limb_x, limb_m = _multiplier(family)
        parameters: dict[str, int | str] = {
            "IN_BITS": self.input_dtype.bitwidth(),
            "SIGNED": int(plan.low < 0),
            "PE": self.lanes,
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
            "PARITY": int(self.checked(family)),
        }
        if m_bits + a_bits == 0:
            return Rtl(self.op, parameters)
        return Rtl(self.op, parameters, {"FILE": self._stored(family)})

    def _words(self) -> list[int]:
        """The parameters' memory: for each group and lane the addend above the multiplier."""
        plan = self._arithmetic
        m_bits, a_bits = plan.m_bits, plan.a_bits
        words = [0] * self._groups
        for index in range(self._groups * self.lanes):
            group, lane = divmod(index, self.lanes)
            channel = index % self.channels
            m, a = plan.multipliers[channel] % (1 << m_bits), plan.addends[channel] % (1 << a_bits)
            words[group] |= (a << m_bits | m) << lane * (m_bits + a_bits)
        return words

    def resources(self, family: Family) -> Resources:
        plan, groups, latency = self._arithmetic, self._groups, self.schedule().latency
        total = cost.stream_out(self.pe * self.output_dtype.bitwidth(), latency + 1, family)
        total += Resources(ff=latency - 1 + self.lanes * self._fetch * self.input_dtype.bitwidth())
        if groups > 1:
            total += cost.counter(groups, family)
            width = self.pe * (plan.m_bits + plan.a_bits)
            if self._in_blocks(family):
                stored = self._stored(family)
                width = cost.varying(stored.words)
                total += Resources(cost.block_rows(groups, width, family), width, family.blocks(groups, width))
                total += cost.parity(stored.width, family) if self.parity else Resources()
            else:
                if groups <= cost.COLUMNS and max(plan.m_bits, plan.a_bits) < 63:
                    sides = ((plan.multipliers, plan.m_bits), (plan.addends, plan.a_bits))
                    width = sum(cost.columns(np.reshape(values, (groups, self.pe)), bits) for values, bits in sides)
                total += Resources(cost.rom(groups, width, family), width)
        lane = self._lane(family)
        return total + Resources(self.lanes * lane.lut, self.lanes * lane.ff, 0, self.lanes * lane.dsp)

    def _lane(self, family: Family) -> Resources:
        """One channel: products, sum, rounding and saturation."""
        plan, out = self._arithmetic, self.output_dtype.bitwidth()
        six = family.lut_inputs >= 6
        lut, ff, dsp = 0.0, 0, 0
        lowest = [0]  # of each term of the sum, the lowest bit that may be set
        if limbs := self._limbs(family):
            lowest = [at for _, _, at in limbs]
            for x, m, _ in limbs:
                hard = min(x, m) > 1 and (not six or x + m >= 9)
                dsp += hard
                lut += 0 if hard else x * m
                ff += 0 if six and hard else x + m  # a DSP48 has registers of its own
        if plan.adds:
            lowest.append(0)
            ff += plan.a_bits if limbs and self._groups > 1 else 0
        in_dsp = six and len(limbs) == 1  # a DSP48 adds the addend, too
        for _ in range(0 if in_dsp else self._levels):
            pairs = [lowest[i : i + 2] for i in range(0, len(lowest), 2)]
            lut += sum(cost.add(plan.sum_bits - max(pair), family) for pair in pairs if len(pair) == 2)
            lowest = [min(pair) for pair in pairs]
            ff += sum(plan.sum_bits - low for low in lowest)
        narrow, whole = out + (self.low >= 0), plan.sum_bits - plan.shift
        tested = max(0, whole - narrow)
        if plan.rounding != "FLOOR":
            tested += plan.shift + min(narrow, whole)
            lut += 0 if six else cost.add(min(out, whole), family)  # to count up, CARRY4 needs no lookup tables
        for bound, full in ((self.low, -(1 << (narrow - 1))), (self.high, (1 << (narrow - 1)) - 1)):
            lut += 0 if bound == full else cost.compare(narrow, family)
        lut += tested / (5 if six else 3) + (out if whole > narrow or self.low >= 0 else 0)
        if six and len(limbs) > 1:
            ff //= 2  # as measured: DSP48s take about half of the registers in
        return Resources(round(lut), ff + out + 3, 0, dsp)


def divided(values: np.ndarray, shift: int, rounding: str) -> np.ndarray:
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
