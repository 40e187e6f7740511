"""Graphs: every bad node and tensor is refused in one line that names it."""

import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.builders.qonnx_builder import Builder
from tests.lowering.gate.small_models import dense, image, node, refusal, two_readers

INT64 = np.int64


def with_attribute(make, name: str, **attributes):
    """A model with attributes of one node replaced."""
    model = make()
    target = node(model, name)
    kept = [each for each in target.attribute if each.name not in attributes]
    del target.attribute[:]
    target.attribute.extend(kept + [helper.make_attribute(key, value) for key, value in attributes.items()])
    return model


def with_constant(make, name: str, index: int, value: np.ndarray):
    """A model with a constant input of one node replaced."""
    model = make()
    node(model, name).input[index] = "other"
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), "other"))
    return model


def edited(make, change):
    model = make()
    change(model)
    return model


def relu(
    op="Relu", shape=(1, 6), elem_type=TensorProto.FLOAT, opset=13, inputs=(), domain="", quant=True, **attributes
):
    """Quant_0 and one node, X_1 (with constants as further inputs)."""
    b = Builder(shape, elem_type=elem_type)
    x = b.quant("x", 0.5, 4) if quant else "x"
    names = [each if isinstance(each, str) else b.constant(each, np.asarray(each).dtype) for each in inputs]
    x = b.node(op, x, *names, **attributes)
    b.nodes[-1].domain = domain
    if not quant:
        x = b.quant(x, 0.5, 4)
    return b.model((x, (1, 6)), opset=opset)


def appended(model: onnx.ModelProto, *nodes: onnx.NodeProto) -> onnx.ModelProto:
    model.graph.node.extend(nodes)
    return model


def cyclic(model: onnx.ModelProto) -> None:
    node(model, "MatMul_2").input[0] = node(model, "Quant_4").output[0]


def shuffled(model: onnx.ModelProto) -> None:
    nodes = [*model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes[::-1])


def with_subgraph(model: onnx.ModelProto, op: str) -> None:
    body = helper.make_graph([], "body", [], [])
    node(model, "Relu_3").op_type = op
    node(model, "Relu_3").attribute.append(helper.make_attribute("body" if op != "If" else "then_branch", body))


def not_utf8(model: onnx.ModelProto, old: bytes) -> onnx.ModelProto:
    return onnx.ModelProto.FromString(model.SerializeToString().replace(old, b"\xff" * len(old)))


def annotated(dtype: str):
    b = Builder((1, 6))
    b.annotate("x", dtype)
    return b.model(
        (
            b.node("MatMul", b.quant("x", 0.25, 4), b.quant(np.random.default_rng(0).normal(size=(6, 5)), 0.25, 4)),
            (1, 5),
        )
    )


def twice(model: onnx.ModelProto) -> None:
    attributes = node(model, "Conv_2").attribute
    attributes.append(attributes[0])


def sparse(model: onnx.ModelProto) -> None:
    one = model.graph.sparse_initializer.add()
    one.values.name = "thin"


def of_type(model: onnx.ModelProto, elem_type: int) -> None:
    model.graph.input[0].type.tensor_type.elem_type = elem_type


def weights_of_type(elem_type: int, value: np.ndarray | None = None):
    model = dense()
    made = model.graph.initializer[3]
    made.data_type = elem_type
    if value is not None:
        made.CopyFrom(numpy_helper.from_array(value, made.name))
    return model


