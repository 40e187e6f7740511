"""Loss-aware binarization: the scale that is best for the loss, by the curvature that Adam estimates."""

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
    """``alpha * sign(w)``, one alpha a tensor, which ``update`` sets; ``mean|w|`` until then. The gradient passes."""

    alpha: torch.Tensor

    def __init__(self) -> None:
        super().__init__(1)
        self.register_buffer("alpha", torch.tensor(0.0))  # 0: not known yet
        self._known = False  # what ``alpha`` says, without asking a GPU for it in every batch

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

    Forward: ``w~ = alpha * sign(w)`` with ``alpha = sum|d * w| / sum(d)``, ``d = sqrt(v) + 1e-8``, and v Adam's second
    moment of the layer's gradients, which stands for the diagonal of the loss's Hessian: a step of the proximal
    Newton method. (v's bias correction is one factor for all of d, which cancels.) A constant d gives BWN's
    ``mean|w|``, with which training starts, as v is not known before the first update. Gradient:
    ``dC/dw = dC/dw~``, applied to the latent weight w, which starts uniform within Glorot's bound
    ``sqrt(1.5 / (fan_in + fan_out))`` and is clipped to [-1, 1]. alpha is computed after each update and kept, in
    checkpoints too, so that networks in use and exported ones have the alpha that training would have used next.

    ``act_bits=1`` is the paper's LAB2: ``sign`` with the gradient of the hard tanh. More bits: ReLU, then ``act_bits``
    unsigned bits with a learned scale (LAB's are real-valued). Loss: cross entropy; the paper's, on images, is
    ``loss="squared_hinge"``.

    Hou, Yao, Kwok: "Loss-aware binarization of deep networks", ICLR 2017. Published: better than earlier
    binarizations on MNIST, CIFAR-10 and SVHN, and robust for wide networks.
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
            state = optimizer.state.get(layer.weight)
            if not state:
                continue  # no gradient yet
            if "exp_avg_sq" not in state:
                raise QuantError(
                    f"scheme lab needs Adam's second moments, and {type(optimizer).__name__} has none: train with Adam",
                    status=2,
                )
            layer.weight_quant.tensor_quant.update(layer.weight, state["exp_avg_sq"])
