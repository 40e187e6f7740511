"""Matrix-vector product whose zero weights take neither cycles nor memory: an implementation of ``matrix_vector``.

The arithmetic is that of ``matrix_vector``. The inputs of a vector are in SIMD banks, which are read at addresses of
their own; each weight word holds these addresses beside the weights (``pattern`` describes the order). The weights are
constant, so everything is static: the number of firings is known, and the cycle model is exact.
"""

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import ClassVar, Self

import numpy as np

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError
from hw.ir.buffer import Buffer, Loop
from hw.ir.kernel import Folding, Memory, Rtl, Schedule
from hw.ir.stream import code_bits
from hw.kernels.matrix_vector import planes
from hw.kernels.matrix_vector.kernel import BIPOLAR, MatrixVector
from hw.kernels.shared.channel_kernel import credits_for
from hw.kernels.shared.weight_memory import WeightMemory
from hw.kernels.sparse_matrix_vector import cost
from hw.kernels.sparse_matrix_vector.pattern import (
    Pattern,
    cycles_by_folding,
    group_lengths,
    pattern,
    saves,
    used_inputs,
)

BANK_BITS = 1024
"""Banks of more than this many bits are in block RAM, which saves at least 100 lookup tables on ECP5."""


@dataclass(frozen=True, eq=False)
class SparseMatrixVector(MatrixVector):
    """``matrix_vector`` with the same parameters, for matrices with zeros.

    ``pixels`` is 1. Raises BitfabricError as ``matrix_vector`` does, and for a ``pe`` and ``simd`` with which too few
    cycles are saved.
    """

    op: ClassVar[str] = "sparse_matrix_vector"
    of_folding: ClassVar[tuple[str, ...]] = (*MatrixVector.of_folding, "pattern", "lengths", "_produces")
    sources: ClassVar[tuple[str, ...]] = (*MatrixVector.sources, "bf_banked_vector.sv", "bf_modulo_counter.sv")

    @classmethod
    def of(cls, product: MatrixVector) -> Self | None:
        if product.weight_dtype == BIPOLAR or not (cycles := cycles_by_folding(product.weights)):
            return None
        pe, simd = (product.pe, product.simd) if (product.pe, product.simd) in cycles else next(iter(cycles))
        made = cls(
            product.weights, product.weight_dtype, product.input_dtype, product.prefix, pe, simd, product.input_range,
            parity=product.parity,
        )  # fmt: skip
        object.__setattr__(made, "_cycles", cycles)
        return made

    def _check_folding(self) -> None:
        super()._check_folding()
        if self.pixels > 1:
            raise BitfabricError(f"{self.op}: pixels={self.pixels}; a sparse product takes one pixel at a time")
        if not saves(self.firings, self.weights, self.pe, self.simd):
            cycles, dense = max(self.firings, self.sf), self.nf * self.sf
            raise BitfabricError(
                f"{self.op}: PE={self.pe} and SIMD={self.simd} need {cycles} of {dense} cycles a vector, which saves "
                "too little; use matrix_vector, or a smaller PE"
            )

    @cached_property
    def _cycles(self) -> dict[tuple[int, int], int]:
        return cycles_by_folding(self.weights)

    def foldings(self) -> tuple[Folding, ...]:
        return tuple(sorted((Folding(*each) for each in self._cycles), key=lambda f: (f.pe * f.simd, f.pe)))

    def fold(self, folding: Folding) -> Self:
        known = folding.pixels == 1 and (folding.pe, folding.simd) in self._cycles
        return self._folded(folding) if known else super().fold(folding)

    # Hardware.

    @cached_property
    def pattern(self) -> Pattern:
        """The firings of a vector."""
        return pattern(self.weights, self.pe, self.simd)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Firings of each group of PE outputs, (NF,)."""
        return group_lengths(used_inputs(self.weights, self.pe), self.simd)

    @property
    def uneven(self) -> bool:
        """Whether groups differ in their number of firings."""
        return bool((self.lengths != self.lengths[0]).any())

    @property
    def firings(self) -> int:
        """Firings for a vector, each of which reads a word of the weight memory."""
        return int(self.lengths.sum())

    @property
    def address_bits(self) -> int:
        """Bits of a column in the weight memory."""
        return (self.sf - 1).bit_length()

    def ordered(self) -> np.ndarray:
        return self.pattern.weights

    @property
    def _pair_bits(self) -> tuple[int, int]:
        known: dict[tuple[int, int], tuple[int, int]] = vars(self)["_bits_by_simd"]
        if (self.pe, self.simd) not in known:
            known[self.pe, self.simd] = planes.pair_widths(self.ordered(), self.input_dtype)
        return known[self.pe, self.simd]

    @property
    def memory(self) -> WeightMemory:
        """The weight memory: for each firing the rows of PE outputs, that of output 0 in the low bits, and above them
        the columns of the banks."""
        return WeightMemory(self.firings, self.pe * self.row + self.simd * self.address_bits)

    def words(self) -> np.ndarray:
        """The weight memory bit by bit: (F, WIDTH)."""
        rows = self.rows()
        columns = code_bits(self.pattern.columns, self.address_bits)
        return np.concatenate([each.reshape(self.firings, -1) for each in (rows, columns)], axis=1)

    def contents(self, family: Family) -> dict[str, tuple[Memory, ...]]:
        stored = self.stored(family)
        assert isinstance(stored, WeightMemory)
        return {"WEIGHTS": stored.contents(self.words(), family)}

    @property
    def bank_words(self) -> int:
        """Words of a bank: two vectors of a power of two places each."""
        return 2 << self.address_bits

    def buffer(self, family: Family | None = None) -> str:
        """Style of the banks; block RAM without regard to the family, as in ``matrix_vector``."""
        if self.bank_words * self.input_dtype.bitwidth() > BANK_BITS:
            return "block"
        return "distributed" if family is None or family.lut_ram else "logic"

    @property
    def stages(self) -> tuple[int, int]:
        fetch = self.memory.latency + (2 if self.buffer() == "block" else 1)
        return fetch, fetch + (self.datapath == "weight_planes")

    @cached_property
    def _produces(self) -> np.ndarray:
        """Whether a firing ends a group, (F,)."""
        ends = np.zeros(self.firings, np.bool_)
        ends[np.cumsum(self.lengths) - 1] = True
        return ends

    @property
    def credits(self) -> int:
        return credits_for(self._produces, self.latency)

    @property
    def interval(self) -> int:
        return max(self.firings, self.sf) * prod(self.prefix)

    def schedule(self) -> Schedule:
        vectors = prod(self.prefix)
        buffer = Buffer(
            beats=self.sf * vectors,
            places=2 * self.sf,
            start=0,
            reach=self.sf,
            loops=(Loop(vectors, self.sf, self.sf), Loop(self.firings, 0, 0)),
        )
        consumes = np.zeros(self.firings, np.bool_)
        return Schedule((consumes,), (self._produces,), self.latency, self.credits, vectors, buffer)

    def resources(self, family: Family) -> Resources:
        return cost.resources(self, family)

    def least_resources(self, family: Family) -> Resources:
        return cost.resources(self, family, contents=False)

    def rtl(self, family: Family) -> Rtl:
        count, pair_bits, extra_bits = self.planes
        stored = self.stored(family)
        parameters: dict[str, int | str | tuple[int, ...]] = {
            "PE": self.pe,
            "SIMD": self.simd,
            "SF": self.sf,
            "FIRINGS": self.firings,
            "LENGTH": int(self.lengths.max()),
            "IN_BITS": self.input_dtype.bitwidth(),
            "IN_SIGNED": int(self.input_dtype.signed()),
            "W_BITS": self.weight_dtype.bitwidth(),
            "W_SIGNED": int(self.weight_dtype.signed()),
            "OUT_BITS": self.accumulator_dtype.bitwidth(),
            "DATAPATH": self.datapath,
            "PLANES": count,
            "PAIR_BITS": pair_bits,
            "OFFSET_BITS": extra_bits,
            "ADDERS_PER_STAGE": self.adders_per_stage,
            "INPUT_LATENCY": self.stages[0],
            "OPERAND_LATENCY": self.stages[1],
            "TREE_LATENCY": self._tree,
            "LATENCY": self.latency,
            **stored.parameters(family),
            "BUFFER": self.buffer(family),
            "CREDITS": self.credits,
        }
        if self.uneven:
            padded = np.pad(self._produces, (0, -self.firings % 32))
            ends = tuple(np.packbits(padded, bitorder="little").view("<u4").tolist())
            parameters |= {"UNEVEN": 1, "ENDS": ends}
        return Rtl(f"bf_{self.op}", parameters, self.contents(family))
