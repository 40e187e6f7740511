"""1-bit weights: BinaryConnect (n-bit activations) and BinaryNet (1-bit activations as well).

Both papers use the squared hinge loss behind a last BatchNorm, and a rate that falls exponentially from 1e-3 or 3e-3.
In 100 epochs on the digits (``tfc-w1a1``) that reaches 93.6 %, with the cosine and 1e-2 97.4 %, and with cross
entropy on logits scaled by a constant instead 97.8 %, which is what is done here; ``loss="squared_hinge"`` asks for
the papers' loss.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from brevitas.inject import ExtendedInjector
from brevitas.proxy import ActQuantProxyFromInjector, WeightQuantProxyFromInjector

from quant.errors import QuantError
from quant.schemes.integer import unsigned_act
from quant.schemes.scheme import Injector, Scheme, check_bits


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


class _SignHardTanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x.abs() <= 1)
        return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        (inside,) = ctx.saved_tensors
        return gradient * inside


def sign(x: torch.Tensor) -> torch.Tensor:
    """+1 where ``x >= 0``, -1 elsewhere (never 0); the gradient passes unchanged (BinaryConnect's weights)."""
    return _Sign.apply(x)


def sign_hard_tanh(x: torch.Tensor) -> torch.Tensor:
    """+1 where ``x >= 0``, -1 elsewhere; gradient of the hard tanh, ``1[|x| <= 1]`` (BinaryNet's activations)."""
    return _SignHardTanh.apply(x)


class _BinaryTensorQuant(torch.nn.Module):
    """What a Brevitas proxy calls: ``(values, scale, zero point, bit width)`` with scale 1 and 1 bit."""

    scale: torch.Tensor
    zero_point: torch.Tensor
    bits: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        # Not in the state dict: they are constants of the scheme.
        self.register_buffer("scale", torch.tensor(1.0), persistent=False)
        self.register_buffer("zero_point", torch.tensor(0.0), persistent=False)
        self.register_buffer("bits", torch.tensor(1.0), persistent=False)

    def quantize(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        return self.quantize(x), self.scale, self.zero_point, self.bits


class _SignTensorQuant(_BinaryTensorQuant):
    def quantize(self, x: torch.Tensor) -> torch.Tensor:
        return sign(x)


class _SignHardTanhTensorQuant(_BinaryTensorQuant):
    def quantize(self, x: torch.Tensor) -> torch.Tensor:
        return sign_hard_tanh(x)


class BinaryWeight(ExtendedInjector):
    """Brevitas weight quantizer: ``sign(w)`` with scale 1, exported as ``BipolarQuant``."""

    proxy_class = WeightQuantProxyFromInjector
    tensor_quant = _SignTensorQuant
    signed = True
    narrow_range = True
    rounding_mode = "ROUND"


class BinaryAct(ExtendedInjector):
    """Brevitas activation quantizer: ``sign(x)`` with the hard tanh's gradient, exported as ``BipolarQuant``."""

    proxy_class = ActQuantProxyFromInjector
    tensor_quant = _SignHardTanhTensorQuant
    act_impl = None
    signed = True
    narrow_range = True
    rounding_mode = "ROUND"


@dataclass(frozen=True)
class BinaryConnect(Scheme):
    """Deterministic BinaryConnect: 1-bit weights, ``act_bits``-bit activations.

    Forward: ``w_b = +1 if w >= 0 else -1``. Gradient: ``dC/dw = dC/dw_b``, applied to the latent weight w, which is
    then clipped to [-1, 1]; w starts uniform in [-1, 1] and its learning rate is multiplied by
    ``1 / sqrt(1.5 / (fan_in + fan_out))``. Activations: ReLU, then ``act_bits`` unsigned bits with a learned scale
    (the paper's are real-valued).

    Courbariaux, Bengio, David: "BinaryConnect: Training deep neural networks with binary weights during
    propagations", NIPS 2015. Published (authors' code): test error 1.15 % on permutation-invariant MNIST.
    """

    name: ClassVar[str] = "binaryconnect"
    loss: ClassVar[str] = "cross_entropy"
    weight_limit: ClassVar[float | None] = 1.0
    glorot_lr: ClassVar[bool] = True
    unit_weights: ClassVar[bool] = True
    learning_rate: ClassVar[tuple[float, float]] = (1e-2, 3e-6)

    act_bits: int = 8

    def __post_init__(self) -> None:
        check_bits(self.name, "act_bits", self.act_bits, 2)

    @classmethod
    def from_bits(cls, weight_bits: int | str, act_bits: int) -> "BinaryConnect":
        if weight_bits != 1:
            raise QuantError(
                f"scheme binaryconnect has 1-bit weights, not {weight_bits}: name the model -w1a{act_bits}", status=2
            )
        return cls(act_bits)

    def weight_quant(self) -> Injector:
        return BinaryWeight

    def act_quant(self) -> Injector:
        return unsigned_act(self.act_bits)

    def initialize(self, weight: torch.Tensor) -> None:
        torch.nn.init.uniform_(weight, -1.0, 1.0)


@dataclass(frozen=True)
class BinaryNet(Scheme):
    """BinaryNet: 1-bit weights and 1-bit activations.

    Forward: ``sign`` with ``sign(0) = +1``, on weights and, after BatchNorm, on activations. Gradient: of the hard
    tanh, ``1[|x| <= 1]``, for activations; weights as in deterministic BinaryConnect (clipped to [-1, 1], uniform
    start, Glorot-scaled learning rate).

    Courbariaux, Hubara, Soudry, El-Yaniv, Bengio: "Binarized neural networks: Training neural networks with weights
    and activations constrained to +1 or -1", 2016. Published (authors' code): test error 0.96 % on MNIST
    (three hidden layers of 4096).
    """

    name: ClassVar[str] = "binarynet"
    loss: ClassVar[str] = "cross_entropy"
    weight_limit: ClassVar[float | None] = 1.0
    glorot_lr: ClassVar[bool] = True
    unit_weights: ClassVar[bool] = True
    learning_rate: ClassVar[tuple[float, float]] = (1e-2, 3e-6)

    @classmethod
    def from_bits(cls, weight_bits: int | str, act_bits: int) -> "BinaryNet":
        if (weight_bits, act_bits) != (1, 1):
            raise QuantError("scheme binarynet has 1-bit weights and activations: name the model -w1a1", status=2)
        return cls()

    def weight_quant(self) -> Injector:
        return BinaryWeight

    def act_quant(self) -> Injector:
        return BinaryAct

    @property
    def relu(self) -> bool:
        return False

    def initialize(self, weight: torch.Tensor) -> None:
        torch.nn.init.uniform_(weight, -1.0, 1.0)
