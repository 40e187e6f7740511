"""Base class of the quantization schemes: Brevitas quantizers for each tensor of a layer, and training rules."""

import abc
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

from quant.quantizers.injector import Injector

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Scheme(abc.ABC):
    """Base class of all schemes. A scheme has no training state; one object serves all layers of a model.

    - ``name``: name in the registry.
    - ``loss``: default loss, "cross_entropy" or "squared_hinge".
    - ``weight_limit``: bound to which latent weights are clipped after each update. None: they are not clipped.
    - ``glorot_lr``: whether each weight's learning rate is multiplied by ``1 / sqrt(1.5 / (fan_in + fan_out))``.
    - ``learning_rate``: first and last learning rate of the schedule.
    - ``batch_norm``: whether networks have BatchNorm by default.
    - ``pool_first``: whether a block pools before BatchNorm and activation. In hardware it is cheaper to pool after the
      activation, where values have few bits.
    - ``unit_weights``: whether weights are +-1 regardless of the fan-in.
    - ``quantizes``: False if the scheme quantizes nothing.

    Each layer follows the rules of the scheme that it was created with. The first and the last layer of a network may
    have a different scheme (``edge``).
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
        """Returns the scheme with these bit widths; ``weight_bits`` may be "ternary".

        Raises QuantError (status 2) if the scheme does not support them.
        """

    @abc.abstractmethod
    def weight_quant(self) -> Injector:
        """Returns the weight quantizer of a linear or convolution layer."""

    @abc.abstractmethod
    def act_quant(self) -> Injector:
        """Returns the quantizer of a hidden activation, which follows BatchNorm and, if ``relu`` is True, a ReLU."""

    @property
    def relu(self) -> bool:
        """Whether a ReLU precedes the activation quantizer."""
        return True

    def bias_quant(self) -> Injector:
        """Returns the bias quantizer; None keeps the bias in floating point."""
        return None

    def sum_quant(self) -> Injector:
        """Returns the signed quantizer that both operands of a residual addition share.

        Default: 8 bits and a learned power-of-two scale.
        """
        from quant.quantizers.tensor_quant import residual_sum_injector

        return residual_sum_injector()

    def signed_quant(self) -> Injector:
        """Returns the quantizer of sums that no ReLU follows: linear bottlenecks, and between the factors of a layer.

        Default: ``act_bits`` with a sign and a learned scale; the activation's own quantizer where that has 1 bit.
        """
        from quant.quantizers.tensor_quant import UniformAct, act_injector

        bits = getattr(self, "act_bits", 1)
        return self.act_quant() if bits == 1 else act_injector(UniformAct, signed=True, bits=bits)

    @property
    def edge(self) -> "Scheme":
        """The scheme of a network's first and last layer, which many papers keep at a higher precision."""
        return self

    def norm(self, channels: int, dimensions: int) -> "torch.nn.Module":
        """Returns BatchNorm over (N, channels, *spatial) with ``dimensions`` (0 to 2) spatial axes."""
        import torch

        kind = torch.nn.BatchNorm2d if dimensions == 2 else torch.nn.BatchNorm1d
        # Epsilon of BinaryConnect and FINN. It is larger than torch's, since the sums of 1-bit layers are large.
        return kind(channels, eps=1e-4)

    def initialize(self, weight: "torch.Tensor") -> None:  # noqa: B027 (most schemes need nothing)
        """Initializes a layer's latent weights in place. Default: keeps the layer's own initialization."""

    def product(
        self, layer: Any, x: "torch.Tensor", weight: "torch.Tensor", bias: "torch.Tensor | None"
    ) -> "torch.Tensor":
        """Returns the output of a linear or convolution ``layer`` for input ``x`` and its quantized ``weight``."""
        return layer.inner_forward_impl(x, weight, bias)

    def optimizer(self, groups: Sequence[dict[str, Any]]) -> "torch.optim.Optimizer":
        """Returns the optimizer of a network's parameter groups. Default: Adam."""
        import torch

        return torch.optim.Adam(groups, fused=True)

    def rate_factor(self, weight: "torch.Tensor") -> float:
        """Returns the factor of the learning rate of a layer's ``weight`` and of what its quantizer learns.

        Called at the start of a training. Default: 1.
        """
        return 1.0

    def before_step(self, layers: Sequence[Any], optimizer: "torch.optim.Optimizer") -> None:  # noqa: B027
        """Called with this scheme's ``layers`` after the gradients are computed and before each update."""

    def after_step(self, layers: Sequence[Any], optimizer: "torch.optim.Optimizer") -> None:
        """Called with this scheme's ``layers`` after each update. Default: clips latent weights to ``weight_limit``."""
        import torch

        if self.weight_limit is not None:
            with torch.no_grad():
                for layer in layers:
                    layer.trained_weight.clamp_(-self.weight_limit, self.weight_limit)

    def finish(self, model: "torch.nn.Module", batches: Iterable["torch.Tensor"]) -> None:  # noqa: B027
        """Called after training: changes ``model`` to what hardware computes. ``batches`` are training inputs."""

    def check_export(self, model: "torch.nn.Module") -> None:  # noqa: B027
        """Raises QuantError, with reason and remedy, if ``model`` computes what our hardware does not support."""

    def describe(self) -> dict[str, Any]:
        """Returns the scheme's name and parameters, from which ``schemes.get`` creates an equal scheme."""
        return {"name": self.name, **{field.name: getattr(self, field.name) for field in fields(self)}}
