"""The user's own names on the layers of a graph: of nodes, and of modules as exporters state them."""

import contextlib
import io
import warnings

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from hw import finn
from hw.ir.origin import Origin
from hw.lowering.lower import lower
from hw.lowering.module_names import SCOPES, module_names
from hw.passes.fifos import insert_fifos, streams
from hw.passes.fold import apply_folding, current_folding
from hw.passes.lanes import insert_width_converters
from hw.passes.strip import strip
from tests.builders.hostile_names import HOSTILE
from tests.builders.qonnx_builder import Builder


def named(name: str, scopes: str = "", op: str = "Conv", weight: str = "w") -> str:
    """The module of one node of this name, with metadata and weights of these names."""
    node = helper.make_node(op, ["x", weight], ["y"], name=name)
    if scopes:
        node.metadata_props.append(onnx.StringStringEntryProto(key=SCOPES, value=scopes))
    weights = numpy_helper.from_array(np.zeros(1, np.float32), weight)
    return module_names(helper.make_graph([node], "g", [], [], [weights])).get(name, "")


@pytest.mark.quick
@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("/blocks/blocks.0/first/conv/Conv", "blocks.0.first.conv"),
        ("/features/features.0/features.0.1/Conv_2", "features.0.1"),
        ("/layer1/layer1.0/conv1/Conv_output_0_QuantizeLinear", "layer1.0.conv1"),
        ("/act/act_quant/export_handler_1/Quant", "act"),
        ("/conv/output_quant/export_handler/Quant", "conv.output_quant"),
        ("/Add", ""),
        ("Conv_9", ""),
        ("node_conv2d_1", ""),
        ("StatefulPartitionedCall/model/dense/MatMul", "model/dense"),
        ("model/fc1/MatMul;model/fc1/BiasAdd", ""),
    ],
)
def test_a_path_states_the_module(name, module):
    assert named(name) == module


@pytest.mark.quick
@pytest.mark.parametrize(
    ("scopes", "module"),
    [
        ("['', 'blocks', 'blocks.0', 'blocks.0.conv', 'conv2d_1']", "blocks.0.conv"),
        ("['', 'act', 'act.act_quant', 'act.act_quant.fused_activation_quant_proxy.activation_impl', 'relu']", "act"),
        ("['', 'view']", "/from/path"),
        ("['']", "/from/path"),
        ("[", "/from/path"),
        ("__import__('os').abort()", "/from/path"),
        ("[" * 100_000, "/from/path"),
        (r"['', 'a\x1b', 'b']", "/from/path"),
        ("['', 'a\x1b[2J', 'b']", ""),
    ],
)
def test_metadata_states_the_module_unless_it_is_damaged(scopes, module):
    assert named("/from/path/Conv", scopes) == module.lstrip("/").replace("/", ".")


@pytest.mark.quick
@pytest.mark.parametrize(
    ("weight", "module"),
    [
        ("layer1.0.conv1.weight", "layer1.0.conv1"),
        ("conv1.weight_quantized", "conv1"),
        ("stem.weight_quant.export_handler.lifted_tensor_3", "stem"),
        ("onnx::Conv_123", ""),
        ("Conv_0_param0", ""),
        ("weight", ""),
    ],
)
def test_weights_state_the_module_of_a_node_named_by_operator_and_number(weight, module):
    assert named("Conv_9", weight=weight) == module


def test_shared_weights_state_no_module():
    b = Builder((1, 2, 4, 4))
    b.constants.append(numpy_helper.from_array(np.ones((2, 2, 1, 1), np.float32), "a.weight"))
    first = b.node("Conv", "x", "a.weight")
    b.node("Conv", first, "a.weight")
    graph = helper.make_graph(b.nodes, "g", [], [], b.constants)
    assert module_names(graph) == {}


@settings(max_examples=30, deadline=None)
@given(name=st.text() | st.sampled_from(HOSTILE), scopes=st.text() | st.sampled_from([str(["", n]) for n in HOSTILE]))
def test_any_names_are_read_and_only_printable_ones_are_used(name, scopes):
    with contextlib.suppress(UnicodeEncodeError):
        assert named(name, scopes).isprintable()


def chain(*weights: str) -> onnx.ModelProto:
    """An input quantizer, and convolutions with quantizers behind them, of weights of these names."""
    b = Builder((1, 2, 4, 4))
    value = b.quant("x", 1.0, 4)
    for weight in weights:
        values = np.random.default_rng(0).integers(-2, 2, (2, 2, 3, 3))
        b.constants.append(numpy_helper.from_array(values.astype(np.float32), weight))
        value = b.node("Conv", value, b.quant(weight, 1.0, 3), pads=[1, 1, 1, 1])
        value = b.quant(b.node("Relu", value), 4.0, 4, signed=0)
    return b.model((value, (1, 2, 4, 4)))


