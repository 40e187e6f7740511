"""Accumulator-aware quantization: weights whose sums cannot overflow an accumulator of a given width."""

from dataclasses import astuple, dataclass
from typing import ClassVar

import torch

from quant.errors import QuantError
from quant.quantizers.functions import bounds, mean_of_nonzero, uniform
from quant.quantizers.injector import Injector
from quant.quantizers.tensor_quant import TensorQuant, UniformAct, act_injector, weight_injector
from quant.schemes.parameters import check_bits
from quant.schemes.scheme import Scheme

# A safety factor: float32 rounding of norms and quotients must not raise a sum above its bound.
_MARGIN = 1 - 1e-5


class BoundedWeight(TensorQuant):
    """``s * clip(trunc(G * v / ||v||_1), -high, high)`` per output channel, with ``G = min(g / s, limit)``.

    v is the latent weight, minus its channel's mean if ``zero_center``. s and g are learned as logarithms to base 2;
    their initial values are ``max|w| / high`` and ``||v||_1``. Truncation only reduces magnitudes, so the sum of
    ``|codes|`` of a channel is at most ``limit``. With ``zero_center`` the positive and the negative codes each sum to
    at most half of that.
    """

    def __init__(self, bits: int, limit: float, zero_center: bool, tracked_parameter_list: list[torch.Tensor]) -> None:
        super().__init__(bits)
        self.low, self.high = bounds(bits, signed=True, narrow=True)
        self.limit, self.zero_center = limit * _MARGIN, zero_center
        weight = tracked_parameter_list[0].detach()
        self.over = tuple(range(1, weight.dim()))
        largest = weight.abs().amax(self.over, keepdim=True) / self.high
        norm = self._centered(weight).abs().sum(self.over, keepdim=True)
        self.log_scale = torch.nn.Parameter(torch.log2(largest.clamp(min=1e-8)))
        self.log_norm = torch.nn.Parameter(torch.log2(norm.clamp(min=1e-8)))

    def _centered(self, weight: torch.Tensor) -> torch.Tensor:
        if not self.zero_center:
            return weight
        return (weight - mean_of_nonzero(weight, list(self.over))) * (weight != 0)  # what is pruned remains zero

    def check_codes(self, codes: torch.Tensor) -> None:
        positive, negative = (codes.clamp(min=0).sum(self.over), (-codes).clamp(min=0).sum(self.over))
        largest = 2 * torch.maximum(positive, negative) if self.zero_center else positive + negative
        if float(largest.max()) > self.limit / _MARGIN:
            raise QuantError(
                f"scheme accumulator_aware allows sums of |weights| up to {self.limit / _MARGIN:g}, and these "
                f"weights would have {float(largest.max()):g}: use a method that changes no other weights (prune, obd)",
                status=2,
            )

    def values_and_scale(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scale = torch.exp2(self.log_scale)
        v = self._centered(x)
        size = (torch.exp2(self.log_norm) / scale).clamp(max=self.limit)
        norm = v.abs().sum(self.over, keepdim=True).clamp(min=1e-30)
        codes = uniform(v * (size / norm), self.unit, self.low, self.high, "toward_zero")
        return codes * scale, scale


@dataclass(frozen=True)
class AccumulatorAware(Scheme):
    """Accumulator-aware quantization: A2Q+ (``zero_center=True``, the default) or A2Q.

    Forward, per output channel: ``s * clip(trunc(G * v / ||v||_1), -Q, Q)`` with ``Q = 2**(b-1) - 1`` and
    ``G = min(g / s, T)``. Truncation keeps the sum of ``|codes|`` at or below G. T keeps every sum of products with
    N-bit unsigned inputs within ``accumulator_bits`` = P signed bits, in any order of summation.

    - A2Q: v = w and ``T = (2**(P-1) - 1) / 2**N``.
    - A2Q+: ``v = w - mean(w)``, whose positive and negative parts have equal sums, so that
      ``T = (2**P - 2) / (2**N - 1)``, about twice as much.

    s and g are learned. Activations: ReLU, then ``act_bits`` = N unsigned bits with a learned scale. In the first and
    the last layer the largest input is assumed to be ``2**max(input_bits, act_bits)``, signed or not; ``input_bits``
    (8) is the width of the network's input. Gradient: straight through the truncation, and zero where a value is
    clipped. Loss: cross entropy.

    The papers also penalize norms above T in the loss, which is not done here. The bound holds for layers that read an
    activation. It does not hold after a residual sum or a mean without quantizer, and it does not include biases.

    Colbert, Pappalardo, Petri-Koenig: "A2Q: Accumulator-aware quantization with guaranteed overflow avoidance", ICCV
    2023. Colbert, Pappalardo, Petri-Koenig, Umuroglu: "A2Q+: Improving accumulator-aware weight quantization", ICML
    2024.
    """

    name: ClassVar[str] = "accumulator_aware"

    weight_bits: int = 8
    act_bits: int = 4
    accumulator_bits: int = 16
    zero_center: bool = True
    input_bits: int = 8

    def __post_init__(self) -> None:
        check_bits(self.name, "weight_bits", self.weight_bits, 2)
        check_bits(self.name, "act_bits", self.act_bits, 2)
        check_bits(self.name, "input_bits", self.input_bits, 1)
        check_bits(self.name, "accumulator_bits", self.accumulator_bits, 4, 32)
        if self.edge_limit < 1:
            raise QuantError(
                f"scheme accumulator_aware: {self.accumulator_bits} accumulator bits leave no room for weights with "
                f"inputs of {max(self.input_bits, self.act_bits)} bits: raise accumulator_bits",
                status=2,
            )

    @classmethod
    def from_bits(cls, weight_bits: int | str, act_bits: int) -> "AccumulatorAware":
        if isinstance(weight_bits, str):
            raise QuantError(f"scheme accumulator_aware has no {weight_bits} weights: use scheme integer", status=2)
        return cls(weight_bits, act_bits)

    @property
    def limit(self) -> float:
        """T of a hidden layer: the maximum sum of ``|codes|`` of a channel."""
        if self.zero_center:
            return (2**self.accumulator_bits - 2) / (2**self.act_bits - 1)
        return (2 ** (self.accumulator_bits - 1) - 1) / 2**self.act_bits

    @property
    def edge_limit(self) -> float:
        """T of the first and last layer, whose inputs may be signed."""
        most = 2**self.accumulator_bits - 2 if self.zero_center else 2 ** (self.accumulator_bits - 1) - 1
        return most / 2 ** max(self.input_bits, self.act_bits)

    def weight_quant(self) -> Injector:
        return weight_injector(BoundedWeight, bits=self.weight_bits, limit=self.limit, zero_center=self.zero_center)

    def initialize(self, weight: torch.Tensor) -> None:
        quantizer = BoundedWeight(self.weight_bits, self.limit, self.zero_center, [weight])
        if self.zero_center and weight[0].numel() == 1:
            raise QuantError(
                "scheme accumulator_aware: the mean of a channel's weights is subtracted, which leaves nothing of the "
                "only weight of a channel: take --scheme-option zero_center=false, or a layer of more inputs",
                status=2,
            )
        if not quantizer(weight)[0].any():
            raise QuantError(
                f"scheme accumulator_aware: {self.accumulator_bits} accumulator bits are so few that all "
                f"{weight[0].numel()} weights of a channel would start, and stay, at zero: raise accumulator_bits or "
                "take narrower inputs",
                status=2,
            )

    def act_quant(self) -> Injector:
        return act_injector(UniformAct, bits=self.act_bits)

    @property
    def edge(self) -> Scheme:
        return _Edge(*astuple(self))


class _Edge(AccumulatorAware):
    """The scheme of the first and the last layer."""

    @property
    def limit(self) -> float:
        return self.edge_limit

    @property
    def edge(self) -> Scheme:
        return self
