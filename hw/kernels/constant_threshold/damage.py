"""``constant_threshold`` with inputs from a layer with flipped bits."""

import numpy as np
from qonnx.core.datatype import DataType

from hw.ir.stream import container, encode
from hw.kernels.constant_threshold.kernel import ConstantThreshold
from hw.kernels.shared.flipped_bits import with_parameters, wrap


class DamagedConstantThreshold(ConstantThreshold):
    """A ``constant_threshold`` whose inputs may have codes that their type does not have."""

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = frames
        codes = encode(x, self.input_dtype).astype(np.int64)
        if self.input_dtype.signed() and self.input_dtype != DataType["BIPOLAR"]:
            codes ^= 1 << self.input_dtype.bitwidth() - 1
        count = (codes[..., None] >= self._codes).sum(axis=-1)
        count = np.where(self.decreasing, self.steps - count, count)
        if self.output_dtype == DataType["BIPOLAR"]:
            return ((2 * count - 1).astype(container(self.output_dtype)),)
        return (wrap(count + self._least, self.output_dtype),)


def bits(kernel: ConstantThreshold) -> int:
    """Bits of the kernel's memories."""
    return 0


def damaged(kernel: ConstantThreshold, flips: np.ndarray) -> DamagedConstantThreshold:
    """The kernel as the hardware computes it for any input codes; it has no memories, so ``flips`` is empty."""
    return with_parameters(DamagedConstantThreshold, kernel)
