"""Slimming: removes filters, neurons and channels, which makes layers really smaller."""

import copy
from collections.abc import Iterable, Mapping

import torch

from quant.compression.channels import Channels, Group, channels_of, network_frame
from quant.compression.restructure import (
    functions_of,
    norms_of,
    select,
    select_norm,
    select_numbers,
    slim_change,
)
from quant.compression.weights import Layer, Model, find_layers, is_quantized, of_scheme, weight_of
from quant.errors import QuantError
from quant.function_tensors import tensors_in
from quant.models.network import Network

Keep = Mapping[str, Iterable[int] | int]
"""What remains of groups of channels: their numbers, or how many; a group is named by any of its layers."""


def slim(model: Model, keep: Keep, *, granularity: int = 1, frame: torch.Tensor | None = None) -> Model:
    """Returns a copy of ``model`` with fewer channels: filters of convolutions, neurons of linear layers.

    ``keep`` has, by the name of a layer, the channels of its output that remain (an int n: the first n). The layers
    that belong together have the same: those whose outputs are added, and depthwise convolutions in between. What read
    the channels loses these inputs. All others keep theirs. ``granularity`` fills each group up with its first other
    channels to a multiple of it, so that PE and SIMD still divide the number.

    The copy computes what ``model`` does where the removed channels are 0. Its layers, masks and quantizers are
    ordinary ones; ``save_checkpoint``, ``export`` and ``fit`` take it. ``frame`` (1, *input shape) is an input, which
    finds out about the groups; networks of this package need none.

    Raises QuantError (status 2) for a name of no layer, for channels that a group does not have, for none at all, for
    a group that must stay: the outputs of the network, what an operation reads that is not followed, and what the
    network's code states the size of.
    """
    frame = network_frame(model, frame, "slim")
    found = channels_of(model, frame)
    kept: dict[str, torch.Tensor] = {}
    for name, channels in keep.items():
        if name not in found.of:
            raise QuantError(f"keep={name!r} is no layer with channels: {', '.join(found.of)}", status=2)
        group = found.of[name]
        if group.name in kept:
            raise QuantError(f"keep={name!r} belongs to {group.name}, whose channels are given already", status=2)
        kept[group.name] = _places(name, group, channels, granularity)
        if group.fixed and len(kept[group.name]) < group.channels:
            raise QuantError(f"the channels of {name} must all stay: {group.fixed}; {found.instead()}", status=2)
    fewer = {name: places for name, places in kept.items() if len(places) < found.of[name].channels}
    small = _without(model, found, fewer)
    if not _runs_as(model, small, frame):
        stated = [name for name in fewer if not _runs_as(model, _selected(model, found, {name: fewer[name]})[0], frame)]
        raise QuantError(
            f"the network states the size of what is made of {', '.join(stated or fewer)}, whose channels must all "
            "stay: write it without numbers, as x.flatten(1) in place of x.view(-1, 256), and train it again, or "
            "choose other layers",
            status=2,
        )
    return small


def _runs_as(model: torch.nn.Module, small: torch.nn.Module, frame: torch.Tensor) -> bool:
    """Whether the outputs of ``small`` have the shapes of those of ``model``, for one frame and for two."""
    return all(_shapes(small, frames) == _shapes(model, frames) for frames in (frame, torch.cat([frame, frame])))


@torch.no_grad()
def _shapes(model: torch.nn.Module, frames: torch.Tensor) -> list[torch.Size] | None:
    """The shapes of a network's outputs; None where it does not run."""
    training = model.training
    try:
        return [each.shape for each in tensors_in(model.eval()(frames))]
    except Exception:  # whatever the code of a network raises for a size that it does not expect
        return None
    finally:
        model.train(training)


def _places(name: str, group: Group, channels: Iterable[int] | int, granularity: int) -> torch.Tensor:
    if isinstance(granularity, bool) or not isinstance(granularity, int) or granularity < 1:
        raise QuantError(f"granularity={granularity!r} is no whole number of 1 or more", status=2)
    numbers = range(channels) if isinstance(channels, int) else sorted({int(each) for each in channels})
    if not numbers or min(numbers) < 0 or max(numbers) >= group.channels:
        raise QuantError(
            f"keep of {name}: give at least one of its {group.channels} channels, 0 to {group.channels - 1}", status=2
        )
    missing = min(group.channels, -(-len(numbers) // granularity) * granularity) - len(numbers)
    others = [each for each in range(group.channels) if each not in set(numbers)]
    return torch.tensor(sorted([*numbers, *others[:missing]]))


def reorder(model: Model, orders: Mapping[str, torch.Tensor], frame: torch.Tensor) -> Model:
    """Returns a copy of ``model`` with channels in another order, which computes the same.

    ``orders`` has, by the name of a layer, the present number of each channel of its output. ``frame`` as in ``slim``.
    """
    found = channels_of(model, frame)
    return _selected(model, found, {found.of[name].name: order for name, order in orders.items()})[0]


def _without(model: Model, found: Channels, keep: dict[str, torch.Tensor]) -> Model:
    small, changed = _selected(model, found, keep)
    layers = find_layers(small)
    if isinstance(small, Network):
        sizes = slim_change(small, {name: layers[name] for name in layers if name in changed})
        small.changes = (*small.changes, sizes)
    return small


def _selected(model: Model, found: Channels, keep: dict[str, torch.Tensor]) -> tuple[Model, set[str]]:
    """A copy whose groups have the channels ``keep``, in that order, and the layers that changed."""
    small = copy.deepcopy(model)
    layers, norms, functions = find_layers(small), norms_of(small), functions_of(small)
    changed = set()
    for name, parts in found.inputs.items():
        inputs = found.chosen(parts, keep)
        if name in norms:
            select_norm(norms[name], inputs)
            continue
        if name in functions:
            select_numbers(functions[name], inputs)
            continue
        layer = layers[name]
        outputs = inputs if name not in found.of else keep.get(found.of[name].name, torch.arange(len(layer.weight)))
        sizes = len(layer.weight), sum(part.size for part in parts)
        if not all(torch.equal(each, torch.arange(size)) for each, size in zip((outputs, inputs), sizes, strict=True)):
            select(name, layer, outputs, inputs)
            _check_scale(name, layer)
            changed.add(name)
    return small, changed


def _check_scale(name: str, layer: Layer) -> None:
    """Raises QuantError if the layer's quantizer would have another scale when it is made for the smaller layer."""
    if not is_quantized(layer):
        return
    proxy, training = layer.weight_quant, layer.weight_quant.training
    proxy.eval()  # some quantizers are random in training
    values, state = weight_of(layer), proxy.tensor_quant.state_dict()
    proxy.init_tensor_quant()
    proxy.tensor_quant.load_state_dict(state)
    proxy.eval()
    same = torch.equal(weight_of(layer), values)
    proxy.train(training)
    if not same:
        raise QuantError(
            f"layer {name}{of_scheme(layer)} has a scale that follows from the layer's size, so it cannot "
            "have fewer channels: take another scheme, or train a narrower network",
            status=2,
        )
