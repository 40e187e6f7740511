"""``expert_matrix_vector`` with flipped bits in its memory."""

import numpy as np

from hw.kernels.expert_matrix_vector.kernel import ExpertMatrixVector
from hw.kernels.matrix_vector import damage
from hw.kernels.shared.flipped_bits import with_parameters


def bits(kernel: ExpertMatrixVector) -> int:
    """Bits of the kernel's memory."""
    return damage.bits(kernel.stack)


def damaged(kernel: ExpertMatrixVector, flips: np.ndarray) -> ExpertMatrixVector:
    """The kernel with the memory bits ``flips`` (numbers from 0) flipped."""
    return with_parameters(ExpertMatrixVector, kernel, stack=damage.damaged(kernel.stack, flips))
