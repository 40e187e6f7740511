"""``constant_network`` with inputs from a layer with flipped bits."""

import numpy as np
from qonnx.core.datatype import DataType

from hw.ir.stream import container
from hw.kernels.constant_matrix.damage import damaged as damaged_matrix
from hw.kernels.constant_matrix.damage import sums
from hw.kernels.constant_matrix.kernel import ConstantMatrix
from hw.kernels.constant_matrix.pipeline import Pipeline
from hw.kernels.constant_network.kernel import ConstantNetwork, Step
from hw.kernels.constant_threshold.comparators import Comparators
from hw.kernels.constant_threshold.damage import damaged as damaged_threshold
from hw.kernels.constant_threshold.kernel import ConstantThreshold
from hw.kernels.shared.flipped_bits import with_parameters, wrap


class DamagedConstantNetwork(ConstantNetwork):
    """A ``constant_network`` whose inputs may exceed their range: sums wrap around as wide as those of legal inputs."""

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,), none, raw = frames, np.zeros(0, np.int64), None
        for step in self.steps:
            kernel, logic = step.kernel, step.logic
            if isinstance(kernel, ConstantMatrix):
                if isinstance(logic, Pipeline) and logic.raw:
                    raw = sums(kernel, x), kernel
                    continue
                (x,) = damaged_matrix(kernel, none).execute(x.reshape(-1, *kernel.inputs()[0].shape))
            elif raw:
                x, raw = _reached(step, *raw), None
            else:
                (x,) = damaged_threshold(kernel, none).execute(x.reshape(-1, *kernel.inputs()[0].shape))
        return (x.reshape(len(frames[0]), *self.outputs()[0].shape),)


def _reached(step: Step, values: list[np.ndarray], product: ConstantMatrix) -> np.ndarray:
    """The results of thresholds on raw sums, (positions, C)."""
    kernel, logic = step.kernel, step.logic
    assert isinstance(kernel, ConstantThreshold)
    assert isinstance(logic, Comparators)
    zero = np.zeros(len(values[0]), np.int64)
    x = np.stack([zero if term is None else values[term.source] for term in product.plan.outputs], axis=1)
    count = ((x + (logic.signed << logic.bits - 1))[..., None] >= logic.codes).sum(axis=-1)
    count = np.where(logic.falling, logic.steps - count, count)
    given = kernel.output_dtype
    if given == DataType["BIPOLAR"]:
        return (2 * count - 1).astype(container(given))
    return wrap(count + logic.out_min, given)


def bits(kernel: ConstantNetwork) -> int:
    """Bits of the kernel's memories."""
    return 0


def damaged(kernel: ConstantNetwork, flips: np.ndarray) -> DamagedConstantNetwork:
    """The kernel as the hardware computes it for any input codes; it has no memories, so ``flips`` is empty."""
    return with_parameters(DamagedConstantNetwork, kernel)
