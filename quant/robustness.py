"""Robustness of a trained network to distortions of its weights: projections, noise, clipping and bit flips.

    from quant import robustness

    table = robustness.accuracy_against(model, "digits", "bit_flip", [0, 1e-3, 1e-2, 1e-1])
    print(table)
    robustness.plot(table, "robustness.png")

A distortion acts on the weights that a layer computes with. For a layer with quantized weights, of any scheme, these
are the quantized weights.

Merolla, Appuswamy, Arthur, Esser, Modha, "Deep neural networks are robust to weight binarization and other non-linear
distortions", 2016: networks are trained with one projection of their weights and tested with others. Published: 11 %
error on CIFAR-10 at 0.68 effective bits a weight, 7.64 % with stochastic projections, without data augmentation.
"""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from brevitas.nn.quant_layer import QuantWeightBiasInputOutputLayer
from torch.nn.utils import parametrize

from quant.data import DataSet, load_data
from quant.errors import QuantError
from quant.files import replacing
from quant.metrics import accuracy
from quant.models.network import Network, model_inputs

__all__ = [
    "KINDS",
    "Codes",
    "Robustness",
    "accuracy_against",
    "distorted",
    "distorted_training",
    "plot",
]


@dataclass(frozen=True)
class Codes:
    """The integers of quantized weights, ``bits`` wide: ``weights = scale * (codes - zero_point)``."""

    scale: torch.Tensor
    zero_point: torch.Tensor
    bits: int
    signed: bool

    def cpu(self) -> "Codes":
        return Codes(self.scale.detach().cpu(), self.zero_point.detach().cpu(), self.bits, self.signed)


# (weights, rate, generator, codes or None) -> distorted weights
_Distortion = Callable[[torch.Tensor, float, torch.Generator | None, Codes | None], torch.Tensor]


def _noise(w: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    return torch.randn(w.shape, generator=generator, device=w.device, dtype=w.dtype)


def _chosen(w: torch.Tensor, rate: float, generator: torch.Generator | None) -> torch.Tensor:
    return torch.rand(w.shape, generator=generator, device=w.device) < rate


def _sign(w: torch.Tensor, rate: float, generator: torch.Generator | None, codes: Codes | None) -> torch.Tensor:
    projected = torch.where(w >= 0, 1.0, -1.0) * w.abs().mean()
    return torch.where(_chosen(w, rate, generator), projected, w)


def _power(w: torch.Tensor, rate: float, generator: torch.Generator | None, codes: Codes | None) -> torch.Tensor:
    powers = w.abs() ** rate
    return torch.where(w >= 0, powers, -powers) * (w.abs().mean() / powers.mean())


def _additive(w: torch.Tensor, rate: float, generator: torch.Generator | None, codes: Codes | None) -> torch.Tensor:
    return w + rate * w.square().mean().sqrt() * _noise(w, generator)


def _multiplicative(
    w: torch.Tensor, rate: float, generator: torch.Generator | None, codes: Codes | None
) -> torch.Tensor:
    return w * (1.0 + rate * _noise(w, generator))


def _clip(w: torch.Tensor, rate: float, generator: torch.Generator | None, codes: Codes | None) -> torch.Tensor:
    limit = float(rate * w.abs().max())
    return w.clamp(-limit, limit)


def _bit_flip(w: torch.Tensor, rate: float, generator: torch.Generator | None, codes: Codes | None) -> torch.Tensor:
    assert codes is not None
    if codes.bits == 1:
        return torch.where(_chosen(w, rate, generator), -w, w)
    integers = torch.round(w / codes.scale + codes.zero_point).long()
    flipped = torch.zeros_like(integers)
    for bit in range(codes.bits):
        flipped |= _chosen(w, rate, generator).long() << bit
    span = 1 << codes.bits
    result = (integers ^ flipped) & (span - 1)
    if codes.signed:  # two's complement: the sign bit has the weight -2**(bits-1)
        result = torch.where(result >= span // 2, result - span, result)
    return (result.to(w.dtype) - codes.zero_point) * codes.scale


@dataclass(frozen=True)
class _Kind:
    apply: _Distortion
    most: float  # largest valid rate
    meaning: str


KINDS: dict[str, _Kind] = {
    "additive": _Kind(_additive, math.inf, "noise / rms weight"),
    "bit_flip": _Kind(_bit_flip, 1.0, "probability of a flip, each bit"),
    "clip": _Kind(_clip, 1.0, "limit / largest weight"),
    "multiplicative": _Kind(_multiplicative, math.inf, "relative noise"),
    "power": _Kind(_power, math.inf, "exponent"),
    "sign": _Kind(_sign, 1.0, "fraction of weights"),
}
"""The distortions by name. ``rate`` r has this meaning for a layer's weights w:

- ``bit_flip``: each bit of the weights' integers flips with probability r (two's complement; a 1-bit weight changes its
  sign). This models single event upsets in weight memories.
- ``additive``: ``w + r * rms(w) * n``; ``multiplicative``: ``w * (1 + r * n)``, with n normal of mean 0, variance 1.
- ``clip``: to ``[-r, r] * max|w|``.
- ``sign``: a fraction r of the weights, chosen at random, becomes ``sign(w) * mean|w|``.
- ``power``: ``a * sign(w) * |w|**r``, where a preserves ``mean|w|``; r = 1 is the identity, r = 0 is the sign.
"""


@contextmanager
def distorted(model: torch.nn.Module, kind: str, rate: float, seed: int = 0) -> Iterator[torch.nn.Module]:
    """Context in which ``model`` computes with distorted weights; afterwards the model is restored.

    ``kind`` and ``rate``: see ``KINDS``. Equal seeds give equal distortions. Yields the model itself. Changes of the
    weights within the context have no effect.

    Raises QuantError (status 2) for an unknown kind, a rate out of range, and bit flips of floating-point weights.
    """
    distortion = _checked(model, kind, rate)
    # SeedSequence, because torch's generators give similar streams for similar seeds.
    generator = torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1))
    fixed: dict[str, torch.Tensor] = {}

    def distort(name: str, w: torch.Tensor, codes: Codes | None) -> torch.Tensor:
        if name not in fixed:
            fixed[name] = distortion(w.detach().cpu(), rate, generator, codes and codes.cpu()).to(w.device)
        return fixed[name].to(w.dtype)

    with _through(model, distort):
        # Draws the distortions in definition order, independent of the execution order.
        with torch.no_grad():
            for layer in _layers(model).values():
                layer.quant_weight() if isinstance(layer, QuantWeightBiasInputOutputLayer) else layer.weight
        yield model


