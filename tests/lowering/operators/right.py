"""What is right: a model's own result, from ONNX Runtime without optimisation.

QONNX's Quant is written out in ONNX's operators, by its definition. Models with other operators of QONNX are executed
by qonnx, node by node; ONNX's own operators that ONNX Runtime lacks by ONNX's reference implementation.
"""

import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes

from tests.builders.qonnx_builder import DOMAIN


def result(model: onnx.ModelProto, frames: np.ndarray) -> np.ndarray:
    """The model's only output for frames ``(N, *shape)``, executed frame by frame."""
    if {(node.domain, node.op_type) for node in model.graph.node if node.domain} <= {(DOMAIN, "Quant")}:
        execute = _standard(_written_out(model))
    else:
        execute = _qonnx(model)
    return np.concatenate([execute(frame[None]) for frame in frames])


def _written_out(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with Quant as Div, Add, Clip, a rounding, Sub and Mul."""
    initial = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    constants = list(model.graph.initializer)
    opset = next(each.version for each in model.opset_import if not each.domain)

    def append(op: str, *inputs: str) -> str:
        nodes.append(helper.make_node(op, inputs, [f"written_{len(nodes)}"]))
        return nodes[-1].output[0]

    def constant(value: float) -> str:
        constants.append(numpy_helper.from_array(np.array(value, np.float32), f"written_c{len(constants)}"))
        return constants[-1].name

    for node in model.graph.node:
        if not node.domain:
            nodes.append(node)
            continue
        x, scale, zero_point, bits = node.input
        how = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        count, narrow = int(initial[bits]), int(how["narrow"])
        low, high = (
            (-(1 << count - 1) + narrow, (1 << count - 1) - 1) if how["signed"] else (0, (1 << count) - 1 - narrow)
        )
        codes = append("Add", append("Div", x, scale), zero_point)
        if opset < 11:
            nodes.append(helper.make_node("Clip", [codes], [f"written_{len(nodes)}"], min=float(low), max=float(high)))
            codes = nodes[-1].output[0]
        else:
            codes = append("Clip", codes, constant(low), constant(high))
        codes = _rounded(append, codes, how["rounding_mode"].decode(), constant)
        nodes.append(helper.make_node("Mul", [append("Sub", codes, zero_point), scale], node.output))
    graph = helper.make_graph(nodes, "written", model.graph.input, model.graph.output, constants)
    opsets = [each for each in model.opset_import if each.domain == ""]
    return helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version)


def _rounded(append, codes: str, mode: str, constant) -> str:
    """Rounded to integers. Round is younger than opset 7; adding and subtracting 1.5 * 2^23 does the same."""
    if mode == "FLOOR":
        return append("Floor", codes)
    assert mode == "ROUND"
    large = constant(1.5 * 2**23)
    return append("Sub", append("Add", codes, large), large)


def _standard(model: onnx.ModelProto):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    name = model.graph.input[0].name
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its classes are those of an extension module
        if not any(word in str(error) for word in ("NOT_IMPLEMENTED", "Unrecognized", "is till opset")):
            raise
        evaluator = ReferenceEvaluator(model)
        return lambda frame: evaluator.run(None, {name: frame})[0]
    return lambda frame: session.run(None, {name: frame})[0]


def _qonnx(model: onnx.ModelProto):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapper = ModelWrapper(onnx.ModelProto.FromString(model.SerializeToString())).transform(InferShapes())
    onnxruntime.set_default_logger_severity(4)
    name = model.graph.input[0].name
    return lambda frame: next(iter(execute_onnx(wrapper, {name: frame}).values()))
