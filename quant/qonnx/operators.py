"""The operators that an exported file may hold: those that the hardware computes, or the host after the last layer.

``hw`` has the same list (``hw.lowering.gate.inference.RULES``); a test holds the two equal. Further conditions, on
attributes and on what follows an operator, are checked where the file is read.
"""

from importlib.metadata import entry_points

import onnx
import torch
from brevitas.nn import QuantLSTM, QuantMultiheadAttention, QuantRNN
from brevitas.nn.mixin import QuantWeightMixin
from onnx import helper

from quant.errors import QuantError
from quant.qonnx.module_names import module_of

OPERATORS = frozenset({
    "Abs", "Acos", "Acosh", "Add", "And", "ArgMax", "Asin", "Asinh", "Atan", "Atanh", "AveragePool",
    "BatchNormalization", "Cast", "Ceil", "Celu", "Clip", "Concat", "Conv", "ConvTranspose", "Cos", "Cosh",
    "DepthToSpace", "DequantizeLinear", "Div", "Dropout", "Elu", "Equal", "Erf", "Exp", "Expand", "Flatten", "Floor",
    "Gather", "GatherND", "Gelu", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "Greater", "GreaterOrEqual",
    "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "LogSoftmax",
    "MatMul", "Max", "MaxPool", "Mean", "Min", "Mish", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pad", "Pow",
    "QuantizeLinear", "Reciprocal", "ReduceMax", "ReduceMean", "ReduceSum", "Relu", "Reshape", "Resize", "Round",
    "Selu", "Shape", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Size", "Slice", "Softmax", "Softplus", "Softsign",
    "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Swish", "Tan", "Tanh", "ThresholdedRelu", "Tile", "TopK",
    "Transpose", "Unsqueeze", "Upsample", "Where", "Xor",
})  # fmt: skip
"""ONNX's operators that are computed on data."""

PLUGINS = "bitfabric.handlers"
"""The entry point group of other packages' operators, named ``domain::OpType`` (``ai.onnx`` for ONNX's)."""

_STATISTICS = "its mean and variance are those of each frame", "use BatchNorm, whose statistics are constants"
_RECURRENT = "there is no hardware for recurrent layers", "use convolutions over time (brevitas.nn.QuantConv1d)"
_ATTENTION = "it multiplies data by data", "use layers with constant weights"
_MODULES: tuple[tuple[tuple[type, ...], tuple[str, str]], ...] = (
    ((QuantLSTM, QuantRNN, torch.nn.RNNBase, torch.nn.RNNCellBase), _RECURRENT),
    ((QuantMultiheadAttention, torch.nn.MultiheadAttention, torch.nn.Transformer), _ATTENTION),
    ((torch.nn.LayerNorm, torch.nn.GroupNorm, torch.nn.LocalResponseNorm, torch.nn.RMSNorm), _STATISTICS),
)
"""Types of modules, why none of them is exported, and the remedy."""
_REASONS = {
    **dict.fromkeys(
        ("InstanceNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization", "LRN"), _STATISTICS
    ),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _RECURRENT),
    **dict.fromkeys(("If", "Loop", "Scan"), ("what it does depends on the frame", "compute it without conditions")),
}
"""The same for operators."""
_FLOAT_LAYERS = (
    *(getattr(torch.nn, f"Conv{rank}d") for rank in (1, 2, 3)),
    *(getattr(torch.nn, f"ConvTranspose{rank}d") for rank in (1, 2, 3)),
    torch.nn.Linear,
    torch.nn.Bilinear,
)


def check_modules(called: dict[str, torch.nn.Module], quantized: bool) -> None:
    """Raises QuantError for the first of the ``called`` modules, by path, that no hardware computes.

    ``quantized`` says whether the model has any quantizer or layer of tables.
    """
    for path, module in called.items():
        kind = type(module).__name__
        for types, (why, remedy) in _MODULES:
            if isinstance(module, types):
                raise QuantError(f"its layer {path} is a {kind}, and {why}: {remedy}")
    for path, module in called.items():
        weights = isinstance(module, _FLOAT_LAYERS)
        if weights and not (isinstance(module, QuantWeightMixin) and module.weight_quant.is_quant_enabled):
            kind = type(module).__name__
            own = kind.removeprefix("Quant") if kind.startswith("Quant") else f"brevitas.nn.Quant{kind}"
            remedy = "quantize it after its training (quant.quantize), or train it with a scheme (quant.schemes)"
            if not quantized:
                raise QuantError(f"it is a float model, and hardware computes in integers: {remedy}")
            layer = f"give it a weight_quant ({own})" if kind.startswith("Quant") else f"use {own}"
            raise QuantError(f"its layer {path} is a {kind} with floating-point weights: {layer}, or {remedy}")
    if not quantized:
        raise QuantError(
            "it has no quantizers, and hardware computes in integers: quantize it after its training "
            "(quant.quantize), or train it with a scheme (quant.schemes)"
        )


def check_operators(model: onnx.ModelProto, modules: dict[str, torch.nn.Module]) -> None:
    """Raises QuantError for the first node on data whose operator is none of OPERATORS; it names the node's module."""
    own = {each.name for each in entry_points(group=PLUGINS)}
    data = {each.name for each in model.graph.input} - {each.name for each in model.graph.initializer}
    for node in model.graph.node:
        if data.isdisjoint(node.input) and not any(each.g.node for each in node.attribute):
            continue
        if node.domain in ("", "ai.onnx") and node.op_type not in OPERATORS and f"ai.onnx::{node.op_type}" not in own:
            why, remedy = _REASONS.get(
                node.op_type, ("no hardware computes it", "use operators of docs/what-can-be-read.md")
            )
            raise QuantError(f"{_place(node, modules)} needs ONNX's {node.op_type}, and {why}: {remedy}")
        if node.op_type == "Resize":
            how = {each.name: helper.get_attribute_value(each) for each in node.attribute}
            if how.get("mode", b"nearest") != b"nearest":
                raise QuantError(
                    f"{_place(node, modules)} interpolates ({how['mode'].decode()}): enlarge with mode='nearest', by "
                    "whole factors"
                )
        if node.op_type not in ("Shape", "Size"):
            data.update(filter(None, node.output))


def _place(node: onnx.NodeProto, modules: dict[str, torch.nn.Module]) -> str:
    path = module_of(node)
    if path not in modules or not path:
        return "the model itself"
    return f"its layer {path} ({type(modules[path]).__name__})"
