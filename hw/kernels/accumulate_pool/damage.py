"""``accumulate_pool`` with inputs from a layer with flipped bits."""

import numpy as np

from hw.kernels.accumulate_pool.kernel import AccumulatePool
from hw.kernels.shared.flipped_bits import with_parameters, wrap


class DamagedAccumulatePool(AccumulatePool):
    """An ``accumulate_pool`` whose inputs may exceed its input range.

    Overflows depend on the order of the additions: the hardware sums the rows of a window first.
    """

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        across = self._image[3]
        window = np.stack(list(self._views(frames[0].astype(np.int64))))
        rows = wrap(window.reshape(-1, across, *window.shape[1:]).sum(axis=1), self._partial(across))
        return (wrap(rows.sum(axis=0, dtype=np.int64), self.output_dtype),)


def bits(kernel: AccumulatePool) -> int:
    """Bits of the kernel's memories."""
    return 0


def damaged(kernel: AccumulatePool, flips: np.ndarray) -> DamagedAccumulatePool:
    """The kernel as the hardware computes it for any input codes; it has no memories, so ``flips`` is empty."""
    return with_parameters(DamagedAccumulatePool, kernel)
