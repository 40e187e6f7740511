"""Damaged models for fuzz tests: raw mutations of a file's bytes, structural ones of its graph, and their outcome.

``mutant(seed)`` is the same in every process. ``examine`` reads, lowers and compares it with the reference: it must be
refused in one line, or agree. ``benchmarks`` and tests both run campaigns of seeds.
"""

import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hw import finn
from hw.host.errors import BitfabricError
from hw.ir.graph import Graph
from hw.lowering.gate.reading import read_file
from hw.lowering.gate.structure import node_names
from hw.lowering.lower import lower, lower_model
from hw.lowering.qonnx import load
from hw.model import Finn
from hw.verification.reference import Reference, compare_with
from tests.builders.qonnx_builder import DOMAIN, Builder
from tests.builders.random_images import RandomImages
from tests.builders.random_models import RandomModel

Rng = np.random.Generator
Mutation = Callable[[Rng, onnx.ModelProto], None]


class Hang(BaseException):
    """A case that took longer than its limit. No handler of exceptions may take it for a refusal."""


# --- the models that are damaged ---


def _mixed() -> onnx.ModelProto:
    """Convolution, batch norm, a residual sum, a concatenation, resizing, pools, a computed shape, two outputs."""
    rng, b = np.random.default_rng(5), Builder((1, 2, 4, 4))
    weights = lambda *shape: b.quant(rng.integers(-7, 8, shape) / 4, 0.25, 4)  # noqa: E731
    x = b.quant("x", 0.25, 4)
    y = b.node("Conv", x, weights(2, 2, 3, 3), np.zeros(2), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    y = b.batch_norm(y, np.ones(2), np.zeros(2), np.zeros(2), np.ones(2))
    y = b.quant(b.node("Relu", y), 0.25, 4, signed=0)
    y = b.node("Concat", b.node("Add", x, y), y, axis=1)
    y = b.node("AveragePool", y, kernel_shape=[2, 2], strides=[2, 2])
    y = b.quant(b.node("Mul", y, 0.5), 0.25, 5)
    y = b.node("Resize", y, "", np.array([1, 1, 2, 2], np.float32), mode="nearest", nearest_mode="floor",
               coordinate_transformation_mode="asymmetric")  # fmt: skip
    y = b.node("MaxPool", b.node("Pad", y, b.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64)), kernel_shape=[2, 2])
    y = b.node("MultiThreshold", y, np.sort(rng.normal(size=(4, 3)), axis=1), out_dtype="UINT2", data_layout="NCHW")
    size = b.node("Gather", b.node("Shape", y), b.constant([0], np.int64))
    y = b.node("Reshape", y, b.node("Concat", size, b.constant([-1], np.int64), axis=0))
    sums = b.node("MatMul", y, weights(100, 3))
    return b.model(
        (b.node("Softmax", sums, axis=-1), (1, 3)), (b.node("ArgMax", sums, axis=1), (1, 1), TensorProto.INT64)
    )


def _signal() -> onnx.ModelProto:
    """Bipolar and truncated values on a signal, transposed, with a mean and TopK; annotated integers as input."""
    rng, b = np.random.default_rng(6), Builder((1, 3, 8))
    b.annotate("x", "INT6")
    x = b.node("Transpose", b.node("Transpose", "x", perm=[0, 2, 1]), perm=[0, 2, 1])
    x = b.node("Conv", x, b.node("BipolarQuant", rng.normal(size=(4, 3, 3)), 0.5), kernel_shape=[3], strides=[2])
    x = b.node("Trunc", b.quant(b.node("Clip", x, -8.0, 7.5), 0.5, 6), 0.5, 0.0, 6.0, 4.0, rounding_mode="FLOOR")
    x = b.node("ReduceMean", b.quant(b.node("PRelu", x, np.full((4, 1), 0.25)), 0.25, 6), axes=[2], keepdims=0)
    x = b.node("Gemm", b.quant(x, 0.25, 5), b.quant(rng.normal(size=(3, 4)), 0.25, 3), np.ones(3), transB=1)
    values = b.node("TopK", x, b.constant([1], np.int64), outputs=2, axis=1)
    return b.model((f"{values}_1", (1, 1), TensorProto.INT64))


@cache
def models() -> tuple[bytes, ...]:
    """Small valid models with every kind of operator."""
    drawn = [_mixed(), _signal()]
    for seed in (1, 4, 7):
        rng = np.random.default_rng(seed)
        drawn += [RandomModel(rng, dyadic=True).model(), RandomImages(rng, dyadic=True).model()]
    return tuple(model.SerializeToString() for model in drawn)


@cache
def finn_models() -> tuple[bytes, ...]:
    """The same models in FINN's dialect."""
    graphs = (lower(onnx.ModelProto.FromString(data)) for data in models())
    return tuple(finn.write(finn.adapted(graph)).SerializeToString() for graph in graphs)


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