@contextmanager
def distorted_training(model: torch.nn.Module, kind: str, rate: float) -> Iterator[torch.nn.Module]:
    """Context in which the model trains under distortion, in any loop: ``with distorted_training(...): fit(model)``.

    In training mode every forward pass draws a new distortion from torch's global random numbers. The gradient passes
    unchanged to the undistorted weights. In eval mode nothing is distorted. Arguments and errors as in ``distorted``.
    """
    distortion = _checked(model, kind, rate)
    modules = _layers(model)

    def distort(name: str, w: torch.Tensor, codes: Codes | None) -> torch.Tensor:
        if not modules[name].training:
            return w
        with torch.no_grad():
            change = distortion(w, rate, None, codes) - w
        return w + change

    with _through(model, distort):
        yield model


def _checked(model: torch.nn.Module, kind: str, rate: float) -> _Distortion:
    if kind not in KINDS:
        raise QuantError(f"no distortion {kind!r}: choose one of {', '.join(KINDS)}", status=2)
    if not (math.isfinite(rate) and 0 <= rate <= KINDS[kind].most):
        upper = f" to {KINDS[kind].most:g}" if math.isfinite(KINDS[kind].most) else " on"
        raise QuantError(f"rate={rate!r} of {kind} ({KINDS[kind].meaning}) is not from 0{upper}", status=2)
    layers = _layers(model)
    if not layers:
        raise QuantError(f"{type(model).__name__} has no linear or convolution layer to distort", status=2)
    if kind == "bit_flip":
        for name, layer in layers.items():
            if not (isinstance(layer, QuantWeightBiasInputOutputLayer) and layer.weight_quant.is_quant_enabled):
                raise QuantError(
                    f"layer {name} has floating-point weights, which have no integer's bits to flip: quantize it, or "
                    "choose another distortion",
                    status=2,
                )
    return KINDS[kind].apply


def _layers(model: torch.nn.Module) -> dict[str, Any]:
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | torch.nn.modules.conv._ConvNd)
    }


class _Undistorted(torch.nn.Module):
    """The identity as a parametrization, to which a forward hook is attached."""

    def forward(self, w: torch.Tensor) -> torch.Tensor:
        return w


def _restore(layer: Any, order: list[str]) -> None:
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    for name in order:  # torch restores the weight after the bias; this restores the original order
        layer._parameters[name] = layer._parameters.pop(name)


@contextmanager
def _through(
    model: torch.nn.Module, distort: Callable[[str, torch.Tensor, Codes | None], torch.Tensor]
) -> Iterator[None]:
    """Context in which the layers compute with ``distort(name, weights, codes)``."""

    def quantized(name: str, signed: bool):  # type: ignore[no-untyped-def]
        def hook(_quantizer: Any, _inputs: Any, output: Any) -> Any:
            values, scale, zero_point, bits, *more = output
            return (distort(name, values, Codes(scale, zero_point, int(bits), signed)), scale, zero_point, bits, *more)

        return hook

    def plain(name: str):  # type: ignore[no-untyped-def]
        return lambda _parametrization, _inputs, weight: distort(name, weight, None)

    with ExitStack() as undo:
        for name, layer in _layers(model).items():
            if isinstance(layer, QuantWeightBiasInputOutputLayer) and layer.weight_quant.is_quant_enabled:
                handle = layer.weight_quant.tensor_quant.register_forward_hook(
                    quantized(name, bool(layer.weight_quant.is_signed))
                )
            else:
                if not parametrize.is_parametrized(layer, "weight"):
                    order = list(layer._parameters)
                    parametrize.register_parametrization(layer, "weight", _Undistorted())
                    undo.callback(_restore, layer, order)
                handle = layer.parametrizations.weight.register_forward_hook(plain(name))
            undo.callback(handle.remove)
        yield


