"""Export of modules that were built with Brevitas itself, where its own export gives wrong integers or fails."""

import copy

import brevitas.nn as qnn
import numpy as np
import onnx
import pytest
import torch
from brevitas.inject.enum import FloatToIntImplType
from brevitas.quant import (
    Int8Bias,
    Int8BiasPerTensorFloatInternalScaling,
    Int8WeightPerTensorFloat,
    SignedBinaryActPerTensorConst,
    SignedBinaryWeightPerTensorConst,
)
from brevitas.quant.experimental.float import Fp8e4m3ActPerTensorFloat
from brevitas.quant.scaled_int import (
    Int8AccumulatorAwareWeightQuant,
    Int8AccumulatorAwareZeroCenterWeightQuant,
    Int8WeightPerChannelFloat,
)
from brevitas.quant.shifted_scaled_int import ShiftedUint8ActPerTensorFloat
from onnx import helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx

from hw.lowering.lower import lower
from hw.simulation.emulator import Emulator
from quant import export
from quant.errors import QuantError


def frames(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(40, *(shape or (12,)))).astype(np.float32)


def settled(model: torch.nn.Module, *shape: int) -> torch.nn.Module:
    """With statistics and scales of a few batches."""
    torch.manual_seed(0)
    for _ in range(3):
        model(torch.randn(50, *(shape or (12,))))
    return model


def mlp(activation=None, first=None, **weights) -> torch.nn.Module:
    weights = {"weight_quant": Int8WeightPerTensorFloat, "weight_bit_width": 4, **weights}
    torch.manual_seed(1)
    network = torch.nn.Sequential(
        first or qnn.QuantIdentity(bit_width=8, return_quant_tensor=True),
        qnn.QuantLinear(12, 9, bias=True, **weights),
        activation or qnn.QuantReLU(bit_width=4, return_quant_tensor=True),
        qnn.QuantLinear(9, 5, bias=False, **weights),
    )
    return settled(network)


def attributes(path, op: str, name: str) -> list:
    nodes = [node for node in onnx.load(path).graph.node if node.op_type == op]
    return [helper.get_attribute_value(each) for node in nodes for each in node.attribute if each.name == name]


@pytest.mark.parametrize(
    "weights",
    [
        {"weight_float_to_int_impl_type": "FLOOR"},
        {"weight_float_to_int_impl_type": "CEIL"},
        {"weight_float_to_int_impl_type": "ROUND_TO_ZERO"},
        {"weight_quant": Int8WeightPerChannelFloat, "weight_float_to_int_impl_type": "FLOOR"},
        {"weight_quant": SignedBinaryWeightPerTensorConst, "weight_bit_width": 1},
        {"weight_quant": Int8AccumulatorAwareWeightQuant, "weight_accumulator_bit_width": 12},
        {"weight_quant": Int8AccumulatorAwareZeroCenterWeightQuant, "weight_accumulator_bit_width": 12},
        {"bias_quant": Int8Bias},
        {"bias_quant": Int8Bias, "bias_float_to_int_impl_type": "FLOOR"},
        {"bias_quant": Int8BiasPerTensorFloatInternalScaling, "bias_float_to_int_impl_type": "CEIL"},
    ],
    ids=lambda value: "-".join(getattr(each, "__name__", str(each)) for each in value.values()),
)
def test_weights_and_biases_are_those_of_training(weights, tmp_path):
    model = mlp(**weights)
    path = tmp_path / "model.onnx"
    verification = export(model, path, frames())
    assert verification.quantizers == 2
    assert verification.max_abs_diff < 1e-12
    found = execute_onnx(ModelWrapper(str(path)), {"global_in": frames()[:1]})["global_out"]
    expected = model.eval()(torch.from_numpy(frames()[:1])).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("mode", "written"),
    [("FLOOR", b"FLOOR"), ("CEIL", b"CEIL"), ("ROUND_TO_ZERO", b"DOWN"), ("STOCHASTIC_ROUND", b"ROUND")],
)
def test_activations_round_as_in_use(mode, written, tmp_path):
    signed = qnn.QuantIdentity(bit_width=4, float_to_int_impl_type=mode, return_quant_tensor=True)
    export(mlp(activation=signed), tmp_path / "model.onnx", frames())
    modes = attributes(tmp_path / "model.onnx", "Quant", "rounding_mode")
    assert modes.count(written) >= 1
    assert set(modes) == {b"ROUND", written}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: mlp(activation=qnn.QuantReLU(float_to_int_impl_type="DPU")), "2.act_quant rounds with DPU"),
        (lambda: mlp(first=qnn.QuantIdentity(act_quant=Fp8e4m3ActPerTensorFloat)), "0.act_quant is a ActFloatQuant"),
        (lambda: torch.nn.Sequential(mlp(), _Fails()), "its layer 1.inner cannot be exported: no such thing"),
        (lambda: torch.nn.Sequential(mlp(), _Unknown()), "the model cannot be exported"),
    ],
)
def test_what_cannot_be_exported_is_said_in_a_line(model, message, tmp_path, capfd):
    network = model()
    with pytest.raises(QuantError, match=message) as caught:
        export(network, tmp_path / "model.onnx", frames())
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
    # Still in training mode and none of its quantizers in export mode, which would fail here.
    assert network.training
    assert not any(getattr(module, "export_mode", False) for module in network.modules())
    network[0](torch.randn(3, 12))