# --- outcomes ---


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant: ``refused`` in one line (``text``), ``equal`` to its reference, ``read`` if it is
    in FINN's dialect, large or degenerate.

    A ``large`` one is lowered, not executed: a frame has too many elements. A ``degenerate`` one differs from
    its reference, whose float32 arithmetic breaks down because of huge or tiny constants; a build would end with that.
    """

    result: str
    text: str = ""


DEGENERATE = 1e9
MOST_ELEMENTS = 1 << 18
"""Elements of all streams of a frame up to which a mutant is executed."""


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise Hang after that time."""

    def ring(number: int, frame: object) -> None:
        raise Hang(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def examine(damaged: Mutant, frames: int = 8, seconds: float = 60.0) -> Outcome:
    """Read, lower and execute a mutant on random frames; a model in FINN's dialect is only read.

    Raises AssertionError for a refusal that is not one short printable line or, of a structural mutation, names nothing
    of the model, and for integers that differ from the reference's by more than rounding; Hang for a case that takes
    longer than ``seconds``; and whatever else the packages let through.
    """
    with _limited(seconds):
        try:
            return _executed(damaged, frames)
        except BitfabricError as error:
            text = str(error)
    assert text.isprintable(), f"not one printable line: {text!r}"
    assert len(text) <= 800, text
    assert damaged.kind == "raw" or _names_something(damaged, text), f"names nothing of the model: {text}"
    return Outcome("refused", text)


def campaign(seeds: Iterable[int], of: tuple[bytes, ...] = ()) -> Counter[str]:
    """The outcomes of the mutants of these seeds, counted. Raises AssertionError for the first that fails."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        damaged = mutant(seed, of)
        try:
            outcome = examine(damaged)
        except (Exception, Hang) as error:
            raise AssertionError(f"seed {seed} ({damaged.kind}): {type(error).__name__}: {error}") from error
        counts[outcome.result] += 1
    return counts


def _executed(damaged: Mutant, frames: int) -> Outcome:
    proto = _parsed(damaged)
    node_names(proto.graph)
    if finn.is_finn(proto):
        assert Finn(proto, "m.onnx").graph.nodes
        return Outcome("read")
    model = load(proto)
    lowered = lower_model(model)
    graph = lowered.graph
    if sum(prod(stream.shape) for stream in graph.edges.values()) > MOST_ELEMENTS:
        return Outcome("large")
    reference = Reference(proto, model)
    compared = compare_with(graph, lowered, reference, _frames(graph, frames, damaged.seed))
    differs = f"{compared.describe()}: {compared.first_unexplained}"
    if compared.mismatches == compared.explained:
        return Outcome("equal")
    assert _degenerate(damaged), differs
    return Outcome("degenerate", differs)


def _degenerate(damaged: Mutant) -> bool:
    """Whether a constant is so large or small that float32 sums of the reference lose what is added to them."""
    graph = onnx.ModelProto.FromString(damaged.data).graph
    values = [numpy_helper.to_array(each).astype(np.float64) for each in graph.initializer]
    values += [np.array([attribute.f, *attribute.floats]) for node in graph.node for attribute in node.attribute]
    sizes = [np.abs(value) for value in values]
    return any(np.any(size > DEGENERATE) or np.any((size > 0) & (size < 1 / DEGENERATE)) for size in sizes)


def _parsed(damaged: Mutant) -> onnx.ModelProto:
    """The mutant as it is read from a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        path.write_bytes(damaged.data)
        return read_file(path)[0]


def _frames(graph: Graph, count: int, seed: int) -> dict[str, np.ndarray]:
    rng, result = np.random.default_rng(seed), {}
    for port in graph.inputs:
        if port.dtype.startswith("float"):
            result[port.name] = (rng.integers(-64, 64, (count, *port.shape)) / 16).astype(port.dtype)
            continue
        dtype = graph.edges[port.edge].dtype
        drawn = rng.integers(int(dtype.min()), int(dtype.max()), (count, *port.shape), endpoint=True)
        result[port.name] = np.where(drawn >= 0, 1, -1) if dtype.name == "BIPOLAR" else drawn
    return result


def _names_something(damaged: Mutant, text: str) -> bool:
    """Whether a refusal names a node, a tensor or the operator set, or says that the whole file is none."""
    graph = onnx.ModelProto.FromString(damaged.data).graph
    names = {str(name) for node in graph.node for name in (node.name, *node.output)}
    names |= {f"{node.op_type}_{number}" for number, node in enumerate(graph.node)}
    names |= {value.name for value in (*graph.input, *graph.output)} | {each.name for each in graph.initializer}
    general = (
        "node ",
        "input ",
        "output ",
        "initializer ",
        "tensor ",
        "opset",
        "no QONNX",
        "not a QONNX",
        "no network",
    )
    return any(name and name in text for name in names) or any(word in text for word in general)
