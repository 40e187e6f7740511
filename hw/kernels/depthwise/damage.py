"""``depthwise`` with flipped bits in its memories."""

import numpy as np

from hw.ir.stream import decode
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.shared.flipped_bits import flipped, known, with_parameters, wrap


class DamagedDepthwise(Depthwise):
    """A ``depthwise`` with modified ``codes`` in its memory, (words, lanes)."""

    codes: np.ndarray

    @property
    def _words(self) -> np.ndarray:
        return self.codes

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = frames
        weights = decode(self.codes, self.weight_dtype).reshape(self.k, self.channels)
        windows = x.reshape(-1, self.k, self.channels)
        if self.product.serial_operand == "weight":
            weights = known(weights, self.weight_dtype)
        else:
            windows = known(windows, self.input_dtype)
        y = np.zeros((len(windows), self.channels), np.int64)
        for k in range(self.k):  # exact modulo 2**64
            y += windows[:, k].astype(np.int64) * weights[k].astype(np.int64)
        return (wrap(y, self.output_dtype).reshape(len(x), *self.prefix, self.channels),)


def bits(kernel: Depthwise) -> int:
    """Bits of the kernel's memories."""
    return kernel.weights.size * kernel.weight_dtype.bitwidth()


def damaged(kernel: Depthwise, flips: np.ndarray) -> DamagedDepthwise:
    """The kernel with the memory bits ``flips`` (numbers from 0) flipped.

    Without flips it computes what the hardware computes for any input codes.
    """
    codes = flipped(kernel._words, kernel.weight_dtype.bitwidth(), flips)
    kept = {"output_dtype": kernel.output_dtype, "product": kernel.product}
    return with_parameters(DamagedDepthwise, kernel, **kept, codes=codes)
