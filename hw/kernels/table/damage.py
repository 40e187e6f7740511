"""``table`` with flipped bits in its memories."""

import numpy as np

from hw.ir.stream import decode, encode
from hw.kernels.shared.flipped_bits import flipped, with_parameters
from hw.kernels.table.kernel import Table


class DamagedTable(Table):
    """A ``table`` with modified memory contents."""

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = frames
        codes = encode(x, self.input_dtype).astype(np.int64)
        row = np.arange(codes[0].size).reshape(codes[0].shape) % len(self._words)
        return (decode(self._words[row, codes], self.output_dtype),)


def bits(kernel: Table) -> int:
    """Bits of the kernel's memories."""
    return kernel._words.size * kernel.output_dtype.bitwidth()


def damaged(kernel: Table, flips: np.ndarray) -> DamagedTable:
    """The kernel with the memory bits ``flips`` flipped. Without flips it computes what the hardware computes for any
    input codes."""
    return with_parameters(DamagedTable, kernel, _words=flipped(kernel._words, kernel.output_dtype.bitwidth(), flips))