class _Raises(torch.nn.Module):
    def forward(self, x):
        raise ValueError("no such thing\nas this")


class _Fails(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = _Raises()

    def forward(self, x):
        return self.inner(x)


class _Unknown(torch.nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x)


class Branches(torch.nn.Module):
    """Shared and Brevitas's own sums, convolutions, truncating average pool, a quantized bias, a quantized output."""

    def __init__(self) -> None:
        super().__init__()
        self.first = qnn.QuantIdentity(return_quant_tensor=True)
        self.conv = qnn.QuantConv2d(3, 4, 3, padding=1, bias=False, weight_bit_width=4)
        self.relu = qnn.QuantReLU(bit_width=4, return_quant_tensor=True)
        self.depthwise = qnn.QuantConv2d(4, 4, 3, padding=1, groups=4, bias=False)
        self.shared = qnn.QuantIdentity(return_quant_tensor=True)
        self.add = qnn.QuantEltwiseAdd(return_quant_tensor=True)
        self.pool = qnn.TruncAvgPool2d(2, return_quant_tensor=True, float_to_int_impl_type="FLOOR")
        self.output = qnn.QuantLinear(64, 5, True, bias_quant=Int8Bias, return_quant_tensor=True)

    def forward(self, x):
        x = self.relu(self.conv(self.first(x)))
        y = self.shared(self.depthwise(x))  # first called with this, though the file has it second
        x = self.shared(x) + y
        x = self.relu(self.add(x, y).value)
        return self.output(self.pool(x).flatten(1))


def test_quantizers_that_are_called_twice(tmp_path):
    path = tmp_path / "model.onnx"
    model = settled(Branches(), 3, 8, 8)
    verification = export(model, path, frames(3, 8, 8))
    assert verification.quantizers == 9  # calls: first, relu (2), shared (2), add (3), pool
    assert verification.max_abs_diff < 1e-12
    graph = onnx.load(path).graph
    names = [node.name for node in graph.node]
    assert len(set(names)) == len(names)
    assert {"conv_Conv", "depthwise_Conv", "relu_act_quant_Quant", "shared_act_quant_Quant"} <= set(names)
    assert {"shared_act_quant_Quant_1", "relu_act_quant_Quant_1", "pool_trunc_quant_Trunc"} <= set(names)
    assert not any("place" in [each.name for each in node.attribute] for node in graph.node)
    # No initializer belongs to two nodes, so that one can be edited, and nothing lies outside of the file.
    used = [name for node in graph.node for name in node.input if name in {each.name for each in graph.initializer}]
    assert len(set(used)) == len(used) == len(graph.initializer)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    exported_scale = [
        numpy_helper.to_array(each)
        for each in graph.initializer
        if each.name.startswith("shared_act_quant") and each.name.endswith("param0")
    ]
    assert exported_scale[0] == exported_scale[1] == model.eval().shared.act_quant.scale().detach()


def test_zero_points_and_signs(tmp_path):
    first = qnn.QuantIdentity(act_quant=ShiftedUint8ActPerTensorFloat, return_quant_tensor=True)
    assert export(mlp(first=first), tmp_path / "model.onnx", frames()).max_abs_diff < 1e-12
    sign = qnn.QuantIdentity(act_quant=SignedBinaryActPerTensorConst, return_quant_tensor=True)
    export(mlp(activation=sign), tmp_path / "model.onnx", frames())
    assert "BipolarQuant" in [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]


def test_from_brevitas_to_the_integers_of_the_hardware(tmp_path):
    model = mlp(weight_quant=Int8AccumulatorAwareWeightQuant, weight_accumulator_bit_width=16, weight_bit_width=6)
    export(model, tmp_path / "model.onnx", input_shape=(12,), in_range=(-2.5, 2.5))
    expected = model.eval()(torch.from_numpy(frames())).detach().numpy()
    found = Emulator(lower(tmp_path / "model.onnx")).run(frames())
    assert np.isclose(found, expected, rtol=1e-5, atol=1e-6).all(axis=1).mean() > 0.95


def test_the_frames_default_to_the_range(tmp_path):
    model = mlp()
    assert export(model, tmp_path / "a.onnx", input_shape=(12,), in_range=(-3, 3)).frames == 64
    export(model, tmp_path / "b.onnx", frames())
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    copy.deepcopy(model)(torch.randn(2, 12))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "Sequential does not say what it takes"),
        ({"input_shape": (12,)}, "does not say what it takes"),
        ({"frames": np.zeros((0, 12))}, "at least one frame"),
        ({"frames": np.zeros((4, 13)), "input_shape": (12,)}, "of shape \\(N, 12\\), not \\(4, 13\\)"),
    ],
)
def test_what_it_takes_has_to_be_said(given, message, tmp_path):
    with pytest.raises(QuantError, match=message) as caught:
        export(mlp(), tmp_path / "model.onnx", **given)
    assert caught.value.status == 2


def test_rounding_modes_are_all_known():
    from quant.qonnx.handlers import _ROUNDING

    # LEARNED_ROUND is for weights, whose values are exported; DPU is none of QONNX's.
    assert {mode.value for mode in FloatToIntImplType} - set(_ROUNDING) == {"DPU", "LEARNED_ROUND"}
