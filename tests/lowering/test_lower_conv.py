"""Convolutional networks as Brevitas exports them: small forms of the reference architectures, both exporters."""

import contextlib
import copy
import io
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
qnn = pytest.importorskip("brevitas.nn")

from brevitas.export import export_qonnx  # noqa: E402
from brevitas.quant import (  # noqa: E402
    Int8ActPerTensorFixedPoint,
    Int8ActPerTensorFloat,
    Int8WeightPerChannelFloat,
    Int8WeightPerTensorFixedPoint,
    Int8WeightPerTensorFloat,
    SignedBinaryActPerTensorConst,
    SignedBinaryWeightPerTensorConst,
    SignedTernaryWeightPerTensorConst,
    TruncTo8bit,
    Uint8ActPerTensorFixedPoint,
    Uint8ActPerTensorFloat,
)
from torch import nn  # noqa: E402

from hw.lowering.lower import lower  # noqa: E402
from hw.simulation.emulator import Emulator  # noqa: E402
from hw.verification.reference import Reference, compare  # noqa: E402

EXPORTERS = [False, pytest.param(True, marks=pytest.mark.slow)]


def export(network, shape, path, dynamo=False):
    """Trained a little, so that statistics are not degenerate; then exported, silently, from a copy."""
    network.train()
    for _ in range(3):
        network(torch.randn(8, *shape))
    network.eval()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        export_qonnx(copy.deepcopy(network), torch.randn(1, *shape), export_path=str(path), dynamo=dynamo)
    return path


def frames(shape, count=40):
    return np.random.default_rng(0).normal(size=(count, *shape)).astype(np.float32)


def conv(inputs, outputs, size, quantizer=Int8WeightPerTensorFloat, bits=None, bias=False, one_d=False, **options):
    settings = {"weight_bit_width": bits} if bits else {}
    layer = qnn.QuantConv1d if one_d else qnn.QuantConv2d
    return layer(inputs, outputs, size, bias=bias, weight_quant=quantizer, **settings, **options)


def linear(inputs, outputs, quantizer=Int8WeightPerTensorFloat, bits=None, bias=False):
    settings = {"weight_bit_width": bits} if bits else {}
    return qnn.QuantLinear(inputs, outputs, bias=bias, weight_quant=quantizer, **settings)


def identity(bits=8, quantizer=Int8ActPerTensorFloat):
    return qnn.QuantIdentity(act_quant=quantizer, bit_width=bits)


def sign():
    return qnn.QuantIdentity(act_quant=SignedBinaryActPerTensorConst)


def relu(bits):
    return qnn.QuantReLU(act_quant=Uint8ActPerTensorFloat, bit_width=bits)


def binary(inputs, outputs, size, **options):
    return conv(inputs, outputs, size, SignedBinaryWeightPerTensorConst, **options)


def lenet(bits):
    """LeNet-5: convolutions of 5, pools of 2, three fully connected layers; fixed point with power-of-two scales."""

    def activation():
        return qnn.QuantReLU(act_quant=Uint8ActPerTensorFixedPoint, bit_width=bits)

    weights = Int8WeightPerTensorFixedPoint
    return nn.Sequential(
        identity(bits, Int8ActPerTensorFixedPoint),
        conv(1, 3, 5, weights, bits, True, padding=2), activation(), nn.MaxPool2d(2),
        conv(3, 4, 5, weights, bits, True), activation(), nn.MaxPool2d(2),
        nn.Flatten(), linear(16, 6, weights, bits, True), activation(), linear(6, 5, weights, bits, True),
    )  # fmt: skip


def cnv(weight, activation):
    """CNV: pairs of unpadded convolutions, pools behind the quantizers, 8-bit images."""
    return nn.Sequential(
        identity(8),
        weight(3, 4, 3), nn.BatchNorm2d(4), activation(), weight(4, 4, 3), nn.BatchNorm2d(4), activation(),
        nn.MaxPool2d(2), weight(4, 6, 3), nn.BatchNorm2d(6), activation(), nn.Flatten(),
        linear(24, 5, SignedBinaryWeightPerTensorConst),
    )  # fmt: skip


def vgg():
    """A block of VGG with padded binary convolutions."""
    return nn.Sequential(
        sign(), binary(2, 4, 3, padding=1), nn.BatchNorm2d(4), sign(), binary(4, 4, 3, padding=1), nn.MaxPool2d(2),
        nn.BatchNorm2d(4), sign(), binary(4, 3, 3, padding=1), nn.BatchNorm2d(3), sign(), nn.Flatten(),
        linear(27, 5, SignedBinaryWeightPerTensorConst),
    )  # fmt: skip


