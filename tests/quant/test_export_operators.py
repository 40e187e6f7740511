"""Export of what the hardware reads: the operators of both sides, random networks of them, and what is refused."""

import operator
import re
from pathlib import Path

import brevitas.nn as qnn
import numpy as np
import onnx
import pytest
import torch
from brevitas.quant import Int8ActPerTensorFixedPoint
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from torch import nn

from flows import assert_engines_agree
from hw.lowering.gate.inference import RULES
from hw.lowering.lower import lower
from hw.simulation.emulator import Emulator
from quant import export
from quant.errors import QuantError
from quant.qonnx.operators import OPERATORS


class Calls(nn.Module):
    """A module whose forward is a function of it and the frame."""

    def __init__(self, function, **modules) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.function(self, x)


def conv(channels: int, outputs: int, kernel: int = 1, **how) -> nn.Module:
    return qnn.QuantConv2d(channels, outputs, kernel, weight_bit_width=4, **how)


def between(module: nn.Module, channels: int = 4, shape: tuple[int, ...] = (3, 8, 8)) -> nn.Module:
    """The module behind a convolution, with a quantizer and a layer behind it; ``channels`` are those that it gives."""
    torch.manual_seed(0)
    return settled(
        nn.Sequential(
            qnn.QuantIdentity(bit_width=8),
            conv(3, 4, 3, bias=False),
            module,
            qnn.QuantIdentity(bit_width=6),
            conv(channels, 2, bias=False),
        ),
        shape,
    )


def settled(model: nn.Module, shape: tuple[int, ...] = (3, 8, 8)) -> nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for _ in range(3):
            model.train()(torch.randn(16, *shape))
    return model.eval()


def frames(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(8, *(shape or (3, 8, 8)))).astype(np.float32)


def test_both_sides_have_the_same_operators():
    assert {op for domain, op in RULES if not domain} == OPERATORS


FUNCTIONS = {
    "LeakyRelu": nn.LeakyReLU(0.1),
    "Elu": nn.ELU(),
    "Selu": nn.SELU(),
    "Celu": nn.CELU(),
    "PRelu": nn.PReLU(4),
    "HardSigmoid": nn.Hardsigmoid(),
    "HardSwish": nn.Hardswish(),
    "Softplus": nn.Softplus(),
    "Gelu": nn.GELU(),
    "Mul": nn.Mish(),
    "Erf": Calls(lambda _, x: torch.erf(x)),
    "Add": Calls(lambda _, x: x + x),
    "Resize": nn.Upsample(scale_factor=2),
    "ConvTranspose": qnn.QuantConvTranspose2d(4, 4, 2, stride=2, weight_bit_width=4),
}
"""Modules of operators that ONNX Runtime lacks in float64, and of others where qonnx's renaming fails."""


