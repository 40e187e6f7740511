"""Attaches compressed weights to layers, and finds the layers that can have them.

In a layer with quantized weights the form (``quant.compression.forms``) precedes the tensor quantizer inside the
layer's weight proxy. Pruned and tied weights keep the layer's own quantizer. Shared weights and codewords get a
``Grid`` with the scale and width that the quantizer had when the layer was compressed: quantizers derive their scale
from the latent weight, which such a layer no longer uses. In a layer with floating-point weights the form is a
parametrization of ``weight`` (``torch.nn.utils.parametrize``).
"""

import copy
import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from brevitas.nn.quant_layer import QuantWeightBiasInputOutputLayer
from brevitas.proxy import WeightQuantProxyFromInjector
from torch.nn.utils import parametrize

from quant.compression.forms import Codewords, CompressedWeight, Grid, Pruned, Shared, Values, form_from
from quant.errors import QuantError
from quant.quantizers.formed import Formed, keep_quantizer
from quant.quantizers.tensor_quant import weight_injector

T = TypeVar("T")
Model = TypeVar("Model", bound=torch.nn.Module)
Layers = Sequence[str] | str | None
Layer = Any  # a linear or convolution module, of torch or of Brevitas


def is_quantized(layer: Layer) -> bool:
    """Whether the layer's weights are integers times a scale."""
    return isinstance(layer, QuantWeightBiasInputOutputLayer) and bool(layer.weight_quant.is_quant_enabled)


def compression_of(layer: Layer) -> CompressedWeight | None:
    """Returns the layer's compressed weight, or None if the layer is not compressed."""
    if is_quantized(layer):
        quantizer = layer.weight_quant.tensor_quant
        return quantizer.form if isinstance(quantizer, Formed) else None
    if parametrize.is_parametrized(layer, "weight"):
        first = layer.parametrizations.weight[0]
        return first if isinstance(first, CompressedWeight) else None
    return None


def grid_of(layer: Layer) -> Grid | None:
    """Returns the fixed grid that the layer's compressed weights are rounded to, or None if there is none."""
    if compression_of(layer) is None:
        return None
    holder = layer.weight_quant.tensor_quant if is_quantized(layer) else layer.parametrizations.weight[-1]
    quantizer = getattr(holder, "quantizer", None)
    return quantizer if isinstance(quantizer, Grid) else None


def weight_of(layer: Layer) -> torch.Tensor:
    """Returns the weight that the layer computes with, detached."""
    with torch.no_grad():
        weight = layer.quant_weight().value if is_quantized(layer) else layer.weight
    return weight.detach().clone()


def bit_width_of(layer: Layer) -> int | None:
    """Returns the bits of the layer's weights, or None for floating-point weights. Draws no random number."""
    if not is_quantized(layer):
        return None
    proxy, training = layer.weight_quant, layer.weight_quant.training
    proxy.eval()
    try:
        return int(layer.quant_weight().bit_width)
    finally:
        proxy.train(training)


def latent_of(layer: Layer) -> torch.nn.Parameter:
    """Returns the parameter from which the layer's weight is computed."""
    return layer.parametrizations.weight.original if parametrize.is_parametrized(layer, "weight") else layer.weight


def own_grid(layer: Layer) -> Grid | None:
    """Returns the grid of the layer's current quantizer, or None for floating-point weights."""
    if not is_quantized(layer):
        return grid_of(layer)
    quantized = layer.quant_weight()
    narrow = bool(layer.weight_quant.is_narrow_range)
    return Grid(quantized.scale.detach().tolist(), int(quantized.bit_width), narrow)


