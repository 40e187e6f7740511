"""1-bit weights: BinaryConnect (n-bit activations) and BinaryNet (1-bit activations as well).

Both papers use the squared hinge loss behind a last BatchNorm, and a rate that falls exponentially from 1e-3 or 3e-3.
In 100 epochs on the digits (``tfc-w1a1``) that reaches 93.6 %, with the cosine and 1e-2 97.4 %, and with cross
entropy on logits scaled by a constant instead 97.8 %, which is what is done here; ``loss="squared_hinge"`` asks for
the papers' loss.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from quant.errors import QuantError
from quant.schemes.quantizer import SignAct, SignWeight, UniformAct, act_injector, weight_injector
from quant.schemes.scheme import Injector, Scheme, check_bits


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
        return weight_injector(SignWeight)

    def act_quant(self) -> Injector:
        return act_injector(UniformAct, bits=self.act_bits)

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
        return weight_injector(SignWeight)

    def act_quant(self) -> Injector:
        return act_injector(SignAct, signed=True, narrow=True)

    @property
    def relu(self) -> bool:
        return False

    def initialize(self, weight: torch.Tensor) -> None:
        torch.nn.init.uniform_(weight, -1.0, 1.0)
