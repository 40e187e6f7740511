"""Filters of papers on compression: fire modules, bottlenecks, CReLU, several biases and maxout, down to hardware."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.config import BuildConfig
from flows.planner import Plan
from hw.families import find_family
from hw.lowering.lower import lower
from hw.model import Model
from hw.rtl.design import generate
from hw.verification.reference import compare
from quant import compression, create_model, export, layers, schemes, summary
from quant.compression.weights import compression_of
from quant.errors import QuantError
from quant.models.mobilenet import Bottleneck
from quant.models.pooled import Fire
from tests.quant.warmed import warm

DIGITS = {"input_shape": (1, 8, 8), "in_range": (0, 16)}
SHIFTS = [(a, b) for a in range(2) for b in range(2)]


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


def test_activations_of_a_network():
    plain, crelu, mba, maxout = (
        create_model("vgg-small-w2a2", width=1 / 16, **DIGITS, activation=a) for a in (None, "crelu", "mba", "maxout:3")
    )
    for each, share in ((crelu, 0.5), (mba, 0.5), (maxout, 3.0)):
        assert [row.input_shape[0] for row in summary(each)] == [row.input_shape[0] for row in summary(plain)]
        assert summary(each).macs == pytest.approx(share * summary(plain).macs, rel=0.04)
    for wrong, words in (("relu6", "choose crelu, mba or maxout:K"), ("maxout:1", "2 or more"), ("maxout", "choose")):
        with pytest.raises(QuantError, match=words):
            create_model("vgg-small-w2a2", activation=wrong)


def generated(part, tmp_path):
    """The product of a block with 10 channels in a design at 2,000 cycles a frame, and the design's SystemVerilog."""
    lowered(part, 10, tmp_path, W4A4)
    plan = Plan(Model.open(tmp_path / "model.onnx"), BuildConfig("lfe5u-85f", fps=75e6 / 2000, clock_mhz=75.0))
    graph = plan.point.hardware
    kernel = next(node.kernel for node in graph if node.name == "conv1")
    return kernel, generate(graph, plan.device.family).files["accelerator.sv"]


@pytest.mark.parametrize("kind", ["crelu", "mba"])
def test_two_thresholds_read_one_product_in_the_generated_hardware(kind, tmp_path):
    """Half of the outputs and of the weights in memory, and with half of the outputs at a time the same rate."""
    family = find_family("ecp5")
    act = layers.CReLU(W4A4) if kind == "crelu" else layers.MultiBias(W4A4, 5, 2)
    whole, plain = generated(layers.block(W4A4, layers.conv(W4A4, 4, 10, 3, padding=1), 10, 2), tmp_path)
    half, text = generated(layers.block(W4A4, layers.conv(W4A4, 4, 5, 3, padding=1), 5, 2, act=act), tmp_path)
    for module, more in (("matrix_vector", 0), ("threshold", 1), ("fork", 1), ("concat", 1)):
        count = len(re.findall(rf"^ *bf_{module} #\(", text, re.M)) - len(
            re.findall(rf"^ *bf_{module} #\(", plain, re.M)
        )
        assert count == more, module
    stored = [sum(len(m.words) * m.width for m in k.rtl(family).memories["WEIGHTS"]) for k in (whole, half)]
    assert stored == [10 * 36 * 4, 5 * 36 * 4]
    two, one = replace(whole, pe=2, simd=4), replace(half, pe=1, simd=4)
    assert one.interval == two.interval
    assert one.resources(family).lut < 0.6 * two.resources(family).lut


@settings(max_examples=15, deadline=None)
@given(count=st.integers(2, 4), channels=st.integers(1, 3), sides=st.sampled_from([(), (3,), (2, 3)]), data=st.data())
def test_maxout_is_the_maximum_of_consecutive_channels(count, channels, sides, data):
    """In training, where the maximum comes first, and in evaluation, where the codes do."""
    maxout = layers.Maxout(data.draw(st.sampled_from([W4A4, schemes.get("binarynet")])), count)
    z = torch.randn(2, channels * count, *sides, generator=torch.Generator().manual_seed(count))
    for _ in range(2):
        maxout(z)
    with torch.no_grad():
        codes = maxout.eval()(z)
        wanted = maxout.act(z).view(2, channels, count, *sides).amax(2)
        np.testing.assert_array_equal(codes, wanted)
        np.testing.assert_array_equal(maxout.act(maxout._maximum(z)), codes)


def test_maxout_is_a_pool_of_neighbours_in_the_stream(tmp_path):
    """No memory brings the channels into another order."""
    part = layers.block(W4A4, layers.conv(W4A4, 4, 15, 3, padding=1), 15, 2, act=layers.Maxout(W4A4, 3))
    _, kernels = lowered(part, 5, tmp_path, W4A4)
    assert [kernels.count(each) for each in ("max_pool", "threshold", "reorder", "matrix_vector")] == [1, 2, 0, 3]


def test_a_maximum_over_translates():
    """Patches of a larger filter, pooled (doubly convolutional networks). Translates of a filter within zeros respond
    as the filter does beside: their maximum is a pool with stride 1, and no layer needs them."""
    torch.manual_seed(0)
    x, meta = torch.randn(2, 3, 7, 7), torch.randn(2, 3, 4, 4)
    doubly = torch.nn.Conv2d(3, 8, 3, bias=False)
    tied = compression.tie(torch.nn.Sequential(doubly), "translated:4")
    with torch.no_grad():
        compression_of(tied[0]).project(
            torch.cat([meta[:, :, a : a + 3, b : b + 3] for a, b in SHIFTS], 1).reshape(8, 3, 3, 3)
        )
        pooled = tied(x).view(2, 2, 4, 5, 5).amax(2)
        wanted = [torch.nn.functional.conv2d(x, meta[:, :, a : a + 3, b : b + 3]) for a, b in SHIFTS]
        torch.testing.assert_close(pooled, torch.stack(wanted).amax(0))
        filters = torch.randn(2, 3, 3, 3)
        padded = [torch.nn.functional.pad(filters, (b, 1 - b, a, 1 - a)) for a, b in SHIFTS]
        responses = torch.stack([torch.nn.functional.conv2d(x, each) for each in padded]).amax(0)
        beside = torch.nn.functional.max_pool2d(torch.nn.functional.conv2d(x, filters), 2, stride=1)
        torch.testing.assert_close(responses, beside)
