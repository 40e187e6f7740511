"""Layer-wise pruning and quantization that keeps each layer's outputs: Optimal Brain Surgeon and OBQ.

A row w (d,) of a layer's weight matrix gives the outputs X w for the layer's inputs X (n, d). Changing it by dw costs
``dw^T H dw`` with ``H = X^T X / n``, which is one matrix for all rows, and the rows do not depend on each other.
Setting w_q to a value v costs at least ``(w_q - v)**2 / [H^-1]_qq``, where the other weights change by
``dw = -(w_q - v) [H^-1]_:q / [H^-1]_qq``.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch.nn import functional

from quant.compression.forms import Grid, Pruned
from quant.compression.latent import assign
from quant.compression.selection import beyond
from quant.compression.weights import (
    Layer,
    Layers,
    Model,
    check_form,
    compressing,
    compression_of,
    for_layer,
    is_transposed,
    layer_kind,
    own_grid,
    weight_of,
)
from quant.errors import QuantError
from quant.inputs_by_place import inputs_by_place

LARGEST = 2048
"""The most inputs of a row whose matrix H is kept in memory."""
_BLOCK = 1 << 23  # elements of the inverse matrices of the rows that are processed together


def obs(
    model: Model,
    x: torch.Tensor,
    fraction: float | Mapping[str, float] = 0.5,
    *,
    layers: Layers = None,
    frames: int = 1024,
    damping: float = 1e-2,
) -> Model:
    """Returns a copy of ``model`` that is pruned layer by layer, with the other weights changed to make up for it.

    ``fraction`` of the weights of each layer becomes 0 (as in ``prune``). Each row removes one weight after the other,
    the one of the least ``w_q**2 / [H^-1]_qq``, and the rest changes by ``dw = -w_q [H^-1]_:q / [H^-1]_qq``. The rows
    share the layer's ``fraction`` so that the next error is always the least; each keeps one weight.
    ``H = X^T X / n + damping * mean diagonal``, where X are the layer's inputs, quantized as in the network, for the
    first ``frames`` of ``x`` (N, ...). Convolutions have their windows as inputs, and one H for each group.

    In a layer with quantized weights the weights that are left are then rounded in the same way (``obq``), to integers
    of the layer's width. The scale may change, by the factor of the least squared rounding errors (a power of two where
    the scales are), since the weights that are left become larger.

    It needs no labels and no training. At equal density it is better than ``prune`` without training, and about equal
    after it. Weights that are already pruned stay 0 and count towards ``fraction``.

    Hassibi, Stork, "Second order derivatives for network pruning: Optimal Brain Surgeon", NIPS 1992. Layer by layer:
    Frantar, Alistarh, "Optimal Brain Compression", NeurIPS 2022.

    Raises QuantError (status 2) as ``prune`` does, for rows of more than 2048 inputs, and for inputs that do not fit.
    """
    with compressing(model, layers) as (small, chosen):
        shares = {name: for_layer(fraction, "fraction", name, layer) for name, layer in chosen.items()}
        for name, share in shares.items():
            if not 0 <= share < 1:
                raise QuantError(f"fraction={share!r} of layer {name} is not from 0 to below 1", status=2)
        _check(chosen, damping)
        counts = {name: round(shares[name] * layer.weight.numel()) for name, layer in chosen.items()}
        possible = {name: 1 - 1 / layer.weight[0].numel() for name, layer in chosen.items()}  # each output keeps one
        too_much = {
            f"layer {name}": (shares[name], possible[name])
            for name, layer in chosen.items()
            if counts[name] > layer.weight.numel() - len(layer.weight)
        }
        if too_much:
            raise beyond(too_much)
        moments = second_moments(small, chosen, x, frames)
        for name, layer in chosen.items():
            rows = _Rows.of(layer, moments[name], damping)
            rows.prune(counts[name])
            grid = own_grid(layer)
            if grid is not None:
                grid = rescaled(grid, rows.whole(layer).cpu())
                rows.quantize(grid, layer)
            assign(layer, rows.whole(layer), rows.kept.view(weight_of(layer).shape), grid)
    return small


def obq(
    model: Model,
    x: torch.Tensor,
    bits: int | Mapping[str, int] = 4,
    *,
    layers: Layers = None,
    frames: int = 1024,
    damping: float = 1e-2,
) -> Model:
    """Returns a copy of ``model`` whose weights are integers of ``bits`` bits, chosen to keep each layer's outputs.

    Each row rounds one weight after the other to its nearest grid point, the one of the least
    ``(w_q - round(w_q))**2 / [H^-1]_qq``, and the weights that are left make up for the error:
    ``dw = -(w_q - round(w_q)) [H^-1]_:q / [H^-1]_qq``. Weights that these changes have moved beyond the grid come
    first. ``x``, ``frames``, ``damping`` and H are as in ``obs``. Pruned weights stay 0.

    The grid is the layer's own where that has ``bits`` bits; otherwise it has one scale a layer, that of the least sum
    of squared rounding errors, and the integers are symmetric. Layers with floating-point weights get a grid as well.

    Frantar, Alistarh, "Optimal Brain Compression", NeurIPS 2022 (the Optimal Brain Quantizer).

    Raises QuantError (status 2) for ``bits`` outside 2 to 16, and as ``obs`` does.
    """
    with compressing(model, layers) as (small, chosen):
        widths = {name: for_layer(bits, "bits", name, layer) for name, layer in chosen.items()}
        for name, width in widths.items():
            if isinstance(width, bool) or not isinstance(width, int) or not 2 <= width <= 16:
                raise QuantError(f"bits={width!r} of layer {name} is no whole number from 2 to 16", status=2)
        _check(chosen, damping)
        moments = second_moments(small, chosen, x, frames)
        for name, layer in chosen.items():
            rows = _Rows.of(layer, moments[name], damping)
            grid = own_grid(layer)
            if grid is None or grid.width != widths[name]:
                grid = best_grid(weight_of(layer).cpu(), widths[name])
            rows.quantize(grid, layer)
            assign(layer, rows.whole(layer), rows.kept.view(weight_of(layer).shape), grid)
    return small


def _check(layers: Mapping[str, Layer], damping: float) -> None:
    if not 0 < damping < float("inf"):
        raise QuantError(f"damping={damping!r} is no positive number", status=2)
    for name, layer in layers.items():
        check_form(name, layer, "pruning or rounding", Pruned)
        if is_transposed(layer):
            raise QuantError(
                f"layer {name} is a transposed convolution, whose outputs do not each have a row of weights: choose "
                "other layers, or prune by magnitude",
                status=2,
            )


def rescaled(grid: Grid, weight: torch.Tensor) -> Grid:
    """Returns ``grid`` with its scales multiplied by the factor that gives the least squared rounding errors.

    The factor is from 1/2 to 4, and a power of two if all scales are.
    """
    powers = bool((torch.frexp(grid.scale).mantissa == 0.5).all())
    steps = [step for step in range(-8, 17) if not powers or step % 8 == 0]
    steps.sort(key=abs)  # of equal errors the least change
    return _least_error(grid, weight, [2.0 ** (step / 8) for step in steps])


def best_grid(weight: torch.Tensor, bits: int) -> Grid:
    """Returns the symmetric grid of ``bits`` bits with the least sum of squared rounding errors of ``weight``.

    The scale is one of a hundred, evenly spaced up to ``max|w| / (2**(bits-1) - 1)``.
    """
    largest = float(weight.abs().max()) or 1.0
    grid = Grid(largest / (2 ** (bits - 1) - 1), bits, narrow_range=True)
    return _least_error(grid, weight, [step / 100 for step in range(1, 101)])


def _least_error(grid: Grid, weight: torch.Tensor, factors: list[float]) -> Grid:
    def error(factor: float) -> float:
        scale = grid.scale * factor
        return float((weight - (weight / scale).clamp(grid.low, grid.high).round() * scale).square().sum())

    return Grid((grid.scale * min(factors, key=error)).tolist(), grid.width, grid.narrow)


@torch.no_grad()
def second_moments(
    model: torch.nn.Module, layers: Mapping[str, Layer], x: torch.Tensor, frames: int
) -> dict[str, torch.Tensor]:
    """Returns ``X^T X / n`` of the inputs of each layer, (groups, d, d) float64, by name.

    A row of X holds the inputs that one output of the layer is computed from, in the order of the flattened weight
    (in, *kernel): the features, or the window of a convolution, with its zeros. n counts frames and positions.

    Raises QuantError (status 2) for no frames, for more than 2048 inputs, and for a layer that no frame reaches.
    """
    if len(x) == 0 or frames < 1:
        raise QuantError(f"{len(x)} inputs, frames={frames}: give at least one", status=2)
    for name, layer in layers.items():
        inputs = layer.weight[0].numel()
        if inputs > LARGEST:
            raise QuantError(
                f"layer {name} has {inputs} inputs for an output, and OBS keeps matrices of at most {LARGEST} x "
                f"{LARGEST} in memory: choose other layers, or prune by another criterion",
                status=2,
            )
    sums: dict[str, torch.Tensor] = {}
    counts: dict[str, int] = {}

    def measure(name: str):  # type: ignore[no-untyped-def]
        def hook(layer: Layer, inputs: tuple[torch.Tensor, ...]) -> None:
            rows = input_rows(layer, getattr(inputs[0], "value", inputs[0])).double().cpu()
            sums[name] = sums.get(name, 0.0) + rows.mT @ rows
            counts[name] = counts.get(name, 0) + rows.shape[1]

        return hook

    device = next(model.parameters()).device
    hooks = [layer.register_forward_pre_hook(measure(name)) for name, layer in layers.items()]
    try:
        with inputs_by_place(model):
            for part in x[:frames].split(64):
                model(part.to(device).float())
    finally:
        for each in hooks:
            each.remove()
    for name in layers:
        if name not in sums:
            raise QuantError(f"the network does not use layer {name}: choose other layers", status=2)
    return {name: total / counts[name] for name, total in sums.items()}


def input_rows(layer: Layer, x: torch.Tensor) -> torch.Tensor:
    """Returns the inputs of each output position, (groups, frames * positions, d), for a layer's input ``x``."""
    if layer_kind(layer) == "linear":
        return x.reshape(1, -1, x.shape[-1])
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    x = functional.pad(x, layer._reversed_padding_repeated_twice, mode=mode)
    kernel, stride, dilation = layer.kernel_size, layer.stride, layer.dilation
    if len(kernel) == 1:
        x, kernel, stride, dilation = x.unsqueeze(2), (1, *kernel), (1, *stride), (1, *dilation)
    windows = functional.unfold(x, kernel, dilation=dilation, stride=stride)  # (N, in * kernel positions, positions)
    windows = windows.view(len(x), layer.groups, -1, windows.shape[-1])
    return windows.permute(1, 0, 3, 2).reshape(layer.groups, -1, windows.shape[2])


