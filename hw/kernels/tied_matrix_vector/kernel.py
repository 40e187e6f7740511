"""Matrix-vector product whose weight memory holds what repeats once: an implementation of ``matrix_vector``.

The arithmetic and the module are those of ``matrix_vector``. Only the memory differs (``ties``, ``turns``, ``memory``):
a table of different words, their index or their turns, and wires. So structured matrices need a fraction of the memory:
of block-circulant ones (CirCNN, Ding et al. 2017) a row of each block; of blocks that repeat, as hashed weights
(HashedNets, Chen et al. 2015) have, each block once; of filters that are rotated and reflected (Cohen, Welling 2016)
the words that are no turns of others. It is found in the integers of any network.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Self

import numpy as np

from hw.fabric.family import Family
from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding, Memory, Rtl
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.shared.parameters import divisors
from hw.kernels.tied_matrix_vector import ties, turns
from hw.kernels.tied_matrix_vector.codebook import Codebook
from hw.kernels.tied_matrix_vector.memory import TiedMemory
from hw.kernels.tied_matrix_vector.periods import Samples
from hw.kernels.tied_matrix_vector.ties import INDEXED, LEAST_SAVED, MOST_TURNS, Ties


@dataclass(frozen=True, eq=False)
class TiedMatrixVector(MatrixVector):
    """``matrix_vector`` with the same parameters, for matrices in whose memory much repeats.

    ``pixels`` is 1. Raises BitfabricError as ``matrix_vector`` does, and for a ``pe`` and ``simd`` with which less than
    half of the memory's bits are saved.
    """

    op: ClassVar[str] = "tied_matrix_vector"
    of_folding: ClassVar[tuple[str, ...]] = (*MatrixVector.of_folding, "ties")
    coded: ClassVar[bool] = False
    refused: ClassVar[str] = (
        "less than half of the weight memory repeats; use matrix_vector, or a PE and SIMD of the side of the blocks "
        "that repeat"
    )
    sources: ClassVar[tuple[str, ...]] = (*MatrixVector.sources, "bf_tied_address.sv", "bf_tied_memory.sv")

    @classmethod
    def of(cls, product: MatrixVector) -> Self | None:
        if not (memories := cls._memories(product)):
            return None
        known = (product.pe, product.simd) in memories
        pe, simd = (product.pe, product.simd) if known else next(iter(memories))
        made = cls(
            product.weights, product.weight_dtype, product.input_dtype, product.prefix, pe, simd, product.input_range,
            parity=product.parity,
        )  # fmt: skip
        object.__setattr__(made, "memories", memories)
        return made

    @classmethod
    def codebook_of(cls, product: MatrixVector) -> Codebook | None:
        """The different weights of a product, where the memory holds codes of them; else None."""
        return None

    def _check_folding(self) -> None:
        super()._check_folding()
        if self.pixels > 1:
            raise BitfabricError(f"{self.op}: pixels={self.pixels}; a product with a memory takes one pixel at a time")
        if (self.pe, self.simd) not in self.memories:
            raise BitfabricError(f"{self.op}: with PE={self.pe} and SIMD={self.simd} {self.refused}")

    @cached_property
    def memories(self) -> dict[tuple[int, int], TiedMemory]:
        """The memory in each folding, by PE and SIMD."""
        return self._memories(self)

    @classmethod
    def _memories(cls, product: MatrixVector) -> dict[tuple[int, int], TiedMemory]:
        dense, found, bits = product.dense(), {}, product.weight_dtype.bitwidth()
        book, samples = cls.codebook_of(product), Samples(product.weights, bits)
        if cls.coded and book is None:
            return {}
        for pe in divisors(product.mh):
            for simd in divisors(product.mw):
                folded = dense.fold(Folding(pe, simd))
                if (made := _ties(folded, book, samples)) is not None:
                    found[pe, simd] = TiedMemory.of(folded.nf * folded.sf, made)
                elif book and folded.nf * folded.sf >= ties.LEAST_WORDS and pe * simd <= ties.MOST_LANES:
                    found[pe, simd] = TiedMemory.coded(folded.nf * folded.sf, pe * simd, book)
        return found

    @cached_property
    def _repeats(self) -> tuple[Codebook | None, Samples]:
        return self.codebook_of(self), Samples(self.weights, self.weight_dtype.bitwidth())

    @cached_property
    def ties(self) -> Ties:
        """What repeats in the memory."""
        book, samples = self._repeats
        if (made := _ties(self, book, samples)) is not None:
            return made
        assert book is not None, "checked by _check_folding"
        words = _words(self, book)
        return Ties(2 * np.arange(words.shape[1]), words, codes=book)

    def foldings(self) -> tuple[Folding, ...]:
        return tuple(sorted((Folding(*each) for each in self.memories), key=lambda f: (f.pe * f.simd, f.pe)))

    @property
    def variant(self) -> str:
        return f"{MatrixVector.op} {self.datapath}"  # The same paths; the memory lies between registers.

    @property
    def memory(self) -> TiedMemory:
        return self.memories[self.pe, self.simd]

    def contents(self, family: Family) -> dict[str, tuple[Memory, ...]]:
        memory = self.memory.with_parity(family) if self.parity else self.memory
        return memory.contents(self.ties, family)

    def rtl(self, family: Family) -> Rtl:
        made = super().rtl(family)
        return Rtl(made.module, {**made.parameters, **self.memory.wires(self.ties)}, made.memories)


def _ties(folded: MatrixVector, book: Codebook | None, samples: Samples) -> Ties | None:
    """The ties of the memory of a product in its folding, of codes where there is a ``book``: with turns where they
    save enough more bits. None where too little repeats."""
    loop, repeats = None, samples.period
    if repeats is not None and folded.pe * folded.simd <= ties.MOST_LANES:
        loop = repeats.loop(folded.matrix_shape, folded.pe, folded.simd)
    if loop is None and not samples.worthwhile(folded.pe, folded.simd):
        return None
    words = _words(folded, book)
    made, limit = ties.find(words), LEAST_SAVED * words.size
    if loop is not None:
        sources, table, found = turns.find(words, loop)
        enough = limit if made.bits > limit else INDEXED * made.bits
        if table.size <= enough and len(found.wires) <= MOST_TURNS:
            made = Ties(sources, table, turns=found)
    return replace(made, codes=book) if made.bits <= limit else None


def _words(folded: MatrixVector, book: Codebook | None) -> np.ndarray:
    """The bits of the memory of a product in its folding, (words, bits), of codes where there is a ``book``."""
    rows = folded.rows() if book is None else book.encoded(folded.ordered())
    return rows.reshape(folded.nf * folded.sf, -1)
