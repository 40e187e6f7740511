"""The exported file computes torch's integers, for every width, and a wrong one is never written."""

import copy

import numpy as np
import onnx
import pytest
import torch
from brevitas.export.onnx.qonnx.handler import BrevitasWeightQuantProxyHandler
from onnx import numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.util.cleanup import cleanup_model

from quant import create_model, export, layers, schemes
from quant.errors import QuantError
from quant.models.network import Network
from quant.qonnx import verify
from quant.qonnx.handlers import Manager
from quant.training.lightning_module import parameter_groups


def trained(name: str, seed: int = 0, **options):
    """A network with trained-looking statistics and scales, in seconds."""
    torch.manual_seed(seed)
    model = create_model(name, in_features=24, classes=5, **options)
    optimizer = torch.optim.Adam(parameter_groups(model, 1e-2))
    for _ in range(35):
        x = torch.randint(0, 17, (60, 24)).float()
        loss = torch.nn.functional.cross_entropy(model(x), x[:, 0].long() % 5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def frames(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 17, (count, 24)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tfc-w1a1", {}),
        ("tfc-w1a1", {"in_bits": 1}),
        ("tfc-w1a1", {"bias": True, "dropout": 0.2}),
        ("tfc-w1a3", {}),
        ("tfc-w2a2", {}),
        ("tfc-wternarya2", {}),
        ("tfc-w4a4", {"batch_norm": False}),
        ("tfc-w8a8", {}),
        ("tfc-w8a8", {"scheme": "fixed_point", "batch_norm": True}),
        ("tfc-w16a16", {}),
    ],
)
def test_qonnx_equals_torch(tmp_path, capfd, name, options):
    model = trained(name, **options)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    verification = export(model, tmp_path / "model.onnx", frames(40))
    assert (verification.frames, verification.quantizers) == (40, 4)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert capfd.readouterr() == ("", "")

    # The network itself is as it was, still in training mode, and can go on.
    assert model.training
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key])
    copy.deepcopy(model)(torch.from_numpy(frames(3)))

    wrapper = ModelWrapper(str(tmp_path / "model.onnx"))
    nodes = {node.name: node for node in wrapper.graph.node}
    for module, layer in (("hidden_1_linear", model.hidden[1].linear), ("output", model.output)):
        [quantizer] = (node for key, node in nodes.items() if key.startswith(f"{module}_weight_quant_"))
        weight = wrapper.get_initializer(quantizer.input[0])
        stored = weight if layer.bias is not None else weight.T  # Gemm transposes, MatMul does not
        np.testing.assert_array_equal(stored, layer.quant_weight().value.detach().numpy())

    # As any user would execute it, after qonnx's own cleanup and with the batch in the graph.
    batched = cleanup_model(wrapper, override_inpsize=40)
    found = execute_onnx(batched, {"global_in": frames(40)})["global_out"]
    model.eval()
    expected = model(torch.from_numpy(frames(40))).detach().numpy()
    if model.scheme.unit_weights and name.endswith("a1") and not options.get("bias"):
        np.testing.assert_array_equal(found, expected)  # nothing rounds: integers times a power of two
    assert np.abs(found - expected).max() == pytest.approx(verification.float32_max_abs_diff)


def test_interface_and_names(tmp_path):
    export(trained("tfc-w1a1"), tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph
    shape = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*graph.input, *graph.output)}
    assert shape == {"global_in": [1, 24], "global_out": [1, 5]}
    names = [node.name for node in graph.node]
    assert len(set(names)) == len(names)
    assert {"input_quant_act_quant_Quant", "hidden_0_linear_MatMul", "hidden_2_act_act_quant_BipolarQuant"} <= set(
        names
    )
    for tensor in graph.initializer:
        assert tensor.data_location == onnx.TensorProto.DEFAULT
        numpy_helper.to_array(tensor)


