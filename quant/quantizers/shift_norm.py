"""Shift-based BatchNorm: all multiplications are by powers of two."""

from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from quant.quantizers.powers_of_two import ap2


class _ShiftNormalize(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        over = [axis for axis in range(x.dim()) if axis != 1]
        mean = x.mean(over, keepdim=True)
        centred = x - mean
        approximate = ap2(centred)
        variance = (centred * approximate).mean(over, keepdim=True)
        inverse = ap2(torch.rsqrt(variance + eps))
        gain = _of_channels(ap2(weight), x)
        ctx.save_for_backward(approximate, inverse, gain)
        mean, variance = mean.flatten(), variance.flatten()
        ctx.mark_non_differentiable(mean, variance)
        return centred.mul_(inverse * gain).add_(_of_channels(bias, x)), mean, variance

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor, *_: Any) -> tuple[torch.Tensor | None, ...]:
        approximate, inverse, gain = ctx.saved_tensors
        over = [axis for axis in range(gradient.dim()) if axis != 1]
        count = gradient.numel() // gradient.shape[1]
        to_bias = gradient.sum(over, keepdim=True)
        correlation = (gradient * approximate).sum(over, keepdim=True)
        to_x = gradient - to_bias / count
        to_x.sub_(approximate * (correlation / count * inverse.square())).mul_(inverse * gain)
        return to_x, (correlation * inverse).flatten(), to_bias.flatten(), None


def _of_channels(values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return values.view(-1, *[1] * (x.dim() - 2))


class ShiftNorm(_BatchNorm):
    """BatchNorm over (N, channels, *spatial) that multiplies by powers of two only.

    With ``AP2(x) = sign(x) * 2**round(log2|x|)`` and means over all axes but the channels, in training::

        c = x - mean(x)
        variance = mean(c * AP2(c))
        y = c * AP2(1 / sqrt(variance + eps)) * AP2(weight) + bias

    The gradient is that of the authors' code: of a BatchNorm in which c, the inverse deviation and the weight are the
    approximations. With ``s = AP2(1 / sqrt(variance + eps))`` and the output gradient g it is
    ``s * AP2(weight) * (g - mean(g) - AP2(c) * s**2 * mean(g * AP2(c)))`` to x, ``sum(g * s * AP2(c))`` to the weight
    and ``sum(g)`` to the bias.

    At inference: ``y = (x - running_mean) * factor + bias`` with
    ``factor = AP2(1 / sqrt(running_var + eps)) * AP2(weight)``. It is exported exactly, as Sub, Mul and Add. The
    running averages are those of torch, over mean and variance (the authors average the inverse deviation).

    Courbariaux, Hubara, Soudry, El-Yaniv, Bengio: "Binarized neural networks: Training neural networks with weights and
    activations constrained to +1 or -1", 2016.
    """

    running_mean: torch.Tensor
    running_var: torch.Tensor
    num_batches_tracked: torch.Tensor
    traced_factor: torch.Tensor

    def _factor(self) -> torch.Tensor:
        return ap2(torch.rsqrt(self.running_var + self.eps)) * ap2(self.weight)

    def train(self, mode: bool = True) -> "ShiftNorm":
        if not mode:  # ONNX has no AP2: the export, which begins with ``eval()``, writes the factor as a constant
            self.register_buffer("traced_factor", self._factor(), persistent=False)
        return super().train(mode)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            factor = self.traced_factor if torch.jit.is_tracing() else self._factor()
            centred = x - _of_channels(self.running_mean, x)
            return centred * _of_channels(factor, x) + _of_channels(self.bias, x)
        y, mean, variance = _ShiftNormalize.apply(x, self.weight, self.bias, self.eps)
        with torch.no_grad():
            self.num_batches_tracked += 1
            rate = 1.0 / self.num_batches_tracked if self.momentum is None else self.momentum
            self.running_mean += (mean - self.running_mean) * rate
            self.running_var += (variance - self.running_var) * rate
        return y
