"""The channels of a network: which layers make them, which ones read them, and which belong together.

Neurons of a linear layer and channels of a convolution are the same here. A *group* are channels that can only be
removed together: those of the layers whose outputs are added (residual blocks), and the channels that depthwise
convolutions and BatchNorms pass on. Concatenations and flattening say where in a layer's inputs a group's channels are.

One frame is run for that, with a tensor that knows where its channels come from. ``torch-pruning`` finds the same
groups by autograd's graph. It is not used because it removes channels itself, and knows neither this package's masks
and integer grids nor the parameters of quantizers, of which it would cut the scalar ones.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from brevitas.proxy import ActQuantProxyFromInjector
from torch.nn.modules.batchnorm import _BatchNorm

from quant.compression.weights import Layer, find_layers, is_transposed, layer_kind
from quant.errors import QuantError
from quant.function_tensors import tensors_in
from quant.inputs_by_place import inputs_by_place
from quant.layers import ByChannel, Maxout

_POOLS = {
    f"{prefix}{kind}_pool{axes}d": axes for prefix in ("", "adaptive_") for kind in ("max", "avg") for axes in (1, 2, 3)
}
"""Pools, by name, with the axes that they are over: the last ones."""
_MOVES = _POOLS.keys() | {
    "flatten", "reshape", "view", "squeeze", "unsqueeze", "contiguous", "float", "to", "clone", "detach", "interpolate",
    "upsample", "pad", "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout",
}  # fmt: skip
"""Functions that treat all channels alike, and keep their order, by name."""
_ACTIVATIONS = {
    "relu", "relu_", "relu6", "leaky_relu", "prelu", "elu", "selu", "celu", "gelu", "silu", "mish", "hardtanh",
    "hardswish", "hardsigmoid", "sigmoid", "tanh", "softplus", "softsign", "clamp", "clip", "abs", "square", "exp",
}  # fmt: skip
"""Functions of each element alone, by name."""
_SUMS = {"add", "__add__", "__radd__", "add_", "__iadd__"}
_SCALINGS = {
    *_SUMS, "sub", "__sub__", "__rsub__", "rsub", "mul", "__mul__", "__rmul__", "div", "__truediv__", "neg", "__neg__",
    "pow",
}  # fmt: skip
"""Operators that are functions of each element alone where the other operand is one number."""
_JOINS = {"cat", "concat", "concatenate"}
_REDUCTIONS = {"mean", "sum", "amax"}
"""Functions that keep the channels where they are over positions."""


@dataclass(frozen=True)
class Part:
    """Consecutive channels of a tensor: those that the layer ``source`` makes, ``positions`` elements for each.

    ``source`` None: channels of the network's input, or of an operation that is not followed.
    """

    source: str | None
    channels: int
    positions: int = 1

    @property
    def size(self) -> int:
        """Elements along the tensor's axis of channels."""
        return self.channels * self.positions


Parts = tuple[Part, ...]


@dataclass
class Group:
    """Channels that belong together.

    - ``producers``: the layers that make them; more than one where outputs are added.
    - ``norms``: the BatchNorms that they pass.
    - ``active``: whether they passed an activation, and ``uneven``: whether a norm came after it, the activation's
      quantizer has one scale for each channel, or a function has learned numbers for each.
    - ``readers``: the layers that read them, those of depthwise convolutions not included.
    - ``depthwise``: the depthwise convolutions that they pass.
    - ``fixed``: why no channel can be removed; None: they can be.
    """

    channels: int
    producers: list[str] = field(default_factory=list)
    norms: list[str] = field(default_factory=list)
    readers: list[str] = field(default_factory=list)
    depthwise: list[str] = field(default_factory=list)
    joined: bool = False
    active: bool = False
    uneven: bool = False
    fixed: str | None = None

    @property
    def name(self) -> str:
        """The first producer."""
        return self.producers[0]


