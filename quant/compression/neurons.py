"""Hidden neurons of a network: which layer makes them, what folds into its rows, and which layer reads them."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from brevitas.proxy import ActQuantProxyFromInjector
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from quant.compression.weights import Layer, find_layers, layer_kind, weight_of

_MOVES = {
    torch.flatten,
    torch.Tensor.flatten,
    torch.Tensor.reshape,
    torch.Tensor.view,
    torch.Tensor.contiguous,
    torch.Tensor.float,
    functional.dropout,
    functional.max_pool1d,
    functional.max_pool2d,
    functional.avg_pool1d,
    functional.avg_pool2d,
    functional.adaptive_avg_pool2d,
}
"""Functions that treat all channels alike, and keep their order."""
_ACTIVATIONS = {functional.relu, torch.relu, torch.Tensor.relu}


@dataclass(frozen=True)
class Hidden:
    """The neurons (channels) between two layers, with one activation function and quantizer for all of them.

    ``positions`` inputs of ``consumer`` belong to each neuron: more than 1 where an image is flattened. ``norm`` is the
    BatchNorm in between, or None.
    """

    name: str
    producer: Layer
    consumer: Layer
    norm: Any
    positions: int

    def rows(self) -> torch.Tensor:
        """Returns the producer's rows (neurons, inputs + 1) with BatchNorm folded in; the last column is the shift."""
        weight = weight_of(self.producer).flatten(1).double()
        bias = self.producer.bias
        shift = weight.new_zeros(len(weight)) if bias is None else bias.detach().double()
        if self.norm is not None:  # an affine function of each channel
            norm = copy.deepcopy(self.norm).double().eval()
            ends = torch.stack([torch.zeros_like(shift), torch.ones_like(shift)])
            with torch.no_grad():
                zero, one = norm(ends[:, :, None, None] if isinstance(norm, torch.nn.BatchNorm2d) else ends).flatten(1)
            weight, shift = weight * (one - zero)[:, None], shift * (one - zero) + zero
        return torch.cat([weight, shift[:, None]], 1)

    def columns(self, weight: torch.Tensor) -> torch.Tensor:
        """Views the consumer's weight as (outputs, neurons, positions and kernel positions)."""
        return weight.reshape(weight.shape[0], len(self.producer.weight), -1)


class _Flow(torch.Tensor):
    """A tensor that knows which layer's outputs its channels are, or whose use outside of layers is noted."""

    source: str | None
    norm: Any
    active: bool
    escaped: set[str]

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = super().__torch_function__(func, types, args, kwargs or {})
        flows = [a for a in _flat(args) if isinstance(a, cls) and getattr(a, "source", None) is not None]
        if not flows or not isinstance(result, cls):
            return result
        if func in _MOVES | _ACTIVATIONS and len(flows) == 1:
            [flow] = flows
            return _mark(result, flow.source, flow.norm, flow.active or func in _ACTIVATIONS, flow.escaped)
        for flow in flows:
            flow.escaped.add(str(flow.source))
        return _mark(result, None, None, False, flows[0].escaped)


def _flat(values: Any) -> list[Any]:
    return [each for value in values for each in (_flat(value) if isinstance(value, tuple | list) else [value])]


def _mark(x: torch.Tensor, source: str | None, norm: Any, active: bool, escaped: set[str]) -> _Flow:
    flow = x.as_subclass(_Flow)
    flow.source, flow.norm, flow.active, flow.escaped = source, norm, active, escaped
    return flow


@torch.no_grad()
def hidden_neurons(model: torch.nn.Module, frame: torch.Tensor) -> list[Hidden]:
    """Returns the groups of neurons that only one further layer reads; it runs ``frame`` (1, *input_shape).

    Between the two layers are at most a BatchNorm, an activation, pools and a flatten. What a sum, a concatenation or
    two layers read is left out, as are layers in groups and those that run more than once.
    """
    layers = find_layers(model)
    names = {layer: name for name, layer in layers.items()}
    escaped: set[str] = set()
    runs: dict[str, int] = dict.fromkeys(layers, 0)
    readers: dict[str, list[Hidden]] = {}
    hooks = []

    def plain(_module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(x.as_subclass(torch.Tensor) if isinstance(x, _Flow) else x for x in inputs)

    def read(layer: Layer, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        [x] = inputs
        name = names[layer]
        runs[name] += 1
        if isinstance(x, _Flow) and x.source is not None:
            producer = layers[x.source]
            positions = layer.weight.shape[1] // len(producer.weight) if layer_kind(layer) == "linear" else 1
            group = Hidden(x.source, producer, layer, x.norm, positions)
            alone = max(getattr(each, "groups", 1) for each in (producer, layer)) == 1
            fits = positions * len(producer.weight) == layer.weight.shape[1]
            if alone and fits:
                readers.setdefault(x.source, []).append(group)
            else:
                escaped.add(x.source)
        return plain(layer, inputs)

    def made(layer: Layer, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        return _mark(output, names[layer], None, False, escaped)

    def enter(module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        module._flow = inputs[0] if isinstance(inputs[0], _Flow) else None
        return plain(module, inputs)

    def normed(module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        flow = module.__dict__.pop("_flow")
        if flow is None or flow.source is None:
            return output
        if flow.norm is not None or flow.active:
            escaped.add(flow.source)
            return output
        return _mark(output, flow.source, module, False, escaped)

    def activated(module: Any, _inputs: Any, output: Any) -> Any:
        flow = module.__dict__.pop("_flow")
        if flow is None or flow.source is None:
            return output
        values, scale, *facts = output
        if scale.numel() > 1:  # a scale for each channel
            escaped.add(flow.source)
            return output
        return (_mark(values, flow.source, flow.norm, True, escaped), scale, *facts)

    for module in model.modules():
        if module in names:
            hooks += [module.register_forward_pre_hook(read), module.register_forward_hook(made)]
        elif isinstance(module, _BatchNorm):
            hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(normed)]
        elif isinstance(module, ActQuantProxyFromInjector) and module.is_quant_enabled:
            quantizer: Any = module.fused_activation_quant_proxy.tensor_quant
            hooks += [quantizer.register_forward_pre_hook(enter), quantizer.register_forward_hook(activated)]
    training = model.training
    try:
        result = model.eval()(frame)
        if isinstance(result, _Flow) and result.source is not None:
            escaped.add(result.source)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return [
        groups[0]
        for name, groups in readers.items()
        if name not in escaped and len(groups) == 1 and runs[name] == 1 and runs[names[groups[0].consumer]] == 1
    ]
