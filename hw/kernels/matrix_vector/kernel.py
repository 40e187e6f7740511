"""Matrix-vector product with constant weights: fully connected layers, and convolutions after a sliding window.

FINN's MVAU without the activation. Four datapaths, chosen from the data types:

- *xnor*: one-bit weights and inputs. The result is 2 * count - MW, with the count of equal bits.
- *ternary*: one-bit weights, inputs -1, 0 or +1. The same over the non-zero inputs, whose count all outputs share.
- *weight_planes*, *input_planes*: without multipliers. A one-bit operand adds or subtracts the other one; an n-bit
  operand does so n times, its bits read as signs (2 w = +-1 +-2 ... -+2^(n-1) plus a constant).
- *multiply*: multipliers, where both operands are wide enough to be worth one.
"""

from copy import copy
from dataclasses import dataclass, fields
from functools import cached_property
from math import prod
from typing import ClassVar, Self

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding, Memory, Role, Rtl, Schedule
from hw.ir.stream import Stream, code_bits, container, encode, smallest_dtype
from hw.kernels.matrix_vector import cost, planes
from hw.kernels.matrix_vector.cost import levels
from hw.kernels.matrix_vector.signs import Signs, pack, product
from hw.kernels.shared import pixel
from hw.kernels.shared.constant_product import ConstantProduct
from hw.kernels.shared.parameters import (
    MULTIPLIER_BITS,
    check_weights,
    checked_range,
    divisors,
    integer_matrix,
    sum_range,
)
from hw.kernels.shared.weight_memory import StoredWords, WeightMemory

BIPOLAR = DataType["BIPOLAR"]
WIDEST = 32
"""Maximum bits of an input or a weight."""
BUFFER_BITS = 768
"""Input buffers of more than this many bits and at least 64 beats are in block RAM, which saves at least 150 lookup
tables on ECP5."""
CHUNK = 1 << 18
"""Input elements that ``execute`` multiplies in one operation, so that they fit the cache as floating-point numbers."""