@dataclass(frozen=True)
class Channels:
    """The groups of a network, by the name of each producer, and what each module reads (channels of its input).

    ``inputs`` are the parts of the inputs of layers, BatchNorms and functions with learned numbers for each channel
    (``quant.layers.ByChannel``), by name. Those that run in no frame are missing.
    """

    of: dict[str, Group]
    inputs: dict[str, Parts]

    def groups(self) -> list[Group]:
        """Every group once, in the order in which they are made."""
        return list({id(group): group for group in self.of.values()}.values())

    def instead(self) -> str:
        """What to do where channels cannot be removed: the layers whose channels can, or another method."""
        names = [group.name for group in self.groups() if group.fixed is None and group.channels > 1]
        if names:
            return f"choose other layers: {', '.join(names)}"
        return "take another method (prune), or train a narrower network"

    def places(self, name: str, group: Group) -> list[tuple[int, Part]]:
        """Returns where a group's channels are in the inputs of a layer or BatchNorm: the first place of each part."""
        found, start = [], 0
        for part in self.inputs[name]:
            if part.source is not None and self.of[part.source] is group:
                found.append((start, part))
            start += part.size
        return found

    def chosen(self, parts: Parts, keep: dict[str, torch.Tensor]) -> torch.Tensor:
        """Returns the places (along the axis of channels) of ``parts`` that remain.

        ``keep`` has the channels that remain, by the names of groups; the others keep all.
        """
        places, start = [], 0
        for part in parts:
            group = None if part.source is None else self.of[part.source].name
            kept = keep.get(group) if group is not None else None
            kept = torch.arange(part.channels) if kept is None else kept
            places.append(start + (kept[:, None] * part.positions + torch.arange(part.positions)).flatten())
            start += part.size
        return torch.cat(places)


class _Flow(torch.Tensor):
    """A tensor that knows where its channels (axis 1) are from."""

    parts: Parts
    tracer: "_Trace"

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = super().__torch_function__(func, types, args, kwargs or {})
        given, made = list(tensors_in([args, kwargs])), list(tensors_in(result))
        flows = [each for each in given if isinstance(each, cls) and hasattr(each, "parts")]
        name = getattr(func, "__name__", str(func))
        if flows and (made or name == "__setitem__"):  # others ask for a shape, for example
            trace = flows[0].tracer
            parts = _followed(name, args, kwargs or {}, flows, given, made)
            if parts is None:
                for flow in flows:
                    trace.fix(flow.parts, f"{name} reads it")
            for each in made:
                if isinstance(each, cls):
                    each.parts = parts or (Part(None, each.shape[1] if each.dim() > 1 else 1),)
                    each.tracer = trace
        return result


def _followed(
    name: str, args: Any, kwargs: Any, flows: list[_Flow], given: list[torch.Tensor], made: list[torch.Tensor]
) -> Parts | None:
    """The parts of a function's result; None for functions that are not followed."""
    trace, first = flows[0].tracer, flows[0]
    others = any(each.numel() > 1 for each in given if not hasattr(each, "parts"))  # a parameter, for example
    if len(made) != 1:
        return None
    axes = {axis % first.dim() for axis in _axes(args, kwargs)} if name in _JOINS | _REDUCTIONS else set()
    if name in _JOINS and axes == {1}:
        return trace.join(kwargs["tensors"] if "tensors" in kwargs else args[0])
    if name in _SUMS and not others and len(flows) == 2 and first.dim() == flows[1].dim():
        return trace.add(first.parts, flows[1].parts)
    if len(flows) > 1 or others:
        return None
    if name in _ACTIVATIONS:
        trace.activate(first.parts, even=True)
    if name in _MOVES:
        return _moved(first, made[0]) if _last_axes(name, args, kwargs) <= first.dim() - 2 else None
    within = name in _REDUCTIONS and min(axes, default=0) > 1
    return first.parts if within or name in _SCALINGS | _ACTIVATIONS else None


