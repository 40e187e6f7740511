"""Loss-aware binarization: the scale is optimized for the loss with the curvature that Adam estimates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from quant.errors import QuantError
from quant.quantizers.glorot import glorot_bound
from quant.quantizers.injector import Injector
from quant.quantizers.signs import scaled_sign
from quant.quantizers.tensor_quant import SignAct, TensorQuant, UniformAct, act_injector, weight_injector
from quant.schemes.parameters import check_bits, check_weight_bits
from quant.schemes.scheme import Scheme


class LossAwareWeight(TensorQuant):
    """``alpha * sign(w)`` with one alpha per tensor; the gradient passes unchanged.

    ``update`` sets alpha; before the first update it is ``mean|w|``.
    """

    alpha: torch.Tensor

    def __init__(self) -> None:
        super().__init__(1)
        self.register_buffer("alpha", torch.tensor(0.0))  # 0: not set yet
        self._known = False  # whether ``alpha`` is set, on the CPU: no GPU transfer in every batch

    def values_and_scale(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        alpha = self.alpha if self._known else x.detach().abs().mean()
        return scaled_sign(x, alpha), alpha

    @torch.no_grad()
    def update(self, weight: torch.Tensor, second_moment: torch.Tensor) -> None:
        """Sets ``alpha = sum|d * w| / sum(d)``, ``d = sqrt(v) + 1e-8``, from Adam's second moment v."""
        curvature = second_moment.sqrt().add_(1e-8)
        largest = torch.dot(curvature.flatten(), weight.abs().flatten()) / curvature.sum()
        self.alpha.copy_(largest.clamp(min=torch.finfo(weight.dtype).tiny))
        self._known = True

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self._known = float(self.alpha) > 0


@dataclass(frozen=True)
class LossAware(Scheme):
    """Loss-aware binarization (LAB): 1-bit weights with one scale a layer; ``act_bits``-bit activations.

    Forward: ``w~ = alpha * sign(w)`` with ``alpha = sum|d * w| / sum(d)`` and ``d = sqrt(v) + 1e-8``. v is Adam's
    second moment of the layer's gradients. It approximates the diagonal of the loss's Hessian, so alpha is a step of
    the proximal Newton method. (The bias correction of v is a common factor of d, which cancels.) A constant d gives
    BWN's ``mean|w|``. Training starts with that value, since v is unknown before the first update.

    Gradient: ``dC/dw = dC/dw~``, applied to the latent weight w. w is initialized uniformly within Glorot's bound
    ``sqrt(1.5 / (fan_in + fan_out))`` and clipped to [-1, 1]. alpha is computed after each update and stored, also in
    checkpoints, so that inference and exported networks use the alpha that the next training step would have used.

    ``act_bits=1`` is LAB2 of the paper: ``sign`` with the gradient of the hard tanh. With more bits: ReLU, then
    ``act_bits`` unsigned bits with a learned scale (real-valued in LAB). Loss: cross entropy; ``loss="squared_hinge"``
    selects the paper's loss for images.

    Hou, Yao, Kwok: "Loss-aware binarization of deep networks", ICLR 2017. Published: better than earlier binarizations
    on MNIST, CIFAR-10 and SVHN, and robust for wide networks.
    """

    name: ClassVar[str] = "lab"
    weight_limit: ClassVar[float | None] = 1.0
    learning_rate: ClassVar[tuple[float, float]] = (1e-2, 1e-5)

    act_bits: int = 8

    def __post_init__(self) -> None:
        check_bits(self.name, "act_bits", self.act_bits, 1)

    @classmethod
    def from_bits(cls, weight_bits: int | str, act_bits: int) -> "LossAware":
        check_weight_bits(cls.name, weight_bits, act_bits)
        return cls(act_bits)

    @property
    def relu(self) -> bool:
        return self.act_bits > 1

    def weight_quant(self) -> Injector:
        return weight_injector(LossAwareWeight)

    def act_quant(self) -> Injector:
        if self.act_bits == 1:
            return act_injector(SignAct, signed=True, narrow=True)
        return act_injector(UniformAct, bits=self.act_bits)

    def initialize(self, weight: torch.Tensor) -> None:
        bound = glorot_bound(weight)
        torch.nn.init.uniform_(weight, -bound, bound)

    def after_step(self, layers: Sequence[Any], optimizer: torch.optim.Optimizer) -> None:
        super().after_step(layers, optimizer)
        for layer in layers:
            state = optimizer.state.get(layer.trained_weight)
            if not state:
                continue  # no gradient yet
            if "exp_avg_sq" not in state:
                raise QuantError(
                    f"scheme lab needs Adam's second moments, and {type(optimizer).__name__} has none: train with Adam",
                    status=2,
                )
            layer.weight_quantizer.update(layer.trained_weight, state["exp_avg_sq"])