class Block(nn.Module):
    """Two convolutions and a shortcut, the sum of both behind one shared quantizer."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = conv(inputs, outputs, 3, bits=4, padding=1, stride=stride)
        self.second = conv(outputs, outputs, 3, bits=4, padding=1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)])
        self.between, self.shared, self.last = relu(4), identity(6), relu(4)
        plain = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if plain else conv(inputs, outputs, 1, bits=4, stride=stride)

    def forward(self, x):
        y = self.between(self.norms[0](self.first(x)))
        y = self.norms[1](self.second(y))
        return self.last(self.shared(y) + self.shared(self.shortcut(x)))


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(identity(8), conv(3, 2, 3, bits=8, padding=1), nn.BatchNorm2d(2), relu(4))
        self.blocks = nn.Sequential(Block(2, 2, 1), Block(2, 3, 2), Block(3, 4, 2))
        self.last = linear(4, 5, bits=4)
        self.requantize = identity(8)

    def forward(self, x):
        x = self.blocks(self.first(x))
        x = nn.functional.adaptive_avg_pool2d(getattr(x, "value", x), 1)
        return self.last(torch.flatten(self.requantize(x), 1))


def mobilenet():
    """Depthwise separable convolutions of 4 bits."""

    def separable(inputs, outputs, stride):
        return (
            conv(inputs, inputs, 3, Int8WeightPerChannelFloat, 4, padding=1, stride=stride, groups=inputs),
            nn.BatchNorm2d(inputs), relu(4),
            conv(inputs, outputs, 1, Int8WeightPerChannelFloat, 4), nn.BatchNorm2d(outputs), relu(4),
        )  # fmt: skip

    return nn.Sequential(
        identity(8), conv(3, 4, 3, bits=8, padding=1, stride=2), nn.BatchNorm2d(4), relu(4), *separable(4, 4, 1),
        *separable(4, 6, 2), qnn.QuantIdentity(bit_width=4, return_quant_tensor=True),
        qnn.TruncAvgPool2d(2, trunc_quant=TruncTo8bit),
        nn.Flatten(), linear(6, 5, bits=4),
    )  # fmt: skip


def signals():
    """Convolutions along one axis."""
    return nn.Sequential(
        identity(6), conv(2, 4, 5, bits=4, one_d=True, padding=2, stride=2), nn.BatchNorm1d(4), relu(3),
        nn.MaxPool1d(2), conv(4, 4, 3, SignedTernaryWeightPerTensorConst, one_d=True, dilation=2),
        nn.BatchNorm1d(4), relu(3), nn.AvgPool1d(2), identity(6), nn.Flatten(), linear(8, 3, bits=4),
    )  # fmt: skip


def quantized(bits):
    return lambda inputs, outputs, size, **options: conv(inputs, outputs, size, bits=bits, **options)


NETWORKS = {
    "cnv-w1a1": (lambda: cnv(binary, sign), (3, 12, 12), ["BIPOLAR"] * 3),
    "cnv-w1a2": (lambda: cnv(binary, lambda: relu(2)), (3, 12, 12), ["UINT2"] * 3),
    "cnv-w2a2": (lambda: cnv(quantized(2), lambda: relu(2)), (3, 12, 12), ["UINT2"] * 3),
    "vgg": (vgg, (2, 6, 6), ["BIPOLAR"] * 4),
    "resnet": (ResNet, (3, 8, 8), None),
    "mobilenet": (mobilenet, (3, 8, 8), None),
    "signals": (signals, (2, 32), None),
}  # fmt: skip


@pytest.mark.parametrize("dynamo", EXPORTERS)
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_equal_the_reference_up_to_its_rounding(name, dynamo, tmp_path):
    torch.manual_seed(1)
    build, shape, types = NETWORKS[name]
    network = build()
    path = export(network, shape, tmp_path / "model.onnx", dynamo)
    graph, x = lower(path), frames(shape)
    if types:
        thresholds = [node.kernel for node in graph if node.kernel.op == "threshold"]
        assert [kernel.output_dtype.name for kernel in thresholds] == types[: len(thresholds)]
    compared = compare(graph, path, x)
    assert compared.mismatches == compared.explained, compared.describe()
    got = Emulator(graph).run(x)
    eager = network(torch.from_numpy(x))
    eager = getattr(eager, "value", eager).detach().numpy()
    for expected in (Reference(path).run(x), eager):
        assert np.isclose(got, expected, rtol=1e-4, atol=1e-4).all(axis=1).mean() > 0.9


@pytest.mark.parametrize("bits", [8, 16])
def test_fixed_point_lenet_is_equal_to_the_bit(bits, tmp_path):
    torch.manual_seed(bits)
    network = lenet(bits)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(("weight", "bias")):
                # With 16 bits of activations, sums of more than three values of weights are no float32 numbers.
                units = (parameter * 16).round()
                parameter.copy_(units / 16 if bits == 8 else units.clamp(-1, 1) * 3 / 8)
    path = export(network, (1, 16, 16), tmp_path / "model.onnx")
    graph = lower(path)
    assert [node.name for node in graph if node.kernel.op in ("matrix_vector", "max_pool")] == [
        "conv0", "pool0", "conv1", "pool1", "fc0", "fc1",
    ]  # fmt: skip
    assert graph.node("conv0_requant")  # a power of two: shifts, at 8 bits too
    x = np.random.default_rng(1).integers(-24, 25, (50, 1, 16, 16)).astype(np.float32) / 8
    got = Emulator(graph).run(x)
    np.testing.assert_array_equal(got, Reference(path).run(x))
    np.testing.assert_array_equal(got, network(torch.from_numpy(x)).detach().numpy())
    assert compare(graph, path, x).mismatches == 0


def test_one_bit_weights_stay_one_bit_behind_images_of_8_bits(tmp_path):
    torch.manual_seed(3)
    graph = lower(export(cnv(binary, sign), (3, 12, 12), tmp_path / "model.onnx"))
    layers = [node.kernel for node in graph if node.kernel.op == "matrix_vector"]
    assert {kernel.weight_dtype.name for kernel in layers} == {"BIPOLAR"}
    assert [kernel.datapath for kernel in layers] == ["weight_planes", "xnor", "xnor", "xnor"]