def _last_axes(name: str, args: Any, kwargs: Any) -> int:
    """How many of the last axes a pool or ``pad`` is over: of (C, H, W), or of channels, it may be over these; 0 for
    other functions."""
    if name == "pad":
        return len(kwargs["pad"] if "pad" in kwargs else args[1]) // 2
    return _POOLS.get(name, 0)


def _axes(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, ...]:
    """The axes that a function is given by place, behind its tensors, or by name; the first axis for none."""
    given = args[1] if len(args) > 1 else kwargs.get("dim", kwargs.get("axis"))
    return tuple(given) if isinstance(given, tuple | list) else (given or 0,)


def _moved(flow: _Flow, result: torch.Tensor) -> Parts | None:
    """The parts after a function that keeps the order of channels; None for a reshape that mixes them."""
    if flow.shape[:2] == result.shape[:2]:
        return flow.parts
    inner = math.prod(flow.shape[2:])
    if result.dim() == 2 and result.shape[1] == flow.shape[1] * inner:
        return tuple(Part(part.source, part.channels, part.positions * inner) for part in flow.parts)
    return None


class _Trace:
    """What a frame has shown so far."""

    def __init__(self, layers: dict[str, Layer]) -> None:
        self.layers = layers
        self.groups: dict[str, Group] = {}
        self.inputs: dict[str, Parts] = {}

    def mark(self, x: torch.Tensor, parts: Parts) -> torch.Tensor:
        flow = x.as_subclass(_Flow)
        flow.parts, flow.tracer = parts, self
        return flow

    def of(self, parts: Parts) -> Iterator[Group]:
        for part in parts:
            if part.source is not None:
                yield self.groups[part.source]

    def fix(self, parts: Parts, why: str) -> None:
        for group in self.of(parts):
            group.fixed = group.fixed or why

    def activate(self, parts: Parts, even: bool) -> None:
        for group in self.of(parts):
            group.active = True
            group.uneven |= not even

    def add(self, a: Parts, b: Parts) -> Parts | None:
        """Ties the groups of a sum's operands; None where their channels do not lie alike."""
        if [(p.channels, p.positions) for p in a] != [(p.channels, p.positions) for p in b]:
            return None
        if any((p.source is None) != (q.source is None) for p, q in zip(a, b, strict=True)):
            return None
        for p, q in zip(a, b, strict=True):
            if p.source is not None and q.source is not None:
                self._tie(p.source, q.source)
        return a

    def _tie(self, a: str, b: str) -> None:
        one, other = self.groups[a], self.groups[b]
        one.joined = True
        if one is other:
            return
        for name in ("producers", "norms", "readers", "depthwise"):
            getattr(one, name).extend(getattr(other, name))
        one.active, one.uneven = one.active or other.active, one.uneven or other.uneven
        one.fixed = one.fixed or other.fixed
        for producer in other.producers:
            self.groups[producer] = one
        one.producers = [name for name in self.groups if name in one.producers]

    def join(self, tensors: Any) -> Parts:
        parts: list[Part] = []
        for each in tensors:
            parts += self._joined(each.parts if hasattr(each, "parts") else (Part(None, each.shape[1]),))
        return tuple(parts)

    def repeat(self, parts: Parts, copies: int) -> Parts:
        return self._joined(parts) * copies if copies > 1 else parts

    def _joined(self, parts: Parts) -> Parts:
        for group in self.of(parts):
            group.joined = True
        return parts

    def enter(self, name: str, x: torch.Tensor) -> Parts:
        """Notes what a module reads; a module that runs again must keep its channels."""
        parts = x.parts if isinstance(x, _Flow) and hasattr(x, "parts") else (Part(None, x.shape[1]),)
        if name in self.inputs:
            self.fix(parts + self.inputs[name], f"layer {name} runs more than once")
            if name in self.groups:
                self.groups[name].fixed = f"layer {name} runs more than once"
        self.inputs[name] = parts
        return parts

    def layer(self, name: str, x: torch.Tensor, output: torch.Tensor) -> Parts:
        """Notes a layer that has run; returns the parts of its output."""
        layer, parts = self.layers[name], self.enter(name, x)
        groups = getattr(layer, "groups", 1)
        if groups > 1 and groups == layer.in_channels == layer.out_channels:
            for group in self.of(parts):
                group.depthwise.append(name)
            return parts
        if groups > 1 or (layer_kind(layer) == "linear" and x.dim() != 2):
            self.fix(parts, f"layer {name} reads it in groups or at positions")
        if is_transposed(layer):
            self.fix(parts, f"transposed convolution {name} reads it")
        for group in self.of(parts):
            group.readers.append(name)
        made = self.groups.setdefault(name, Group(output.shape[1], [name]))
        if groups > 1 or output.dim() != x.dim():
            made.fixed = f"layer {name} has {groups} groups"
        if is_transposed(layer):
            made.fixed = "it is a transposed convolution"
        return (Part(name, output.shape[1]),)


