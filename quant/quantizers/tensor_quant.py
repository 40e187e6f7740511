"""Tensor quantizers, which Brevitas proxies call, and the injectors that install them in a layer.

A tensor quantizer is a module that returns ``(values, scale, zero point, bit width)``. ``weight_injector`` and
``act_injector`` wrap one as a Brevitas quantizer (a dependency-injection class) for ``QuantLinear(weight_quant=...)``
and ``QuantIdentity(act_quant=...)``. The export writes ``Quant`` or, for 1 bit, ``BipolarQuant``.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from brevitas.inject import ExtendedInjector
from brevitas.proxy import ActQuantProxyFromInjector, BiasQuantProxyFromInjector, WeightQuantProxyFromInjector

from quant.quantizers import functions
from quant.quantizers.functions import (
    QONNX_ROUNDING,
    bounds,
    ceil_power_of_two,
    clipped_grid,
    grid,
    mean_of_nonzero,
    power_of_two,
    uniform,
)
from quant.quantizers.injector import Injector

Quantized = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


class TensorQuant(torch.nn.Module):
    """Base class of tensor quantizers: ``forward(x)`` returns ``(values, scale, zero point, bit width)``.

    ``values / scale`` are ``bits``-bit integers; the zero point is 0. Subclasses implement ``values_and_scale``.
    """

    bits: torch.Tensor
    zero_point: torch.Tensor
    unit: torch.Tensor

    def __init__(self, bits: int) -> None:
        super().__init__()
        # Constants of the scheme, therefore not in the state dict.
        self.register_buffer("bits", torch.tensor(float(bits)), persistent=False)
        self.register_buffer("zero_point", torch.tensor(0.0), persistent=False)
        self.register_buffer("unit", torch.tensor(1.0), persistent=False)

    def values_and_scale(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        raise NotImplementedError

    def check_codes(self, codes: torch.Tensor) -> None:
        """Raises QuantError (status 2) if the quantizer excludes integers ``codes`` (out, in, *kernel)."""

    def forward(self, x: torch.Tensor) -> Quantized:
        values, scale = self.values_and_scale(x)
        return values, scale, self.zero_point, self.bits


class SignWeight(TensorQuant):
    """``sign(w)``, scale 1; the gradient passes unchanged."""

    def __init__(self) -> None:
        super().__init__(1)

    def values_and_scale(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return functions.sign(x), self.unit


class SignAct(TensorQuant):
    """``sign(x)``, scale 1; the gradient is that of the hard tanh."""

    def __init__(self) -> None:
        super().__init__(1)

    def values_and_scale(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return functions.sign_hard_tanh(x), self.unit


class UniformWeight(TensorQuant):
    """Signed symmetric codes with ``scale = max|w| / high``, optionally rounded up to a power of two.

    There is one scale per tensor. The scale follows the weights, but no gradient flows through it. Stochastic rounding
    applies in training; in eval mode it is replaced by half up.
    """

    def __init__(self, bits: int, rounding: str = "half_even", power_of_two: bool = False) -> None:
        super().__init__(bits)
        self.high = 2 ** (bits - 1) - 1
        self.rounding, self.power_of_two = rounding, power_of_two

    def values_and_scale(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        least, most = torch.aminmax(x.detach())
        largest = torch.maximum(most, -least) / self.high
        scale = ceil_power_of_two(largest) if self.power_of_two else largest.clamp(min=torch.finfo(x.dtype).tiny)
        return grid(x, scale, _rounding(self)), scale


class MeanWeight(TensorQuant):
    """2-bit codes, {-2, -1, 0, 1} or with ``narrow_range`` {-1, 0, 1}, whose scale is a multiple of ``mean|w|``.

    The mean is that of the weights that are not zero, so pruned weights do not make the scale smaller.

    The factor is 1.2, or 1.4 with ``narrow_range``. The latter places the threshold at ``0.7 mean|w|``, as in ternary
    weight networks (Li, Zhang, Liu 2016). ``power_of_two`` rounds the scale to the power of two nearest in ratio. No
    gradient flows through the scale. The gradient of the values passes unchanged everywhere, so that weights beyond the
    largest code can return.
    """

    def __init__(self, narrow_range: bool, power_of_two: bool = False) -> None:
        super().__init__(2)
        self.low, self.high = bounds(2, signed=True, narrow=narrow_range)
        self.multiple = 1.4 if narrow_range else 1.2
        self.power_of_two = power_of_two

    def values_and_scale(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scale = (mean_of_nonzero(x.detach().abs()) * self.multiple).clamp(min=1e-8)
        if self.power_of_two:
            scale = torch.exp2(torch.log2(scale).round())
        return clipped_grid(x, scale, self.low, self.high), scale


class UniformAct(TensorQuant):
    """``bits``-bit codes with one learned scale per tensor, which is initialized from the range of the first batches.

    During the first ``collect`` training batches the scale is the running mean of ``max|x|`` over the largest code.
    Afterwards its logarithm to base 2 is learned. ``power_of_two`` rounds the scale up to a power of two. If ``scale``
    is given, it is constant. Stochastic rounding applies in training; in eval mode it is replaced by half up.
    """

    log_scale: torch.Tensor
    collected: torch.Tensor

    def __init__(
        self,
        bits: int,
        signed: bool = False,
        rounding: str = "half_even",
        power_of_two: bool = False,
        scale: float | None = None,
        collect: int = 30,
    ) -> None:
        super().__init__(bits)
        self.low, self.high = bounds(bits, signed)
        self.rounding, self.power_of_two = rounding, power_of_two
        self.collect = 0 if scale is not None else collect
        if scale is None:
            self.log_scale = torch.nn.Parameter(torch.tensor(-math.log2(self.high)))
        else:
            self.register_buffer("log_scale", torch.tensor(math.log2(scale)), persistent=False)
        self.register_buffer("collected", torch.tensor(0), persistent=scale is None)
        self._collecting = self.collect > 0  # whether ``collected < collect``: no GPU transfer in every batch

    @property
    def qonnx_rounding(self) -> str:
        """The rounding mode that the export writes; Brevitas's own export knows only Brevitas's modes."""
        return QONNX_ROUNDING["half_up" if self.rounding == "stochastic" else self.rounding]

    def values_and_scale(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.training and self._collecting:
            self._collect(x.detach())
        scale = power_of_two(self.log_scale) if self.power_of_two else torch.exp2(self.log_scale)
        return uniform(x, scale, self.low, self.high, _rounding(self)), scale

    @torch.no_grad()
    def _collect(self, x: torch.Tensor) -> None:
        seen = (x.abs().max() / self.high).clamp(min=1e-8)
        before = torch.exp2(self.log_scale)
        self.collected += 1
        mean = torch.where(self.collected == 1, seen, before + (seen - before) / self.collected)
        self.log_scale.copy_(torch.log2(mean))
        self._collecting = int(self.collected) < self.collect

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self._collecting = int(self.collected) < self.collect


def _rounding(quantizer: UniformWeight | UniformAct) -> str:
    stochastic = quantizer.rounding == "stochastic"
    return "half_up" if stochastic and not quantizer.training else quantizer.rounding


class _Places(ExtendedInjector):
    # Attributes that Brevitas's proxies and export handlers read besides the tensor quantizer.
    signed = True
    narrow_range = True
    float_to_int_impl_type = "ROUND"


def weight_injector(tensor_quant: Callable[..., TensorQuant], *, narrow: bool = True, **settings: Any) -> Injector:
    """Returns a Brevitas weight quantizer with signed codes from ``tensor_quant(**settings)``.

    If the tensor quantizer has a parameter ``tracked_parameter_list``, it receives the layer's weight in a list.
    """
    return _Places.let(
        proxy_class=WeightQuantProxyFromInjector, tensor_quant=tensor_quant, narrow_range=narrow, **settings
    )


def bias_injector(tensor_quant: Callable[..., TensorQuant], **settings: Any) -> Injector:
    """Returns a Brevitas bias quantizer that has its own scale."""
    return _Places.let(
        proxy_class=BiasQuantProxyFromInjector, tensor_quant=tensor_quant, requires_input_scale=False, **settings
    )


def act_injector(
    tensor_quant: Callable[..., TensorQuant], *, signed: bool = False, narrow: bool = False, **settings: Any
) -> Injector:
    """Returns a Brevitas activation quantizer from ``tensor_quant(**settings)``.

    The tensor quantizer also receives ``signed`` if it has such a parameter.
    """
    return _Places.let(
        proxy_class=ActQuantProxyFromInjector,
        tensor_quant=tensor_quant,
        act_impl=None,
        signed=signed,
        narrow_range=narrow,
        **settings,
    )


def residual_sum_injector() -> Injector:
    """Returns the quantizer of both operands of a residual addition: signed 8 bits, a learned power-of-two scale."""
    return act_injector(UniformAct, signed=True, bits=8, power_of_two=True)
