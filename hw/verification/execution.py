"""How the reference executes a model: by qonnx node by node, or by ONNX Runtime as a whole.

ONNX Runtime executes models that hold ONNX's own operators only, without optimisation of the graph: its optimisation
would replace quantized layers by others with another rounding.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx

from hw.lowering.domains import ORT_DOMAIN
from hw.lowering.gate.tensors import PAIRED

Tensors = dict[str, np.ndarray]
Execute = Callable[[ModelWrapper, Tensors, list[str]], Tensors]
"""From a prepared model, the values of its inputs by name, and names of tensors, to the values of these."""
ERRORS = 3
"""ONNX Runtime's level of messages from errors on."""
FATAL = 4
"""ONNX Runtime's level of messages that are always shown; all errors are raised as exceptions, too."""


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings of Python, of NumPy's arithmetic, and of ONNX Runtime (about old operator sets, for example)."""
    onnxruntime.set_default_logger_severity(ERRORS)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def by_qonnx(model: ModelWrapper, given: Tensors, names: list[str]) -> Tensors:
    """Execute a model by qonnx, which asks ONNX Runtime for each of ONNX's operators."""
    with quiet():
        context = execute_onnx(model, given, return_full_exec_context=True)
    return {name: context[name] for name in names}


class ByOnnxRuntime:
    """Executes models by ONNX Runtime. Sessions are kept as long as their models."""

    def __init__(self) -> None:
        self._sessions: WeakKeyDictionary[ModelWrapper, dict[tuple[str, ...], onnxruntime.InferenceSession]] = (
            WeakKeyDictionary()
        )

    def __call__(self, model: ModelWrapper, given: Tensors, names: list[str]) -> Tensors:
        """Execute a model on ``given``, the values of its inputs; returns the tensors ``names``."""
        known = given | {
            each.name: numpy_helper.to_array(each) for each in model.graph.initializer if each.name in names
        }
        computed = tuple(dict.fromkeys(name for name in names if name not in known))
        results: Tensors = {}
        if computed:
            sessions = self._sessions.setdefault(model, {})
            if computed not in sessions:
                sessions[computed] = _session(model, computed)
            paired = {value.name for value in model.graph.input if _kind(value) in PAIRED}
            feeds = {_plain(name) if name in paired else name: values for name, values in given.items()}
            feeds |= {_plain(name): given[name].astype(np.float32) for name in paired}
            results = dict(zip(computed, sessions[computed].run(None, feeds), strict=True))
        return {name: results[name] if name in results else known[name] for name in names}


def _session(model: ModelWrapper, names: tuple[str, ...]) -> onnxruntime.InferenceSession:
    """A session that computes the named tensors. Codes of 4 bits, which NumPy lacks, enter and leave it as float32."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.model)
    graph = proto.graph
    values = {value.name: value for value in (*model.graph.input, *model.graph.output, *model.graph.value_info)}
    nodes: list[onnx.NodeProto] = []
    for value in graph.input:
        if _kind(value) in PAIRED:
            nodes.append(_codes_as_numbers(graph, "QuantizeLinear", _plain(value.name), value.name, _kind(value)))
            value.name, value.type.tensor_type.elem_type = _plain(value.name), TensorProto.FLOAT
    nodes += graph.node
    del graph.output[:]
    for name in names:
        value = graph.output.add()
        value.CopyFrom(values[name])
        if _kind(value) in PAIRED:
            nodes.append(_codes_as_numbers(graph, "DequantizeLinear", name, _plain(name), _kind(value)))
            value.name, value.type.tensor_type.elem_type = _plain(name), TensorProto.FLOAT
    del graph.node[:]
    graph.node.extend(nodes)
    if not any(opset.domain == ORT_DOMAIN for opset in proto.opset_import):
        proto.opset_import.append(helper.make_opsetid(ORT_DOMAIN, 1))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = FATAL
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _kind(value: onnx.ValueInfoProto) -> int:
    return int(value.type.tensor_type.elem_type)


def _plain(name: str) -> str:
    """The name of a tensor of codes as numbers."""
    return f"{name} in float32"


def _codes_as_numbers(graph: onnx.GraphProto, op: str, source: str, target: str, kind: int) -> onnx.NodeProto:
    """A node between codes and numbers, with a scale of 1, and its constants."""
    constants = [f"{target} {part}" for part in ("scale", "zero point")]
    graph.initializer.append(helper.make_tensor(constants[0], TensorProto.FLOAT, [], [1.0]))
    graph.initializer.append(helper.make_tensor(constants[1], kind, [], [0]))
    return helper.make_node(op, [source, *constants], [target], domain=ORT_DOMAIN)
