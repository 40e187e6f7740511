"""Matrix-vector product whose weight memory holds what repeats once: an implementation of ``matrix_vector``.

The arithmetic and the module are those of ``matrix_vector``. Only the memory differs (``ties``, ``memory``): a table of
different words, their index, and wires. So structured matrices need a fraction of the memory: of block-circulant ones
(CirCNN, Ding et al. 2017) a row of each block, with PE and SIMD of the block's side; of blocks that repeat, as hashed
weights (HashedNets, Chen et al. 2015) and turned filters have, each block once. It is found in the integers of any
network.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self

from hw.fabric.family import Family
from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding, Memory, Rtl
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.shared.parameters import divisors
from hw.kernels.tied_matrix_vector import ties
from hw.kernels.tied_matrix_vector.memory import TiedMemory
from hw.kernels.tied_matrix_vector.ties import LEAST_SAVED, Ties


@dataclass(frozen=True, eq=False)
class TiedMatrixVector(MatrixVector):
    """``matrix_vector`` with the same parameters, for matrices in whose memory much repeats.

    ``pixels`` is 1. Raises BitfabricError as ``matrix_vector`` does, and for a ``pe`` and ``simd`` with which less than
    half of the memory's bits are saved.
    """

    op: ClassVar[str] = "tied_matrix_vector"
    sources: ClassVar[tuple[str, ...]] = (*MatrixVector.sources, "bf_tied_memory.sv")

    @classmethod
    def of(cls, product: MatrixVector) -> Self | None:
        if not (shapes := _shapes(product)):
            return None
        pe, simd = (product.pe, product.simd) if (product.pe, product.simd) in shapes else next(iter(shapes))
        made = cls(
            product.weights, product.weight_dtype, product.input_dtype, product.prefix, pe, simd, product.input_range,
            parity=product.parity,
        )  # fmt: skip
        object.__setattr__(made, "shapes", shapes)
        return made

    def _check_folding(self) -> None:
        super()._check_folding()
        if self.pixels > 1:
            raise BitfabricError(f"{self.op}: pixels={self.pixels}; a product with a memory takes one pixel at a time")
        if (self.pe, self.simd) not in self.shapes:
            raise BitfabricError(
                f"{self.op}: with PE={self.pe} and SIMD={self.simd} less than half of the weight memory repeats; use "
                "matrix_vector, or a PE and SIMD of the side of the blocks that repeat"
            )

    @cached_property
    def shapes(self) -> dict[tuple[int, int], tuple[int, int]]:
        """Columns and words of the table in each folding, by PE and SIMD."""
        return _shapes(self)

    @cached_property
    def ties(self) -> Ties:
        """What repeats in the memory."""
        rows = self.rows()
        return ties.find(rows.reshape(len(rows), -1))

    def foldings(self) -> tuple[Folding, ...]:
        return tuple(sorted((Folding(*each) for each in self.shapes), key=lambda f: (f.pe * f.simd, f.pe)))

    def fold(self, folding: Folding) -> Self:
        folded = super().fold(folding)
        vars(folded).pop("ties", None)
        return folded

    @property
    def variant(self) -> str:
        return f"{MatrixVector.op} {self.datapath}"  # The same paths; the memory lies between registers.

    @property
    def memory(self) -> TiedMemory:
        return TiedMemory.of(self.nf * self.sf, *self.shapes[self.pe, self.simd])

    def contents(self, family: Family) -> dict[str, tuple[Memory, ...]]:
        memory = self.memory.with_parity(family) if self.parity else self.memory
        return memory.contents(self.ties, family)

    def rtl(self, family: Family) -> Rtl:
        made = super().rtl(family)
        return Rtl(made.module, {**made.parameters, "SOURCES": tuple(self.ties.sources.tolist())}, made.memories)


def _shapes(product: MatrixVector) -> dict[tuple[int, int], tuple[int, int]]:
    """Columns and words of the table of a product, by PE and SIMD of the foldings that save enough bits."""
    dense, found = None, {}
    for pe in divisors(product.mh):
        for simd in divisors(product.mw):
            if ties.worthwhile(product.weights, product.weight_dtype.bitwidth(), pe, simd):
                dense = dense or product.dense()
                rows = dense.fold(Folding(pe, simd)).rows()
                made = ties.find(rows.reshape(len(rows), -1))
                if made.bits <= LEAST_SAVED * rows.size:
                    found[pe, simd] = made.table.shape[1], made.table.shape[0]
    return found
