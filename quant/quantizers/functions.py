"""Quantizing functions with custom gradients, element-wise over tensors of any shape.

Each is one autograd node, because several small nodes would cost more time than the arithmetic.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return _signs(x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


class _SignHardTanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return _signs(x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return _between(gradient, x, -1.0, 1.0)


def _signs(x: torch.Tensor) -> torch.Tensor:
    # Ten times as fast as torch.where.
    return torch.ge(x, 0, out=torch.empty_like(x)).mul_(2).sub_(1)


def _between(gradient: torch.Tensor, x: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Returns ``gradient`` where ``low <= x <= high``, else 0. (torch's own kernel excludes the bounds.)"""
    kind = np.float64 if x.dtype == torch.float64 else np.float32
    ends = np.nextafter(kind(low), kind(-np.inf)), np.nextafter(kind(high), kind(np.inf))
    return torch.ops.aten.hardtanh_backward(gradient, x, float(ends[0]), float(ends[1]))


def sign(x: torch.Tensor) -> torch.Tensor:
    """Returns +1 where ``x >= 0``, else -1 (never 0). The gradient passes unchanged (weights of BinaryConnect)."""
    return _Sign.apply(x)


def sign_hard_tanh(x: torch.Tensor) -> torch.Tensor:
    """Returns +1 where ``x >= 0``, else -1; gradient of the hard tanh, ``1[|x| <= 1]`` (activations of BinaryNet)."""
    return _SignHardTanh.apply(x)


def mean_of_nonzero(x: torch.Tensor, over: list[int] | None = None) -> torch.Tensor:
    """Returns the mean of the elements that are not zero, over all axes, or over some of them, which are kept.

    Weights that are pruned do not take part in the statistics of the others. It is 0 where all elements are zero.
    """
    # The mean of all over the share that is not zero. Where nothing is zero it is exactly 1, as n / n is in tensors.
    used = torch.ne(x, 0)
    if over is None:
        count, mean = used.sum(), x.mean()
    else:
        count, mean = used.sum(over, keepdim=True), x.mean(over, keepdim=True)
    return mean / (count.clamp_(min=1) / torch.full_like(count, x.numel() // count.numel()))


def _half_up_(x: torch.Tensor) -> torch.Tensor:
    return torch.copysign((x.abs() + 0.5).floor_(), x)


def _stochastic_(x: torch.Tensor) -> torch.Tensor:
    return x.add_(torch.rand_like(x)).floor_()


ROUNDINGS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "half_up": _half_up_,
    "half_even": torch.Tensor.round_,
    "floor": torch.Tensor.floor_,
    "toward_zero": torch.Tensor.trunc_,
    "stochastic": _stochastic_,
}
"""Rounding to whole numbers by name; a function may overwrite its argument.

- ``half_up``: to the nearest, ties away from zero (QONNX's HALF_UP). On unsigned values hardware does this by adding
  one half and truncating.
- ``half_even``: to the nearest, ties to even (as in ONNX).
- ``floor``: truncation of the two's complement.
- ``toward_zero``: truncation of the magnitude.
- ``stochastic``: up with a probability equal to the fraction, so that the mean is the value (Gupta et al. 2015)."""

QONNX_ROUNDING = {"half_up": "HALF_UP", "half_even": "ROUND", "floor": "FLOOR", "toward_zero": "DOWN"}
"""QONNX's names of the deterministic roundings."""


class _Uniform(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, scale: torch.Tensor, low: float, high: float, rounding: str, gradient_scale: float
    ) -> torch.Tensor:
        ratio = x / scale
        codes = ROUNDINGS[rounding](ratio.clamp(low, high))
        learned = ctx.needs_input_grad[1]
        ctx.save_for_backward(ratio, codes if learned else None)
        ctx.bounds = low, high
        ctx.gradient_scale, ctx.scale_shape = gradient_scale, scale.shape
        return codes * scale if learned else codes.mul_(scale)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        ratio, codes = ctx.saved_tensors
        low, high = ctx.bounds
        to_x = _between(gradient, ratio, low, high)
        to_scale = None
        if ctx.needs_input_grad[1]:
            # codes - x / scale inside, codes outside
            by_scale = (gradient * codes).addcmul_(to_x, ratio, value=-1)
            to_scale = by_scale.sum_to_size(ctx.scale_shape) * ctx.gradient_scale
        return to_x, to_scale, None, None, None, None


def uniform(
    x: torch.Tensor,
    scale: torch.Tensor,
    low: float,
    high: float,
    rounding: str = "half_even",
    gradient_scale: float = 1.0,
) -> torch.Tensor:
    """Returns ``scale * round(clip(x / scale, low, high))``; ``scale`` broadcasts against x.

    Gradient to x: straight through where ``low <= x / scale <= high``, zero elsewhere. Gradient to the scale, if it is
    learned: ``codes - x / scale`` inside these bounds and ``codes`` outside (Esser et al., "Learned step size
    quantization", ICLR 2020, eq. 3), times ``gradient_scale``.
    """
    return _Uniform.apply(x, scale, low, high, rounding, gradient_scale)


class _Grid(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: torch.Tensor, rounding: str) -> torch.Tensor:
        return ROUNDINGS[rounding](x / scale).mul_(scale)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return gradient, None, None


def grid(x: torch.Tensor, scale: torch.Tensor, rounding: str = "half_even") -> torch.Tensor:
    """Returns ``scale * round(x / scale)``, for scales at which nothing saturates. The gradient passes unchanged."""
    return _Grid.apply(x, scale, rounding)


class _ClippedGrid(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: torch.Tensor, low: float, high: float) -> torch.Tensor:
        return (x / scale).clamp_(low, high).round_().mul_(scale)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return gradient, None, None, None


def clipped_grid(x: torch.Tensor, scale: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Returns ``scale * round(clip(x / scale, low, high))``, ties to even. The gradient passes unchanged everywhere."""
    return _ClippedGrid.apply(x, scale, low, high)


def bounds(bits: int, signed: bool, narrow: bool = False) -> tuple[int, int]:
    """Returns the minimum and maximum code of an integer type; ``narrow`` excludes the most negative one."""
    if not signed:
        return 0, 2**bits - 1
    return -(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1


class _CeilPassing(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.ceil()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


def power_of_two(exponent: torch.Tensor) -> torch.Tensor:
    """Returns ``2**ceil(exponent)``, exactly; the gradient is that of ``2**exponent``.

    Jain et al., "Trained quantization thresholds", MLSys 2020.
    """
    return torch.exp2(_CeilPassing.apply(exponent))


def ceil_power_of_two(value: torch.Tensor) -> torch.Tensor:
    """Returns the smallest power of two that is at least ``value`` > 0 (2**-126 for 0); no gradient."""
    mantissa, exponent = torch.frexp(value.detach().clamp(min=math.ldexp(1.0, -126)))
    return torch.ldexp(torch.ones_like(mantissa), exponent - (mantissa == 0.5).to(exponent.dtype))
