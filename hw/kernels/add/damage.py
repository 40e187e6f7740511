"""``add`` with inputs from a layer with flipped bits."""

import numpy as np

from hw.kernels.add.kernel import Add
from hw.kernels.shared.flipped_bits import with_parameters, wrap


class DamagedAdd(Add):
    """An ``add`` whose inputs may exceed its input ranges; its sums wrap around."""

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        return (wrap(super().execute(*frames)[0], self.output_dtype),)


def bits(kernel: Add) -> int:
    """Bits of the kernel's memories."""
    return 0


def damaged(kernel: Add, flips: np.ndarray) -> DamagedAdd:
    """The kernel as the hardware computes it for any input codes; it has no memories, so ``flips`` is empty."""
    return with_parameters(DamagedAdd, kernel)
