"""Scaled signs and random signs."""

from typing import Any

import torch

from quant.quantizers.functions import sign


def random_signs(x: torch.Tensor, limit: float = 1.0) -> torch.Tensor:
    """Returns +1 with probability ``clip((x / limit + 1) / 2, 0, 1)``, else -1; no gradient.

    The mean is ``x / limit``, clipped to [-1, 1].
    """
    noise = torch.empty_like(x).uniform_(-1.0, 1.0)
    if limit != 1.0:
        noise.mul_(limit)
    return torch.gt(x, noise, out=noise).mul_(2).sub_(1)


class _ScaledSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: torch.Tensor | float) -> torch.Tensor:
        # +-1/2 times twice the scale: one pass less than +-1 times the scale, and equally exact.
        return torch.ge(x, 0, out=torch.empty_like(x)).sub_(0.5).mul_(2 * scale)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return gradient, None


def scaled_sign(x: torch.Tensor, scale: torch.Tensor | float) -> torch.Tensor:
    """Returns ``scale`` where ``x >= 0``, else ``-scale``; ``scale`` broadcasts. The gradient to x passes unchanged."""
    return _ScaledSign.apply(x, scale)


class _RandomSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, limit: float) -> torch.Tensor:
        signs = random_signs(x, limit)
        return signs if limit == 1.0 else signs.mul_(limit)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return gradient, None


def random_sign(x: torch.Tensor, limit: float = 1.0) -> torch.Tensor:
    """Returns ``limit`` times random signs of mean ``clip(x / limit, -1, 1)``; the gradient passes unchanged."""
    return _RandomSign.apply(x, limit)


class _SignInside(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, stochastic: bool) -> torch.Tensor:
        ctx.save_for_backward(x)
        return random_signs(x) if stochastic else sign(x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradient, x, -1.0, 1.0), None  # torch's kernel excludes the bounds


def sign_inside(x: torch.Tensor, stochastic: bool = False) -> torch.Tensor:
    """Returns +1 where ``x >= 0``, else -1, or random signs. Gradient: ``1[|x| < 1]``, which is zero at the bounds."""
    return _SignInside.apply(x, stochastic)
