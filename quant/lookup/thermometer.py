"""The thermometer encoder: numbers become bits."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch

from quant.errors import QuantError

Levels = Literal["uniform", "quantile", "gaussian", "learned"]
"""How an encoder's levels are chosen.

- ``uniform``: they divide the range into equal parts.
- ``quantile``: they divide the values of the training set into equally many (Bacellar et al. 2024).
- ``gaussian``: quantiles of a normal distribution with the training set's mean and deviation.
- ``learned``: uniform ones, trained with the network.
"""


class _Compare(torch.autograd.Function):
    """``x[features] >= levels``: (F, M), (B,) and (B,) -> (B, M) of 0 and 1.

    The gradient is that of a ramp of ``width`` (B,) around each level, straight through.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, levels: torch.Tensor, features: torch.Tensor, width: torch.Tensor
    ) -> torch.Tensor:
        above = x.index_select(0, features).sub_(levels[:, None])
        ctx.save_for_backward(above, features, width)
        ctx.count = len(x)
        return (above >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *outputs: torch.Tensor) -> Any:
        above, features, width = ctx.saved_tensors
        ramp = outputs[0] / width[:, None] * (2 * above.abs() <= width[:, None])
        dx = None
        if ctx.needs_input_grad[0]:
            dx = ramp.new_zeros(ctx.count, ramp.shape[1]).index_add_(0, features, ramp)
        return dx, -ramp.sum(1) if ctx.needs_input_grad[1] else None, None, None


class Thermometer(torch.nn.Module):
    """Compares each feature with levels: (N, features) -> (N, bits), values 0.0 and 1.0.

    Bit b is ``x[features[b]] >= level[b]``; the bits of a feature are consecutive, its levels rise. ``bits`` is the
    number of levels of each feature, one number for all or one for each. ``low`` and ``high`` are the range of the
    features, for all or for each. Images are flattened.

    ``levels`` as described at ``Levels``. "quantile" and "gaussian" are uniform until ``fit_levels`` is called, which
    ``quant.fit`` does. While training, each sample is shifted at random by up to ``jitter`` times the distance of two
    uniform levels, so that tables do not depend on values close to a level.

    Raises QuantError (status 2) for features without a range, fewer than one bit in all, and unknown levels.
    """

    features: torch.Tensor
    parts: torch.Tensor
    low: torch.Tensor
    span: torch.Tensor
    step: torch.Tensor
    fixed: torch.Tensor

    def __init__(
        self,
        features: int,
        bits: int | Sequence[int],
        levels: Levels = "uniform",
        *,
        low: float | Sequence[float] | None = None,
        high: float | Sequence[float] | None = None,
        jitter: float = 0.0,
    ) -> None:
        super().__init__()
        if levels not in get_args(Levels):
            raise QuantError(f"Thermometer: no levels {levels!r}: choose {', '.join(get_args(Levels))}", status=2)
        given = _each(bits, features, "bits")
        counts = given.long()
        if (counts != given).any():
            raise QuantError(f"Thermometer: bits={bits} are not whole numbers", status=2)
        if features < 1 or int(counts.min()) < 0 or not int(counts.sum()):
            raise QuantError(
                f"Thermometer: bits={bits} of {features} features leave nothing to read: 1 or more", status=2
            )
        if not 0 <= jitter < float("inf"):
            raise QuantError(f"Thermometer: jitter={jitter} is not a number from 0", status=2)
        if low is None or high is None:
            raise QuantError("Thermometer: its features have no range: give low and high", status=2)
        least, most = _each(low, features, "low"), _each(high, features, "high")
        flat = ~(least < most) | ~least.isfinite() | ~most.isfinite()
        if flat.any():
            at = int(flat.nonzero()[0])
            raise QuantError(
                f"Thermometer: feature {at} has no range ({float(least[at]):g}..{float(most[at]):g}): give a low below "
                "its high, or 0 bits for it",
                status=2,
            )
        self.inputs, self.levels_are, self.jitter = features, levels, jitter
        which = torch.arange(features).repeat_interleave(counts)
        first = (counts.cumsum(0) - counts).repeat_interleave(counts)
        # The part of a feature's values, or of its range, that lies below each level.
        self.register_buffer("parts", (torch.arange(len(which)) - first + 1) / (counts[which] + 1), persistent=False)
        spans = most - least
        self.register_buffer("features", which)
        self.register_buffer("low", least[which], persistent=False)
        self.register_buffer("span", spans[which], persistent=False)
        self.register_buffer("step", spans / (counts + 1), persistent=False)
        if levels == "learned":
            self.places = torch.nn.Parameter(self.parts.clone())  # of the range, for the sake of the learning rate
        else:
            self.register_buffer("fixed", self.low + self.span * self.parts)

    def extra_repr(self) -> str:
        return f"{self.inputs}, {self.outputs} bits, levels={self.levels_are}"

    @property
    def outputs(self) -> int:
        """The number of bits of all features."""
        return len(self.features)

    @property
    def levels(self) -> torch.Tensor:
        """The level of each bit, (bits,) float32."""
        return self.low + self.span * self.places if self.levels_are == "learned" else self.fixed

    @torch.no_grad()
    def fit_levels(self, x: torch.Tensor) -> None:
        """Chooses "quantile" or "gaussian" levels from samples (N, features). Others remain."""
        x = x.reshape(len(x), self.inputs).float()
        if self.levels_are == "gaussian":
            deviates = torch.special.ndtri(self.parts)
            self.fixed.copy_(x.mean(0)[self.features] + x.std(0, correction=0)[self.features] * deviates)
        elif self.levels_are == "quantile":
            ordered = x.sort(0).values
            rank = (self.parts * (len(x) - 1)).round().long()
            # Just above the quantile: else the level of a feature that is mostly 0 would be 0, and its bit always 1.
            self.fixed.copy_(torch.nextafter(ordered[rank, self.features], ordered.new_tensor(torch.inf)))

    def in_file(self, y: torch.Tensor) -> torch.Tensor:
        """Returns the output as the tensor that an exported file has."""
        return y

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1)
        if torch.onnx.is_in_onnx_export():
            return (x[:, self.features] >= self.levels.detach()).to(x.dtype)
        if x.shape[1] != self.inputs:
            raise QuantError(f"Thermometer: its input has {x.shape[1]} features, not {self.inputs}", status=2)
        x = x.t().contiguous()
        if self.training and self.jitter:
            x = x + (torch.rand(x.shape[1], device=x.device) * 2 - 1) * (self.jitter * self.step[:, None])
        return _Compare.apply(x, self.levels, self.features, (2 * self.step)[self.features]).t()


def _each(given: float | Sequence[float], features: int, name: str) -> torch.Tensor:
    """Returns one number for each feature. Raises QuantError (status 2) for another number of numbers."""
    numbers = torch.as_tensor(given, dtype=torch.float32)
    if numbers.dim() > 1 or (numbers.dim() == 1 and len(numbers) != features):
        raise QuantError(
            f"Thermometer: {name} has {tuple(numbers.shape)} numbers for {features} features: give one or one for each",
            status=2,
        )
    return numbers.expand(features).contiguous()
