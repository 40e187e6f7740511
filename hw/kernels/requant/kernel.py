"""Requantization: scale, offset, shift, round and saturate, for outputs too wide for thresholds (FINN: Requant)."""

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import ClassVar

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.families.ecp5 import ECP5
from hw.host.errors import BitfabricError
from hw.ir.kernel import Memory, Role, Rtl, Schedule, parity_words
from hw.ir.stream import Stream, container
from hw.kernels.requant import cost
from hw.kernels.requant.requant_arithmetic import Arithmetic, Product
from hw.kernels.shared import cell_costs, pixel
from hw.kernels.shared.channel_kernel import ChannelKernel
from hw.kernels.shared.weight_memory import SMALL, lookup_latency

ROUNDING = ("ROUND", "HALF_UP", "HALF_DOWN", "CEIL", "FLOOR", "UP", "DOWN")
"""QONNX's modes (``resolve_rounding_mode``): to nearest with ties to even, away from zero, towards zero; towards
plus and minus infinity; away from and towards zero. HALF_EVEN is another name of ROUND."""
LUTS_PER_BLOCK = 100
"""Parameters are in block RAM if each block saves at least this many lookup tables."""
MAX_SHIFT = 200
SPREAD = 3
"""Maximum difference of the exponents with which multiplexed shifts replace the multiplier, if all multipliers are
powers of two."""
MAX_OUTPUT = 30
"""Maximum bits of the output."""
CHUNK = 1 << 16
"""Elements that ``execute`` computes in one array operation."""


def _multiplier(family: Family) -> tuple[int, int]:
    """Signed bits (x, m) of the multipliers that products consist of: at least 18 by 18, because they set the latency,
    which must not depend on the family. Synthesis builds them from smaller DSPs, or from logic."""
    x, m = family.dsp_bits or (0, 0)
    return max(x, 18), max(m, 18)


