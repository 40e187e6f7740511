"""Depthwise convolution after a sliding window: a dot product per channel (FINN: VVAU)."""

from dataclasses import dataclass, fields
from functools import cached_property
from math import prod
from typing import ClassVar, NamedTuple, Self

import numpy as np
from qonnx.core.datatype import BaseDataType

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.ir.kernel import Folding, Role, Rtl, Schedule
from hw.ir.stream import Stream, container, encode, smallest_dtype
from hw.kernels.shared import cell_costs, pixel
from hw.kernels.shared.channel_kernel import ChannelKernel, credits_for, kind
from hw.kernels.shared.constant_product import ConstantProduct
from hw.kernels.shared.parameters import MULTIPLIER_BITS, check_weights, checked_range, integer_matrix, sum_range
from hw.kernels.shared.reduction import Reduction
from hw.kernels.shared.weight_memory import WeightMemory

FEW_WORDS = 8
"""Maximum depth of a memory for which equal bit columns are taken into account."""
ADDERS_PER_STAGE = 2
"""Adders in series between two registers."""


class Product(NamedTuple):
    """How a product is computed.

    ``serial_operand``: ``weight`` or ``input``, whose ``planes`` digits each add or subtract the other operand (0: a
    multiplier). ``kind``: how its codes represent integers. ``other_kind``, ``other_bits``: the same of the other
    operand, and its bits as a signed number.
    """

    serial_operand: str
    kind: str
    planes: int
    other_kind: str
    other_bits: int

    @property
    def carries(self) -> bool:
        """Whether the product has a separate carry bit."""
        return self.planes > 0 and self.kind != "unsigned"

    @property
    def latency(self) -> int:
        """Cycles from the operands to the product."""
        return max(1, -(-(self.planes - 1).bit_length() // ADDERS_PER_STAGE)) if self.planes else 2

    def resources(self, weight: BaseDataType, data: BaseDataType, family: Family) -> Resources:
        """Cost of one product."""
        bits = self.other_bits
        if self.planes == 0:
            a, b = (t.bitwidth() + (not t.signed()) for t in (weight, data))
            if family.dsp_bits is None:
                return Resources(cell_costs.soft_product(a, b), 2 * (a + b))
            return Resources(ff=2 * (a + b) if family.lut_inputs < 6 else 0, dsp=family.multipliers(a, b))
        # A lookup table with six inputs holds the AND of a digit and the adder after it.
        lut = self.planes * bits + (0 if family.lut_inputs >= 6 else (self.planes - 1) * bits)
        ff, operands = bits + self.planes, self.planes
        if operands > 1 << ADDERS_PER_STAGE and family.lut_inputs >= 6:
            lut += 2 * operands
        while (operands := -(-operands >> ADDERS_PER_STAGE)) > 1:  # registers inside the adder tree
            ff += operands * (bits + self.planes - 1)
        return Resources(lut, ff)


@dataclass(frozen=True, eq=False)
class Depthwise(ChannelKernel, ConstantProduct):
    """``y[..., c] = sum over k of weights[c, k] * x[..., k, c]``, exactly.

    ``weights`` is (C, K). ``x`` is a window stream (*prefix, K*C) in the order (k, c), ``y`` is (*prefix, C), in the
    narrowest type that holds every reachable sum. Both have ``pe`` lanes; or ``x`` has ``pixels`` positions of the
    window stream per beat, part of a window or several windows. BIPOLAR values are -1 and +1; a TERNARY input is a
    padded BIPOLAR one. ``input_range`` states the inputs' range where it is narrower than that of their type.
    ``parity`` adds parity bits to weights in block RAM.

    There are three kinds of products. A BIPOLAR or TERNARY operand adds, subtracts or skips the other one. An operand
    of few bits (or of too many for a multiplier) adds it once per bit, shifted. Otherwise there is a multiplier.

    Raises BitfabricError for weights that are not of ``weight_dtype``, types that are not of integers, a range beyond
    its type, and a ``pe`` that does not divide C.
    """

    op: ClassVar[str] = "depthwise"
    alternatives: ClassVar[tuple[str, ...]] = "depthwise", "constant_matrix", "plane_depthwise"
    role: ClassVar[Role] = "compute"
    sources: ClassVar[tuple[str, ...]] = (
        "bf_adder_tree.sv", "bf_delay.sv", "bf_parity.sv", "bf_product.sv", "bf_products.sv",
        "bf_interleaved_accumulator.sv", "bf_rom.sv", "bf_stream_out.sv", "bf_weight_memory.sv", "bf_widen.sv",
    )  # fmt: skip

    weights: np.ndarray
    weight_dtype: BaseDataType
    input_dtype: BaseDataType
    prefix: tuple[int, ...] = ()
    pe: int = 1
    input_range: tuple[int, int] | None = None
    pixels: int = 1
    parity: bool = False

    def __post_init__(self) -> None:
        matrix = integer_matrix(self.op, self.weights, "channels by positions of the window")
        object.__setattr__(self, "weights", matrix)
        self._check((*self.prefix, self.channels), self.weight_dtype, self.input_dtype)
        check_weights(self.op, matrix, self.weight_dtype)
        checked_range(self.op, self.input_dtype, self.input_range)
        container(self.output_dtype)

    @classmethod
    def of(cls, product: "Depthwise") -> Self | None:
        """This implementation of a product, in its folding; None if it is not one of this product's
        implementations."""
        return cls(**{each.name: getattr(product, each.name) for each in fields(cls)})

    def dense(self) -> "Depthwise":
        made = self if type(self) is Depthwise else Depthwise.of(self)
        assert made is not None
        return made

    @property
    def channels(self) -> int:
        return self.weights.shape[0]

    @property
    def k(self) -> int:
        """Positions of a window."""
        return self.weights.shape[1]

    def _pixel_counts(self) -> tuple[int, ...]:
        parts = tuple(n for n in range(2, self.k + 1) if self.k % n == 0)
        return (*parts, *(self.k * n for n in pixel.counts((*self.prefix, self.channels))))

    @property
    def elements(self) -> int:
        """Positions per beat that belong to one window."""
        return min(self.pixels, self.k)

    @property
    def windows_per_beat(self) -> int:
        """Windows per beat, side by side."""
        return self.pixels // self.elements

    @property
    def words(self) -> int:
        """Beats per window."""
        return self.k // self.elements * self.channel_beats

    def inputs(self) -> tuple[Stream, ...]:
        return (Stream((*self.prefix, self.k * self.channels), self.input_dtype, self.lanes),)

    def outputs(self) -> tuple[Stream, ...]:
        return (Stream((*self.prefix, self.channels), self.output_dtype, self.windows_per_beat * self.pe),)

    @property
    def matrix(self) -> np.ndarray:
        """Each channel's weights in the columns of its elements, (C, K*C); zeros elsewhere."""
        blocks = np.zeros((self.channels, self.k, self.channels), self.weights.dtype)
        each = np.arange(self.channels)
        blocks[each, :, each] = self.weights
        return blocks.reshape(self.channels, -1)

    @property
    def matrix_shape(self) -> tuple[int, int]:
        return self.channels, self.k * self.channels

    def whole(self, positions: int) -> Folding:
        return Folding(self.channels, pixels=self.k * positions)

    # Arithmetic.

    def output_range(self) -> tuple[np.ndarray, np.ndarray]:
        """Minimum and maximum sum of each channel, ``(C,)``; inputs in the input range reach them."""
        return sum_range(self.weights, *checked_range(self.op, self.input_dtype, self.input_range))

    @cached_property
    def output_dtype(self) -> BaseDataType:
        """The narrowest type that holds every reachable sum."""
        low, high = self.output_range()
        return smallest_dtype(int(low.min()), int(high.max()))

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = frames
        windows = x.reshape(-1, self.k, self.channels)
        # Intermediate sums may wrap around: they are exact modulo 2^bits, and the result fits.
        out = container(self.output_dtype)
        weights = self.weights.astype(out)
        y = np.zeros((len(windows), self.channels), out)
        for k in range(self.k):
            y += windows[:, k].astype(out, copy=False) * weights[:, k]
        return (y.reshape(len(x), *self.prefix, self.channels),)

    # Hardware.

    @property
    def _types(self) -> dict[str, BaseDataType]:
        return {"weight": self.weight_dtype, "input": self.input_dtype}

    @property
    def _digits(self) -> dict[str, int]:
        """By operand: its digits, each of which adds or subtracts the other one."""
        return {name: 1 if t.name in ("BIPOLAR", "TERNARY") else t.bitwidth() for name, t in self._types.items()}

    @property
    def _signed(self) -> dict[str, int]:
        """By operand: its bits as a signed number."""
        return {name: max(2, t.bitwidth() + (not t.signed())) for name, t in self._types.items()}

    @property
    def wide(self) -> bool:
        """Whether both operands suit a hard multiplier (``MULTIPLIER_BITS``)."""
        least, most = MULTIPLIER_BITS
        return min(self._digits.values()) >= least and max(self._signed.values()) <= most

    @cached_property
    def product(self) -> Product:
        return self._product("weight", 0) if self.wide else self.product_of_planes

    @property
    def product_of_planes(self) -> Product:
        """The product that adds once for each digit of the operand that has fewer."""
        serial = min(digits := self._digits, key=lambda name: digits[name])
        return self._product(serial, digits[serial])

    def _product(self, serial: str, planes: int) -> Product:
        """The product with ``planes`` digits of the ``serial`` operand; 0: a multiplier."""
        types = self._types
        other = "weight" if serial == "input" else "input"
        return Product(
            serial,
            "ternary" if types[serial].name == "TERNARY" else kind(types[serial]),
            planes,
            kind(types[other]),
            self._signed[other],
        )

    @property
    def _sum(self) -> Reduction:
        operation = "sum_carry" if self.product.carries else "sum"
        lanes, passes = self.windows_per_beat * self.pe, self.k // self.elements
        return Reduction(passes, self.channel_beats, lanes, self.output_dtype.bitwidth(), operation)

    @property
    def _tree_cycles(self) -> int:
        """Cycles in which the products of one window and one beat are summed."""
        return -(-(self.elements - 1).bit_length() // ADDERS_PER_STAGE)

    @property
    def latency(self) -> int:
        """Cycles from the firing with the last beat of a window until the output is valid."""
        return 1 + self._memory.latency + self.product.latency + self._tree_cycles + self._sum.latency

    def schedule(self) -> Schedule:
        produces = np.arange(self.words) >= self.words - self.channel_beats
        every, credits = np.ones(len(produces), bool), credits_for(produces, self.latency)
        return Schedule((every,), (produces,), self.latency, credits, prod(self.prefix) // self.windows_per_beat)

    @property
    def _words(self) -> np.ndarray:
        """The weights' codes in their order of use, for the lanes of one window: (words, lanes)."""
        return encode(self.weights.T.reshape(self.words, -1), self.weight_dtype)

    @property
    def _memory(self) -> WeightMemory:
        return WeightMemory(self.words, self.elements * self.pe * self.weight_dtype.bitwidth())

    def _stored(self, family: Family) -> WeightMemory:
        """The weight memory, including parity bits if it has them."""
        return self._memory.with_parity(family) if self.parity else self._memory

    def has_parity(self, family: Family) -> bool:
        return self._stored(family).parity

    def resources(self, family: Family) -> Resources:
        depth, bits = self.words, self.weight_dtype.bitwidth()
        total = cell_costs.stream_out(self.outputs()[0].width, self.schedule().credits, family) + self._sum.resources(
            family
        )
        total += cell_costs.counter(depth, family)
        total += Resources(6, 2 * self.latency + self._memory.latency * self.inputs()[0].width)
        few = cell_costs.columns(self._words.astype(np.int64), bits) if depth <= FEW_WORDS else None
        return total + self._products(family) + self._stored(family).resources(family, few)

    def _products(self, family: Family) -> Resources:
        """Cost of the products, and of the sums over one window within a beat."""
        product, windows = self.product, self.windows_per_beat
        each = product.resources(self.weight_dtype, self.input_dtype, family)
        lut, ff, joins = self.lanes * each.lut, self.lanes * each.ff, (self.elements - 1) * windows * self.pe
        if self.words == 1 and product.planes and product.serial_operand == "weight":
            # Only non-zero digits of constant weights need an adder, and the first of them needs none.
            some = int(np.count_nonzero(self.weights))
            digits = int(np.bitwise_count(self._words).sum()) if product.planes > 1 else some
            lut, ff = windows * (digits - some) * cell_costs.add(product.other_bits, family), windows * some * each.ff
            joins = windows * int(np.maximum(0, np.count_nonzero(self.weights, axis=1) - 1).sum())
        width = self.weight_dtype.bitwidth() + self.input_dtype.bitwidth() + 1
        return Resources(
            lut + joins * cell_costs.add(width, family),
            ff + joins * width // ADDERS_PER_STAGE,
            0,
            self.lanes * each.dsp,
        )

    def rtl(self, family: Family) -> Rtl:
        product, width = self.product, self.weight_dtype.bitwidth()
        bits = ((self._words[..., None] >> np.arange(width, dtype=np.uint64)) & np.uint64(1)).reshape(self.words, -1)
        return Rtl(
            "bf_depthwise",
            {
                "PE": self.pe,
                "ELEMENTS": self.elements,
                "WINDOWS": self.windows_per_beat,
                "STEPS": self.channel_beats,
                "K": self.k // self.elements,
                "IN_BITS": self.input_dtype.bitwidth(),
                "W_BITS": width,
                "SERIAL_OPERAND": product.serial_operand,
                "A_KIND": product.kind,
                "PLANES": product.planes,
                "B_KIND": product.other_kind,
                "B_BITS": product.other_bits,
                "OUT_BITS": self.output_dtype.bitwidth(),
                "ADDERS_PER_STAGE": ADDERS_PER_STAGE,
                "PRODUCT_LATENCY": self.latency - 1 - self._sum.latency,
                "LATENCY": self.latency,
                **self._stored(family).parameters(family),
                "SUM_STYLE": self._sum.style(family),
                "CREDITS": self.schedule().credits,
            },
            {"WEIGHTS": self._stored(family).contents(bits, family)},
        )
