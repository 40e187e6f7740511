"""``add`` behind a layer with flipped bits."""

import numpy as np

from hw.kernels.add.kernel import Add
from hw.kernels.shared.flipped_bits import with_parameters, wrap


class DamagedAdd(Add):
    """An ``add`` whose inputs may lie beyond its ranges."""

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        return (wrap(super().execute(*frames)[0], self.output_dtype),)


def bits(kernel: Add) -> int:
    """Bits of the kernel's memories."""
    return 0


def damaged(kernel: Add, flips: np.ndarray) -> DamagedAdd:
    """The kernel with these bits of its memories flipped, numbers from 0; without flips it computes what the hardware
    makes of any input."""
    return with_parameters(DamagedAdd, kernel)
