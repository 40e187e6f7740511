"""The families of papers on compression: their sizes, and their way through lowering and estimate."""

import pytest
import torch

from flows.estimates import estimate_build
from hw.lowering.lower import lower
from hw.verification.reference import compare
from quant import create_model, export, summary
from tests.quant.warmed import warm

DIGITS = {"input_shape": (1, 8, 8), "in_range": (0, 16)}
slow = pytest.mark.slow


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


# More, with the streams' memories, than the block RAM of an LFE5U-85F holds (3.8 Mbit).
MANY_WEIGHTS = ("all-cnn-c", "resnet56", "mobilenet-v2")


@slow
@pytest.mark.parametrize("name", ["lenet-300-100", "lenet5-caffe", "nin", "all-cnn-c", "resnet56", "mobilenet-v2"])
def test_whole_ones_are_estimated(name, tmp_path):
    torch.manual_seed(0)
    model = create_model(f"{name}-w4a4")
    low, high = model.in_range
    x = torch.randint(low, high, (2, *model.input_shape)).float()
    export(warm(model, x), tmp_path / "model.onnx", x[:1].numpy())
    target = "xc7z045" if name in MANY_WEIGHTS else "lfe5u-85f"
    assert estimate_build(tmp_path / "model.onnx", target)["resources"]["lut"]["estimated"] > 0