def test_equal_networks_give_equal_files(tmp_path):
    for name in ("a.onnx", "b.onnx"):
        export(trained("tfc-w2a2"), tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_a_wrong_export_is_refused(tmp_path, monkeypatch):
    (tmp_path / "model.onnx").write_bytes(b"older")
    model = trained("tfc-w16a16")
    with torch.no_grad():  # weights half-way between codes, where Brevitas's export rounds otherwise than training
        layer = model.hidden[0].linear
        layer.weight[0, 0] = layer.weight.abs().max()
        scale = layer.quant_weight().scale
        layer.weight[1:, 1:] = (torch.round(layer.weight[1:, 1:] / scale) // 2 * 2 + 0.5) * scale
    monkeypatch.setattr(Manager, "handlers", [BrevitasWeightQuantProxyHandler, *Manager.handlers])
    with pytest.raises(QuantError, match=r"integers of hidden.0.act.act_quant differ, the first at"):
        export(model, tmp_path / "model.onnx", frames(40))
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert (tmp_path / "model.onnx").read_bytes() == b"older"
    monkeypatch.undo()
    assert export(model, tmp_path / "model.onnx", frames(40)).max_abs_diff == 0


SMALL = {"input_shape": (1, 8, 8), "in_range": (0, 16), "classes": 4}


class Signals(Network):
    """1-D: a convolution and a max pool, a depthwise convolution, a mean over windows, linear."""

    def __init__(self, scheme) -> None:
        super().__init__("signals", scheme, (2, 16), 4, (0, 16))
        self.input = layers.InputQuant(4, 0, 16)
        wide = layers.conv(scheme.edge, 2, 6, 3, padding=1, dimensions=1)
        self.wide = layers.block(scheme, wide, 6, 1, pool=torch.nn.MaxPool1d(2))
        self.thin = layers.block(scheme, layers.depthwise(scheme, 6, 3, dimensions=1), 6, 1)
        self.mean = layers.average_pool(scheme, 2, 1)
        self.output = layers.linear(scheme.edge, 24, 4)

    def forward(self, x):
        return self.output(self.mean(self.thin(self.wide(self.input(x)))).flatten(1))


def settled(model: Network) -> Network:
    torch.manual_seed(1)
    for _ in range(4):
        model(torch.randint(0, 17, (24, *model.input_shape)).float())
    return model


CONVOLUTIONS = {
    "signals": (lambda scheme: Signals(scheme), 4),
    "lenet5": (lambda scheme: create_model("lenet5", scheme, **SMALL | {"input_shape": (1, 16, 16)}, width=0.5), 5),
    "resnet8": (lambda scheme: create_model("resnet8", scheme, **SMALL, width=0.25), 14),
    "mobilenet": (lambda scheme: create_model("mobilenet-v1", scheme, **SMALL, width=0.06), 28),
}


@pytest.mark.parametrize(
    ("network", "scheme", "parameters"),
    [
        ("signals", "integer", {}),
        ("signals", "hwgq", {"uniform": False}),
        ("signals", "fixed_point", {}),
        ("lenet5", "learned_step", {}),
        ("lenet5", "gupta", {}),
        ("resnet8", "integer", {}),
        ("resnet8", "hwgq", {}),
        ("resnet8", "accumulator_aware", {"accumulator_bits": 18}),
        ("resnet8", "fixed_point", {"rounding": "floor"}),
        pytest.param("mobilenet", "integer", {}, marks=pytest.mark.slow),
        pytest.param("mobilenet", "fixed_point", {}, marks=pytest.mark.slow),
    ],
)
def test_convolutional_networks(network, scheme, parameters, tmp_path):
    build, quantizers = CONVOLUTIONS[network]
    torch.manual_seed(0)
    model = settled(build(schemes.get(scheme, **parameters)))
    verification = export(model, tmp_path / "model.onnx")
    assert (verification.frames, verification.quantizers) == (64, quantizers)
    assert verification.max_abs_diff < 1e-9
    names = [node.name for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert len(set(names)) == len(names)
    first = {"signals": "wide_conv", "lenet5": "features_0_conv", "resnet8": "stem_conv", "mobilenet": "stem_conv"}
    assert f"{first[network]}_Conv" in names


def test_the_operands_of_a_sum_share_their_scale(tmp_path):
    export(settled(CONVOLUTIONS["resnet8"][0](schemes.get("integer"))), tmp_path / "model.onnx")
    wrapper = ModelWrapper(str(tmp_path / "model.onnx"))
    for index in range(3):
        add = wrapper.get_node_from_name(f"blocks_{index}_add_Add")
        operands = [wrapper.find_producer(name) for name in add.input]
        called = f"blocks_{index}_add_quant_act_quant_Quant"
        assert [node.name for node in operands] == [called, f"{called}_1"]
        scales = [wrapper.get_initializer(node.input[1]) for node in operands]
        assert scales[0] == scales[1]


def test_frames_are_checked_in_parts(tmp_path, monkeypatch):
    model = trained("tfc-w2a2")
    whole = export(model, tmp_path / "a.onnx", frames(50))
    monkeypatch.setattr(verify, "_ELEMENTS", 64 * 7)  # of hidden tensors of 64: 7 frames, 50 = 7 * 7 + 1
    parts = export(model, tmp_path / "b.onnx", frames(50))
    assert (parts.frames, parts.quantizers, parts.max_abs_diff) == (50, 4, whole.max_abs_diff)
    calls = []
    monkeypatch.setattr(verify, "_compare", lambda *arguments: calls.append(arguments))
    export(model, tmp_path / "c.onnx", frames(50))
    assert len(calls) == 8 * 4


def test_no_folder(tmp_path):
    with pytest.raises(QuantError, match="there is no folder"):
        export(create_model("tfc-w1a1"), tmp_path / "none" / "model.onnx")
