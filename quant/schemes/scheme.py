"""The base class of quantization schemes: Brevitas quantizers for each tensor of a layer, and training rules."""

import abc
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

from quant.quantizers.injector import Injector

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Scheme(abc.ABC):
    """Base of every scheme. A scheme holds no training state; one object serves all layers of a model.

    ``name`` is the name in the registry, ``loss`` the loss that it is trained with unless another is asked for
    ("cross_entropy" or "squared_hinge"), ``weight_limit`` the bound that latent weights are clipped to after
    each update (None: not clipped), ``glorot_lr`` whether each weight's learning rate is multiplied by
    ``1 / sqrt(1.5 / (fan_in + fan_out))``, ``learning_rate`` the first and last rate of the schedule,
    ``batch_norm`` whether networks normalize by default, ``pool_first`` whether a block pools before it normalizes
    and activates (in hardware it is cheaper to pool the few bits behind the activation), ``unit_weights`` whether
    weights are +-1 whatever the fan-in, and ``quantizes`` is False where nothing is quantized.

    The rules of a layer are those of the scheme that the layer was made with; a network's first and last layer may have
    another one (``edge``).
    """

    name: ClassVar[str]
    loss: ClassVar[str] = "cross_entropy"
    weight_limit: ClassVar[float | None] = None
    glorot_lr: ClassVar[bool] = False
    learning_rate: ClassVar[tuple[float, float]] = (1e-2, 1e-4)
    batch_norm: ClassVar[bool] = True
    pool_first: ClassVar[bool] = False
    unit_weights: ClassVar[bool] = False
    quantizes: ClassVar[bool] = True

    @classmethod
    @abc.abstractmethod
    def from_bits(cls, weight_bits: int | str, act_bits: int) -> Self:
        """The scheme with these widths ("ternary" is a width of weights); QuantError where it has no such widths."""

    @abc.abstractmethod
    def weight_quant(self) -> Injector:
        """Weight quantizer of a linear or convolution layer."""

    @abc.abstractmethod
    def act_quant(self) -> Injector:
        """Quantizer of a hidden activation, after BatchNorm (its non-linearity included: see ``relu``)."""

    @property
    def relu(self) -> bool:
        """Whether a ReLU stands before the activation's quantizer."""
        return True

    def bias_quant(self) -> Injector:
        """Bias quantizer; None keeps the bias in floating point."""
        return None

    def sum_quant(self) -> Injector:
        """Signed quantizer that both operands of a residual addition share: 8 bits, a learned power-of-two scale."""
        from quant.quantizers.tensor_quant import residual_sum_injector

        return residual_sum_injector()

    @property
    def edge(self) -> "Scheme":
        """The scheme of a network's first and last layer, which many papers keep wide."""
        return self

    def norm(self, channels: int, dimensions: int) -> "torch.nn.Module":
        """BatchNorm over (N, channels, *spatial) with ``dimensions`` (0 to 2) spatial axes."""
        import torch

        kind = torch.nn.BatchNorm2d if dimensions == 2 else torch.nn.BatchNorm1d
        # BinaryConnect's and FINN's epsilon; larger than torch's, since the sums of 1-bit layers are large.
        return kind(channels, eps=1e-4)

    def initialize(self, weight: "torch.Tensor") -> None:  # noqa: B027 (most schemes need nothing)
        """Draws a layer's latent weights in place (default: leave the layer's own initialization)."""

    def product(
        self, layer: Any, x: "torch.Tensor", weight: "torch.Tensor", bias: "torch.Tensor | None"
    ) -> "torch.Tensor":
        """What a linear or convolution ``layer`` makes of its input and its quantized weights, in training."""
        return layer.inner_forward_impl(x, weight, bias)

    def optimizer(self, groups: Sequence[dict[str, Any]]) -> "torch.optim.Optimizer":
        """The optimizer of a network's parameter groups: Adam."""
        import torch

        return torch.optim.Adam(groups, fused=True)

    def before_step(self, layers: Sequence[Any], optimizer: "torch.optim.Optimizer") -> None:  # noqa: B027
        """After the gradients are there and before the update, for this scheme's ``layers``."""

    def after_step(self, layers: Sequence[Any], optimizer: "torch.optim.Optimizer") -> None:
        """After each update, for this scheme's ``layers``: clips latent weights to ``weight_limit``."""
        import torch

        if self.weight_limit is not None:
            with torch.no_grad():
                for layer in layers:
                    layer.weight.clamp_(-self.weight_limit, self.weight_limit)

    def finish(self, model: "torch.nn.Module", batches: Iterable["torch.Tensor"]) -> None:  # noqa: B027
        """After training: makes of ``model`` what hardware computes. ``batches`` are inputs of the training set."""

    def check_export(self, model: "torch.nn.Module") -> None:  # noqa: B027
        """QuantError where ``model`` computes what no hardware of ours does, with the reason and the way out."""

    def describe(self) -> dict[str, Any]:
        """The scheme's name and parameters, enough to get it again with ``schemes.get``."""
        return {"name": self.name, **{field.name: getattr(self, field.name) for field in fields(self)}}