def attach(layer: Layer, form: CompressedWeight, grid: Grid | None = None) -> None:
    """Makes ``form``, rounded to ``grid``, the layer's weight; replaces a form that was attached before.

    A quantized layer without a grid keeps its quantizer.
    """
    latent = latent_of(layer)
    form.to(latent)
    if grid is not None:
        grid.to(latent.device)
    if is_quantized(layer):
        before = layer.weight_quant
        if grid is None:
            kept = before.tensor_quant
            quantizer = kept.quantizer if isinstance(kept, Formed) else kept
            proxy = WeightQuantProxyFromInjector(layer, before.quant_injector)
        else:
            quantizer = grid
            injector = weight_injector(Grid, narrow=grid.narrow, scale=grid.scale.tolist(), bits=grid.width)
            proxy = WeightQuantProxyFromInjector(layer, injector)
        proxy.tensor_quant = Formed(form, quantizer)
        keep_quantizer(proxy)
        layer.weight_quant = proxy.train(layer.training)
    else:
        if compression_of(layer) is not None:
            # torch's remove_parametrizations would also affect the layer that this one was copied from
            del layer.parametrizations.weight[1:]
            layer.parametrizations.weight[0] = form.train(layer.training)
        else:
            parametrize.register_parametrization(layer, "weight", form)
        if grid is not None:
            parametrize.register_parametrization(layer, "weight", Values(grid))
    latent.requires_grad_(isinstance(form, Pruned))


def find_layers(model: torch.nn.Module, layers: Layers = None) -> dict[str, Layer]:
    """Returns the linear and convolution layers by name, in definition order.

    ``layers`` selects some of them: a shell pattern of names, or several, each of which must match a layer.

    Raises QuantError (status 2) if no layer is found, if a pattern matches none, and for a layer with a parametrization
    of another kind.
    """
    found: dict[str, Layer] = {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear | torch.nn.modules.conv._ConvNd):
            if parametrize.is_parametrized(module, "weight") and compression_of(module) is None:
                raise QuantError(
                    f"layer {name} has a parametrization of its own: remove it first "
                    "(torch.nn.utils.parametrize.remove_parametrizations)",
                    status=2,
                )
            found[name] = module
    if not found:
        raise QuantError(f"{type(model).__name__} has no linear or convolution layer to compress or to prune", status=2)
    if layers is None:
        return found
    patterns = [layers] if isinstance(layers, str) else list(layers)
    if not patterns:
        raise QuantError(f"layers has no name or pattern: give some of {', '.join(found)}, or None for all", status=2)
    for pattern in patterns:
        if not fnmatch.filter(found, pattern):
            raise QuantError(f"layers={pattern!r} matches none of {', '.join(found)}", status=2)
    return {name: m for name, m in found.items() if any(fnmatch.fnmatchcase(name, p) for p in patterns)}


def layer_kind(layer: Layer) -> str:
    """ "linear" or "conv"."""
    return "linear" if isinstance(layer, torch.nn.Linear) else "conv"


def for_layer(setting: T | Mapping[str, T], what: str, name: str, layer: Layer) -> T:
    """Returns a setting's value for one layer.

    A setting is one value for all layers, or a mapping from a name, a pattern of names, "conv" or "linear" to a value.
    Raises QuantError (status 2) if the mapping has no entry for the layer; ``what`` names the setting.
    """
    if not isinstance(setting, Mapping):
        return setting
    for pattern, value in setting.items():
        if fnmatch.fnmatchcase(name, pattern):
            return value
    if layer_kind(layer) in setting:
        return setting[layer_kind(layer)]
    raise QuantError(
        f"{what} says nothing of layer {name}: add {name!r} or {layer_kind(layer)!r}, or choose layers", status=2
    )


@contextmanager
def compressing(model: Model, layers: Layers = None, one_bit: bool = False) -> Iterator[tuple[Model, dict[str, Layer]]]:
    """Yields a copy of the model in eval mode and its chosen layers by name; afterwards restores the model's mode.

    Raises QuantError (status 2) as ``find_layers`` and ``check_compressible`` do.
    """
    small = copy.deepcopy(model).eval()
    chosen = find_layers(small, layers)
    for name, layer in chosen.items():
        check_compressible(name, layer, one_bit)
    yield small, chosen
    small.train(model.training)