@pytest.mark.parametrize("op", FUNCTIONS)
def test_operators_that_onnx_runtime_lacks_in_float64(op, tmp_path):
    model = between(FUNCTIONS[op])
    assert export(model, tmp_path / "model.onnx", frames()).max_abs_diff < 1e-5
    assert op in {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    found = Emulator(lower(tmp_path / "model.onnx")).run(frames())
    expected = model(torch.from_numpy(frames())).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def pooled(x: torch.Tensor) -> torch.Tensor:
    return torch.adaptive_avg_pool1d(input=x.flatten(2), output_size=12).unsqueeze(-1)


WINDOWS = {
    "same": (nn.Sequential(conv(4, 4, (2, 4), padding="same"), qnn.QuantReLU(bit_width=4)), (3, 9, 7)),
    "same and dilated": (conv(4, 4, (4, 3), padding="same", dilation=(1, 2)), (3, 9, 7)),
    "a window in the padding": (nn.MaxPool2d(2, 2, padding=1, ceil_mode=True), (3, 7, 9)),
    "its average": (nn.AvgPool2d(2, 2, padding=1, ceil_mode=True), (3, 7, 9)),
    "without the padding": (nn.AvgPool2d(2, 2, padding=1, ceil_mode=True, count_include_pad=False), (3, 7, 9)),
    "its average, and beyond the padding": (nn.AvgPool2d((1, 3), 3, padding=(0, 1), ceil_mode=True), (3, 5, 5)),
    "two of them": (
        nn.Sequential(nn.MaxPool2d(2, 2, padding=1, ceil_mode=True), nn.MaxPool2d(2, 2, padding=1, ceil_mode=True)),
        (3, 7, 9),
    ),
    "shuffled channels": (nn.ChannelShuffle(2), (3, 7, 9)),
    "shuffled by a function": (Calls(lambda _, x: nn.functional.channel_shuffle(x, 4)), (3, 7, 9)),
    "shuffled by name": (Calls(lambda _, x: nn.functional.channel_shuffle(input=x, groups=2)), (3, 7, 9)),
    "pooled by name": (Calls(lambda _, x: pooled(x)), (3, 8, 8)),
    "means of blocks": (Calls(lambda _, x: x.reshape(-1, 4, 2, 3, 2, 3).mean((3, 5))), (3, 8, 8)),
    "maxima of axes apart": (Calls(lambda _, x: x.reshape(-1, 4, 2, 3, 2, 3).amax((2, 5))), (3, 8, 8)),
    "maxima of groups": (Calls(lambda _, x: x.reshape(-1, 2, 2, 6, 6).amax(1)), (3, 8, 8)),
    "maxima of pairs": (Calls(lambda _, x: x.reshape(-1, 2, 2, 6, 6).amax(2)), (3, 8, 8)),
}
"""Modules whose windows or moves PyTorch's exporter writes so that others read them differently, or not at all."""


@pytest.mark.parametrize("kind", WINDOWS)
def test_windows_and_moves_are_those_of_torch(kind, tmp_path):
    module, shape = WINDOWS[kind]
    model = between(module, 2 if kind in ("maxima of groups", "maxima of pairs") else 4, shape)
    export(model, tmp_path / "model.onnx", frames(*shape))
    assert_engines_agree(tmp_path / "model.onnx", frames(*shape), ["qonnx", "emulator"])
    found = Emulator(lower(tmp_path / "model.onnx")).run(frames(*shape))
    np.testing.assert_allclose(found, model(torch.from_numpy(frames(*shape))).detach().numpy(), atol=1e-5)
    (output,) = onnx.load(tmp_path / "model.onnx").graph.output
    assert [dim.dim_value for dim in output.type.tensor_type.shape.dim][1:] == [*found.shape[1:]]


ACTIVATIONS = (
    nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.Hardsigmoid, nn.Hardswish, nn.Softplus, nn.GELU, nn.SiLU,
    nn.Mish, nn.Sigmoid, nn.Tanh, nn.Softsign, nn.ReLU6, nn.Hardtanh, nn.Softshrink, nn.Tanhshrink, nn.Identity,
)  # fmt: skip


@st.composite
def networks(draw: st.DrawFn) -> nn.Module:
    """Layers, moves, pools, normalisation and functions in any order, each with a quantizer behind it."""
    channels, side = draw(st.integers(1, 3)), draw(st.integers(4, 8))
    shape = (channels, side, side)
    layers: list[nn.Module] = [qnn.QuantIdentity(bit_width=draw(st.integers(2, 8)))]
    torch.manual_seed(draw(st.integers(0, 1 << 16)))
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["conv", "transposed", "pool", "up", "shuffle", "pad"]))
        if kind == "conv":
            outputs = draw(st.integers(1, 4))
            layers.append(conv(channels, outputs, draw(st.integers(1, 3)), padding=1, bias=draw(st.booleans())))
            channels = outputs
        elif kind == "transposed" and side <= 8:
            outputs, stride = draw(st.integers(1, 3)), draw(st.integers(1, 2))
            kernel = draw(st.integers(1, 4))
            made = qnn.QuantConvTranspose2d(
                channels, outputs, kernel, stride=stride, padding=draw(st.integers(0, (kernel - 1) // 2)),
                output_padding=draw(st.integers(0, stride - 1)), weight_bit_width=4, bias=draw(st.booleans()),
            )  # fmt: skip
            layers.append(made)
            channels = outputs
        elif kind == "pool" and side >= 2:
            layers.append(draw(st.sampled_from([nn.MaxPool2d(2), nn.AvgPool2d(2), nn.MaxPool2d(3, 1, 1)])))
        elif kind == "up" and side <= 8:
            layers.append(nn.Upsample(scale_factor=2))
        elif kind == "shuffle" and side % 2 == 0:
            layers.append(nn.PixelUnshuffle(2))
            channels *= 4
        else:
            layers.append(nn.ZeroPad2d(1))
        if draw(st.booleans()):
            layers.append(nn.BatchNorm2d(channels))
        layers.append(draw(st.sampled_from(ACTIVATIONS))())
        layers.append(qnn.QuantIdentity(bit_width=draw(st.integers(2, 6))))
        side = nn.Sequential(*layers)(torch.randn(2, *shape)).shape[-1]
    layers.append(conv(channels, 2, bias=False))
    model = settled(nn.Sequential(*layers), shape)
    model.shape = shape
    return model


def check(model: nn.Module, folder: Path) -> None:
    export(model, folder / "model.onnx", frames(*model.shape))
    assert_engines_agree(folder / "model.onnx", frames(*model.shape), ["qonnx", "emulator"])


@settings(max_examples=6, deadline=None)
@given(model=networks())
def test_random_networks_from_export_to_integers(model, tmp_path_factory):
    check(model, tmp_path_factory.mktemp("export"))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(model=networks())
def test_many_random_networks_from_export_to_integers(model, tmp_path_factory):
    check(model, tmp_path_factory.mktemp("export"))


def two_heads(container) -> nn.Module:
    torch.manual_seed(0)
    return settled(
        Calls(
            lambda net, x: (lambda y: container(net.a(y), net.b(y)))(net.act(net.stem(net.first(x)))),
            first=qnn.QuantIdentity(bit_width=8),
            stem=conv(3, 4, 3),
            act=qnn.QuantReLU(bit_width=4),
            a=conv(4, 2),
            b=conv(4, 3, 2),
        )
    )


@pytest.mark.parametrize("container", [lambda *each: each, lambda a, b: {"a": a, "b": [b]}], ids=["tuple", "dict"])
def test_a_model_of_several_outputs(container, tmp_path):
    model = two_heads(container)
    verification = export(model, tmp_path / "model.onnx", frames())
    assert verification.max_abs_diff < 1e-6
    found = Emulator(lower(tmp_path / "model.onnx")).run(frames())
    expected = two_heads(lambda *each: each)(torch.from_numpy(frames()))
    assert list(found) == ["global_out", "global_out_1"]
    for value, right in zip(found.values(), expected, strict=True):
        np.testing.assert_allclose(value, right.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("in_range", "kind"), [((0, 255), "UINT8"), ((-128, 127), "INT8"), ((0, 1), "UINT1"), ((-1.5, 1), "FLOAT32")]
)
def test_a_layer_that_reads_whole_numbers_as_they_are(in_range, kind, tmp_path):
    act = qnn.QuantReLU(bit_width=4)
    model = settled(
        Calls(lambda net, x: net.last(net.act(net.stem(x / 16))), stem=conv(3, 4, 3), act=act, last=conv(4, 2))
    )
    export(model, tmp_path / "model.onnx", input_shape=(3, 8, 8), in_range=in_range)
    assert ModelWrapper(str(tmp_path / "model.onnx")).get_tensor_datatype("global_in") == DataType[kind]
    if kind != "FLOAT32":
        x = np.random.default_rng(1).integers(*in_range, (4, 3, 8, 8), endpoint=True).astype(np.float32)
        expected = model(torch.from_numpy(x)).detach().numpy()
        np.testing.assert_allclose(Emulator(lower(tmp_path / "model.onnx")).run(x), expected, atol=1e-4)


def test_an_input_that_is_quantized_keeps_its_numbers(tmp_path):
    export(between(nn.ReLU()), tmp_path / "model.onnx", input_shape=(3, 8, 8), in_range=(0, 255))
    assert ModelWrapper(str(tmp_path / "model.onnx")).get_tensor_datatype("global_in") == DataType["FLOAT32"]


@pytest.mark.parametrize("mode", [None, "FLOOR", "CEIL", "ROUND", "ROUND_TO_ZERO", "round_to_zero"])
def test_truncating_average_pools(mode, tmp_path):
    how = {} if mode is None else {"float_to_int_impl_type": mode}
    model = settled(
        nn.Sequential(
            qnn.QuantIdentity(bit_width=8),
            conv(3, 4, 3),
            qnn.QuantReLU(bit_width=4, return_quant_tensor=True),
            qnn.TruncAvgPool2d(2, return_quant_tensor=True, **how),
            conv(4, 2),
        )
    )
    assert export(model, tmp_path / "model.onnx", frames()).max_abs_diff < 1e-6
    lower(tmp_path / "model.onnx")


def test_modules_that_are_never_called_are_left_out(tmp_path):
    """Even those that no file can hold."""
    unused = {
        "rnn": qnn.QuantLSTM(3, 4),
        "plain": nn.Conv2d(4, 4, 1),
        "dpu": qnn.QuantReLU(float_to_int_impl_type="DPU"),
        "idle": conv(4, 2),
        "fixed": qnn.QuantIdentity(act_quant=Int8ActPerTensorFixedPoint),
    }
    model = Calls(lambda net, x: net.used(x), used=between(nn.ReLU()), **unused)
    assert export(model, tmp_path / "model.onnx", frames()).quantizers == 2


def residual(join) -> nn.Module:
    branch = {name: qnn.QuantIdentity(bit_width=4, return_quant_tensor=True) for name in "ab"}
    return settled(
        Calls(
            lambda net, x: net.last(join(net.a(net.c(net.i(x))), net.b(net.d(net.i(x))))),
            i=qnn.QuantIdentity(), c=conv(3, 4), d=conv(3, 4), last=conv(4, 2), **branch,
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: residual(operator.add), ("different scales", "test_export_operators.py, line", "quant.layers.Add")),
        (lambda: nn.Sequential(residual(operator.add)), ("its layer 0 joins", "quant.layers.Add")),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3)), ("a float model", "quant.quantize", "quant.schemes")),
        (lambda: nn.Sequential(nn.ReLU()), ("no quantizers", "quant.quantize")),
        (lambda: between(nn.Conv2d(4, 4, 1)), ("layer 2 is a Conv2d", "brevitas.nn.QuantConv2d")),
        (
            lambda: between(qnn.QuantConv2d(4, 4, 1, weight_quant=None)),
            ("layer 2 is a QuantConv2d with floating-point weights", "weight_quant"),
        ),
        (
            lambda: settled(nn.Sequential(qnn.QuantIdentity(), qnn.QuantLSTM(8, 4)), (5, 8)),
            ("layer 1 is a QuantLSTM", "QuantConv1d"),
        ),
        (lambda: settled(nn.Sequential(nn.LSTM(8, 4)), (5, 8)), ("layer 0 is a LSTM", "QuantConv1d")),
        (lambda: between(nn.InstanceNorm2d(4)), ("layer 2 (InstanceNorm2d)", "InstanceNormalization", "BatchNorm")),
        (lambda: between(nn.GroupNorm(2, 4)), ("layer 2 is a GroupNorm", "BatchNorm")),
        (lambda: between(nn.LayerNorm(6)), ("layer 2 is a LayerNorm", "BatchNorm")),
        (
            lambda: between(Calls(lambda _, x: nn.functional.layer_norm(x, x.shape[1:]))),
            ("layer 2 (Calls)", "LayerNormalization", "BatchNorm"),
        ),
        (lambda: between(nn.Upsample(scale_factor=2, mode="bilinear")), ("layer 2 (Upsample)", "nearest")),
        (lambda: between(nn.AvgPool2d(2, divisor_override=3)), ("layer 2 cannot", "divisor_override: leave it out")),
        (lambda: between(nn.AdaptiveAvgPool2d((4, 3))), ("layer 2 cannot", "windows of 6 x 6 to 4 x 3 differ in size")),
        (lambda: between(Calls(lambda _, x: x.cumsum(1))), ("layer 2 (Calls)", "CumSum", "what-can-be-read")),
        (lambda: Calls(lambda net, x: (net.model(x), 3), model=between(nn.ReLU())), ("returns int, no tensor",)),
    ],
)  # fmt: skip
def test_what_is_refused_names_the_module_and_the_remedy(model, words, tmp_path):
    made = model()
    shape = (5, 8) if any(isinstance(each, nn.LSTM | qnn.QuantLSTM) for each in made.modules()) else (3, 8, 8)
    with pytest.raises(QuantError, match=".*".join(map(re.escape, words))) as caught:
        export(made, tmp_path / "model.onnx", frames(*shape))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
