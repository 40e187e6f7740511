"""``requant`` with flipped bits in its memories."""

import numpy as np
from qonnx.core.datatype import DataType

from hw.ir.stream import container
from hw.kernels.requant.kernel import Requant
from hw.kernels.requant.requant_arithmetic import divided
from hw.kernels.shared.flipped_bits import signed, with_parameters


class DamagedRequant(Requant):
    """A ``requant`` with modified ``memory_words``."""

    memory_words: list[int]

    def words(self) -> list[int]:
        return self.memory_words

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = frames
        plan, product = self.arithmetic, self.product
        a_bits, places = product.addend_bits, product.bits - 1
        reach = plan.x_bits + product.scale + ((1 << places) if product.power else product.bits)
        number = np.int64 if max(reach, a_bits, plan.sum_bits) < 62 else object
        width, factors, addends = product.bits + a_bits, [], []
        for index in range(self.groups * self.lanes):
            group, lane = divmod(index, self.lanes)
            word = self.memory_words[group] >> lane * width
            code = word & (1 << product.bits) - 1
            if product.power:  # (x or ~x, which is -x - 1) << exponent
                sign, factor = -1 if code >> places else 1, 1 << (code & (1 << places) - 1)
                factors.append(sign * factor)
                complement = min(sign, 0) * factor << product.scale
            else:
                factors.append(signed(code, product.bits) if product.bits else 1)
                complement = 0
            addends.append(complement + (signed(word >> product.bits, a_bits) if a_bits else 0))
        values = x.astype(np.int64)
        if self.input_dtype == DataType["BIPOLAR"]:
            values = (values + 1) >> 1
        place = np.arange(x[0].size).reshape(x[0].shape) % len(factors)
        scaled = np.array([factor << product.scale for factor in factors], number)
        total = values.astype(number) * scaled[place] + np.array(addends, number)[place]
        y = divided(signed(total, plan.sum_bits), plan.shift, plan.rounding)
        return (np.clip(y, self.low, self.high).astype(container(self.output_dtype)),)


def bits(kernel: Requant) -> int:
    """Bits of the kernel's memories."""
    return kernel.groups * kernel.lanes * (kernel.product.bits + kernel.product.addend_bits)


def damaged(kernel: Requant, flips: np.ndarray) -> DamagedRequant:
    """The kernel with the memory bits ``flips`` (numbers from 0) flipped.

    Without flips it computes what the hardware computes for any input codes.
    """
    words, width = list(kernel.words()), bits(kernel) // kernel.groups
    for flip in flips.tolist():
        words[flip // width] ^= 1 << flip % width
    return with_parameters(DamagedRequant, kernel, memory_words=words)
