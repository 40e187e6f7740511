"""Damaged models for fuzz tests: raw mutations of a file's bytes, structural ones of its graph.

``mutant(seed)`` is the same in every process.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.builders.every_operator import models
from tests.builders.qonnx_builder import DOMAIN

Rng = np.random.Generator
Mutation = Callable[[Rng, onnx.ModelProto], None]


# --- mutations of bytes ---


def _raw(rng: Rng, data: bytes) -> bytes:
    """One to four edits of a file's bytes: flipped, set, removed, repeated, cut off."""
    array = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        at, size = int(rng.integers(len(array))), int(rng.integers(1, 17))
        match int(rng.integers(6)):
            case 0:
                array[at] ^= 1 << int(rng.integers(8))
            case 1:
                array[at] = int(rng.choice([0, 1, 127, 128, 255]))
            case 2:
                del array[at : at + size]
            case 3:
                array[at:at] = array[at : at + size]
            case 4:
                array[at:at] = rng.bytes(size)
            case _:
                if rng.random() < 0.2:
                    del array[at:]
        if not array:
            break
    return bytes(array)


# --- mutations of graphs ---

SIZES = (0, 1, -1, 2, 3, 7, 16, 1 << 20, 1 << 31, -(1 << 31), (1 << 62))
NUMBERS = (0.0, 1.0, -1.0, 0.3, 1e-30, 1e30, float("nan"), float("inf"), float("-inf"), 3.4e38)
WORDS = ("", "NOTSET", "SAME_UPPER", "VALID", "ROUND", "nearest", "linear", "INT4", "INT999999999999", "\x1b[31m", "é")
NAMES = ("", "x", "t0", "t3", "c1", "a\nb", "\x1b[2J", "n" * 3000, "é ü", "..", "missing")
OPERATORS = (
    "Add", "Sub", "Mul", "Div", "Relu", "Conv", "MatMul", "Gemm", "MaxPool", "AveragePool", "Concat", "Reshape", "Sum",
    "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Pad", "Resize", "Softmax", "ArgMax", "TopK", "Clip", "Cast", "Min",
    "BatchNormalization", "Dropout", "Identity", "ReduceMean", "GlobalAveragePool", "LSTM", "Loop", "RandomNormal",
    "Where", "Gather", "Shape", "Constant", "Sigmoid", "PRelu", "Quant", "BipolarQuant", "MultiThreshold", "Trunc",
)  # fmt: skip


def _pick(rng: Rng, items: Any) -> Any:
    return items[int(rng.integers(len(items)))]


def _node(rng: Rng, model: onnx.ModelProto) -> onnx.NodeProto:
    return _pick(rng, model.graph.node)


def _tensors(model: onnx.ModelProto) -> list[str]:
    graph = model.graph
    return [
        *(value.name for value in graph.input), *(each.name for each in graph.initializer),
        *(name for node in graph.node for name in node.output),
    ]  # fmt: skip


def _remove_node(rng: Rng, model: onnx.ModelProto) -> None:
    del model.graph.node[int(rng.integers(len(model.graph.node)))]


def _swap_nodes(rng: Rng, model: onnx.ModelProto) -> None:
    first, second = _node(rng, model), _node(rng, model)
    kept = onnx.NodeProto()
    kept.CopyFrom(first)
    first.CopyFrom(second)
    second.CopyFrom(kept)


def _repeat_node(rng: Rng, model: onnx.ModelProto) -> None:
    model.graph.node.append(_node(rng, model))


def _rewire(rng: Rng, model: onnx.ModelProto) -> None:
    node = _node(rng, model)
    name = _pick(rng, _tensors(model)) if rng.random() < 0.8 else _pick(rng, NAMES)
    if node.input and rng.random() < 0.8:
        node.input[int(rng.integers(len(node.input)))] = name
    elif node.input and rng.random() < 0.5:
        del node.input[int(rng.integers(len(node.input)))]
    else:
        node.input.append(name)