@dataclass(frozen=True, eq=False)
class Requant(ChannelKernel):
    """``y[..., c] = clip(round((x[..., c] * multiplier[c] + addend[c]) / 2**shift), low, high)``, exactly.

    ``multiplier`` and ``addend`` are integers (C,), those of ``addend`` of any size; ``rounding`` is one of QONNX's
    modes (see ``ROUNDING``).
    Input ``(*prefix, C)``, output ``(*prefix, C)``, both with ``pe`` channels of ``pixels`` positions per beat; ``pe``
    divides C, and is C for more than one position. ``parity`` adds parity bits to parameters in block RAM.
    Raises BitfabricError where parameters do not match.
    """

    op: ClassVar[str] = "requant"
    role: ClassVar[Role] = "quantize"
    sources: ClassVar[tuple[str, ...]] = (
        "bf_stream_out.sv",
        "bf_delay.sv",
        "bf_lookup.sv",
        "bf_parity.sv",
        "bf_rom.sv",
        "bf_requant_lane.sv",
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
        self._check((*self.prefix, len(multiplier)))
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

    def _pixel_counts(self) -> tuple[int, ...]:
        return pixel.counts((*self.prefix, self.channels))

    def inputs(self) -> tuple[Stream, ...]:
        return (Stream((*self.prefix, self.channels), self.input_dtype, self.lanes),)

    def outputs(self) -> tuple[Stream, ...]:
        return (Stream((*self.prefix, self.channels), self.output_dtype, self.lanes),)

    @cached_property
    def arithmetic(self) -> Arithmetic:
        """The function before clipping; a BIPOLAR input counts as 0 and 1."""
        multipliers, addends = self.multiplier.tolist(), self.addend.tolist()
        low, high = int(self.input_dtype.min()), int(self.input_dtype.max())
        if self.input_dtype == DataType["BIPOLAR"]:
            addends = [a - m for m, a in zip(multipliers, addends, strict=True)]
            multipliers = [2 * m for m in multipliers]
            low, high = 0, 1
        return Arithmetic(multipliers, addends, self.shift, self.rounding, low, high).shortened()

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = frames
        rows = np.ascontiguousarray(x).reshape(-1, self.channels)
        y = np.empty(rows.shape, container(self.output_dtype))
        step = max(1, CHUNK // self.channels)
        for start in range(0, len(rows), step):
            part = rows[start : start + step].astype(np.int64)
            if self.input_dtype == DataType["BIPOLAR"]:
                part = (part + 1) >> 1
            y[start : start + step] = np.clip(self.arithmetic(part), self.low, self.high)
        return (y.reshape(x.shape),)

    # ---- hardware

    @cached_property
    def groups(self) -> int:
        """Words of the parameter memory; 1 where all channels have equal parameters."""
        plan = self.arithmetic
        constant = len(set(zip(plan.multipliers, plan.addends, strict=True))) == 1
        return 1 if constant else self.channels // self.pe

    @cached_property
    def product(self) -> Product:
        """The form of the product in hardware. Constant shifts are wires."""
        return self.arithmetic.product(MAX_SHIFT if self.groups == 1 else SPREAD)

    def limbs(self, family: Family) -> list[tuple[int, int, int]]:
        """The multipliers of a channel: bits of both operands, and the position of the product in the sum."""
        if self.product.power or not self.product.bits:
            return []
        sides = []
        for bits, most in zip((self.arithmetic.x_bits, self.product.bits), _multiplier(family), strict=True):
            count = 1 if bits <= most else (bits - 2) // (most - 1) + 1
            sides.append([(min(most, bits - i * (most - 1)), i * (most - 1)) for i in range(count)])
        return [(x, m, x_at + m_at + self.product.scale) for x, x_at in sides[0] for m, m_at in sides[1]]

    @property
    def fetch(self) -> int:
        """Cycles until the parameters are available."""
        lookup = lookup_latency(self.groups)
        return max(lookup, 1) if self.limbs(ECP5) else lookup

    @property
    def levels(self) -> int:
        """Levels of the adder tree."""
        terms = max(1, len(self.limbs(ECP5))) + (self.product.addend_bits > 0)  # multipliers are no narrower elsewhere
        return (terms - 1).bit_length()

    def schedule(self) -> Schedule:
        every, beats = np.ones(1, bool), prod(self.prefix) * self.channels // self.lanes
        latency = 2 + self.fetch + self.levels + (self.product.bits > 0)
        return Schedule((every,), (every,), latency, credits=latency + 1, repeats=beats)

    def in_blocks(self, family: Family) -> bool:
        """Whether the parameters are in block RAM."""
        depth, width = self.groups, self.lanes * (self.product.bits + self.product.addend_bits)
        return depth > SMALL and family.blocks(depth, width) * LUTS_PER_BLOCK < cell_costs.rom(depth, width, family)

    def has_parity(self, family: Family) -> bool:
        return self.parity and self.in_blocks(family)

    def stored(self, family: Family) -> Memory:
        """The parameter memory, including parity bits if it has them."""
        protect = parity_words if self.has_parity(family) else Memory
        return protect(self.words(), self.lanes * (self.product.bits + self.product.addend_bits))

    def rtl(self, family: Family) -> Rtl:
        plan, product = self.arithmetic, self.product
        m_bits, a_bits = product.bits, product.addend_bits
        limb_x, limb_m = _multiplier(family)
        parameters: dict[str, int | str] = {
            "IN_BITS": self.input_dtype.bitwidth(),
            "SIGNED": int(plan.low < 0),
            "PE": self.lanes,
            "GROUPS": self.groups,
            "POWER": int(product.power),
            "SCALE": product.scale,
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
            "FETCH": self.fetch,
            "LATENCY": self.schedule().latency,
            "LEVELS": self.levels,
            "STYLE": "block" if self.in_blocks(family) else "logic",
            "PARITY": int(self.has_parity(family)),
        }
        if m_bits + a_bits == 0:
            return Rtl(f"bf_{self.op}", parameters)
        return Rtl(f"bf_{self.op}", parameters, {"FILE": self.stored(family)})

    def words(self) -> list[int]:
        """The words of the parameter memory: per group and lane, the addend above the multiplier."""
        product = self.product
        m_bits, a_bits = product.bits, product.addend_bits
        words = [0] * self.groups
        for index in range(self.groups * self.lanes):
            group, lane = divmod(index, self.lanes)
            channel = index % self.channels
            m, a = product.codes[channel], product.addends[channel] % (1 << a_bits)
            words[group] |= (a << m_bits | m) << lane * (m_bits + a_bits)
        return words

    def resources(self, family: Family) -> Resources:
        return cost.resources(self, family)
