"""The quantizer of a network's input: exact where the frames' values are multiples of one step, as pixels are."""

import math

import torch

from quant.errors import QuantError
from quant.layers import Activation
from quant.quantizers.functions import bounds
from quant.quantizers.tensor_quant import UniformAct, act_injector

IMAGE_BITS = 8
"""Default width of inputs that are multiples of no step of as many bits."""


def input_quantizer(x: torch.Tensor, bits: int | None, power_of_two: bool) -> Activation:
    """Returns the quantizer of inputs like x (N, ...): a constant scale for the tensor, unsigned if no x is negative.

    If all x are multiples of a step and their codes have at most ``bits`` (None: 8) bits, the scale is that step, and
    quantization changes nothing; without ``bits`` the codes are as narrow as they can be. Otherwise, and where the step
    is no power of two but has to be, the scale is the smallest with which no x is off by more than a
    step.

    Raises QuantError (status 2) for widths outside of 2 to 16.
    """
    if bits is not None and not 2 <= bits <= 16:
        raise QuantError(f"in_bits={bits}: the input has 2 to 16 bits", status=2)
    low, high = float(x.min()), float(x.max())
    signed, widest = low < 0, IMAGE_BITS if bits is None else bits
    step = _step(x, 2**widest)
    if step is not None and power_of_two:
        step = step if math.frexp(step)[0] == 0.5 else None
    if step is not None:
        codes = round(low / step), round(high / step)
        fitting = [
            n for n in range(2, widest + 1) if bounds(n, signed)[0] <= codes[0] and codes[1] <= bounds(n, signed)[1]
        ]
        if fitting:
            return _quantizer(fitting[0] if bits is None else bits, signed, step, power_of_two)
    least, most = bounds(widest, signed)
    # With a power of two the largest x may be one step above the largest code, as 1.0 is for 8 bits and 2**-8: the next
    # scale would be off by as much everywhere.
    scale = max(high / (most + power_of_two), low / least if signed else 0.0) or 1.0
    if power_of_two:
        scale = 2.0 ** math.ceil(math.log2(scale))
    return _quantizer(widest, signed, scale, power_of_two)


def _quantizer(bits: int, signed: bool, scale: float, power_of_two: bool) -> Activation:
    return Activation(
        act_quant=act_injector(UniformAct, signed=signed, bits=bits, scale=scale, power_of_two=power_of_two)
    )


def _step(x: torch.Tensor, most: int) -> float | None:
    """Returns the largest step of which all x are multiples, if they have at most ``most`` values; else None."""
    values = torch.unique(x).double()
    if len(values) > most:
        return None
    sizes = torch.unique(torch.cat([values.abs(), values.diff()]))
    sizes = sizes[sizes > 0]
    if not len(sizes):
        return None
    largest = float(values.abs().max())
    step = _common_divisor(sizes.tolist(), 1e-4 * float(sizes[0]))
    if step is None or round(largest / step) == 0:
        return None
    step = largest / round(largest / step)  # more exact than a difference of float32
    exact = 2.0 ** round(math.log2(step))
    step = exact if abs(step - exact) < 1e-6 * exact else step
    off = (values / step - torch.round(values / step)).abs().max()
    return step if float(off) < 1e-2 else None


def _common_divisor(sizes: list[float], tolerance: float) -> float | None:
    divisor = sizes[0]
    for size in sizes[1:]:
        while size > tolerance:
            divisor, size = size, math.fmod(divisor, size)
            if size > divisor - tolerance:  # a rest of one divisor less rounding
                size = 0.0
        if divisor < sizes[0] / 64:
            return None
    return divisor
