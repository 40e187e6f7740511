"""``threshold`` with flipped bits in its memories."""

from dataclasses import replace

import numpy as np
from qonnx.core.datatype import DataType

from hw.ir.stream import container, encode
from hw.kernels.shared.flipped_bits import flipped, with_parameters, wrap
from hw.kernels.threshold.kernel import Threshold


class DamagedThreshold(Threshold):
    """A ``threshold`` with modified memory contents; the thresholds may be unsorted."""

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = frames
        table, bits = self._table, self.input_dtype.bitwidth()
        codes = encode(x, self.input_dtype).astype(np.int64)
        if self.input_dtype.signed() and self.input_dtype != DataType["BIPOLAR"]:
            codes ^= 1 << bits - 1
        place = np.arange(codes[0].size).reshape(codes[0].shape)
        row = np.broadcast_to(place % len(table.words), x.shape)
        found = np.zeros(x.shape, np.int64)
        for stage in range(self.code_bits):
            step = 1 << self.code_bits - stage
            bound = table.words[row, found * step + step // 2 - 1]
            found = 2 * found + (codes > bound if table.strict else codes >= bound)
        if self._flags.size:
            found ^= self._flags.ravel()[place % self._flags.size] * ((1 << self.code_bits) - 1)
        if self.output_dtype == DataType["BIPOLAR"]:
            return ((2 * found - 1).astype(container(self.output_dtype)),)
        return (wrap(found + self._least, self.output_dtype),)


def bits(kernel: Threshold) -> int:
    """Bits of the kernel's memories."""
    return kernel._table.words.size * kernel._table.width + kernel._flags.size


def damaged(kernel: Threshold, flips: np.ndarray) -> DamagedThreshold:
    """The kernel with the memory bits ``flips`` flipped: first those of the thresholds, then those of the complement
    flags. Without flips it computes what the hardware computes for any input codes."""
    table = kernel._table
    bounds = table.words.size * table.width
    words = flipped(table.words.astype(np.uint64), table.width, flips[flips < bounds]).astype(np.int64)
    flags = flipped(kernel._flags.astype(np.uint64), 1, flips[flips >= bounds] - bounds).astype(np.int64)
    return with_parameters(DamagedThreshold, kernel, _table=replace(table, words=words), _flags=flags)
