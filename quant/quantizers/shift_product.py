"""Quantized back-propagation: the weight gradient is computed from inputs rounded to powers of two."""

from typing import Any

import torch

from quant.quantizers.powers_of_two import random_power_of_two


class _ShiftProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, layer: Any) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.layer = layer
        return layer.inner_forward_impl(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        to_x, to_weight, to_bias = ctx.needs_input_grad[:3]
        shifts = random_power_of_two(x)
        if weight.dim() > 2:
            at = ctx.layer
            bias_sizes = [weight.shape[0]] if to_bias else None
            found = torch.ops.aten.convolution_backward(
                gradient, shifts, weight, bias_sizes, at.stride, at.padding, at.dilation, False,
                [0] * (weight.dim() - 2), at.groups, [to_x, to_weight, to_bias],
            )  # fmt: skip
            return *found, None
        rows = gradient.flatten(0, -2)
        return (
            gradient @ weight if to_x else None,
            rows.T @ shifts.flatten(0, -2) if to_weight else None,
            rows.sum(0) if to_bias else None,
            None,
        )


def shift_product(layer: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Returns the output of a linear or convolution layer for input x and its quantized weight.

    The gradients to x and bias are exact. The gradient to the weight uses ``random_power_of_two(x)`` instead of x, so
    that it needs shifts only.
    """
    return _ShiftProduct.apply(x, weight, bias, layer)