@dataclass(frozen=True, eq=False)
class Robustness:
    """Accuracies (rates, seeds), as fractions of 1, under one kind of distortion; ``print`` shows one row per rate."""

    kind: str
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    accuracies: np.ndarray
    undistorted: float

    def as_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "rates": list(self.rates),
            "seeds": list(self.seeds),
            "accuracies": self.accuracies.tolist(),
            "undistorted": self.undistorted,
        }

    def __str__(self) -> str:
        lines = [
            f"{self.kind} ({KINDS[self.kind].meaning}); undistorted {self.undistorted:.2%}, {len(self.seeds)} seeds",
            f"{'rate':>10}  {'mean':>7}  {'least':>7}  {'most':>7}",
        ]
        lines += [
            f"{rate:>10.4g}  {row.mean():>7.2%}  {row.min():>7.2%}  {row.max():>7.2%}"
            for rate, row in zip(self.rates, self.accuracies, strict=True)
        ]
        return "\n".join(lines)


def accuracy_against(
    model: torch.nn.Module,
    data: DataSet | str | tuple[torch.Tensor, torch.Tensor],
    kind: str,
    rates: Sequence[float],
    seeds: int | Sequence[int] = 5,
) -> Robustness:
    """Measures the accuracy of ``model`` under each rate of a distortion, for each seed; the model is restored.

    ``data``: a data set or its name, of which the test set is used, or a pair of inputs (N, ...) and labels (N,).
    ``kind``, ``rates``: see ``KINDS``. ``seeds``: the number of seeds, or the seeds themselves.

    Raises QuantError (status 2) for invalid arguments.
    """
    x, y = _inputs(model, data)
    chosen = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not chosen or not len(rates):
        raise QuantError("there is nothing to measure: give at least one rate and one seed", status=2)
    for rate in rates:
        _checked(model, kind, rate)

    def measure(rate: float, seed: int) -> float:
        with distorted(model, kind, rate, seed):
            return accuracy(model, x, y)

    found = np.array([[measure(rate, seed) for seed in chosen] for rate in rates])
    return Robustness(kind, tuple(map(float, rates)), chosen, found, accuracy(model, x, y))


def _inputs(model: torch.nn.Module, data: Any) -> tuple[torch.Tensor, torch.Tensor]:
    device = next(model.parameters()).device
    if isinstance(data, tuple):
        return data[0].to(device), data[1].to(device)
    if isinstance(data, str):
        data = load_data(data)
    if not isinstance(model, Network):
        raise QuantError("the layout of this network's inputs is not known: give data as (inputs, labels)", status=2)
    images, labels = model_inputs(model, data.x_test), data.y_test
    return torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device)


def plot(
    tables: Robustness | dict[str, Robustness], path: str | os.PathLike[str] | None = None, logarithmic: bool = True
) -> Any:
    """Plots accuracy against rate, with one line per table, labelled by its key.

    A line is the mean over the seeds; a band shows their minimum and maximum. ``logarithmic`` makes the axis of rates
    logarithmic, but linear around 0. Returns the matplotlib figure. With ``path`` the figure is also written to that
    file, in the format of its suffix.

    Raises QuantError (status 2) for tables of different kinds, and if the file cannot be written.
    """
    from matplotlib.figure import Figure

    named = {"": tables} if isinstance(tables, Robustness) else dict(tables)
    kinds = {table.kind for table in named.values()}
    if len(kinds) != 1:
        raise QuantError("a plot shows tables of one kind of distortion: draw one for each kind", status=2)
    [kind] = kinds
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for label, table in named.items():
        order = np.argsort(table.rates)
        rates, rows = np.array(table.rates)[order], table.accuracies[order]
        (line,) = axes.plot(rates, rows.mean(1), marker="o", label=label)
        axes.fill_between(rates, rows.min(1), rows.max(1), alpha=0.2, color=line.get_color(), linewidth=0)
        axes.axhline(table.undistorted, color=line.get_color(), linestyle=":", linewidth=1)
    positive = [rate for table in named.values() for rate in table.rates if rate > 0]
    if logarithmic and positive:
        axes.set_xscale("symlog", linthresh=min(positive))
        axes.set_xlim(left=0)
    axes.set(xlabel=f"{kind}: {KINDS[kind].meaning}", ylabel="accuracy", ylim=(0, 1))
    if len(named) > 1:
        axes.legend()
    axes.grid(alpha=0.3)
    if path is not None:
        try:
            with replacing(path) as part:
                figure.savefig(part)
        except ValueError as error:
            raise QuantError(f"cannot write the plot {path}: {error}", status=2) from error
    return figure
