"""Layers of experts in the forms that exporters write: recognised, exact, and refused by name where they are others."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hw.host.errors import BitfabricError
from hw.lowering.lower import lower
from hw.passes.fifos import insert_fifos
from hw.passes.fold import apply_folding
from hw.passes.lanes import insert_width_converters
from hw.simulation.emulator import Emulator
from hw.timing.cycles import simulate
from hw.timing.fifo_sizing import size_fifos
from hw.verification.reference import compare

FORMS = ("left", "right", "left, transposed", "right, transposed")
EXPERTS, INPUTS, OUTPUTS = 3, 8, 5


class _Graph:
    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, name: str, value: Any, dtype: type = np.float32) -> str:
        self.initializers.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def add(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"{output}_node", **attributes))
        return output

    def quantized(self, x: str, name: str, scale: Any, signed: bool, bits: int = 4) -> str:
        given = [x, *(self.constant(f"{name}_{i}", value) for i, value in enumerate((scale, 0, bits)))]
        return self.add(
            "Quant", given, name, domain="qonnx.custom_op.general", signed=int(signed), narrow=0, rounding_mode="ROUND"
        )

    def weights(self, name: str, shape: tuple[int, ...], scale: Any = 0.25) -> str:
        codes = self.rng.integers(-3, 4, shape)
        return self.quantized(self.constant(f"{name}_w", codes * scale), name, scale, True)


def mixture(
    form: str = "left", *, seed: int = 0, gate: str = "quantized", axis: int = 1, scale: Any = 0.25, last: int = 0,
    experts: int = EXPERTS,
) -> onnx.ModelProto:  # fmt: skip
    """A hidden layer, a gate and experts that read it, and a last layer. Input x (1, 6), output y (1, 4)."""
    made = _Graph(seed)
    x = made.quantized("x", "codes", 1.0, False)
    h = made.quantized(made.add("MatMul", [x, made.weights("w0", (6, INPUTS))], "fc0"), "hidden", 2.0, False)
    logits = made.add("MatMul", [h, made.weights("wg", (INPUTS, experts))], "gate")
    logits = made.quantized(logits, "logits", 0.5, True) if gate == "quantized" else logits
    choice = made.add("ArgMax", [logits], "choice", axis=axis, keepdims=0, select_last_index=last)
    side, _, turned = form.partition(", ")
    by_outputs = (side == "left") != bool(turned)
    shape = (OUTPUTS, INPUTS) if by_outputs else (INPUTS, OUTPUTS)
    w = made.add("Gather", [made.weights("we", (EXPERTS, *shape), scale), choice], "chosen", axis=0)
    if turned:
        w = made.add("Transpose", [w], "turned", perm=[0, 2, 1])
    at = made.constant("axes", [2 if side == "left" else 1], np.int64)
    column = made.add("Unsqueeze", [h, at], "column")
    product = made.add("MatMul", [w, column] if side == "left" else [column, w], "product")
    flat = made.add("Squeeze", [product, at], "flat")
    after = made.quantized(made.add("Relu", [flat], "relu"), "after", 1.0, False)
    made.add("MatMul", [after, made.weights("w1", (OUTPUTS, 4))], "y")
    ends = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])] for name, size in (("x", 6), ("y", 4)))
    graph = helper.make_graph(made.nodes, "mixture", *ends, made.initializers)
    opsets = [helper.make_opsetid("", 16), helper.make_opsetid("qonnx.custom_op.general", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def frames(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 16, (count, 6)).astype(np.float32)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_exact(form):
    model = mixture(form, seed=len(form))
    graph = lower(model)
    assert [node.kernel.op for node in graph if node.kernel.op in ("arg_max", "expert_matrix_vector")] == [
        "arg_max",
        "expert_matrix_vector",
    ]
    assert compare(graph, model, frames(64)).mismatches == 0


def test_weights_that_pytorch_indexes_are_those_of_an_expert():
    """``weights[choice]`` is exported as a GatherND."""
    model = mixture(seed=3)
    place, gather = next((i, node) for i, node in enumerate(model.graph.node) if node.op_type == "Gather")
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1]), "last"))
    model.graph.node.insert(place, helper.make_node("Unsqueeze", [gather.input[1], "last"], ["index"]))
    indexed = helper.make_node("GatherND", [gather.input[0], "index"], gather.output, name=gather.name)
    model.graph.node[place + 1].CopyFrom(indexed)
    graph = lower(model)
    assert [node.name for node in graph] == [node.name for node in lower(mixture(seed=3))]
    assert compare(graph, model, frames(64)).mismatches == 0


def test_folding_keeps_the_integers_and_the_choice_takes_one_cycle():
    graph, x = lower(mixture(seed=3)), frames(20)
    expected = Emulator(graph).run(x)
    table = {node.name: node.kernel.foldings()[-1] for node in graph}
    folded = insert_width_converters(apply_folding(graph, table))
    np.testing.assert_array_equal(Emulator(folded).run(x), expected)
    slow = next(node.kernel for node in graph if node.name == "experts0")
    assert slow.interval == 1 + OUTPUTS * INPUTS
    connected = insert_width_converters(graph)
    assert simulate(insert_fifos(connected, size_fifos(connected)), 8).interval == max(
        node.kernel.interval for node in graph
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gate": "float"}, "gate is not quantized, so float32 rounding could change what it decides"),
        ({"axis": 0}, "it chooses along another axis than that of the logits"),
        ({"last": 1}, "it takes the last of equal logits"),
        ({"experts": 4}, "there are 3 matrices for the 4 logits"),
        ({"scale": np.array([0.25, 0.5, 0.25]).reshape(3, 1, 1)}, "the sums of its experts have different scales"),
    ],
)
def test_what_has_nearly_the_form_is_refused_by_name(options, message):
    with pytest.raises(BitfabricError, match=message) as error:
        lower(mixture(**options))
    assert "\n" not in str(error.value)


def test_other_tables_and_indices_are_refused():
    model = mixture()
    gather = next(node for node in model.graph.node if node.op_type == "Gather")
    gather.input[1] = "cast"
    at = list(model.graph.node).index(gather)
    model.graph.node.insert(at, helper.make_node("Cast", ["summed"], ["cast"], name="cast_node", to=TensorProto.INT64))
    model.graph.node.insert(
        at, helper.make_node("ReduceMax", ["logits"], ["summed"], name="sum_node", axes=[1], keepdims=0)
    )
    with pytest.raises(BitfabricError, match="its index cast is no ArgMax; write MatMul"):
        lower(model)