@dataclass(frozen=True, eq=False)
class MatrixVector(ConstantProduct):
    """``y[..., m] = sum over k of weights[m, k] * x[..., k]``, exactly.

    ``weights`` is (MH, MW): outputs by inputs. ``x`` is (*prefix, MW) with ``simd`` lanes; ``y`` is (*prefix, MH) with
    ``pe`` lanes, in the narrowest type that holds every reachable sum. With whole vectors per beat (``pe`` = MH,
    ``simd`` = MW) there may be ``pixels`` vectors per beat, which share the weights. BIPOLAR values are -1 and +1.
    ``input_range`` states the inputs' range where it is narrower than that of their type. ``parity`` adds parity bits
    to weights in block RAM.

    Raises BitfabricError for weights that are not of ``weight_dtype``, for types other than BIPOLAR,
    TERNARY, INTn and UINTn, for a ``pe`` or ``simd`` that does not divide MH or MW, and for illegal ``pixels``.
    """

    op: ClassVar[str] = "matrix_vector"
    of_folding: ClassVar[tuple[str, ...]] = ("planes",)
    """The cached properties that depend on the folding."""
    alternatives: ClassVar[tuple[str, ...]] = (
        "matrix_vector", "sparse_matrix_vector", "tied_matrix_vector", "coded_matrix_vector", "constant_matrix",
        "plane_matrix_vector",
    )  # fmt: skip
    role: ClassVar[Role] = "compute"
    sources: ClassVar[tuple[str, ...]] = (
        "bf_adder_tree.sv", "bf_delay.sv", "bf_dot_products.sv", "bf_input_planes.sv",
        "bf_parity.sv", "bf_popcount.sv", "bf_products.sv", "bf_replay.sv", "bf_rom.sv",
        "bf_sign_planes.sv", "bf_stream_out.sv", "bf_weight_memory.sv", "bf_weight_planes.sv",
    )  # fmt: skip

    weights: np.ndarray
    weight_dtype: BaseDataType
    input_dtype: BaseDataType
    prefix: tuple[int, ...] = ()
    pe: int = 1
    simd: int = 1
    input_range: tuple[int, int] | None = None
    pixels: int = 1
    parity: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", integer_matrix(self.op, self.weights, "outputs by inputs"))
        for what, dtype in (("weight", self.weight_dtype), ("input", self.input_dtype)):
            known = dtype.name in ("BIPOLAR", "BINARY", "TERNARY") or dtype.name.startswith(("INT", "UINT"))
            if not known or dtype.bitwidth() > WIDEST:
                raise BitfabricError(
                    f"matrix_vector: {what} type {dtype.name}; it must be BIPOLAR, TERNARY, INT2..INT{WIDEST} or "
                    f"UINT1..UINT{WIDEST}"
                )
        check_weights(self.op, self.weights, self.weight_dtype)
        checked_range(self.op, self.input_dtype, self.input_range)
        self._check_folding()
        container(self.accumulator_dtype)
        object.__setattr__(self, "_bits_by_simd", {})  # of all copies; see _pair_bits

    def _check_folding(self) -> None:
        for what, value, size, of in (("pe", self.pe, self.mh, "outputs"), ("simd", self.simd, self.mw, "inputs")):
            if value < 1 or size % value:
                legal = ", ".join(map(str, divisors(size)))
                raise BitfabricError(f"{self.op}: {what}={value} does not divide the {size} {of}; legal: {legal}")
        pixel.check(self.op, self.pixels, self._pixel_counts(), pe=(self.pe, self.mh), simd=(self.simd, self.mw))

    def _pixel_counts(self) -> tuple[int, ...]:
        return pixel.counts((*self.prefix, self.mw))

    @property
    def mh(self) -> int:
        """Outputs (FINN: MH)."""
        return self.weights.shape[0]

    @property
    def mw(self) -> int:
        """Inputs (FINN: MW)."""
        return self.weights.shape[1]

    @property
    def nf(self) -> int:
        """Output beats of a vector."""
        return self.mh // self.pe

    @property
    def sf(self) -> int:
        """Input beats of a vector."""
        return self.mw // self.simd

    def inputs(self) -> tuple[Stream, ...]:
        return (Stream((*self.prefix, self.mw), self.input_dtype, self.simd * self.pixels),)

    def outputs(self) -> tuple[Stream, ...]:
        return (Stream((*self.prefix, self.mh), self.accumulator_dtype, self.pe * self.pixels),)

    def foldings(self) -> tuple[Folding, ...]:
        every = (Folding(pe, simd) for pe in divisors(self.mh) for simd in divisors(self.mw))
        several = (Folding(self.mh, self.mw, n) for n in self._pixel_counts())
        return (*sorted(every, key=lambda f: (f.pe * f.simd, f.pe)), *several)

    @classmethod
    def of(cls, product: "MatrixVector") -> Self | None:
        """This implementation of a product, in a folding near the present one; None if it is not one of this product's
        implementations."""
        named = {each.name: getattr(product, each.name) for each in fields(cls)}
        return cls(**named)

    def dense(self) -> "MatrixVector":
        made = self if type(self) is MatrixVector else MatrixVector.of(self)
        assert made is not None
        return made

    @property
    def matrix(self) -> np.ndarray:
        return self.weights

    @property
    def matrix_shape(self) -> tuple[int, int]:
        return self.mh, self.mw

    def whole(self, positions: int) -> Folding:
        return Folding(self.mh, self.mw, positions)

    def has_parity(self, family: Family) -> bool:
        return self.stored(family).parity

    def fold(self, folding: Folding) -> Self:
        folded = self._folded(folding)
        folded._check_folding()
        return folded

    def _folded(self, folding: Folding) -> Self:
        """The copy in a folding, unchecked. It shares the cached properties of the weights: a search folds hundreds of
        times."""
        folded = copy(self)
        for name in ("pe", "simd", "pixels"):
            object.__setattr__(folded, name, getattr(folding, name))
        for name in self.of_folding:
            vars(folded).pop(name, None)
        return folded

    # Arithmetic.

    @property
    def _range(self) -> tuple[int, int]:
        return self.input_range or (int(self.input_dtype.min()), int(self.input_dtype.max()))

    def output_range(self) -> tuple[np.ndarray, np.ndarray]:
        """Minimum and maximum sum of each output, ``(MH,)``; inputs in the input range reach them."""
        return sum_range(self.weights, *self._range)

    @cached_property
    def accumulator_dtype(self) -> BaseDataType:
        """The narrowest type that holds every reachable sum."""
        low, high = self.output_range()
        return smallest_dtype(int(low.min()), int(high.max()))

    @cached_property
    def _matrix(self) -> np.ndarray:
        """The weights, transposed, in the fastest type in which every partial sum is exact."""
        largest = int(np.abs(self.weights).sum(axis=1).max()) * max(map(abs, self._range))
        exact = np.float32 if largest < 1 << 24 else np.float64 if largest < 1 << 53 else np.int64
        return np.ascontiguousarray(self.weights.T.astype(exact))

    @cached_property
    def _signs(self) -> Signs | None:
        """The weights, transposed, as bits, where weights and inputs are all -1, 0 or +1; else None."""
        if max(map(abs, self._range)) > 1 or np.abs(self.weights).max() > 1:
            return None
        return pack(self.weights, zeros=self.input_dtype != BIPOLAR or 0 in self.weights).transposed()

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = frames
        rows = x.reshape(-1, self.mw)
        y = np.empty((len(rows), self.mh), container(self.accumulator_dtype))
        if signs := self._signs:
            y[:] = product(pack(rows, zeros=signs.nonzero is not None), signs, self.mw)
        else:
            chunk = max(1, CHUNK // self.mw)
            for i in range(0, len(rows), chunk):
                y[i : i + chunk] = rows[i : i + chunk].astype(self._matrix.dtype) @ self._matrix
        return (y.reshape(len(x), *self.prefix, self.mh),)

    # Hardware.

    @cached_property
    def datapath(self) -> str:
        """``xnor``, ``ternary``, ``weight_planes``, ``input_planes`` or ``multiply``; the same for every family."""
        weight, data = self.weight_dtype, self.input_dtype
        if weight == BIPOLAR:
            return {"BIPOLAR": "xnor", "TERNARY": "ternary"}.get(data.name, "weight_planes")
        if data == BIPOLAR:
            return "input_planes"
        return "multiply" if self.wide else self.sign_planes

    @property
    def _signed_bits(self) -> tuple[int, int]:
        """Width of a weight and of an input as two's complement."""
        weight, data = (t.bitwidth() + (not t.signed()) for t in (self.weight_dtype, self.input_dtype))
        return weight, data

    @property
    def wide(self) -> bool:
        """Whether both operands suit a hard multiplier (``MULTIPLIER_BITS``)."""
        least, most = MULTIPLIER_BITS
        narrower = min(self.weight_dtype.bitwidth(), self.input_dtype.bitwidth())
        return narrower >= least and max(self._signed_bits) <= most

    @property
    def sign_planes(self) -> str:
        """``weight_planes`` or ``input_planes``: the one with fewer lookup tables, as a product without multipliers."""
        # Per lane, a plane costs about half of the other operand's bits plus one and a half.
        weight, data = self.weight_dtype.bitwidth(), self.input_dtype.bitwidth()
        by_weights, by_inputs = self._signed_bits[0] * (data + 3), data * (weight + 3)
        return "weight_planes" if by_weights <= by_inputs else "input_planes"

    @property
    def variant(self) -> str:
        return f"{self.op} {self.datapath}"

    @property
    def pairs(self) -> int:
        """Pairs of lanes."""
        return -(-self.simd // 2)

    @cached_property
    def planes(self) -> tuple[int, int, int]:
        """Sign planes: their number, the width of a sum or difference of two lanes, and the width of the constant term
        (0: no term)."""
        if self.datapath == "weight_planes":
            return planes.of_weights(self.weight_dtype, self._range, self.simd)
        return planes.of_inputs(self.input_dtype, *self._pair_bits) if self.datapath == "input_planes" else (1, 2, 0)

    @property
    def _pair_bits(self) -> tuple[int, int]:
        """``pair_widths`` of the weights."""
        known: dict[int, tuple[int, int]] = vars(self)["_bits_by_simd"]  # of all foldings
        if self.simd not in known:
            narrow = self.weights.astype(np.int16) if self.weight_dtype.bitwidth() < 15 else self.weights
            known[self.simd] = planes.pair_widths(narrow.reshape(self.mh, self.sf, self.simd), self.input_dtype)
        return known[self.simd]

    def ordered(self) -> np.ndarray:
        """The weights in the order in which they are used: (NF * SF, PE, SIMD)."""
        folded = self.weights.reshape(self.nf, self.pe, self.sf, self.simd).transpose(0, 2, 1, 3)
        return folded.reshape(-1, self.pe, self.simd)

    @property
    def row(self) -> int:
        """Bits of a weight word for one output."""
        if self.datapath == "input_planes":
            _, bits, extra = self.planes
            return 2 * self.pairs * bits + extra
        return self.simd * self.weight_dtype.bitwidth()

    def rows(self) -> np.ndarray:
        """The weight memory bit by bit: (NF * SF, PE, ROW)."""
        if self.datapath == "input_planes":
            return planes.memory_bits(self.ordered(), self.input_dtype, *self.planes[1:])
        codes = encode(self.ordered(), self.weight_dtype)
        return code_bits(codes, self.weight_dtype.bitwidth()).reshape(*codes.shape[:2], -1)

    @property
    def memory(self) -> StoredWords:
        """The weight memory: NF * SF words of PE rows, the row of output 0 in the low bits."""
        return WeightMemory(self.nf * self.sf, self.pe * self.row)

    def stored(self, family: Family) -> StoredWords:
        """The weight memory, including parity bits if it has them."""
        return self.memory.with_parity(family) if self.parity else self.memory

    def contents(self, family: Family) -> dict[str, tuple[Memory, ...]]:
        """The memory files, by parameter of the module."""
        rows, stored = self.rows(), self.stored(family)
        assert isinstance(stored, WeightMemory)
        return {"WEIGHTS": stored.contents(rows.reshape(len(rows), -1), family)}

    @property
    def adders_per_stage(self) -> int:
        """Adders between two register stages of the adder trees."""
        return 1 if self.datapath == "multiply" else 2

    def buffer(self, family: Family | None = None) -> str:
        """Style of the input buffer. Block RAM is chosen without regard to the family: it sets the latency, and cycle
        counts must not depend on the family."""
        if self.nf == 1 or self.sf == 1:
            return "hold"
        if self.sf >= 64 and self.sf * self.inputs()[0].width > BUFFER_BITS:
            return "block"
        return "distributed" if family is None or family.lut_ram else "logic"

    @property
    def stages(self) -> tuple[int, int]:
        """Cycles from a firing until its inputs are available, and until inputs and weights are."""
        fetch = {"hold": 1, "block": 3}.get(self.buffer(), 2)
        return fetch, max(self.memory.latency, fetch + (self.datapath == "weight_planes"))

    @property
    def _tree(self) -> int:
        """Cycles of the adder tree over SIMD."""
        quads = -(-self.simd // 4)
        count = {"xnor": quads, "ternary": quads, "multiply": self.simd}.get(self.datapath, self.pairs)
        return max(1, -(-levels(count) // self.adders_per_stage))

    @property
    def latency(self) -> int:
        """Cycles from the firing that uses the last of SF beats until the output is valid."""
        count, _, extra = self.planes
        chain = 1 if self.datapath in ("xnor", "ternary", "multiply") else count if extra else 0
        return self.stages[1] + self._tree + chain + 1

    @property
    def credits(self) -> int:
        """Credits of the output: a credit is in use for latency + 1 cycles, and a beat is produced every SF cycles."""
        return -(-(self.latency + 1) // self.sf)

    @property
    def interval(self) -> int:
        return self.nf * self.sf * prod(self.prefix) // self.pixels

    def schedule(self) -> Schedule:
        word = np.arange(self.nf * self.sf)
        produces = word % self.sf == self.sf - 1
        return Schedule((word < self.sf,), (produces,), self.latency, self.credits, prod(self.prefix) // self.pixels)

    def resources(self, family: Family) -> Resources:
        return cost.resources(self, family)

    def least_resources(self, family: Family) -> Resources:
        """A lower bound of ``resources``, without a look at the contents of memories."""
        return cost.resources(self, family, contents=False)

    def rtl(self, family: Family) -> Rtl:
        count, pair_bits, extra_bits = self.planes
        stored, start = self.stored(family), 0
        if self.datapath == "xnor":
            start = -((self.mw + 1) // 2)
        elif self.datapath == "weight_planes" and extra_bits:
            start = self.sf
        parameters: dict[str, int | str | tuple[int, ...]] = {
            "PE": self.pe,
            "SIMD": self.simd,
            "PIXELS": self.pixels,
            "SF": self.sf,
            "NF": self.nf,
            "IN_BITS": self.input_dtype.bitwidth(),
            "IN_SIGNED": int(self.input_dtype.signed()),
            "W_BITS": self.weight_dtype.bitwidth(),
            "W_SIGNED": int(self.weight_dtype.signed()),
            "OUT_BITS": self.accumulator_dtype.bitwidth(),
            "DATAPATH": self.datapath,
            "PLANES": count,
            "PAIR_BITS": pair_bits,
            "OFFSET_BITS": extra_bits,
            "ACC_INIT": start,
            "ADDERS_PER_STAGE": self.adders_per_stage,
            "INPUT_LATENCY": self.stages[0],
            "OPERAND_LATENCY": self.stages[1],
            "TREE_LATENCY": self._tree,
            "LATENCY": self.latency,
            **stored.parameters(family),
            "BUFFER": self.buffer(family),
            "CREDITS": self.credits,
        }
        return Rtl("bf_matrix_vector", parameters, self.contents(family))
