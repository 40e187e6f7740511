"""Convolutional networks from ``quant`` to RTL: equal integers in every engine, and the cycles that were estimated."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from flows import build
from flows.estimates import estimate_build
from flows.verify import equal
from hw.folding import finn_json
from hw.host.errors import BitfabricError
from hw.kernels.tied_matrix_vector.cases import circulant
from hw.passes.fold import apply_folding, current_folding
from quant import create_model, export, schemes
from tests.builders.qonnx_builder import Builder

slow = pytest.mark.slow


@dataclass(frozen=True)
class Case:
    """A network, its scheme where the name does not say it, and the rate to build it for."""

    model: str
    fps: float
    scheme: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join([self.model, *filter(None, [self.scheme])])


TINY = {"input_shape": (1, 8, 8), "in_range": (0, 16)}
CASES = [
    Case("vgg-small-w1a1", 20e3, options={**TINY, "width": 1 / 32}),
    Case("resnet8-w8a8", 10e3, "fixed_point", {"weight_bits": 8, "act_bits": 8}, {**TINY, "width": 1 / 8}),
    pytest.param(Case("vgg-small-w1a1", 5e3, "xnor", {}, {**TINY, "width": 1 / 16}), marks=slow),
    pytest.param(Case("vgg-small-w1a2", 5e3, "hwgq", {"act_bits": 2}, {**TINY, "width": 1 / 16}), marks=slow),
    pytest.param(Case("resnet8-w4a4", 5e3, options={**TINY, "width": 1 / 4}), marks=slow),
    pytest.param(Case("mobilenet-v1-w4a4", 2e3, options={**TINY, "width": 1 / 16}), marks=slow),
    pytest.param(Case("vgg-small-w2a2", 2e3, options={**TINY, "width": 1 / 32, "activation": "crelu"}), marks=slow),
    pytest.param(Case("vgg-small-w1a1", 2e3, options={**TINY, "width": 1 / 32, "activation": "mba"}), marks=slow),
    pytest.param(Case("vgg-small-w2a2", 1e3, options={**TINY, "width": 1 / 32, "activation": "maxout:2"}), marks=slow),
    pytest.param(Case("resnet8-w1a1", 1e3, options={**TINY, "width": 1 / 8, "activation": "react"}), marks=slow),
    pytest.param(Case("nin-w4a4", 1e3, options={**TINY, "width": 1 / 32}), marks=slow),
    pytest.param(Case("squeezenet-w4a4", 1e3, options={**TINY, "width": 1 / 32}), marks=slow),
    pytest.param(Case("lenet5-w8a8", 2e3, "fixed_point", {"weight_bits": 8, "act_bits": 8}), marks=slow),
    pytest.param(Case("lenet5-w16a16", 2e3), marks=slow),
    pytest.param(Case("cnv-w1a1", 3.4e3), marks=slow),
    pytest.param(Case("cnv-w1a2", 3e3), marks=slow),
    pytest.param(Case("cnv-w2a2", 1e3), marks=slow),
]


def network(case: Case) -> torch.nn.Module:
    """The network, untrained, with random BatchNorm parameters."""
    torch.manual_seed(0)
    scheme = None if case.scheme is None else schemes.get(case.scheme, **case.parameters)
    model = create_model(case.model, scheme, **case.options).train()
    low, high = model.in_range
    with torch.no_grad():
        for _ in range(4):
            model(torch.randint(low, high + 1, (16, *model.input_shape)).float())
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d) and module.affine:
                module.weight.uniform_(0.5, 1.5)
                module.weight[::3] *= -1  # these channels decrease
                module.bias.normal_(0, 0.3)
    return model.eval()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_from_brevitas_to_rtl(case, tmp_path):
    model = network(case)
    low, high = model.in_range
    frames = np.random.default_rng(3).integers(low, high, (8, *model.input_shape), endpoint=True).astype(np.float32)
    export(model, tmp_path / "model.onnx", frames)
    np.save(tmp_path / "x.npy", frames)
    made = build(
        tmp_path / "model.onnx",
        "ulx3s-85f",
        tmp_path / "out",
        fps=case.fps,
        frames=tmp_path / "x.npy",
        rtl_frames=4,
        stop_after="simulate",
    )
    assert made.report.verified["rtl"].to_json() == equal(4, 4 * 10) | {"accuracy": None}
    for _, cycles in made.report.cycles:
        assert cycles.simulated == cycles.estimated
    assert made.report.fps >= case.fps
    # Scales that are no powers of two leave float32's rounding in the logits of the reference.
    if case.scheme == "fixed_point" or (case.scheme is None and case.model.endswith("w1a1")):
        np.testing.assert_array_equal(made.run(frames, "emulator"), made.run(frames, "qonnx"))


@pytest.mark.parametrize(("width", "words"), [
    (1 / 4, r"does not fit ulx3s-12f as folded: .* BRAM .* take a bigger device"),
    (1 / 2, r"does not fit ulx3s-12f, however it is folded: its weights are .* Mbit, .* take a bigger device"),
])  # fmt: skip
def test_a_network_beyond_the_device_is_refused_with_numbers(tmp_path, width, words):
    """One of more than a million weights is refused before its foldings are examined."""
    export(network(Case("vgg-small-w8a8", 1, options={**TINY, "width": width})), tmp_path / "model.onnx")
    with pytest.raises(BitfabricError, match=words):
        build(tmp_path / "model.onnx", "ulx3s-12f", tmp_path / "out")


def small_network(path, seed=0):
    """Two padded convolutions, a pool between them, and a dense layer, on 8 x 8 images of 4 bits."""
    rng = np.random.default_rng(seed)
    b = Builder((1, 1, 8, 8))
    x = b.quant("x", 1.0, 4, signed=0)
    x = b.node("Conv", x, b.quant(rng.integers(-2, 3, (4, 1, 3, 3)), 1.0, 3), kernel_shape=[3, 3], pads=[1] * 4)
    x = b.node("MaxPool", b.quant(x, 8.0, 2, signed=0), kernel_shape=[2, 2], strides=[2, 2])
    x = b.node("Conv", x, b.node("BipolarQuant", rng.normal(size=(4, 4, 3, 3)), 1.0), kernel_shape=[3, 3], pads=[1] * 4)
    x = b.node("Flatten", b.quant(x, 4.0, 2, signed=0))
    x = b.node("MatMul", x, b.quant(rng.integers(-2, 3, (64, 3)), 1.0, 3))
    onnx.save(b.model((x, (1, 3))), path)
    return path


@pytest.mark.parametrize("cycles", [72, pytest.param(18, marks=slow)])
def test_tied_channels_of_a_convolution(tmp_path, cycles):
    """Circulant blocks of 4 over the channels of a 3 x 3 convolution, with PE and SIMD of the block and below it."""
    rng, b = np.random.default_rng(1), Builder((1, 1, 8, 8))
    tied = circulant(rng, "INT4", (8, 72), 4).reshape(8, 3, 3, 8).transpose(0, 3, 1, 2)
    x = b.quant("x", 1.0, 4, signed=0)
    x = b.node("Conv", x, b.quant(rng.integers(-2, 3, (8, 1, 3, 3)), 1.0, 3), kernel_shape=[3, 3], pads=[1] * 4)
    x = b.node("Conv", b.quant(x, 8.0, 2, signed=0), b.quant(tied, 1.0, 4), kernel_shape=[3, 3], pads=[1] * 4)
    onnx.save(b.model((x, (1, 8, 8, 8))), tmp_path / "model.onnx")
    made = build(tmp_path / "model.onnx", "lfe5u-85f", tmp_path / "out", fps=100e6 / 64 / cycles,
                 rtl_frames=4, stop_after="simulate")  # fmt: skip
    layer = next(each for each in made.report.layers if each.name == "conv1")
    assert (layer.implementation or layer.operator) == "tied_matrix_vector"
    assert layer.cycles == 64 * cycles
    assert made.cycles.interval.estimated == made.cycles.interval.simulated
    assert made.cycles.latency.estimated == made.cycles.latency.simulated
    assert made.report.verified["rtl"].mismatches == 0


def test_more_than_a_pixel_a_cycle(tmp_path):
    model = small_network(tmp_path / "model.onnx")
    made = build(model, "lfe5u-85f", tmp_path / "out", fps=100e6 / 16, rtl_frames=4, stop_after="simulate")
    assert {made.report.folding[name]["M"] for name in ("conv0_window", "conv0")} == {4}
    assert made.cycles.interval.to_json() == {"estimated": 16, "simulated": 16}
    assert made.cycles.latency.estimated == made.cycles.latency.simulated
    assert made.report.verified["rtl"].mismatches == 0
    frames = np.random.default_rng(1).integers(0, 16, (8, 1, 8, 8)).astype(np.float32)
    np.testing.assert_array_equal(made.run(frames, "emulator"), made.run(frames, "qonnx"))
    assert finn_json.read(tmp_path / "out/fold/folding.json", made.graph).table == current_folding(
        apply_folding(made.graph, finn_json.read(tmp_path / "out/fold/folding.json", made.graph).table)
    )
    again = estimate_build(model, "lfe5u-85f", folding=tmp_path / "out/fold/folding.json")
    assert again["cycles"]["interval"] == 16
    assert again["folding"] == made.report.folding
