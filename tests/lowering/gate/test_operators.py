"""The order of the gate's checks: operators that cannot be lowered come first; what is well defined is accepted."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hw.host.errors import BitfabricError
from hw.lowering.lower import lower
from hw.simulation.emulator import Emulator
from hw.verification.reference import Reference, compare
from tests.builders.qonnx_builder import Builder
from tests.lowering.gate.small_models import dense, node, refusal

pytestmark = pytest.mark.quick


def sequence(*operators: tuple[str, dict], sizes=("N", "T", 6)) -> onnx.ModelProto:
    """A quantized input with a dynamic length of its sequence, and nodes that no kernel computes, one after another."""
    b = Builder(sizes)
    x = b.quant("x", 0.25, 4)
    for op, attributes in operators:
        x = b.node(op, x, **attributes)
    return b.model((x, ("N", "T", "K")))


BODY = helper.make_graph([], "body", [], [])


@pytest.mark.parametrize(("op", "attributes", "text"), [
    ("LSTM", {"hidden_size": 4}, "LSTM_1: LSTM cannot be lowered: there is no kernel for it"),
    ("GRU", {"hidden_size": 4}, "GRU_1: GRU cannot be lowered: there is no kernel for it"),
    ("NonZero", {}, "NonZero_1: NonZero cannot be lowered: there is no kernel for it"),
    ("Einsum", {"equation": "bij->bi"}, "Einsum_1: Einsum cannot be lowered: there is no kernel for it"),
    ("Loop", {"body": BODY}, r"Loop_1: Loop holds a subgraph (body)"),
    ("If", {"then_branch": BODY}, r"If_1: If holds a subgraph (then_branch)"),
])  # fmt: skip
def test_the_operator_is_named_not_the_dynamic_size(op, attributes, text):
    assert refusal(sequence((op, attributes))).startswith(text)


def test_attention_is_named_by_its_product():
    b = Builder(("N", "T", 6))
    x = b.quant("x", 0.25, 4)
    x = b.node("MatMul", x, b.node("Transpose", x, perm=[0, 2, 1]))
    text = refusal(b.model((x, ("N", "T", "T"))))
    assert text == (
        "MatMul_2: MatMul cannot be lowered: both its factors (t0, t1) are computed while running; a layer has "
        "constant weights; attention has none"
    )


def test_all_unsupported_operators_are_named_in_one_line():
    text = refusal(sequence(("LSTM", {"hidden_size": 4}), ("NonZero", {}), ("GRU", {"hidden_size": 4})))
    assert text.endswith("; neither can NonZero (NonZero_2), GRU (GRU_3)")
    many = refusal(sequence(*[("NonZero", {})] * 20))
    assert many.endswith("NonZero (NonZero_5), NonZero (NonZero_6) and 14 more")


def test_operators_on_shapes_and_constants_are_not_meant():
    """NonZero of a constant is no kernel's: it is refused where constants are computed."""
    b = Builder((1, 6))
    b.node("NonZero", b.constant([1.0, 0.0]))
    x = b.node("MatMul", b.quant("x", 0.25, 4), b.quant(np.eye(6), 0.5, 4))
    lower(b.model((x, (1, 6))))
    with pytest.raises(BitfabricError, match="LSTM_1"):
        lower(sequence(("LSTM", {"hidden_size": 4})))


def unused_input(value: onnx.ValueInfoProto):
    def change(model: onnx.ModelProto) -> None:
        model.graph.input.append(value)

    return change


def unused_first(model: onnx.ModelProto) -> None:
    inputs = [helper.make_tensor_value_info("left", TensorProto.STRING, ["a", None]), *model.graph.input]
    del model.graph.input[:]
    model.graph.input.extend(inputs)


def initializers_as_inputs(model: onnx.ModelProto) -> None:
    for each in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(each.name, each.data_type, each.dims))


def symbolic(model: onnx.ModelProto) -> None:
    for number, each in enumerate(model.graph.node):
        info = helper.make_tensor_value_info(each.output[0], TensorProto.FLOAT, ["N", f"{each.name}_dim_1"])
        if number + 1 < len(model.graph.node):
            model.graph.value_info.append(info)
        else:
            model.graph.output[0].CopyFrom(info)


def output_shape(*shape):
    def change(model: onnx.ModelProto) -> None:
        name = model.graph.output[0].name
        model.graph.output[0].CopyFrom(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    return change


def no_output_type(model: onnx.ModelProto) -> None:
    model.graph.output[0].ClearField("type")


ACCEPTED = {
    "strings": unused_input(helper.make_tensor_value_info("left", TensorProto.STRING, [1])),
    "a sequence": unused_input(helper.make_tensor_sequence_value_info("left", TensorProto.FLOAT, None)),
    "no shape": unused_input(helper.make_tensor_value_info("left", TensorProto.FLOAT, None)),
    "no type": unused_input(onnx.ValueInfoProto(name="left")),
    "before the input": unused_first,
    "initializers as inputs": initializers_as_inputs,
    "symbolic sizes inside": symbolic,
    "an output of symbolic size": output_shape("N", "classes"),
    "an output of another size": output_shape(1, 77),
    "an output of another rank": output_shape(1, 1, 3),
    "an output without a type": no_output_type,
}


@pytest.mark.parametrize("change", ACCEPTED.values(), ids=ACCEPTED)
def test_what_is_well_defined_is_accepted(change):
    """Descriptions that nothing depends on: the graph, the reference and the integers are the same."""
    model, plain, frames = dense(), dense(), np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    change(model)
    graph = lower(model)
    np.testing.assert_array_equal(Emulator(graph).run(frames), Emulator(lower(plain)).run(frames))
    np.testing.assert_array_equal(Reference(model).run(frames), Reference(plain).run(frames))
    assert compare(graph, model, frames).mismatches == 0


def test_a_network_of_symbolic_bipolar_layers():
    """The intrusion detector of QONNX's model zoo: batch normalization and BipolarQuant, every size after the first a
    symbol ("BipolarQuant63_dim_1")."""
    rng, b = np.random.default_rng(1), Builder(("batch", 12))
    x = b.node("BipolarQuant", "x", 1.0)
    for inputs, outputs in ((12, 8), (8, 8), (8, 1)):
        x = b.node("MatMul", x, b.node("BipolarQuant", rng.normal(size=(inputs, outputs)), 1.0))
        x = b.batch_norm(x, *(rng.uniform(0.5, 1.5, outputs) for _ in range(4)), epsilon=1e-5)
        x = b.node("BipolarQuant", x, 1.0)
    model = b.model((x, ("batch", "BipolarQuant63_dim_1")))
    symbolic(model)
    frames = rng.normal(size=(50, 12)).astype(np.float32)
    graph = lower(model)
    assert graph.outputs[0].shape == (1,)
    compared = compare(graph, model, frames)
    assert compared.mismatches == compared.explained, compared.describe()


def test_an_input_that_is_used_is_still_checked():
    model = sequence(("Relu", {}))
    assert "x has a dynamic size T besides the batch" in refusal(model)
    model = dense()
    node(model, "Relu_3").input[0] = "left"
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "other"))
    model.graph.input.append(helper.make_tensor_value_info("left", TensorProto.STRING, [1]))
    assert "input left is of type string" in refusal(model)
