"""HWGQ: activations of few bits that approximate the positive half of a normal distribution, as a ReLU outputs it."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch

from quant.errors import QuantError
from quant.quantizers.injector import Injector
from quant.quantizers.tensor_quant import TensorQuant, UniformAct, act_injector, weight_injector
from quant.schemes.bwn import FilterSignWeight
from quant.schemes.integer import Integer
from quant.schemes.parameters import check_bits, check_choice, check_weight_bits
from quant.schemes.scheme import Scheme

# Optimal levels for the positive half of N(0, 1), by number of bits. The tests derive them.
_STEP = {1: 0.79788, 2: 0.53881, 3: 0.32173, 4: 0.18424}
_ROUNDED_STEP = {1: 1.22401, 2: 0.65077, 3: 0.35341, 4: 0.19325}
_LEVELS = {
    1: (0.79788,),
    2: (0.31772, 1.00011, 1.89359),
    3: (0.14571, 0.44132, 0.75044, 1.08564, 1.46753, 1.93861, 2.62506),
    4: (
        *(0.07016, 0.21093, 0.35311, 0.49771, 0.64588, 0.79893, 0.95849, 1.12664, 1.30615, 1.50091),
        *(1.71678, 1.96322, 2.25744, 2.63661, 3.21356),
    ),
}

# The smallest value that counts as positive: float32's smallest normal number. Processors may flush smaller ones to 0.
_POSITIVE = torch.finfo(torch.float32).tiny


class _HalfWave(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, scale: torch.Tensor, steps: tuple[tuple[float, int], ...], way: str, last: float
    ) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.way, ctx.last = way, last
        codes, reached = torch.zeros_like(x), torch.empty_like(x)
        for threshold, count in steps:
            codes.add_(torch.ge(x, threshold, out=reached), alpha=count)
        return codes.mul_(scale)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        inside = x >= _POSITIVE
        if ctx.way == "clipped":
            inside &= x <= ctx.last
        gradient = gradient * inside
        if ctx.way == "log_tailed":
            gradient.div_((x - (ctx.last - 1)).clamp_(min=1))
        return gradient, None, None, None, None


class HalfWaveAct(TensorQuant):
    """0 for ``x <= 0``, else the nearest of the levels ``scale * codes``; halfway between two levels, the upper one.

    ``codes`` are ascending whole numbers. ``steps`` are pairs of a threshold and the amount by which the code increases
    at or above it. ``thresholds`` holds the same thresholds, each repeated as often as the code increases by 1 there.
    """

    thresholds: torch.Tensor
    scale: torch.Tensor

    def __init__(self, bits: int, codes: tuple[int, ...], scale: float, backward: str) -> None:
        super().__init__(bits)
        middles = [(low + high) / 2 * scale for low, high in pairwise(codes)]
        bounds = torch.tensor([_POSITIVE, *middles]).tolist()  # rounded to float32
        self.steps = tuple(
            (bound, high - low) for bound, (low, high) in zip(bounds, pairwise((0, *codes)), strict=True)
        )
        self.backward, self.last = backward, codes[-1] * scale
        self.register_buffer("scale", torch.tensor(scale), persistent=False)
        repeated = [bound for bound, count in self.steps for _ in range(count)]
        self.register_buffer("thresholds", torch.tensor(repeated), persistent=False)

    def values_and_scale(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return _HalfWave.apply(x, self.scale, self.steps, self.backward, self.last), self.scale


@dataclass(frozen=True)
class HWGQ(Scheme):
    """Half-wave Gaussian quantization: 1-bit weights with a scale per filter, ``act_bits``-bit activations.

    An activation follows a BatchNorm without affine parameters, so that its input is nearly N(0, 1). It is 0 for
    ``x <= 0``, else the nearest of the positive levels ``q_1 ... q_L`` with ``L = 2**act_bits - 1``; every positive x
    becomes at least q_1. The levels minimize the squared error for N(0, 1). With ``uniform=True`` they are multiples of
    one step (0.79788, 0.53881, 0.32173, 0.18424 for 1 to 4 bits). With ``uniform=False`` they are those of Lloyd and
    Max, rounded to multiples of ``q_L / (2**grid_bits - 1)``, since hardware needs integers. ``grid_bits`` defaults to
    ``act_bits + 2`` and is the input width of the next layer.

    ``backward`` selects the gradient. "clipped": ``1[0 < x <= q_L]``. "relu": ``1[x > 0]``. "log_tailed": ``1`` for
    ``0 < x <= q_L`` and ``1 / (x - (q_L - 1))`` above. A value at a threshold becomes the upper level, and x counts as
    positive from 2**-126 on.

    ``rounded=True`` rounds to the nearest level including 0 (``x < step / 2`` becomes 0), with the best steps for that
    (1.22401, 0.65077, 0.35341, 0.19325). At 2 bits this has about half the squared error, and the exported file
    contains an ordinary quantizer. The paper's form is exported as thresholds.

    Weights: binary weights scaled by the mean magnitude of a filter, as in scheme ``bwn``. The first and the last layer
    have ``edge_bits``-bit weights (8; real-valued in the paper). Optimizer and schedule are this package's, with Adam
    (the paper uses SGD with polynomial decay).

    Cai, He, Sun, Vasconcelos: "Deep learning with low precision by half-wave Gaussian quantization", CVPR 2017.
    Published (authors' code), for 1-bit weights and 2-bit activations: about 32 times less weight memory.
    """

    name: ClassVar[str] = "hwgq"
    pool_first: ClassVar[bool] = True

    act_bits: int = 2
    uniform: bool = True
    backward: str = "clipped"
    rounded: bool = False
    grid_bits: int | None = None
    edge_bits: int = 8

    def __post_init__(self) -> None:
        check_bits(self.name, "act_bits", self.act_bits, 1, 4)
        check_bits(self.name, "edge_bits", self.edge_bits, 2)
        if self.grid_bits is not None:
            check_bits(self.name, "grid_bits", self.grid_bits, self.act_bits, 8)
        check_choice(self.name, "backward", self.backward, ("clipped", "relu", "log_tailed"))
        if self.rounded and (not self.uniform or self.backward != "clipped"):
            raise QuantError("scheme hwgq: rounded=True goes with uniform=True and backward='clipped' only", status=2)
        if not self.uniform and len(set(self.levels[0])) < 2**self.act_bits - 1:
            raise QuantError(
                f"scheme hwgq: a grid of {self.grid_bits} bits does not tell {2**self.act_bits - 1} levels apart: "
                "raise grid_bits",
                status=2,
            )

    @classmethod
    def from_bits(cls, weight_bits: int | str, act_bits: int) -> "HWGQ":
        check_weight_bits(cls.name, weight_bits, act_bits)
        return cls(act_bits)

    @property
    def levels(self) -> tuple[tuple[int, ...], float]:
        """The positive levels: whole numbers, and the step that they are multiplied by."""
        if self.uniform:
            steps = _ROUNDED_STEP if self.rounded else _STEP
            return tuple(range(1, 2**self.act_bits)), steps[self.act_bits]
        grid = _LEVELS[self.act_bits][-1] / (2**self.code_bits - 1)
        return tuple(max(1, round(level / grid)) for level in _LEVELS[self.act_bits]), grid

    @property
    def code_bits(self) -> int:
        """Width of the activations' integers, in bits."""
        return self.act_bits if self.uniform else self.grid_bits or self.act_bits + 2

    def weight_quant(self) -> Injector:
        return weight_injector(FilterSignWeight)

    def act_quant(self) -> Injector:
        codes, scale = self.levels
        if self.rounded:
            return act_injector(UniformAct, bits=self.act_bits, scale=scale)
        return act_injector(HalfWaveAct, bits=self.code_bits, codes=codes, scale=scale, backward=self.backward)

    @property
    def relu(self) -> bool:
        return self.rounded

    @property
    def edge(self) -> Scheme:
        return Integer(self.edge_bits, self.act_bits if self.act_bits > 1 else 2)

    def norm(self, channels: int, dimensions: int) -> torch.nn.Module:
        kind = torch.nn.BatchNorm2d if dimensions == 2 else torch.nn.BatchNorm1d
        return kind(channels, eps=1e-4, affine=False)
