"""The scheme of networks that are quantized after training: Brevitas's integer quantizers, calibrated on frames."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from brevitas.core.function_wrapper import CeilSte
from brevitas.inject.enum import RestrictValueType, ScalingPerOutputType, StatsOp
from brevitas.quant.scaled_int import (
    Int8ActPerTensorFloat,
    Int8ActPerTensorFloatMSE,
    Int8WeightPerTensorFloat,
    Int8WeightPerTensorFloatMSE,
    Uint8ActPerTensorFloat,
    Uint8ActPerTensorFloatMSE,
)

from quant.errors import QuantError
from quant.quantizers.injector import Injector
from quant.schemes.parameters import check_bits
from quant.schemes.scheme import Scheme

if TYPE_CHECKING:
    import torch

SCALES = ("power-of-two", "free")
METHODS = ("mse", "percentile", "max")
TYPICAL, LEAST = 0.05, 1e-6
"""Root mean squares of weights: that of a layer with the scheme's own learning rates, and the least that counts."""


@dataclass(frozen=True)
class Calibrated(Scheme):
    """Integers of 2 to 16 bits whose scales are measured on calibration frames; training may go on from there.

    - Weights are signed and symmetric, rounded half to even, with one scale for the tensor, or for each output channel
      with ``per_channel``. Biases stay in floating point, because hardware adds them inside of its thresholds.
    - Activations are unsigned where they cannot be negative, with one scale for the tensor. Both operands of a sum have
      one scale, ``sum_bits`` and a sign.
    - ``scales``: "power-of-two", so that hardware rescales by shifts, or "free".
    - ``method``: the range that a scale covers. "mse" minimizes the mean squared error, of the weights and, batch by
      batch, of activations; "percentile" covers all weights and 99.99 % of a batch's activations; "max" covers all.
      Scales of activations are means over the batches.

    Gradient: straight through the rounding. Scales of activations, and with "mse" those of weights, are parameters, and
    are trained with their own gradient.

    The quantizers are Brevitas's (``brevitas.quant.scaled_int``).
    """

    name: ClassVar[str] = "calibrated"
    batch_norm: ClassVar[bool] = False
    learning_rate: ClassVar[tuple[float, float]] = (2e-4, 1e-6)
    """Of weights whose root mean square is ``TYPICAL``; that of others is in proportion (``rate_factor``)."""

    weight_bits: int = 8
    act_bits: int = 8
    sum_bits: int = 8
    per_channel: bool = False
    scales: str = "power-of-two"
    method: str = "mse"

    def __post_init__(self) -> None:
        for what in ("weight_bits", "act_bits", "sum_bits"):
            check_bits("quantize", what, getattr(self, what), 2)
        for what, known in (("scales", SCALES), ("method", METHODS)):
            if getattr(self, what) not in known:
                raise QuantError(f"{what}={getattr(self, what)!r}: choose {' or '.join(map(repr, known))}", status=2)

    @classmethod
    def from_bits(cls, weight_bits: int | str, act_bits: int) -> "Calibrated":
        if isinstance(weight_bits, str):
            raise QuantError(f"quantize has no {weight_bits} weights: take weight_bits=2, or train a network", status=2)
        return cls(weight_bits, act_bits, max(8, act_bits))

    def rate_factor(self, weight: "torch.Tensor") -> float:
        """Returns the root mean square of the weights over ``TYPICAL``.

        Merged BatchNorms, equalization and inputs of 0 to 255 leave layers with weights a hundred times smaller than
        those of others. Steps of Adam have one size for all: in proportion, none of them is lost.
        """
        return max(float(weight.detach().square().mean().sqrt()), LEAST) / TYPICAL

    def weight_quant(self) -> Injector:
        base = Int8WeightPerTensorFloatMSE if self.method == "mse" else Int8WeightPerTensorFloat
        per = ScalingPerOutputType.CHANNEL if self.per_channel else ScalingPerOutputType.TENSOR
        return base.let(bit_width=self.weight_bits, scaling_per_output_type=per, **self._common())

    def act_quant(self) -> Injector:
        return self.activation(self.act_bits, signed=False)

    def signed_quant(self) -> Injector:
        return self.activation(self.act_bits, signed=True)

    def sum_quant(self) -> Injector:
        return self.activation(self.sum_bits, signed=True)

    def activation(self, bits: int, signed: bool) -> Injector:
        """Returns the quantizer of an activation of ``bits`` bits."""
        if self.method == "mse":
            base = Int8ActPerTensorFloatMSE if signed else Uint8ActPerTensorFloatMSE
            return base.let(bit_width=bits, **self._common())
        base = Int8ActPerTensorFloat if signed else Uint8ActPerTensorFloat
        return base.let(bit_width=bits, **self._common(), **_RANGES[self.method])

    def _common(self) -> dict[str, Any]:
        found: dict[str, Any] = {"mse_search_method": "grid"} if self.method == "mse" else {}
        if self.scales == "power-of-two":
            found |= {
                "restrict_scaling_type": RestrictValueType.POWER_OF_TWO,
                "restrict_value_float_to_int_impl": CeilSte,
            }
        return found


_RANGES: Mapping[str, dict[str, Any]] = {
    "percentile": {"high_percentile_q": 99.99},
    "max": {"scaling_stats_op": StatsOp.MAX},
}
