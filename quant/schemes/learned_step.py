"""Learned step size quantization: the scales are trained with the gradient of the loss."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

from quant.errors import QuantError
from quant.quantizers.functions import bounds, uniform
from quant.quantizers.injector import Injector
from quant.quantizers.tensor_quant import TensorQuant, act_injector, weight_injector
from quant.schemes.parameters import check_bits
from quant.schemes.scheme import Scheme


class _Step(TensorQuant):
    """Base class: codes from low to high times one learned step.

    The gradient of the step is multiplied by ``1 / sqrt(N * high)``; subclasses define N.
    """

    qonnx_rounding = "ROUND"

    def __init__(self, bits: int, signed: bool) -> None:
        super().__init__(bits)
        self.low, self.high = bounds(bits, signed)
        self.step = torch.nn.Parameter(torch.tensor(1.0))

    def _set(self, x: torch.Tensor) -> None:
        """Sets the step's initial value: ``2 * mean|x| / sqrt(high)``."""
        start = 2 * x.detach().abs().mean() / math.sqrt(self.high)
        self.step.data.copy_(start.clamp(min=1e-6))

    def _quantize(self, x: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        # The magnitude is used, so that a step that crosses zero continues to train.
        step = self.step.abs().clamp(min=1e-12)
        return uniform(x, step, self.low, self.high, gradient_scale=1 / math.sqrt(count * self.high)), step


class StepWeight(_Step):
    """Weight quantizer; N is the number of weights."""

    def __init__(self, bits: int, tracked_parameter_list: list[torch.Tensor]) -> None:
        super().__init__(bits, signed=True)
        self._set(tracked_parameter_list[0])

    def values_and_scale(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self._quantize(x, x.numel())


class StepAct(_Step):
    """Activation quantizer; N is the number of activations in a frame. The first training batch sets the step."""

    started: torch.Tensor

    def __init__(self, bits: int, signed: bool) -> None:
        super().__init__(bits, signed)
        self.register_buffer("started", torch.tensor(False))
        self._waiting = True  # the inverse of ``started``, on the CPU: no GPU transfer in every batch

    def values_and_scale(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.training and self._waiting:
            self._set(x if self.low else x.clamp(min=0))
            self.started.fill_(True)
            self._waiting = False
        return self._quantize(x, x.numel() // max(1, len(x)) if x.dim() else 1)

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self._waiting = not bool(self.started)


@dataclass(frozen=True)
class LearnedStep(Scheme):
    """Learned step size quantization (LSQ) of weights and activations, one step a tensor.

    Forward: ``s * round(clip(x / s, -Qn, Qp))``, rounding half to even. Weights: Qn = 2**(b-1), Qp = 2**(b-1) - 1.
    Activations, after a ReLU: Qn = 0, Qp = 2**b - 1.

    Gradient to x: straight through inside the clip, zero outside. Gradient to s: ``round(x / s) - x / s`` inside, -Qn
    and Qp outside, times ``1 / sqrt(N * Qp)``, where N is the number of weights of the layer, or of activations of a
    frame. The initial s is ``2 * mean|x| / sqrt(Qp)``; for activations x is the first batch. The weights of the first
    and the last layer have ``edge_bits`` (8). Loss: cross entropy. Optimizer: stochastic gradient descent with momentum
    0.9; with Adam the scale of the gradient would have no effect.

    The paper starts from a trained floating-point network; here training starts from scratch, at a higher learning
    rate.

    Esser, McKinstry, Bablani, Appuswamy, Modha: "Learned step size quantization", ICLR 2020. Published: 3-bit networks
    reach the accuracy of their full-precision baselines on ImageNet.
    """

    name: ClassVar[str] = "learned_step"
    learning_rate: ClassVar[tuple[float, float]] = (0.05, 1e-3)

    weight_bits: int = 4
    act_bits: int = 4
    edge_bits: int = 8

    def __post_init__(self) -> None:
        for what in ("weight_bits", "act_bits", "edge_bits"):
            check_bits(self.name, what, getattr(self, what), 2, 8)

    @classmethod
    def from_bits(cls, weight_bits: int | str, act_bits: int) -> "LearnedStep":
        if isinstance(weight_bits, str):
            raise QuantError(f"scheme learned_step has no {weight_bits} weights: use scheme integer", status=2)
        return cls(weight_bits, act_bits)

    def weight_quant(self) -> Injector:
        return weight_injector(StepWeight, narrow=False, bits=self.weight_bits)

    def act_quant(self) -> Injector:
        return act_injector(StepAct, bits=self.act_bits)

    @property
    def edge(self) -> Scheme:
        return replace(self, weight_bits=self.edge_bits)

    def optimizer(self, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.SGD(groups, momentum=0.9)