GRAPHS = {
    "no nodes": (lambda: edited(dense, lambda m: m.graph.ClearField("node")), "holds no network"),
    "cycle": (
        lambda: edited(dense, cyclic),
        "MatMul_2: its input t4 depends on its own output .a cycle through Quant_4"),
    "order": (lambda: edited(dense, shuffled), r"MatMul_6: its input t\d is written by the later node Quant_\d; sort"),
    "missing input": (
        lambda: edited(dense, lambda m: node(m, "Relu_3").input.__setitem__(0, "gone")),
        "Relu_3: its input gone is wr"),
    "absent input": (
        lambda: edited(dense, lambda m: node(m, "Relu_3").input.pop()),
        "Relu_3: .* it has 0 inputs; Relu has 1"),
    "empty input": (
        lambda: edited(dense, lambda m: node(m, "Relu_3").input.__setitem__(0, "")),
        "Relu_3: .* it lacks its input"),
    "missing output": (
        lambda: edited(dense, lambda m: setattr(m.graph.output[0], "name", "y")),
        "output y is written by no"),
    "written twice": (
        lambda: edited(dense, lambda m: node(m, "Relu_3").output.__setitem__(0, "t2")),
        "Relu_3: it writes t2, as MatMul_2"),
    "input written": (
        lambda: edited(dense, lambda m: node(m, "Relu_3").output.__setitem__(0, "x")),
        "Relu_3: it writes x, which is an in"),
    "two initializers": (
        lambda: edited(dense, lambda m: m.graph.initializer.append(m.graph.initializer[0])),
        "initializer c0 is given 2"),
    "two outputs": (
        lambda: edited(dense, lambda m: m.graph.output.append(m.graph.output[0])),
        "output t6 is given 2 times"),
    "attribute twice": (lambda: edited(image, twice), "Conv_2: its attribute kernel_shape is given 2 times"),
    "sparse": (lambda: edited(dense, sparse), "initializer thin is sparse"),
    "loop": (lambda: edited(dense, lambda m: with_subgraph(m, "Loop")), r"Relu_3: Loop holds a subgraph \(body\)"),
    "if": (lambda: edited(dense, lambda m: with_subgraph(m, "If")), r"Relu_3: If holds a subgraph \(then_branch\)"),
    "function": (
        lambda: edited(dense, lambda m: m.functions.add(name="Relu", domain="")),
        "Relu_3: Relu is a function that the mo"),
    "control characters": (
        lambda: edited(dense, lambda m: setattr(node(m, "Relu_3"), "name", "a\x1b[31m\n")),
        r"node 3 \(Relu\): its name a\\x1b"),
    "long name": (
        lambda: edited(dense, lambda m: setattr(node(m, "Relu_3"), "name", "a" * 5000)),
        r"node 3 \(Relu\): .* has 5000 char"),
    "name not UTF-8": (lambda: not_utf8(dense(), b"Relu_3"), r"node 3 \(Relu\): its name \\xff.* is not UTF-8"),
    "tensor not UTF-8": (lambda: not_utf8(dense(), b"t3"), r"Relu_3: the name \\xff\\xff of a tensor is not UTF-8"),
    "operator not UTF-8": (lambda: not_utf8(dense(), b"MatMul"), r"node 2: the name of its operator is not UTF-8"),
    "attribute not UTF-8": (
        lambda: not_utf8(dense(), b"ROUND"),
        "Quant_0: .* its attribute rounding_mode is not UTF-8"),
    "random": (
        lambda: edited(dense, lambda m: (
            node(m, "Quant_1").input.__setitem__(0, "r"),
            m.graph.node.insert(0, helper.make_node("RandomNormal", [], ["r"], name="noise", shape=[6, 5])),
        )),
        "noise: RandomNormal cannot be lowered: its values are random"),
    "unknown operator": (lambda: relu("Hardmax"), "Hardmax_1: Hardmax cannot be lowered: there is no kernel for it"),
    "recurrent": (lambda: relu("LSTM", hidden_size=4), "LSTM_1: LSTM cannot be lowered: there is no kernel for it"),
    "opset 0": (lambda: relu(opset=0), "opset 0; export it in an opset of 7 to"),
    "opset 999": (lambda: relu(opset=999), "opset 999; export it in an opset of 7 to"),
    "operator of a later opset": (lambda: relu("HardSwish"), "HardSwish_1: .* ONNX's opset 13 has no such operator"),
    "removed operator": (
        lambda: relu("Upsample", (1, 1, 4, 4), inputs=[np.float32([1, 1, 2, 2])]),
        "Upsample_1: .* opset 13 no longer has it"),
    # types
    **{f"input {name}": (lambda kind=kind: edited(dense, lambda m: of_type(m, kind)), f"input x is of type {name}")
       for name, kind in (("bfloat16", TensorProto.BFLOAT16), ("float8e4m3fn", TensorProto.FLOAT8E4M3FN),
                          ("complex64", TensorProto.COMPLEX64), ("string", TensorProto.STRING), ("number 999", 999))},
    **{f"weights {name}": (lambda kind=kind: weights_of_type(kind), f"initializer c3 is of type {name}")
       for name, kind in (("bfloat16", TensorProto.BFLOAT16), ("complex64", TensorProto.COMPLEX64), ("string", 8))},
    "bool weights": (
        lambda: with_constant(dense, "MatMul_2", 1, np.ones((6, 5), bool)),
        "MatMul_2: .* other is of type bool"),
    "int64 batch normalization": (
        lambda: relu("BatchNormalization", inputs=[np.ones(6, INT64)] * 4, elem_type=TensorProto.INT64, quant=False),
        "BatchNormalization_0: .* its input x is of type int64"),
    "int64 constant": (
        lambda: relu("Add", inputs=[np.ones(6, INT64)]),
        "Add_1: .* input c3 is of type int64, another one of"),
    "cast to string": (lambda: relu("Cast", to=TensorProto.STRING), "Cast_1: the result of Cast is of type string"),
    "cast to nothing": (lambda: relu("Cast", to=77), "Cast_1: the result of Cast is of type number 77"),
    "output type": (lambda: edited(dense, lambda m: setattr(m.graph.output[0].type.tensor_type, "elem_type", 7)),
                    "output t6 is declared as int64, but is float"),
    "no tensor": (
        lambda: edited(dense, lambda m: m.graph.input[0].type.sequence_type.elem_type.SetInParent()),
        "x is no tens"),
    "no shape": (
        lambda: edited(dense, lambda m: m.graph.input[0].type.tensor_type.ClearField("shape")),
        "x has no shape"),
    "negative size": (
        lambda: edited(dense, lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[1],
        "dim_value", -6)),
                      r"input x has the shape \(1, -6\)"),
    "short weights": (lambda: edited(dense, lambda m: setattr(m.graph.initializer[3], "raw_data", b"1234")),
                      r"initializer c3 holds 1 elements, but its shape \(6, 5\) has 30"),
    "huge weights": (
        lambda: edited(dense, lambda m: m.graph.initializer[3].dims.__setitem__(0, 10**9)),
        "initializer c3 has the"),
    "second file in memory": (lambda: edited(dense, lambda m: setattr(m.graph.initializer[3], "data_location", 1)),
                              "initializer c3 has its values in a second file"),
    "INT999999999999": (lambda: annotated("INT999999999999"), "tensor x is annotated as INT999999999999"),
    "INT0": (lambda: annotated("INT0"), "tensor x is annotated as INT0, which is no data type"),
    "INT65": (lambda: annotated("INT65"), "tensor x is annotated as INT65"),
    "nonsense": (lambda: annotated("rm -rf\n"), r"tensor x is annotated as rm -rf\\n, which is no data type"),
    "INT24 input": (lambda: annotated("INT24"), "input x is of type INT24; streams have up to 16 bits"),
    "int32 input": (
        lambda: relu("Relu", elem_type=TensorProto.INT32, opset=14, quant=False),
        "Quant_1: .* its input t0 is of type int32"),
    # values
    "NaN weights": (
        lambda: with_constant(dense, "Quant_1", 0, np.full((6, 5), np.nan, np.float32)),
        "Quant_1: .* other holds NaN"),
    "infinite weights": (lambda: with_constant(dense, "Quant_1", 0, np.full((6, 5), np.inf, np.float32)),
                         "Quant_1: .* other is not finite"),
    "NaN attribute": (
        lambda: relu("LeakyRelu", alpha=float("nan")),
        "LeakyRelu_1: .* its attribute alpha is not finite"),
    # widths
    "17-bit stream": (lambda: with_constant(dense, "Quant_4", 3, np.float32(17)), "Quant_4: .* a stream of 17 bits"),
    "17-bit weights": (lambda: two_readers(17, "weights"), r"MatMul_3: .* its weights have 17 bits \(Quant_1\)"),
    "33-bit bias": (lambda: two_readers(33, "bias"), "Quant_4: .* it gives constants of 33 bits"),
    "wide integers": (lambda: with_constant(dense, "MatMul_2", 1, np.full((6, 5), 70000, np.float32)),
                      "MatMul_2: .* its weights other are integers from 70000 to 70000"),
    # attributes
    "unknown attribute": (
        lambda: relu(negative=1),
        "Relu_1: .* has an attribute negative, which Relu of opset 13 does not"),
    "attribute's type": (
        lambda: with_attribute(image, "Conv_2", strides=1),
        "Conv_2: .* strides is of type INT, not INTS"),
    "string attribute": (
        lambda: with_attribute(image, "Conv_2", group="two"),
        "Conv_2: .* group is of type STRING, not INT"),
    "strides of 0": (
        lambda: with_attribute(image, "Conv_2", strides=[0, 0]),
        r"Conv_2: .* its strides \[0, 0\] do not fit"),
    "dilations of 0": (
        lambda: with_attribute(image, "Conv_2", dilations=[0, 1]),
        r"Conv_2: .* its dilations \[0, 1\] do no"),
    "negative pads": (
        lambda: with_attribute(image, "Conv_2", pads=[0, 0, -1, 0]),
        r"Conv_2: .* its pads \[0, 0, -1, 0\] do"),
    "one pad": (
        lambda: with_attribute(image, "Conv_2", pads=[1]),
        r"Conv_2: .* its pads \[1\] do not fit 2 spatial axes"),
    "three groups": (lambda: with_attribute(image, "Conv_2", group=3), "Conv_2: .* in 3 groups do not fit"),
    "no groups": (lambda: with_attribute(image, "Conv_2", group=0), "Conv_2: .* in 0 groups do not fit"),
    "kernel_shape": (
        lambda: with_attribute(image, "Conv_2", kernel_shape=[2, 3]),
        r"Conv_2: .* kernel_shape \[2, 3\] is not"),
    "auto_pad": (
        lambda: with_attribute(image, "Conv_2", auto_pad="SOME"),
        "Conv_2: .* auto_pad is 'SOME'; it is one of NOT"),
    "huge strides": (
        lambda: with_attribute(image, "Conv_2", strides=[2**60, 1]),
        "Conv_2: .* its attribute strides is out of"),
    "kernel of 0": (
        lambda: with_attribute(image, "MaxPool_4", kernel_shape=[0, 2]),
        r"MaxPool_4: .* its kernel_shape \[0, 2\]"),
    "large kernel": (
        lambda: with_attribute(image, "MaxPool_4", kernel_shape=[9, 9]),
        "MaxPool_4: .* its window of 9 elements"),
    "no kernel": (
        lambda: edited(image, lambda m: node(m, "MaxPool_4").ClearField("attribute")),
        "MaxPool_4: .* lacks its attr"),
    "Flatten": (lambda: with_attribute(image, "Flatten_5", axis=7), "Flatten_5: .* its axis 7 is none of the 4 axes"),
    "transA": (lambda: with_attribute(image, "Gemm_7", transA=1), "Gemm_7: .* have no product"),
    "transB": (lambda: with_attribute(image, "Gemm_7", transB=2), "Gemm_7: .* its attribute transB is 2; it is 0 or 1"),
    "bias": (
        lambda: with_constant(image, "Gemm_7", 2, np.zeros(4, np.float32)),
        "Gemm_7: .* inputs of shapes|Gemm_7: .* its bias"),
    "weights": (
        lambda: with_constant(dense, "Quant_1", 0, np.zeros((7, 5), np.float32)),
        "MatMul_2: .* have no product"),
    "scale": (lambda: with_constant(dense, "Quant_4", 1, np.ones((1, 4), np.float32)), "Quant_4: .* do not broadcast"),
    "perm": (lambda: relu("Transpose", perm=[0, 0]), r"Transpose_1: .* its perm \[0, 0\] is no permutation"),
    "Reshape": (
        lambda: relu("Reshape", inputs=[np.array([1, 7], INT64)]),
        r"Reshape_1: .* its shape \[1, 7\] does not fit"),
    "Reshape to -1 twice": (
        lambda: relu("Reshape", inputs=[np.array([-1, -1], INT64)]),
        "Reshape_1: .* has negative sizes"),
    "Reshape by data": (lambda: relu("Reshape", inputs=["x"]), "Reshape_1: .* input x is of type float"),
    "Squeeze": (lambda: relu("Squeeze", inputs=[np.array([1], INT64)]), r"Squeeze_1: .* removes the axes \[1\]"),
    "Unsqueeze": (
        lambda: relu("Unsqueeze", inputs=[np.array([9], INT64)]),
        "Unsqueeze_1: .* its axis 9 is none of the 3"),
    "Concat": (lambda: relu("Concat", axis=3, inputs=["t0"]), "Concat_1: .* its axis 3 is none of the 2 axes"),
    "no axis": (lambda: relu("Concat", inputs=["t0"]), "Concat_1: .* lacks its attribute axis"),
    "Pad": (lambda: relu("Pad", inputs=[np.array([0, -9, 0, 0], INT64)]), "Pad_1: .* leave nothing of its input"),
    "Resize": (
        lambda: relu("Resize", (1, 1, 4, 4), inputs=["", np.float32([1, 1, 0, -2])]),
        "Resize_1: .* they are positive"),
    "Resize to nothing": (lambda: relu("Resize", (1, 1, 4, 4)), "Resize_1: .* both scales and sizes, or neither"),
    "Resize by a fraction": (
        lambda: relu("Resize", (1, 1, 4, 4), inputs=["", np.float32([1, 1, 2.1, 2.1])], nearest_mode="floor",
                     coordinate_transformation_mode="asymmetric"),
        "Resize_1: .* its scales .* are no whole numbers"),
    "old Pad with a quarter": (
        lambda: relu("Pad", (1, 1, 4, 4), opset=10, pads=[0, 0, 1, 1, 0, 0, 1, 1], value=0.25),
        "Pad_1: .* it pads with 0.25, and no integer represents 0.25: 0 and 1 represent 0 and 0.5;"),
    "Clip": (lambda: relu("Clip", inputs=[np.zeros(6, np.float32)]), r"Clip_1: .* its bound of shape \[6\]"),
    "TopK": (lambda: relu("TopK", inputs=[np.array([9], INT64)], outputs=2), "TopK_1: .* it takes 9 of 6 elements"),
    "BatchNormalization": (
        lambda: relu("BatchNormalization", inputs=[np.ones(5, np.float32)] * 4),
        r"BatchNormalization_1: .* has the shape \[5\]"),
    "Softmax of old": (
        lambda: relu("Softmax", (1, 3, 4), opset=11),
        r"Softmax_1: .* before opset 13 it normalises over all axes"),
    "Dropout": (lambda: relu("Dropout", inputs=["", np.array(True)]), "Dropout_1: .* it is in training mode"),
    "ReduceMean": (lambda: relu("ReduceMean", axes=[5]), "ReduceMean_1: .* its axis 5 is none of the 2 axes"),
    "MultiThreshold": (
        lambda: relu("MultiThreshold", inputs=[np.zeros((1, 3), np.float32)], domain="qonnx.custom_op.general",
                     out_dtype="INT999999999999"),
        "MultiThreshold_1: its output is annotated as INT999999999999"),
    "too many thresholds": (
        lambda: relu("MultiThreshold", inputs=[np.zeros((1, 1 << 16), np.float32)], domain="qonnx.custom_op.general",
                     out_dtype="UINT16"),
        "MultiThreshold_1: .* for codes of more than 16 bits"),
    "folding too much": (
        lambda: edited(dense, lambda m: (
            node(m, "Quant_1").input.__setitem__(0, "big"),
            m.graph.initializer.append(numpy_helper.from_array(np.array([10**6, 10**6]), "sizes")),
            m.graph.node.insert(0, helper.make_node("ConstantOfShape", ["sizes"], ["big"], name="fill")),
        )),
        "fill: ConstantOfShape cannot be lowered: its constant result would have the shape"),
    "too much work": (
        lambda: relu("Conv", (1, 16, 2048, 2048), inputs=[np.ones((16, 16, 40, 40), np.float32)]),
        "Conv_1: .* operations"),
    "too large an input": (lambda: relu(shape=(1, 10**5, 10**5)), r"input x has the shape \(1, 100000, 100000\)"),
    "too many axes": (lambda: relu(shape=(1,) * 9), "input x has 9 axes"),
}  # fmt: skip


@pytest.mark.quick
@pytest.mark.parametrize("what", GRAPHS)
def test_graphs(what):
    make, message = GRAPHS[what]
    text = refusal(make())
    assert re.search(message, text), text
