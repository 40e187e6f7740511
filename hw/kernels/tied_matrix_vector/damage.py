"""``tied_matrix_vector`` with flipped bits in its table and index: each may change several weights."""

import numpy as np

from hw.ir.stream import decode
from hw.kernels.matrix_vector.damage import DamagedMatrixVector
from hw.kernels.shared.flipped_bits import with_parameters
from hw.kernels.tied_matrix_vector.kernel import TiedMatrixVector


class DamagedTiedMatrixVector(TiedMatrixVector):
    """A ``tied_matrix_vector`` with modified ``ties``."""

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        rows = self.ties.words().reshape(-1, self.pe, self.row)
        weights = self.weights
        if self.datapath != "input_planes":
            bits = self.weight_dtype.bitwidth()
            codes = rows.reshape(self.nf, self.sf, self.pe, self.simd, bits).astype(np.uint64) @ (
                np.uint64(1) << np.arange(bits, dtype=np.uint64)
            )
            weights = decode(codes.transpose(0, 2, 1, 3).reshape(self.mh, self.mw), self.weight_dtype).astype(np.int64)
        made = with_parameters(DamagedMatrixVector, self, weights=weights, memory_rows=rows)
        return made.execute(*frames)


def bits(kernel: TiedMatrixVector) -> int:
    """Bits of the kernel's memories."""
    return kernel.ties.bits


def damaged(kernel: TiedMatrixVector, flips: np.ndarray) -> DamagedTiedMatrixVector:
    """The kernel with the memory bits ``flips`` (numbers from 0) flipped, of the table first.

    Without flips it computes what the hardware computes for any input codes.
    """
    kept = {"accumulator_dtype": kernel.accumulator_dtype, "planes": kernel.planes}
    return with_parameters(DamagedTiedMatrixVector, kernel, **kept, ties=kernel.ties.flipped(flips))