def network_frame(model: torch.nn.Module, frame: torch.Tensor | None, what: str) -> torch.Tensor:
    """Returns ``frame``, or a frame of zeros for a network of this package; raises QuantError (status 2) for others."""
    if frame is not None:
        return frame
    shape = getattr(model, "input_shape", None)
    if shape is None:
        raise QuantError(f"{what} needs frame, an input of the network (1, ...)", status=2)
    return torch.zeros(1, *shape, device=next(model.parameters()).device)


@torch.no_grad()
def channels_of(model: torch.nn.Module, frame: torch.Tensor) -> Channels:
    """Returns the groups of channels; it runs ``frame`` (1, *input_shape)."""
    layers = find_layers(model)
    names = {module: name for name, module in model.named_modules()}
    trace = _Trace(layers)
    hooks = []

    def plain(_module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(x.as_subclass(torch.Tensor) if isinstance(x, _Flow) else x for x in inputs)

    def enter(module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        module._entered = inputs[0]
        return plain(module, inputs)

    def made(layer: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        return trace.mark(output, trace.layer(names[layer], layer.__dict__.pop("_entered"), output))

    def normed(module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        parts = trace.enter(names[module], module.__dict__.pop("_entered"))
        for group in trace.of(parts):
            group.uneven |= group.active
            group.norms.append(names[module])
        return trace.mark(output, parts)

    def shifted(module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        parts = trace.enter(names[module], module.__dict__.pop("_entered"))
        trace.activate(parts, even=False)
        return trace.mark(output, trace.repeat(parts, module.copies))

    def pooled(module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        flow = module.__dict__.pop("_entered")
        if isinstance(flow, _Flow) and hasattr(flow, "parts"):
            trace.fix(flow.parts, f"Maxout takes the largest of each {module.count} of them")
        return trace.mark(output, (Part(None, output.shape[1]),))

    def activated(module: Any, _inputs: Any, output: Any) -> Any:
        flow = module.__dict__.pop("_entered")
        if not isinstance(flow, _Flow) or not hasattr(flow, "parts"):
            return output
        values, scale, *facts = output
        trace.activate(flow.parts, even=scale.numel() == 1)
        return (trace.mark(values, flow.parts), scale, *facts)

    for module in model.modules():
        if names[module] in layers:
            hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(made)]
        elif isinstance(module, _BatchNorm):
            hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(normed)]
        elif isinstance(module, ByChannel | Maxout):
            after = shifted if isinstance(module, ByChannel) else pooled
            hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(after)]
        elif isinstance(module, ActQuantProxyFromInjector) and module.is_quant_enabled:
            quantizer: Any = module.fused_activation_quant_proxy.tensor_quant
            hooks += [quantizer.register_forward_pre_hook(enter), quantizer.register_forward_hook(activated)]
    training = model.training
    try:
        with inputs_by_place(model):
            result = model.eval()(frame)
        for flow in tensors_in(result):
            if isinstance(flow, _Flow) and hasattr(flow, "parts"):
                trace.fix(flow.parts, "it is an output of the network")
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return Channels(trace.groups, trace.inputs)
