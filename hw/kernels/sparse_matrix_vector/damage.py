"""``sparse_matrix_vector`` with flipped bits in its memory: weights, and the columns that the banks give."""

import numpy as np

from hw.ir.stream import decode
from hw.kernels.matrix_vector.damage import DamagedMatrixVector
from hw.kernels.shared.flipped_bits import flipped, with_parameters, wrap
from hw.kernels.sparse_matrix_vector.kernel import SparseMatrixVector


class DamagedSparseMatrixVector(SparseMatrixVector):
    """A ``sparse_matrix_vector`` with modified ``memory_words``: the bits of its memory, (F, WIDTH)."""

    memory_words: np.ndarray

    def words(self) -> np.ndarray:
        return self.memory_words

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = frames
        # A bank has a power of two of places; those behind the vector hold the code 0.
        places = 1 << self.address_bits
        banks = np.zeros((x.size // self.mw, places, self.simd), np.int64)
        banks[:] = decode(np.zeros(1, np.uint64), self.input_dtype)
        banks[:, : self.sf] = x.reshape(-1, self.sf, self.simd)
        lines = self.pe * self.row
        rows = self.memory_words[:, :lines].reshape(-1, 1, self.pe, self.row)
        columns = self.memory_words[:, lines:].reshape(-1, self.simd, self.address_bits)
        columns = columns.astype(np.int64) @ (1 << np.arange(self.address_bits))
        sums = np.zeros((len(banks), self.nf, self.pe), np.int64)
        group = np.repeat(np.arange(self.nf), self.lengths)
        for i, row in enumerate(rows):
            inputs = banks[:, columns[i], np.arange(self.simd)]
            sums[:, group[i]] += self._firing(row).execute(inputs)[0]
        return (wrap(sums, self.accumulator_dtype).reshape(len(x), *self.prefix, self.mh),)

    def _firing(self, row: np.ndarray) -> DamagedMatrixVector:
        """The products of one firing, whose sums wrap around as those of the whole do. ``row``: (1, PE, ROW) bits."""
        changed: dict[str, object] = {"prefix": (), "planes": self.planes, "memory_rows": row}
        if self.datapath != "input_planes":
            bits = self.weight_dtype.bitwidth()
            codes = row.reshape(self.pe, self.simd, bits).astype(np.uint64) @ (
                np.uint64(1) << np.arange(bits, dtype=np.uint64)
            )
            changed["weights"] = decode(codes, self.weight_dtype).astype(np.int64)
        else:
            changed["weights"] = np.zeros((self.pe, self.simd), np.int64)
        kept = {name: vars(self)[name] for name in ("weight_dtype", "input_dtype", "input_range", "pe", "simd")}
        return with_parameters(DamagedMatrixVector, self, **kept, **changed, accumulator_dtype=self.accumulator_dtype)


def bits(kernel: SparseMatrixVector) -> int:
    """Bits of the kernel's memory."""
    return kernel.memory.depth * kernel.memory.width


def damaged(kernel: SparseMatrixVector, flips: np.ndarray) -> DamagedSparseMatrixVector:
    """The kernel with the memory bits ``flips`` (numbers from 0) flipped.

    Without flips it computes what the hardware computes for any input codes.
    """
    words = flipped(kernel.words().astype(np.uint64), 1, flips)
    kept = {"accumulator_dtype": kernel.accumulator_dtype, "planes": kernel.planes}
    return with_parameters(DamagedSparseMatrixVector, kernel, **kept, memory_words=words)
