"""BinaryNet: 1-bit weights and 1-bit activations."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from quant.errors import QuantError
from quant.quantizers.injector import Injector
from quant.quantizers.shift_adamax import ShiftAdaMax
from quant.quantizers.shift_norm import ShiftNorm
from quant.quantizers.signs import sign_inside
from quant.quantizers.statistics import reestimate_batch_norm
from quant.quantizers.tensor_quant import SignAct, SignWeight, TensorQuant, act_injector, weight_injector
from quant.schemes.parameters import check_choice
from quant.schemes.scheme import Scheme


class RandomSignAct(TensorQuant):
    """Random signs of mean ``clip(x, -1, 1)`` in training, else ``sign(x)``; scale 1; gradient ``1[|x| < 1]``."""

    def __init__(self) -> None:
        super().__init__(1)

    def values_and_scale(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return sign_inside(x, stochastic=self.training), self.unit


@dataclass(frozen=True)
class BinaryNet(Scheme):
    """BinaryNet: 1-bit weights and 1-bit activations.

    Forward: ``sign`` with ``sign(0) = +1`` on weights and, after BatchNorm, on activations. Gradient of an activation:
    that of the hard tanh, ``1[|x| <= 1]``. Weights are trained as in deterministic BinaryConnect: clipped to [-1, 1],
    uniform initialization, Glorot-scaled learning rate.

    - ``normalization``: "batch", or "shift" as in the authors' Torch code (``quant.quantizers.shift_norm.ShiftNorm``).
    - ``update_rule``: "adam" or "shift_adamax" (``quant.quantizers.shift_adamax.ShiftAdaMax``).
    - ``stochastic_act``: activations are random during training, +1 with probability ``clip((x + 1) / 2, 0, 1)``, as in
      the Torch code. At inference they are signs; ``finish`` re-estimates BatchNorm's statistics for these.

    None of these options changes the hardware: BatchNorm and sign are one threshold per channel.

    Loss and learning rates are those of ``binaryconnect``; ``loss="squared_hinge"`` selects the paper's loss.

    Courbariaux, Hubara, Soudry, El-Yaniv, Bengio: "Binarized neural networks: Training neural networks with weights and
    activations constrained to +1 or -1", 2016. Published (authors' code): test errors of 0.96 % on MNIST (three hidden
    layers of 4096), 11.40 % on CIFAR-10, 2.80 % on SVHN.
    """

    name: ClassVar[str] = "binarynet"
    weight_limit: ClassVar[float | None] = 1.0
    glorot_lr: ClassVar[bool] = True
    unit_weights: ClassVar[bool] = True
    learning_rate: ClassVar[tuple[float, float]] = (1e-2, 3e-6)

    normalization: str = "batch"
    update_rule: str = "adam"
    stochastic_act: bool = False

    def __post_init__(self) -> None:
        check_choice(self.name, "normalization", self.normalization, ("batch", "shift"))
        check_choice(self.name, "update_rule", self.update_rule, ("adam", "shift_adamax"))

    @classmethod
    def from_bits(cls, weight_bits: int | str, act_bits: int) -> "BinaryNet":
        if (weight_bits, act_bits) != (1, 1):
            raise QuantError("scheme binarynet has 1-bit weights and activations: name the model -w1a1", status=2)
        return cls()

    def weight_quant(self) -> Injector:
        return weight_injector(SignWeight)

    def act_quant(self) -> Injector:
        return act_injector(RandomSignAct if self.stochastic_act else SignAct, signed=True, narrow=True)

    @property
    def relu(self) -> bool:
        return False

    def norm(self, channels: int, dimensions: int) -> torch.nn.Module:
        return ShiftNorm(channels, eps=1e-4) if self.normalization == "shift" else super().norm(channels, dimensions)

    def initialize(self, weight: torch.Tensor) -> None:
        torch.nn.init.uniform_(weight, -1.0, 1.0)

    def optimizer(self, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        return ShiftAdaMax(groups) if self.update_rule == "shift_adamax" else super().optimizer(groups)

    def finish(self, model: torch.nn.Module, batches: Iterable[torch.Tensor]) -> None:
        if self.stochastic_act:
            reestimate_batch_norm(model, batches)
