"""Quantizers that are a mixture of several, in shares that are learned."""

from collections.abc import Sequence
from typing import Any

import torch

from quant.quantizers.signs import scaled_sign
from quant.quantizers.tensor_quant import TensorQuant


class Choice:
    """One of ``count`` candidates by trained numbers, ``logits`` (count,) float32, which are no part of a network.

    ``temperature``: that of the samples. ``fixed``: a candidate that is taken whatever the logits are; None: the most
    probable one.
    """

    def __init__(self, count: int) -> None:
        self.logits = torch.zeros(count, requires_grad=True)
        self.temperature = 1.0
        self.fixed: int | None = None

    @property
    def probabilities(self) -> torch.Tensor:
        """The softmax of the logits (count,)."""
        return torch.softmax(self.logits, 0)

    @property
    def best(self) -> int:
        """The candidate that is taken: the most probable one, the first of equals."""
        return int(self.logits.argmax()) if self.fixed is None else self.fixed

    def sample(self) -> torch.Tensor:
        """Shares (count,) whose sum is 1: the softmax of ``(logits + g) / temperature`` with Gumbel noise g.

        Jang, Gu, Poole, "Categorical reparameterization with Gumbel-softmax"; Maddison, Mnih, Teh, "The concrete
        distribution", both ICLR 2017.
        """
        uniform = torch.rand_like(self.logits).clamp_(min=torch.finfo(self.logits.dtype).tiny, max=1 - 2**-24)
        return torch.softmax((self.logits - torch.log(-torch.log(uniform))) / self.temperature, 0)


class Mixed(torch.nn.Module):
    """In training the sum of the values of all ``quantizers`` in sampled shares, else the values of the chosen one.

    Scale, zero point and bit width are those of the chosen one, in training of the last.
    """

    def __init__(self, choice: Choice, quantizers: Sequence[torch.nn.Module]) -> None:
        super().__init__()
        self.choice, self.quantizers = choice, torch.nn.ModuleList(quantizers)

    def forward(self, x: torch.Tensor) -> Any:
        if not self.training:
            return self.quantizers[self.choice.best](x)
        results = [quantizer(x) for quantizer in self.quantizers]
        shares = self.choice.sample()
        values = sum(share * result[0] for share, result in zip(shares, results, strict=True))
        return (values, *results[-1][1:])


class MeanSign(TensorQuant):
    """``mean|w| sign(w)``: 1-bit weights of the size that the others have. The gradient passes unchanged, none flows
    through the scale."""

    def __init__(self) -> None:
        super().__init__(1)

    def values_and_scale(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scale = x.detach().abs().mean().clamp(min=torch.finfo(x.dtype).tiny)
        return scaled_sign(x, scale), scale