@dataclass
class _Rows:
    """The rows of a layer's weight matrix, with the matrix H of their inputs.

    ``weight`` and ``kept`` are (out, d) float64 and bool; ``hessian`` is (groups, d, d). The rows of a group follow one
    another.
    """

    weight: torch.Tensor
    kept: torch.Tensor
    hessian: torch.Tensor

    @classmethod
    def of(cls, layer: Layer, moment: torch.Tensor, damping: float) -> "_Rows":
        form = compression_of(layer)
        weight = weight_of(layer).flatten(1).double().cpu()
        kept = form.mask.flatten(1).cpu() if isinstance(form, Pruned) else torch.ones_like(weight, dtype=torch.bool)
        diagonal = moment.diagonal(dim1=1, dim2=2)
        ridge = damping * diagonal.mean(1)
        ridge = torch.where(ridge > 0, ridge, 1.0)  # a layer whose inputs are all 0
        return cls(weight, kept.clone(), moment + ridge[:, None, None] * torch.eye(len(moment[0]), dtype=moment.dtype))

    def whole(self, layer: Layer) -> torch.Tensor:
        """The weight in the layer's shape and type."""
        before = weight_of(layer)
        return self.weight.view(before.shape).to(before)

    def prune(self, count: int) -> None:
        """Removes weights until ``count`` of them are 0, and changes the others."""
        orders, errors = [], []
        for rows, inverse in self._blocks():
            _, order, error = eliminate(self.weight[rows], inverse, self.kept[rows], None)
            orders.append(order)
            errors.append(error)
        order, error = torch.cat(orders), torch.cat(errors)
        # A row removes in its own order. With the running maximum as the key, a sort takes the least next error of all
        # rows at each step.
        error[~self.kept.gather(1, order)] = -1  # what is removed already counts first
        error[:, -1] = torch.inf  # every output keeps an input
        key = torch.cummax(error, dim=1).values.flatten()
        taken = torch.zeros(len(key), dtype=torch.bool)
        taken[torch.sort(key, stable=True).indices[:count]] = True
        removed = torch.zeros_like(self.kept).scatter_(1, order, taken.view_as(order)) & self.kept
        self.kept &= ~removed
        goal = torch.einsum("gij,grj->gri", self.hessian, self._grouped(self.weight)).flatten(0, 1)
        for row, kept in enumerate(self.kept):
            hessian = self.hessian[row // (len(self.weight) // len(self.hessian))]
            if removed[row].any():
                self.weight[row] = 0
                if kept.any():
                    self.weight[row, kept] = torch.linalg.solve(hessian[kept][:, kept], goal[row, kept])

    def quantize(self, grid: Grid, layer: Layer) -> None:
        """Rounds all weights that are kept to ``grid``."""
        scale = grid.scale.cpu().double().expand(weight_of(layer).shape).reshape(self.weight.shape)
        for rows, inverse in self._blocks():
            self.weight[rows] = eliminate(self.weight[rows], inverse, self.kept[rows], (scale[rows], grid))[0]

    def _grouped(self, rows: torch.Tensor) -> torch.Tensor:
        return rows.view(len(self.hessian), -1, rows.shape[1])

    def _blocks(self):  # type: ignore[no-untyped-def]
        """Yields slices of rows and the inverse of H over the kept weights of each, (rows, d, d)."""
        groups, inputs = self.hessian.shape[:2]
        per_group = len(self.weight) // groups
        step = max(1, _BLOCK // inputs**2)
        eye = torch.eye(inputs, dtype=torch.float64)
        for group in range(groups):
            whole = None
            for first in range(group * per_group, (group + 1) * per_group, step):
                rows = slice(first, min(first + step, (group + 1) * per_group))
                kept = self.kept[rows]
                if kept.all():
                    whole = torch.linalg.inv(self.hessian[group]) if whole is None else whole
                    yield rows, whole.repeat(len(kept), 1, 1)
                else:
                    both = kept[:, :, None] & kept[:, None, :]
                    yield rows, torch.linalg.inv(torch.where(both, self.hessian[group], eye))


def eliminate(
    weight: torch.Tensor, inverse: torch.Tensor, kept: torch.Tensor, grid: tuple[torch.Tensor, Grid] | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sets all weights of each row (rows, d), one after the other, to their goal: 0, or the nearest point of ``grid``.

    ``inverse`` P (rows, d, d) is the inverse of H over the weights that ``kept`` (rows, d) marks; it is overwritten. A
    step takes the weight q of the least error ``(w_q - v)**2 / P_qq``, changes the row by
    ``-(w_q - v) P_:q / P_qq``, and removes q: ``P <- P - P_:q P_q: / P_qq``. ``grid`` is the scale of each weight and
    the bounds of its integers.

    Returns the new weights, the order of the steps (rows, d), and the error of each. Weights that are not kept come
    first in the order, with an error of 0, and are 0.
    """
    rows, inputs = weight.shape
    weight = weight * kept
    result, place = weight.clone(), torch.arange(inputs).repeat(rows, 1)
    scale = None if grid is None else grid[0]
    order = torch.argsort(kept.int(), dim=1, stable=True)  # of the weights that are not kept
    errors = torch.zeros_like(weight)
    step = (~kept).sum(1)  # the next place in ``order``, for each row
    alive, every = kept.clone(), torch.arange(rows)
    for _ in range(int(kept.sum(1).max()) if rows else 0):
        left = int(alive.sum(1).max())
        if left <= 0.8 * alive.shape[1]:  # only what is left takes part in the next steps
            some = torch.argsort(alive.int(), dim=1, descending=True, stable=True)[:, :left]
            weight, place, alive = weight.gather(1, some), place.gather(1, some), alive.gather(1, some)
            scale = None if scale is None else scale.gather(1, some)
            inverse = inverse.gather(1, some[:, :, None].expand(-1, -1, inverse.shape[2]))
            inverse = inverse.gather(2, some[:, None, :].expand(-1, left, -1)).contiguous()
        diagonal = inverse.diagonal(dim1=1, dim2=2)
        goal = torch.zeros_like(weight)
        if grid is not None and scale is not None:
            goal = (weight / scale).clamp(grid[1].low, grid[1].high).round() * scale
        error = (weight - goal).square() / diagonal
        ranked = error
        if scale is not None:  # weights beyond the grid first, while others can still make up for them
            ranked = torch.where((weight - goal).abs() > scale * (0.5 + 1e-9), -error, error)
        q = torch.where(alive, ranked, torch.inf).argmin(1)
        active = alive[every, q]
        column = inverse[every, :, q] * alive
        pivot = torch.where(active, diagonal[every, q], 1.0)
        by = torch.where(active, (weight - goal)[every, q] / pivot, 0.0)
        rank_one = torch.where(active, 1 / pivot, 0.0)
        order[every[active], step[active]] = place[every, q][active]
        errors[every[active], step[active]] = error[every, q][active]
        result[every[active], place[every, q][active]] = goal[every, q][active]
        weight = weight - by[:, None] * column
        inverse.baddbmm_(column[:, :, None], (column * -rank_one[:, None])[:, None, :])
        alive[every[active], q[active]] = False
        step = step + active
    return result, order, errors
