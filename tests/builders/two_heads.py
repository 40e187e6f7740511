"""Networks with an early exit as ONNX files: two heads, and a decision in one of the forms that exporters write."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FORMS = ("gather", "slice", "split", "less", "greater", "swapped", "inverted")
"""Ways to write the decision."""
SCALE = 4.0
"""The scale of the logits."""


class _Graph:
    def __init__(self, seed: int, qdq: bool) -> None:
        self.rng, self.qdq = np.random.default_rng(seed), qdq
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, name: str, value: Any, dtype: type = np.float32) -> str:
        self.initializers.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def add(self, op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, outputs, name=f"{outputs[0]}_node", **attributes))
        return outputs[0]

    def quantized(self, x: str, name: str, scale: float, signed: bool, bits: int = 4) -> str:
        if not self.qdq:
            given = [x, *(self.constant(f"{name}_{i}", value) for i, value in enumerate((scale, 0, bits)))]
            return self.add(
                "Quant", given, [name], domain="qonnx.custom_op.general", signed=int(signed), narrow=0,
                rounding_mode="ROUND",
            )  # fmt: skip
        step, zero = self.constant(f"{name}_s", scale), self.constant(f"{name}_z", 0, np.int8 if signed else np.uint8)
        self.add("QuantizeLinear", [x, step, zero], [f"{name}_q"])
        return self.add("DequantizeLinear", [f"{name}_q", step, zero], [name])

    def dense(self, x: str, name: str, inputs: int, outputs: int) -> str:
        weights = self.rng.integers(-3, 4, (inputs, outputs))
        if self.qdq:
            given = [self.constant(f"{name}_w", weights, np.int8), self.constant(f"{name}_ws", 0.25)]
            self.add("DequantizeLinear", [*given, self.constant(f"{name}_wz", 0, np.int8)], [f"{name}_weight"])
        else:
            self.quantized(self.constant(f"{name}_w", weights * 0.25), f"{name}_weight", 0.25, True)
        return self.add("MatMul", [x, f"{name}_weight"], [name])


def _decision(made: _Graph, form: str, top_of: str, first: str, last: str, threshold: float) -> None:
    made.add("TopK", [top_of, made.constant("count", [2], np.int64)], ["values", "indices"], axis=-1)
    if form == "split":
        made.add("Split", ["values", made.constant("sizes", [1, 1], np.int64)], ["top1", "top2"], axis=1)
    elif form == "slice":
        for at in (0, 1):
            ends = [made.constant(f"{name}{at}", [value], np.int64) for name, value in (("from", at), ("to", at + 1))]
            made.add("Slice", ["values", *ends, made.constant(f"axes{at}", [1], np.int64)], [f"top{at + 1}"])
    else:
        for at in (0, 1):
            made.add("Gather", ["values", made.constant(f"at{at}", [at], np.int64)], [f"top{at + 1}"], axis=1)
    made.add("Sub", ["top1", "top2"], ["margin"])
    limit = made.constant("threshold", threshold)
    branches = [first, last]
    if form in ("less", "inverted"):
        made.add("Less", ["margin", limit], ["below"])
        branches = branches[::-1]
    elif form == "greater":
        made.add("Greater", ["margin", limit], ["below"])
    elif form == "swapped":
        made.add("LessOrEqual", [limit, "margin"], ["below"])
    else:
        made.add("GreaterOrEqual", ["margin", limit], ["below"])
    if form == "inverted":
        made.add("Not", ["below"], ["above"])
        branches = branches[::-1]
    made.add("Where", ["above" if form == "inverted" else "below", *branches], ["y"])


def two_heads(
    form: str = "gather",
    *,
    seed: int = 0,
    features: int = 12,
    hidden: int = 8,
    classes: int = 4,
    threshold: float = 1.5,
    qdq: bool = False,
    last_scale: float = SCALE,
    top_of: str = "first",
) -> onnx.ModelProto:
    """A network of dense layers: one hidden layer, the first head, two more hidden layers, the last head.

    Frames leave with the logits of the first head if their margin is ``threshold`` codes or more, of the tensor
    ``top_of``. Input x (1, features), whole numbers 0..15; output y (1, classes). ``qdq``: ONNX's own quantizers.
    """
    made = _Graph(seed, qdq)
    x = made.quantized("x", "codes", 1.0, False)
    first_hidden = made.quantized(made.dense(x, "fc0", features, hidden), "hidden0", 4.0, False)
    first = made.quantized(made.dense(first_hidden, "head0", hidden, classes), "first", SCALE, True)
    second = made.quantized(made.dense(first_hidden, "fc1", hidden, hidden), "hidden1", 4.0, False)
    third = made.quantized(made.dense(second, "fc2", hidden, hidden), "hidden2", 4.0, False)
    last = made.quantized(made.dense(third, "head1", hidden, classes), "last", last_scale, True)
    _decision(made, form, top_of, first, last, threshold * SCALE)
    ends = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])]
        for name, size in (("x", features), ("y", classes))
    )
    graph = helper.make_graph(made.nodes, "two_heads", *ends, made.initializers)
    opsets = [helper.make_opsetid("", 16)] + ([] if qdq else [helper.make_opsetid("qonnx.custom_op.general", 1)])
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def frames_for(model: onnx.ModelProto, count: int, seed: int = 1) -> np.ndarray:
    """Random frames of the network."""
    size = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    return np.random.default_rng(seed).integers(0, 16, (count, size)).astype(np.float32)
