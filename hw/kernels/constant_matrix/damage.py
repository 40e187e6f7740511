"""``constant_matrix`` with inputs from a layer with flipped bits."""

import numpy as np

from hw.ir.stream import container, encode
from hw.kernels.constant_matrix import adders
from hw.kernels.constant_matrix.kernel import ConstantMatrix
from hw.kernels.shared.flipped_bits import signed, with_parameters, wrap


class DamagedConstantMatrix(ConstantMatrix):
    """A ``constant_matrix`` whose inputs may exceed their range: adders are as wide as the sums of legal inputs."""

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        plan, out = self.plan, self.outputs()[0]
        values = sums(self, frames[0])
        y = np.zeros((len(values[0]), len(plan.outputs)), np.int64)
        for row, term in enumerate(plan.outputs):
            if term is not None:
                y[:, row] = term.sign * (values[term.source] << term.shift) - self.offsets[row]
        made = wrap(y, out.dtype).astype(container(out.dtype))
        return (made.reshape(len(frames[0]), *out.shape),)


def sums(kernel: ConstantMatrix, x: np.ndarray) -> list[np.ndarray]:
    """The sources of the plan, inputs and sums, as their wires have them; each (positions,)."""
    plan, product = kernel.plan, kernel.product
    x = x.reshape(-1, plan.inputs)
    if product.input_dtype.name == "BIPOLAR":
        x = encode(x, product.input_dtype)
    values = [_cut(each, plan.low, plan.high) for each in x.astype(np.int64).T]
    for each in plan.sums:
        total = sum(term.sign * (values[term.source] << term.shift) for term in each.terms)
        values.append(_cut(np.asarray(total), each.low, each.high))
    return values


def _cut(values: np.ndarray, low: int, high: int) -> np.ndarray:
    """Integers as a wire has them that is as wide as the range ``low..high`` needs."""
    width = max(1, adders.bits(low, high))
    return signed(values, width) if low < 0 else values & (1 << width) - 1


def bits(kernel: ConstantMatrix) -> int:
    """Bits of the kernel's memories."""
    return 0


def damaged(kernel: ConstantMatrix, flips: np.ndarray) -> DamagedConstantMatrix:
    """The kernel as the hardware computes it for any input codes; it has no memories, so ``flips`` is empty."""
    return with_parameters(DamagedConstantMatrix, kernel)