def _rename_output(rng: Rng, model: onnx.ModelProto) -> None:
    node = _node(rng, model)
    name = _pick(rng, _tensors(model)) if rng.random() < 0.6 else _pick(rng, NAMES)
    if node.output and rng.random() < 0.8:
        node.output[int(rng.integers(len(node.output)))] = name
    else:
        node.output.append(name)


def _operator(rng: Rng, model: onnx.ModelProto) -> None:
    node = _node(rng, model)
    node.op_type = _pick(rng, OPERATORS)
    if rng.random() < 0.3:
        node.domain = _pick(rng, ("", "ai.onnx", DOMAIN, "onnx.brevitas", "com.microsoft", "a\nb"))


def _insert(rng: Rng, model: onnx.ModelProto) -> None:
    """A new operator between a tensor and one of its readers."""
    node = _node(rng, model)
    if not node.input:
        return
    at = int(rng.integers(len(node.input)))
    others = [_pick(rng, _tensors(model)) for _ in range(int(rng.integers(0, 3)))]
    op = _pick(rng, OPERATORS)
    domain = DOMAIN if op in ("Quant", "BipolarQuant", "MultiThreshold", "Trunc") else ""
    made = helper.make_node(op, [node.input[at], *others], ["inserted"], name=f"new_{op}", domain=domain)
    node.input[at] = "inserted"
    model.graph.node.insert(list(model.graph.node).index(node), made)


def _attribute(rng: Rng, model: onnx.ModelProto) -> None:
    nodes = [node for node in model.graph.node if node.attribute]
    if not nodes:
        return
    node = _pick(rng, nodes)
    at = int(rng.integers(len(node.attribute)))
    each = node.attribute[at]
    match int(rng.integers(8)):
        case 0:
            del node.attribute[at]
        case 1:
            node.attribute.append(each)
        case 2:
            each.name = _pick(
                rng, ("axis", "perm", "pads", "alpha", "signed", "value", "body", "\x00", each.name + "s")
            )
        case 3:
            each.type = int(rng.integers(0, 15))
        case _:
            value: Any = _pick(rng, SIZES)
            if each.type in (onnx.AttributeProto.FLOAT, onnx.AttributeProto.FLOATS):
                value = float(_pick(rng, NUMBERS))
            elif each.type == onnx.AttributeProto.STRING:
                value = _pick(rng, WORDS)
            if each.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
                old = list(each.ints or each.floats)
                if old and rng.random() < 0.7:
                    old[int(rng.integers(len(old)))] = value
                else:
                    old = [value] * int(rng.integers(0, 5))
                value = old
            if value != []:
                each.CopyFrom(helper.make_attribute(each.name, value))


def _subgraph(rng: Rng, model: onnx.ModelProto) -> None:
    _node(rng, model).attribute.append(helper.make_attribute("body", model.graph))


def _initializer(rng: Rng, model: onnx.ModelProto) -> None:
    tensors = model.graph.initializer
    if not tensors:
        return
    at = int(rng.integers(len(tensors)))
    each = tensors[at]
    match int(rng.integers(8)):
        case 0:
            del tensors[at]
        case 1:
            each.data_type = int(rng.integers(0, 25))
        case 2:
            if each.dims:
                each.dims[int(rng.integers(len(each.dims)))] = _pick(rng, SIZES)
            else:
                each.dims.append(_pick(rng, SIZES))
        case 3:
            each.raw_data = each.raw_data[: int(rng.integers(0, len(each.raw_data) + 1))]
        case 4:
            each.data_location = TensorProto.EXTERNAL
            each.external_data.add(key="location", value=_pick(rng, ("/etc/passwd", "../x", "weights", "")))
        case _:
            try:
                values = numpy_helper.to_array(each).copy()
            except Exception:  # An earlier mutation has damaged it.
                return
            if not values.size:
                return
            new = _pick(rng, NUMBERS if values.dtype.kind == "f" else SIZES)
            if rng.random() < 0.5:
                values[...] = np.asarray(new).astype(values.dtype)
            else:
                values.reshape(-1)[int(rng.integers(values.size))] = np.asarray(new).astype(values.dtype)
            each.CopyFrom(numpy_helper.from_array(values, each.name))


