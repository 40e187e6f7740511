"""The tables of handlers: which operator sets are known, and how another package adds an operator."""

from importlib.metadata import EntryPoint, EntryPoints

import numpy as np
import onnx
import pytest
from onnx import helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.base import CustomOp
from qonnx.custom_op.registry import add_op_to_domain

from hw import plugins
from hw.host.errors import BitfabricError, UsageError
from hw.host.steps import step
from hw.lowering.lower import lower, lower_model
from hw.simulation.emulator import Emulator
from hw.verification.layers import drive
from hw.verification.reference import Reference, compare, random_frames
from tests.builders.qonnx_builder import Builder

pytestmark = pytest.mark.quick

WEIGHTS = np.random.default_rng(0).integers(-7, 8, (6, 4)).astype(np.float32)


def model(domain: str, op: str):
    """Quant, the operator, MatMul."""
    b = Builder((1, 6))
    x = b.node(op, b.quant("x", 0.5, 4))
    b.nodes[-1].domain = domain
    made = b.model((b.node("MatMul", x, b.quant(WEIGHTS, 1.0, 4)), (1, 4)))
    if domain:
        made.opset_import.add(domain=domain, version=1)
    return made


@pytest.mark.parametrize("domain", ["qonnx.custom_op.fpgadataflow", "com.microsoft"])
def test_an_operator_of_another_domain_is_refused_by_that_name(domain):
    with pytest.raises(UsageError, match=f"^Relu_1: Relu is from the domain {domain}, which is not known") as error:
        lower(model(domain, "Relu"))
    assert f"handler for {domain}::Relu" in str(error.value)


def test_onnx_has_two_names_for_its_domain():
    frames = random_frames(lower(model("", "Neg")), 20)
    outputs = [Emulator(lower(model(domain, "Neg"))).run(frames) for domain in ("", "ai.onnx")]
    np.testing.assert_array_equal(*outputs)


class Half(CustomOp):
    """``x / 2``, as qonnx executes it."""

    def get_nodeattr_types(self):
        return {}

    def make_shape_compatible_op(self, model: ModelWrapper):
        return helper.make_node("Neg", self.onnx_node.input, self.onnx_node.output)

    def infer_node_datatype(self, model: ModelWrapper):
        pass

    def execute_node(self, context, graph):
        context[self.onnx_node.output[0]] = context[self.onnx_node.input[0]] / 2

    def verify_node(self):
        return []


def lower_half(context, node):
    """A handler as another package would write it."""
    tensor = context.integers(node.input[0], node)
    context.values[node.output[0]] = tensor.then((step("Div", 2.0),), node.name)


def test_a_package_adds_an_operator(monkeypatch):
    add_op_to_domain("test.half", Half)
    entry = EntryPoint("test.half::Half", f"{__name__}:lower_half", "bitfabric.handlers")
    monkeypatch.setattr(plugins, "_group", lambda group, path: EntryPoints([entry]))
    made = model("test.half", "Half")
    graph = lower(made)
    assert compare(graph, made, random_frames(graph, 50)).mismatches == 0


class Blind(Half):
    """The same without shape inference."""

    def make_shape_compatible_op(self, model: ModelWrapper):
        raise NotImplementedError


def test_an_operator_without_inference_has_the_shape_that_the_file_states(monkeypatch):
    """The loader leaves out what a file says of tensors inside, but does not ask for what it said."""
    add_op_to_domain("test.half", Blind)
    entry = EntryPoint("test.half::Blind", f"{__name__}:lower_half", "bitfabric.handlers")
    monkeypatch.setattr(plugins, "_group", lambda group, path: EntryPoints([entry]))
    made = model("test.half", "Blind")
    with pytest.raises(BitfabricError, match=r"Blind_1: .* or export the model with the shapes of its tensors"):
        lower(made)
    made.graph.value_info.append(helper.make_tensor_value_info("t1", onnx.TensorProto.FLOAT, ["batch", 6]))
    graph, reference = lower(made), Reference(made)
    assert compare(graph, made, random_frames(graph, 50)).mismatches == 0
    assert not drive(graph, lower_model(reference.model), reference).wrong


def test_an_entry_point_that_cannot_be_imported_is_named(monkeypatch):
    entry = EntryPoint("test.half::Half", "no.such.module:function", "bitfabric.handlers")
    monkeypatch.setattr(plugins, "_group", lambda group, path: EntryPoints([entry]))
    with pytest.raises(BitfabricError, match=r"^test\.half::Half: no\.such\.module:function, .* cannot be imported"):
        lower(model("test.half", "Half"))


def test_two_packages_with_one_operator_are_named(monkeypatch):
    entries = [EntryPoint("test.half::Half", f"{name}:lower", "bitfabric.handlers") for name in ("a", "b")]
    monkeypatch.setattr(plugins, "_group", lambda group, path: EntryPoints(entries))
    with pytest.raises(BitfabricError, match=r"several packages provide it .*\(a:lower, b:lower\)"):
        lower(model("test.half", "Half"))