def check_compressible(name: str, layer: Layer, one_bit: bool = False) -> None:
    """Raises QuantError (status 2) for a layer whose weights are not finite, have a zero point, are quantized by an
    unsupported proxy, or have 1 bit, unless that is allowed (``one_bit``)."""
    if not bool(torch.isfinite(weight_of(layer)).all()):
        raise QuantError(f"layer {name} has weights that are no finite numbers: train the network again", status=2)
    if not is_quantized(layer):
        return
    if type(layer.weight_quant) is not WeightQuantProxyFromInjector:
        kind = type(layer.weight_quant).__name__
        raise QuantError(f"layer {name} quantizes its weights by a {kind}, which cannot be compressed", status=2)
    quantized = layer.quant_weight()
    if int(quantized.bit_width) == 1 and not one_bit:
        raise QuantError(
            f"layer {name} has 1-bit weights, which have nothing left to compress: choose other layers", status=2
        )
    if bool((quantized.zero_point != 0).any()):
        raise QuantError(f"layer {name} has a zero point, which compressed weights cannot have", status=2)


def is_transposed(layer: Layer) -> bool:
    """Whether the layer is a transposed convolution, whose weights are (in, out / groups, *kernel)."""
    return isinstance(layer, torch.nn.modules.conv._ConvTransposeNd)


def check_form(
    name: str, layer: Layer, what: str, allowed: type[CompressedWeight] | tuple[type[CompressedWeight], ...] = ()
) -> None:
    """Raises QuantError (status 2) for a layer whose weights are compressed already, but for the forms ``allowed``;
    ``what`` is what would undo them."""
    form = compression_of(layer)
    if form is not None and not isinstance(form, allowed):
        weights = form.kind if form.kind == Codewords.kind else f"{form.kind} weights"
        raise QuantError(
            f"layer {name} has {weights}, which {what} would undo: choose other layers, or take the network from "
            "before they were made",
            status=2,
        )


def map_layers(model: Model, layers: Layers, change: Callable[[str, Layer], None]) -> Model:
    """Returns a compressed copy of ``model``: calls ``change(name, layer)`` for each chosen layer of the copy."""
    with compressing(model, layers) as (small, chosen):
        for name, layer in chosen.items():
            change(name, layer)
    return small


def describe(model: torch.nn.Module) -> dict[str, dict[str, Any]]:
    """Describes the compressed layers of ``model`` by name, in plain values, for ``prepare``.

    Layers that share a codebook refer to the first of them under "with".
    """
    plan: dict[str, dict[str, Any]] = {}
    owners: dict[int, str] = {}
    for name, layer in model.named_modules():
        form = compression_of(layer) if isinstance(layer, torch.nn.Linear | torch.nn.modules.conv._ConvNd) else None
        if form is None:
            continue
        plan[name] = form.spec()
        if isinstance(form, Shared):
            owner = owners.setdefault(id(form.values), name)
            if owner != name:
                plan[name]["with"] = owner
        grid = grid_of(layer)
        if grid is not None:
            plan[name]["grid"] = grid.spec()
    return plan


def prepare(model: torch.nn.Module, plan: Mapping[str, Mapping[str, Any]]) -> None:
    """Gives layers of ``model``, in place, the empty compressed weights that ``plan`` (see ``describe``) states.

    A state dict can then be loaded:

        fresh = create_model(...)
        compression.prepare(fresh, compression.describe(small))
        fresh.load_state_dict(small.state_dict())

    Raises QuantError (status 2) if ``model`` lacks one of these layers.
    """
    for name, spec in plan.items():
        layers = dict(model.named_modules())
        if name not in layers:
            raise QuantError(
                f"the network has no layer {name} to compress: make it as the compressed one was", status=2
            )
        layer = layers[name]
        form = form_from(dict(spec), latent_of(layer).shape)
        if "with" in spec:
            owner = compression_of(layers[spec["with"]])
            assert isinstance(form, Shared)
            assert isinstance(owner, Shared)
            form.values = owner.values
        grid = spec.get("grid")
        attach(layer, form, None if grid is None else Grid(**grid))


def of_scheme(layer: Layer) -> str:
    """Returns " of scheme NAME" for a message; nothing for layers of Brevitas itself, which have none."""
    scheme = getattr(layer, "scheme", None)
    return "" if scheme is None else f" of scheme {scheme.name}"