def test_every_layer_has_the_names_of_what_it_was_made_from():
    graph = lower(chain("net.0.conv.weight", "w"))
    assert [(n.name, n.origin) for n in graph] == [
        ("conv0_window", Origin("Conv_2", "net.0.conv")),
        ("conv0", Origin("Conv_2", "net.0.conv")),
        ("conv0_threshold", Origin("Quant_4", "")),
        ("conv1_window", Origin("Conv_6", "")),
        ("conv1", Origin("Conv_6", "")),
        ("conv1_threshold", Origin("Quant_8", "")),
    ]
    assert graph.node("conv0").title == "conv0 (net.0.conv)"
    assert graph.node("conv1").title == "conv1 (Conv_6)"


def test_names_pass_through_folding_converters_fifos_and_finn():
    graph = lower(chain("net.0.conv.weight", "net.1.conv.weight"))
    table = {name: min(graph.node(name).kernel.foldings(), key=lambda f: f.pe) for name in current_folding(graph)}
    folded = insert_width_converters(apply_folding(graph, table))
    hardware = insert_fifos(folded, dict.fromkeys(streams(folded), 4))
    assert len(hardware.nodes) > len(graph.nodes)
    assert {n.name: n.origin for n in hardware if n.origin.node} == {n.name: n.origin for n in graph}
    assert [n.origin for n in strip(hardware)] == [n.origin for n in graph]
    read = finn.read(finn.write(graph))
    assert {n.name: n.origin.module for n in read} == {n.name: n.origin.module for n in graph}


def test_quantizers_behind_one_layer_are_numbered_after_the_layer():
    b = Builder((1, 4))
    weights = b.quant(np.arange(8).reshape(4, 2) - 4, 1.0, 4)
    value = b.node("MatMul", b.quant("x", 1.0, 4), weights)
    for scale in (4.0, 8.0, 16.0):
        value = b.quant(value, scale, 4)
    names = [node.name for node in lower(b.model((value, (1, 2))))]
    assert names[0] == "fc0"
    assert names[1:] == ["fc0_threshold", "fc0_threshold_2", "fc0_threshold_3"][: len(names) - 1]


def brevitas_network(qnn, torch):
    """A residual network of Brevitas layers, with nested containers."""

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            conv = qnn.QuantConv2d(2, 2, 1, bias=False, weight_bit_width=4)
            self.first = torch.nn.Sequential(conv, torch.nn.BatchNorm2d(2), qnn.QuantReLU(bit_width=4))

        def forward(self, x):
            return x + self.first(x)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inp = qnn.QuantIdentity(bit_width=8)
            self.stem = qnn.QuantConv2d(1, 2, 1, bias=True, weight_bit_width=4)
            self.act = qnn.QuantReLU(bit_width=4)
            self.blocks = torch.nn.Sequential(Block(), Block())
            self.head = qnn.QuantLinear(2 * 4, 3, bias=False, weight_bit_width=4)

        def forward(self, x):
            return self.head(self.blocks(self.act(self.stem(self.inp(x)))).flatten(1))

    return Net()


def exported_names(tmp_path, dynamo: bool) -> list[str]:
    torch = pytest.importorskip("torch")
    qnn = pytest.importorskip("brevitas.nn")
    from brevitas.export import export_qonnx

    torch.manual_seed(0)
    network = brevitas_network(qnn, torch)
    path = tmp_path / "model.onnx"
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        export_qonnx(network.eval(), torch.rand(1, 1, 2, 2), export_path=str(path), dynamo=dynamo)
    return [node.title for node in lower(str(path)) if node.origin.node]


EXPORTED = [
    "conv0 (stem)", "conv0_threshold (act)",
    "conv1 (blocks.0.first.0)", "conv1_threshold (blocks.0.first.2)", "add0 (blocks.0)",
    "conv2 (blocks.1.first.0)", "conv2_threshold (blocks.1.first.2)", "add1 (blocks.1)",
    "fc0 (head)",
]  # fmt: skip


def test_layers_have_the_modules_of_brevitas_networks_exported_by_torchscript(tmp_path):
    assert exported_names(tmp_path, dynamo=False) == EXPORTED


@pytest.mark.slow
def test_layers_have_the_modules_of_brevitas_networks_exported_by_dynamo(tmp_path):
    assert exported_names(tmp_path, dynamo=True) == EXPORTED


def test_layers_have_the_modules_of_networks_of_quant(tmp_path):
    torch = pytest.importorskip("torch")
    from quant import export
    from quant.models.registry import create_model

    torch.manual_seed(0)
    path = tmp_path / "model.onnx"
    export(create_model("tfc-w1a1").eval(), path)
    graph = lower(path)
    assert [node.title for node in graph] == [
        *(f"fc{i}{part}" for i in range(3) for part in (f" (hidden.{i}.linear)", f"_threshold (hidden.{i}.act)")),
        "fc3 (output)",
    ]
    assert graph.node("fc0").origin.node == "hidden_0_linear_MatMul"
