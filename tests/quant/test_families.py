"""The families of papers on compression: their sizes, their parts, and their way through lowering and estimate."""

import numpy as np
import pytest
import torch

from flows.estimates import estimate_build
from hw.lowering.lower import lower
from hw.verification.reference import compare
from quant import compression, create_model, export, layers, schemes, summary
from quant.errors import QuantError
from quant.models.mobilenet import Bottleneck
from quant.models.pooled import Fire

DIGITS = {"input_shape": (1, 8, 8), "in_range": (0, 16)}
slow = pytest.mark.slow


def warm(model, x):
    for _ in range(2):
        model(x)
    return model.eval()


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("lenet-300-100", 784 * 300 + 300 * 100 + 100 * 10),
        ("lenet5-caffe", 430_500),
        ("nin", 14_400 + 192 * 160 + 160 * 96 + 25 * 96 * 192 + 2 * 192**2 + 9 * 192**2 + 192**2 + 1920),
        ("all-cnn-c", 9 * (3 * 96 + 2 * 96**2 + 96 * 192 + 3 * 192**2) + 192**2 + 1920),
        ("resnet56", 432 + 18 * 2304 + (4608 + 17 * 9216 + 512) + (18432 + 17 * 36864 + 2048) + 640),
        pytest.param("resnet110", 1_722_416, marks=slow),
        ("squeezenet", 719_552 + 5120),
        ("mobilenet-v2", 2_202_560),
        pytest.param("vgg16", 14_715_584, marks=slow),
        pytest.param("vgg19", 20_024_000, marks=slow),
        pytest.param("alexnet", 21_612_576, marks=slow),
    ],
)
def test_weights(name, weights):
    assert summary(create_model(f"{name}-w4a4")).weights == weights


CHANNELS = {
    "lenet-300-100": {},
    "lenet5-caffe": {"width": 0.2, "input_shape": (1, 16, 16)},
    "nin": {**DIGITS, "width": 1 / 16},
    "all-cnn-c": {**DIGITS, "width": 1 / 16},
    "vgg16": {"width": 1 / 32},
    "vgg19": {"width": 1 / 32},
    "alexnet": {"width": 1 / 64},
    "squeezenet": {**DIGITS, "width": 1 / 16},
    "mobilenet-v2": {**DIGITS, "width": 1 / 16},
    "resnet56": {**DIGITS, "width": 1 / 8},
    "resnet110": {**DIGITS, "width": 1 / 8},
}
FAST = ("lenet5-caffe",)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[slow] * (n not in FAST)) for n in CHANNELS])
def test_small_ones_are_lowered_and_estimated(name, tmp_path):
    torch.manual_seed(0)
    model = create_model(f"{name}-w4a4", **CHANNELS[name])
    low, high = model.in_range
    x = torch.randint(low, high, (4, *model.input_shape)).float()
    export(warm(model, x), tmp_path / "model.onnx", x.numpy())
    compared = compare(lower(tmp_path / "model.onnx"), tmp_path / "model.onnx", x.numpy())
    assert compared.mismatches == compared.explained
    assert estimate_build(tmp_path / "model.onnx", "lfe5u-85f")["resources"]["lut"]["estimated"] > 0


class Small(torch.nn.Module):
    """A module of the families between an input and a mean of classes."""

    def __init__(self, scheme, part, channels):
        super().__init__()
        self.input = layers.InputQuant(4, 0, 16)
        self.stem = layers.block(scheme, layers.conv(scheme, 1, 4, 3, padding=1), 4, 2)
        self.part = part
        self.output = layers.conv(scheme, channels, 3, 1)
        self.pool = layers.average_pool(scheme, (4, 4), quantize=False)

    def forward(self, x):
        return self.pool(self.output(self.part(self.stem(self.input(x))))).flatten(1)


def lowered(part, channels, tmp_path, scheme):
    torch.manual_seed(0)
    x = torch.randint(0, 16, (8, 1, 4, 4)).float()
    model = warm(Small(scheme, part, channels), x)
    export(model, tmp_path / "model.onnx", x.numpy(), in_range=(0, 16))
    graph = lower(tmp_path / "model.onnx")
    compared = compare(graph, tmp_path / "model.onnx", x.numpy())
    assert compared.mismatches == compared.explained
    return model, [node.kernel.op for node in graph.nodes]


W4A4 = schemes.get("integer", weight_bits=4, act_bits=4)


def test_fire_modules_are_lowered_and_lose_channels(tmp_path):
    model, kernels = lowered(Fire(W4A4, 4, 2, 3, True, False), 6, tmp_path, W4A4)
    assert kernels.count("concat") == 1
    frame = torch.zeros(1, 1, 4, 4)
    small = compression.slim(model, {"part.expand1.conv": [0, 2], "part.expand3.conv": [1]}, frame=frame)
    assert small.output.in_channels == 3


def test_bottlenecks_are_lowered(tmp_path):
    _, kernels = lowered(Bottleneck(W4A4, 4, 4, 2, 1, True, False), 4, tmp_path, W4A4)
    assert kernels.count("add") == 1
    assert kernels.count("depthwise") == 1


@pytest.mark.parametrize("kind", ["crelu", "mba"])
def test_two_halves_of_the_channels_come_from_one_sum(kind, tmp_path):
    act = layers.CReLU(W4A4) if kind == "crelu" else layers.MultiBias(W4A4, 5, 2)
    part = layers.block(W4A4, layers.conv(W4A4, 4, 5, 3, padding=1), 5, 2, act=act)
    _, kernels = lowered(part, 10, tmp_path, W4A4)
    assert kernels.count("matrix_vector") == 3  # stem, this one, output
    assert kernels.count("threshold") == 3
    assert kernels.count("concat") == 1


def test_crelu_keeps_the_sum_and_several_biases_are_a_thermometer():
    z = torch.randn(5, 3, 4, 4)
    both = layers.CReLU(schemes.get("float"))(z)
    torch.testing.assert_close(both[:, :3] - both[:, 3:], z)
    signs = layers.MultiBias(schemes.get("binarynet"), 3, 2)(z)
    levels = ((signs + 1) / 2)[:, :3] + ((signs + 1) / 2)[:, 3:]
    np.testing.assert_array_equal(levels.detach(), (z >= 0.5).float() + (z >= -0.5).float())
    with pytest.raises(QuantError, match="only the negative of the first"):
        layers.CReLU(schemes.get("binarynet"))


def test_halves_of_a_network():
    plain, halves = (create_model("vgg-small-w2a2", width=1 / 16, **DIGITS, halves=h) for h in (None, "crelu"))
    assert [row.input_shape[0] for row in summary(halves)] == [row.input_shape[0] for row in summary(plain)]
    assert summary(halves).macs < 0.52 * summary(plain).macs
    with pytest.raises(QuantError, match="choose crelu or mba"):
        create_model("vgg-small-w2a2", halves="maxout")


@slow
@pytest.mark.parametrize("name", ["lenet-300-100", "lenet5-caffe", "nin", "all-cnn-c", "resnet56", "mobilenet-v2"])
def test_whole_ones_are_estimated(name, tmp_path):
    torch.manual_seed(0)
    model = create_model(f"{name}-w4a4")
    low, high = model.in_range
    x = torch.randint(low, high, (2, *model.input_shape)).float()
    export(warm(model, x), tmp_path / "model.onnx", x[:1].numpy())
    assert estimate_build(tmp_path / "model.onnx", "lfe5u-85f")["resources"]["lut"]["estimated"] > 0
