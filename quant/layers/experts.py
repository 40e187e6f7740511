"""A linear layer of several experts, one of which computes each sample: a sparsely gated mixture with one expert."""

from collections.abc import Callable
from typing import Any

import torch
from brevitas.quant_tensor import QuantTensor
from torch.nn import functional

from quant.errors import QuantError
from quant.layers.activations import Activation
from quant.layers.weighted import linear
from quant.schemes.scheme import Scheme

__all__ = ["Experts"]

BALANCE = 0.1
"""Factor of both terms of the balance loss."""


def _scales_by_output(scheme: Scheme) -> bool:
    """Whether each output of a linear layer has a scale of its own."""
    with torch.random.fork_rng(devices=[]):
        weight = linear(scheme, 2, 2).quant_weight()
    return isinstance(weight, QuantTensor) and weight.scale.numel() > 1


class Experts(torch.nn.Module):
    """``W[c] x``, where ``c`` is the expert whose gate is largest: (N, in_features) -> (N, out_features).

    The gate is a linear layer whose logits pass ``scheme.sum_quant()``, so that hardware compares integers; of equal
    ones the first is chosen. All experts have one scale, and no bias. In hardware the memory of one layer holds the
    weights of all experts (``expert_matrix_vector``), so that each of them costs memory only.

    In training all experts are computed, and the choice passes its gradient to the soft-max p of the gate's logits
    (straight through). ``auxiliary_loss`` is ``balance * (CV(importance)**2 + CV(load)**2)``, with the coefficient of
    variation over the experts of the batch's sums of p and of choices: Shazeer et al., "Outrageously large neural
    networks: the sparsely-gated mixture-of-experts layer", ICLR 2017, section 4, with one expert and without noise.

    Raises QuantError (status 2) for fewer than two experts, and for a scheme with a scale for each output, which would
    be one for each expert.
    """

    def __init__(
        self, scheme: Scheme, in_features: int, out_features: int, experts: int, balance: float = BALANCE
    ) -> None:
        super().__init__()
        if isinstance(experts, bool) or not isinstance(experts, int) or experts < 2:
            raise QuantError(f"experts={experts!r} is no whole number of 2 or more", status=2)
        if _scales_by_output(scheme):
            raise QuantError(
                f"experts={experts}: scheme {scheme.name} has a scale for each output, and all experts have one: take "
                "another scheme, as integer or binarynet",
                status=2,
            )
        self.experts, self.balance = experts, balance
        self.gate = linear(scheme, in_features, experts)
        self.quant = Activation(act_quant=scheme.sum_quant())
        self.linear = linear(scheme, in_features, experts * out_features)
        self.gates: tuple[torch.Tensor, torch.Tensor] | None = None  # p and choices of the last training pass

    def extra_repr(self) -> str:
        return f"experts={self.experts}"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.quant(self.gate(x))
        choice = logits.argmax(1)
        if self.linear.weight_quant.export_mode:
            weights = self.linear.quant_weight().value.view(self.experts, -1, x.shape[1])
            return torch.matmul(weights[choice], x.unsqueeze(2)).squeeze(2)
        every = self.linear(x).view(len(x), self.experts, -1)
        chosen = functional.one_hot(choice, self.experts).to(x.dtype)
        if self.training:
            soft = logits.softmax(1)
            chosen = chosen + soft - soft.detach()
            self.gates = soft, chosen
        return (chosen.unsqueeze(2) * every).sum(1)

    def auxiliary_loss(self, _loss: Callable[..., torch.Tensor], _labels: torch.Tensor) -> torch.Tensor:
        """The balance loss of the last training pass."""
        assert self.gates is not None
        sums = [gate.sum(0) for gate in self.gates]
        self.gates = None
        return self.balance * torch.stack([each.var(correction=0) / each.mean().square() for each in sums]).sum()

    def __getstate__(self) -> dict[str, Any]:
        """A copy has no gates of a training pass."""
        return {**self.__dict__, "gates": None}
