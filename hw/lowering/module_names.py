"""The names of the modules that a model's nodes were made from, as far as the file states them.

Three places state them, in this order of preference:

- metadata of the node, which torch.onnx writes: ``['', 'blocks', 'blocks.0', 'blocks.0.conv', 'conv2d_1']``;
- the name of the node, where it is a path: ``/blocks/blocks.0/conv/Conv`` (TorchScript's exporter), or
  ``model/conv/Conv2D`` (tf2onnx);
- the name of the weights, where one node alone uses them: ``blocks.0.conv.weight``.

Brevitas computes a quantizer in modules of its own (``act.act_quant.export_handler``), which are left out.
"""

import re
from collections import Counter
from collections.abc import Mapping

import onnx

from hw.lowering.gate.names import fault

SCOPES = "pkg.torch.onnx.name_scopes"
"""Key of the metadata in which torch.onnx lists the scopes of a node: modules from the outermost, then the operator."""
LAYERS = frozenset({
    "BatchNormalization", "Conv", "ConvInteger", "ConvTranspose", "Gemm", "MatMul", "MatMulInteger", "QLinearConv",
    "QLinearMatMul",
})  # fmt: skip
"""Operators whose constants belong to the same module."""
_SCOPE_LIST = re.compile(r"\['[^'\\]*'(?:, '[^'\\]*')*\]")
_PARAMETER = re.compile(
    r"(?P<module>.+?)\.(?:weight|bias|kernel|gamma|beta|running_mean|running_var)(?:[._].*|$)", re.DOTALL
)
_INTERNAL = re.compile(r"act_quant|activation_impl|export_handler(_\d+)?|fused_activation_quant_proxy|tensor_quant")


def module_names(graph: onnx.GraphProto) -> dict[str, str]:
    """By node, the name of its module; nodes whose module is not stated are left out."""
    found = {}
    weights = _weights(graph)
    for node in graph.node:
        module = _from_metadata(node) or _from_path(node.name) or _from_weights(node, weights)
        if module and fault(module) is None:
            found[node.name] = module
    return found


def set_module(node: onnx.NodeProto, module: str) -> None:
    """State the module of a new node in its metadata, as torch.onnx does."""
    text = str(["", module, node.op_type])
    if module and _SCOPE_LIST.fullmatch(text):
        node.metadata_props.append(onnx.StringStringEntryProto(key=SCOPES, value=text))


def _from_metadata(node: onnx.NodeProto) -> str:
    text = next((each.value for each in node.metadata_props if each.key == SCOPES), "")
    if not _SCOPE_LIST.fullmatch(text):
        return ""
    modules = [scope for scope in text[2:-2].split("', '")[:-1] if scope]
    return _without_internals(modules[-1]) if modules else ""


def _from_path(name: str) -> str:
    *scopes, _ = name.split("/")
    if any(each in name for each in ";:"):
        return ""  # Several nodes in one (TFLite), or a name with types.
    if name.startswith("/"):
        modules: list[str] = []
        for scope in filter(None, scopes):
            # TorchScript names the elements of a container with the container's name again.
            if modules and scope.startswith(f"{modules[-1]}."):
                modules.pop()
            modules.append(scope)
        return _without_internals(".".join(modules))
    return "/".join(each for each in scopes if each and each != "StatefulPartitionedCall")


def _without_internals(module: str) -> str:
    """The module without Brevitas's own at its end."""
    parts = module.split(".")
    while len(parts) > 1 and _INTERNAL.fullmatch(parts[-1]):
        parts.pop()
    return ".".join(parts)


def _weights(graph: onnx.GraphProto) -> Mapping[str, str]:
    """By tensor, the module in the name of the initializer that it is computed of; only where it has one reader."""
    readers = Counter(name for node in graph.node for name in set(node.input))
    named: dict[str, str] = {}
    for tensor in graph.initializer:
        if readers[tensor.name] == 1 and (match := _PARAMETER.fullmatch(tensor.name)):
            named[tensor.name] = match["module"]
    for node in graph.node:
        if node.input and node.op_type not in LAYERS and (module := named.get(node.input[0])):
            named.update((name, module) for name in node.output if readers[name] == 1)
    return named


def _from_weights(node: onnx.NodeProto, weights: Mapping[str, str]) -> str:
    if node.op_type not in LAYERS:
        return ""
    return next((weights[name] for name in node.input if name in weights), "")
