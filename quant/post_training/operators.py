"""What a node of a float network's graph does with integers: the rules by which quantizers are placed."""

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.nn import functional

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)
"""Layers whose weights are quantized. They read integers and give sums."""

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout)
"""What does nothing at inference."""

_MOVES = (
    nn.Identity, nn.Flatten, nn.Unflatten, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle, nn.ZeroPad1d,
    nn.ZeroPad2d, nn.MaxPool1d, nn.MaxPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.UpsamplingNearest2d,
)  # fmt: skip
_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)
_FUNCTIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish,
    nn.Hardsigmoid, nn.Hardtanh, nn.Sigmoid, nn.LogSigmoid, nn.Tanh, nn.Tanhshrink, nn.Softplus, nn.Softsign,
    nn.Softshrink, nn.Hardshrink, nn.Threshold, nn.BatchNorm1d, nn.BatchNorm2d,
)  # fmt: skip
_CLASS_SCORES = (nn.Softmax, nn.LogSoftmax, nn.Softmin)
_MODULES: Mapping[str, tuple[type[nn.Module], ...]] = {
    "layer": LAYERS, "move": _MOVES, "pool": _POOLS, "function": _FUNCTIONS, "scores": _CLASS_SCORES,
}  # fmt: skip

# Names of torch's functions and of tensors' methods.
_NAMES = {
    "move": (
        "flatten reshape view transpose permute squeeze unsqueeze contiguous getitem chunk split unbind narrow select "
        "movedim swapaxes swapdims tile repeat expand interpolate max_pool1d max_pool2d amax adaptive_max_pool2d pad "
        "pixel_shuffle pixel_unshuffle channel_shuffle clone detach t float to unflatten"
    ),
    "pool": "mean sum avg_pool1d avg_pool2d adaptive_avg_pool1d adaptive_avg_pool2d",
    "function": (
        "relu relu_ relu6 leaky_relu elu selu celu gelu silu mish hardswish hardsigmoid hardtanh sigmoid tanh softplus "
        "softsign softshrink hardshrink tanhshrink logsigmoid clamp clip clamp_ neg abs exp log sqrt square pow erf "
        "sin cos floor ceil round sign reciprocal threshold prelu mul imul div truediv add iadd add_ mul_ sub isub div_"
    ),
    "scores": "softmax log_softmax argmax",
    "concat": "cat concat concatenate",
    "size": "size dim getattr",
}
_KINDS = {name: kind for kind, names in _NAMES.items() for name in names.split()}
_SUMS = ("add", "iadd", "add_", "sub", "isub")
_PRODUCTS = ("mul", "imul", "mul_")

_LAYER_FUNCTIONS = {
    "linear": "Linear", "conv1d": "Conv1d", "conv2d": "Conv2d", "batch_norm": "BatchNorm2d",
    "conv_transpose1d": "ConvTranspose1d", "conv_transpose2d": "ConvTranspose2d",
}  # fmt: skip
_REMEDIES = {
    nn.LayerNorm: "BatchNorm normalizes with constants, which hardware can compute",
    nn.GroupNorm: "BatchNorm normalizes with constants, which hardware can compute",
    nn.InstanceNorm2d: "BatchNorm normalizes with constants, which hardware can compute",
    nn.LSTM: "recurrent layers have no kernel; use convolutions over time (Conv1d)",
    nn.GRU: "recurrent layers have no kernel; use convolutions over time (Conv1d)",
    nn.RNN: "recurrent layers have no kernel; use convolutions over time (Conv1d)",
    nn.MultiheadAttention: "attention multiplies two tensors, for which there is no kernel; use convolutions",
    nn.Embedding: "give the network numbers, and embed them before",
    nn.Bilinear: "it multiplies two tensors, for which there is no kernel; use Linear",
    nn.Conv3d: "there are convolutions of one and of two axes",
    nn.ConvTranspose3d: "there are convolutions of one and of two axes",
    nn.Upsample: "only mode='nearest' moves integers; use that",
}


_BY_REQUANT = (nn.ReLU, nn.BatchNorm1d, nn.BatchNorm2d)
_NAMES_BY_REQUANT = (
    "relu", "relu_", "neg", "mul", "imul", "mul_", "div", "truediv", "div_", "add", "iadd", "add_", "sub", "isub",
)  # fmt: skip


def is_linear_or_relu(node: Any, modules: Mapping[str, nn.Module]) -> bool:
    """Returns whether a function is affine or a ReLU, which hardware computes by multiplication at any width."""
    if node.op == "call_module":
        return isinstance(modules[node.target], _BY_REQUANT)
    return name_of(node) in _NAMES_BY_REQUANT


def name_of(node: Any) -> str:
    """Returns a function's or method's own name."""
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))


def remedy(module: nn.Module | None, name: str) -> str:
    """Returns what to do about a module, or a function of that name, that hardware cannot compute."""
    if module is None and name in _LAYER_FUNCTIONS:
        return f"use the module nn.{_LAYER_FUNCTIONS[name]}, which holds the weights"
    for kind, words in _REMEDIES.items():
        if isinstance(module, kind):
            return words
    return "use an operator of docs/what-can-be-read.md, or do it outside of the network"


def kind_of(node: Any, modules: Mapping[str, nn.Module], tensors: int) -> str | None:
    """Returns what a node does, or None for what cannot be quantized.

    - "input", "output", "constant", "size": no operation on integers.
    - "layer": products with weights. It reads integers.
    - "pool": sums over a window or over axes. It reads integers.
    - "sum", "concat": of several tensors. They read integers of one scale.
    - "move": integers stay what they are, in another order or place; maxima too.
    - "function": element-wise, of one tensor.
    - "product": of two tensors; a function only where both are functions of one tensor.
    - "scores": of all classes, at the end of the network only.

    ``tensors`` is the number of the node's operands that depend on the input.
    """
    if node.op in ("placeholder", "output", "get_attr"):
        return {"placeholder": "input", "output": "output", "get_attr": "constant"}[node.op]
    if node.op == "call_module":
        module = modules[node.target]
        if isinstance(module, nn.Upsample):
            return "move" if module.mode == "nearest" else None
        return next((kind for kind, types in _MODULES.items() if isinstance(module, types)), None)
    name = name_of(node)
    if tensors == 0:
        return "constant"
    if tensors > 1:
        if name in _SUMS:
            return "sum"
        if name in _PRODUCTS:
            return "product"
        return "concat" if _KINDS.get(name) == "concat" else None
    if node.target is functional.interpolate:
        mode = node.kwargs.get("mode", node.args[3] if len(node.args) > 3 else "nearest")
        return "move" if mode == "nearest" else None
    return _KINDS.get(name)