def _port(rng: Rng, model: onnx.ModelProto) -> None:
    """The type or shape of an input or output."""
    value = _pick(rng, [*model.graph.input, *model.graph.output])
    tensor = value.type.tensor_type
    match int(rng.integers(5)):
        case 0:
            tensor.elem_type = int(rng.integers(0, 25))
        case 1 if tensor.shape.dim:
            _pick(rng, tensor.shape.dim).dim_value = _pick(rng, SIZES)
        case 2 if tensor.shape.dim:
            _pick(rng, tensor.shape.dim).dim_param = "N"
        case 3:
            tensor.shape.dim.add(dim_value=_pick(rng, SIZES))
        case _:
            value.name = _pick(rng, _tensors(model))


def _ports(rng: Rng, model: onnx.ModelProto) -> None:
    """Another output or input, or one less."""
    graph = model.graph
    made = helper.make_tensor_value_info(_pick(rng, _tensors(model)), TensorProto.FLOAT, None)
    match int(rng.integers(4)):
        case 0:
            graph.output.append(made)
        case 1:
            graph.input.append(made)
        case 2:
            del graph.output[int(rng.integers(len(graph.output)))]
        case _:
            graph.input.append(helper.make_tensor_value_info("unused", int(rng.integers(0, 25)), [1, 2]))


def _header(rng: Rng, model: onnx.ModelProto) -> None:
    match int(rng.integers(4)):
        case 0:
            _pick(rng, model.opset_import).version = _pick(rng, (*SIZES, 6, 8, 9, 10, 11, 12, 18, 21))
        case 1:
            _pick(rng, model.opset_import).domain = _pick(rng, ("", "ai.onnx", DOMAIN, "com.microsoft"))
        case 2:
            model.graph.node.add(op_type=_pick(rng, OPERATORS))
        case _:
            model.functions.add(name=_node(rng, model).op_type, domain=_node(rng, model).domain)


def _annotation(rng: Rng, model: onnx.ModelProto) -> None:
    words = (
        "INT4",
        "UINT8",
        "INT16",
        "INT17",
        "INT0",
        "INT999999999999",
        "BIPOLAR",
        "FIXED<8,4>",
        "FIXED<4,8>",
        "?",
        "",
    )
    entry = onnx.StringStringEntryProto(key="finn_datatype", value=_pick(rng, words))
    name = _pick(rng, _tensors(model))
    model.graph.quantization_annotation.add(tensor_name=name, quant_parameter_tensor_names=[entry])


def _name(rng: Rng, model: onnx.ModelProto) -> None:
    _node(rng, model).name = _pick(rng, NAMES) if rng.random() < 0.7 else _node(rng, model).name


MUTATIONS: tuple[Mutation, ...] = (
    _remove_node, _swap_nodes, _repeat_node, _rewire, _rename_output, _operator, _insert, _attribute, _attribute,
    _attribute, _subgraph, _initializer, _initializer, _initializer, _port, _ports, _header, _annotation, _name,
)  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A damaged model: its bytes, and what was done to which of ``models``."""

    seed: int
    kind: str
    data: bytes


def mutant(seed: int, of: tuple[bytes, ...] = ()) -> Mutant:
    """The damaged model of a seed: every fourth one is raw, the others have one to three structural mutations.

    ``of``: the models that are damaged, by default ``models()``.
    """
    rng = np.random.default_rng([15, seed])
    data = _pick(rng, of or models())
    if seed % 4 == 0:
        return Mutant(seed, "raw", _raw(rng, data))
    model = onnx.ModelProto.FromString(data)
    done = []
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        mutation = _pick(rng, MUTATIONS)
        if model.graph.node and model.graph.output:
            mutation(rng, model)
            done.append(mutation.__name__.strip("_"))
    return Mutant(seed, " and ".join(done), model.SerializeToString())
