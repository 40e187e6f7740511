"""The decision of a network with several heads: frame by frame, the first head that is confident gives the result."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from quant.errors import QuantError
from quant.layers.activations import Activation
from quant.schemes.scheme import Scheme

__all__ = ["EarlyExits"]


class EarlyExits(torch.nn.Module):
    """The logits of the first head whose margin reaches its threshold, frame by frame, else those of the last head.

    ``forward`` takes the logits (N, classes) of each head, from the first to the last, and returns (N, classes). The
    margin is the difference of the two largest logits. All heads pass one quantizer, ``scheme.sum_quant()``, so that
    hardware compares integers (``docs/early-exit.md``). A scheme that quantizes nothing compares the numbers.

    In training the result is that of the last head, and ``auxiliary_loss`` is that of the others; ``weights`` are its
    factors. Until ``quant.fit`` has chosen them, the thresholds are infinite: no frame leaves. Teerapittayanon,
    McDanel, Kung, "BranchyNet: fast inference via early exiting from deep neural networks", ICPR 2016, with a margin in
    place of the entropy.

    Raises QuantError (status 2) for another number of heads than ``exits`` and a last one.
    """

    thresholds: torch.Tensor

    def __init__(self, scheme: Scheme, exits: int = 1) -> None:
        super().__init__()
        self.quant = Activation(act_quant=scheme.sum_quant())
        self.register_buffer("thresholds", torch.full((exits,), math.inf))
        self.weights: tuple[float, ...] = (1.0,) * exits
        self.early: list[torch.Tensor] = []  # logits of the last training pass, until their loss is computed

    @property
    def exits(self) -> int:
        """The number of early exits."""
        return len(self.thresholds)

    def forward(self, *heads: torch.Tensor) -> torch.Tensor:
        logits = self.quantized(heads)
        if self.training:
            self.early = logits[:-1]
            return logits[-1]
        result = logits[-1]
        for index in reversed(range(self.exits)):
            first = logits[index]
            top = torch.topk(first, 2, dim=1).values
            result = torch.where(top[:, :1] - top[:, 1:] >= self.thresholds[index], first, result)
        return result

    def quantized(self, heads: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The logits of each head behind the common quantizer."""
        if len(heads) != self.exits + 1:
            raise QuantError(f"{self.exits} early exits need {self.exits + 1} heads, not {len(heads)}", status=2)
        return [self.quant(head) for head in heads]

    def auxiliary_loss(self, loss: Callable[..., torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
        """The weighted sum of the ``loss`` of the early heads in the last training pass, for labels (N,)."""
        early, self.early = self.early, []
        return torch.stack([w * loss(logits, labels) for w, logits in zip(self.weights, early, strict=True)]).sum()

    def __getstate__(self) -> dict[str, Any]:
        """A copy has no logits of a training pass."""
        return {**self.__dict__, "early": []}
