"""What a quantization scheme is: Brevitas quantizers for each place of a layer, and rules for its training."""

import abc
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

from quant.errors import QuantError

# Brevitas quantizers are dependency-injection classes. They are falsy, so test them with `is not None` only.
Injector = Any


def check_bits(scheme: str, name: str, bits: int, low: int, high: int = 16) -> None:
    if isinstance(bits, bool) or not isinstance(bits, int) or not low <= bits <= high:
        raise QuantError(f"scheme {scheme}: {name}={bits!r} is not a whole number from {low} to {high}", status=2)


@dataclass(frozen=True)
class Scheme(abc.ABC):
    """Base of every scheme. A scheme holds no state of training; one object serves all layers of a model.

    ``name`` is the name in the registry, ``loss`` the loss that it is trained with unless another is asked for
    ("cross_entropy" or "squared_hinge"), ``weight_limit`` the bound that latent weights are clipped to after
    each update (None: not clipped), ``glorot_lr`` whether each weight's learning rate is multiplied by
    ``1 / sqrt(1.5 / (fan_in + fan_out))``, ``learning_rate`` the first and last rate of the schedule,
    ``batch_norm`` whether networks normalize by default, and ``unit_weights`` whether weights are +-1 whatever
    the fan-in.
    """

    name: ClassVar[str]
    loss: ClassVar[str] = "cross_entropy"
    weight_limit: ClassVar[float | None] = None
    glorot_lr: ClassVar[bool] = False
    learning_rate: ClassVar[tuple[float, float]] = (1e-2, 1e-4)
    batch_norm: ClassVar[bool] = True
    unit_weights: ClassVar[bool] = False

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

    def initialize(self, weight: Any) -> None:  # noqa: B027 (most schemes need nothing)
        """Draws a layer's latent weights in place (default: leave the layer's own initialization)."""

    def describe(self) -> dict[str, Any]:
        """The scheme's name and parameters, enough to get it again with ``schemes.get``."""
        return {"name": self.name, **{field.name: getattr(self, field.name) for field in fields(self)}}
