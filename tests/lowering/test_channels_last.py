"""QONNX's operators with channels last: the hardware of channels first, and the values that QONNX computes."""

import logging

import numpy as np
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean
from qonnx.transformation.infer_shapes import InferShapes

from flows import build
from flows.estimates import estimate_build
from flows.finn.frontend import dataflow
from hw.host.errors import UsageError
from hw.lowering.lower import lower, lower_model
from hw.simulation.emulator import Emulator
from hw.verification.execution import quiet
from hw.verification.layers import drive
from hw.verification.reference import Reference, compare, compare_with
from tests.builders.channels_last import DOMAIN, ChannelsLastBuilder, ChannelsLastImages
from tests.builders.qonnx_builder import Builder
from tests.builders.random_images import RandomImages
from tests.golden.product import export_network
from tests.lowering.gate.small_models import refusal
from tests.lowering.test_lower_random_images import lowered


def kernels(graph) -> list[str]:
    """The kernels; of an input that is only handed on, in the order of its file, just how much that is."""
    return [
        repr(node.kernel) if node.name != "pass" else f"{node.kernel.stream.elements} {node.kernel.stream.dtype.name}"
        for node in graph.nodes
    ]


@settings(max_examples=20, deadline=None)
@example(seed=128)  # Its output is its input, quantized.
@given(seed=st.integers(0, 10**6))
def test_random_networks_equal_their_twins_with_channels_first(seed):
    """Over shapes, strides, padding, groups and what is between layers: kernels, values and the reference."""
    network, twin = (kind(np.random.default_rng(seed), dyadic=True) for kind in (ChannelsLastImages, RandomImages))
    model, other, frames = network.model(), twin.model(), twin.frames(12)
    if (graph := lowered(other)) is None:
        return
    mine, moved = lower(model), np.moveaxis(frames, 1, -1)
    assert kernels(mine) == kernels(graph)
    got, want = np.asarray(Emulator(mine).run(moved)), np.asarray(Reference(other).run(frames))
    np.testing.assert_array_equal(got, want if want.ndim == 2 else np.moveaxis(want, 1, -1))
    compared = compare(mine, model, moved)
    assert compared.mismatches == 0, compared.describe()


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_other_networks_differ_only_by_float32_rounding(seed):
    network = ChannelsLastImages(np.random.default_rng(seed), dyadic=False)
    model, frames = network.model(), network.frames(12)
    if graph := lowered(model):
        compared = compare(graph, model, frames)
        assert compared.mismatches == compared.explained + compared.apart, compared.describe()


def small(depthwise: bool, kind: type[Builder] = Builder, by_channel: bool = False) -> onnx.ModelProto:
    """Convolutions with a bias and a batch normalization, scales by channel, a pool and a classifier."""
    rng, b = np.random.default_rng(3), kind((1, 3, 8, 8))
    windows = {"kernel_shape": [3, 3], "strides": [1, 1], "dilations": [1, 1]}
    weights = b.quant(rng.normal(size=(4, 3, 3, 3)), np.full((4, 1, 1, 1), 0.25), 4)
    x = b.node("Conv", b.quant("x", 0.25, 5), weights, np.arange(4), pads=[1] * 4, group=1, **windows)
    x = b.batch_norm(x, *(rng.uniform(0.5, 1.5, 4) for _ in range(4)), epsilon=1e-5)
    scale = np.array([0.25, 0.5, 0.25, 1.0]).reshape(1, 4, 1, 1) if by_channel else 0.5
    x = b.quant(b.node("Relu", x), scale, 4, signed=0)
    x = b.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], pads=[0] * 4)
    if depthwise:
        x = b.node("Conv", x, b.quant(rng.normal(size=(4, 1, 3, 3)), 0.25, 4), pads=[0] * 4, group=4, **windows)
        x = b.quant(x, 0.5, 4)
    size = 16 if depthwise else 64
    x = b.node("MatMul", b.node("Flatten", x), b.quant(rng.normal(size=(size, 5)), 0.25, 4))
    return b.model((x, (1, 5)))


@pytest.mark.parametrize("depthwise", [False, True])
def test_scales_by_channel(depthwise):
    """A quantizer's scales broadcast against (N, H, W, C)."""
    model, twin = (small(depthwise, kind, by_channel=True) for kind in (ChannelsLastBuilder, Builder))
    frames = np.random.default_rng(0).normal(size=(12, 3, 8, 8)).astype(np.float32)
    graph, moved = lower(model), np.moveaxis(frames, 1, -1)
    assert kernels(graph) == kernels(lower(twin))
    np.testing.assert_array_equal(Emulator(graph).run(moved), Emulator(lower(twin)).run(frames))
    compared = compare(graph, model, moved)
    assert compared.mismatches == compared.explained, compared.describe()


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_files_of_qonnx(depthwise, first):
    """What ``qonnx-to-channels-last`` writes, with and without a Transpose at the input; executed frame by frame."""
    model = small(depthwise)
    logging.getLogger().setLevel(logging.ERROR)
    with quiet():
        converted = ModelWrapper(model).transform(InferShapes())
        converted = converted.transform(ConvertToChannelsLastAndClean(make_input_channels_last=first))
    assert {node.domain for node in converted.graph.node if node.op_type in ("Conv", "MaxPool")} == {DOMAIN}
    name, shape = converted.graph.input[0].name, converted.get_tensor_shape(converted.graph.input[0].name)
    frames = np.random.default_rng(0).normal(size=(8, *shape[1:])).astype(np.float32)
    with quiet():
        own = [execute_onnx(converted, {name: frame[None]})[converted.graph.output[0].name] for frame in frames]
    graph = lower(converted.model)
    assert kernels(graph) == kernels(lower(model))
    np.testing.assert_allclose(np.asarray(Emulator(graph).run(frames)), np.concatenate(own), rtol=1e-5, atol=1e-5)
    compared = compare(graph, converted.model, frames)
    assert compared.mismatches == compared.explained, compared.describe()


def test_wide_sums_are_held_against_exact_ones():
    """16-bit codes and weights, whose sums float32 does not hold: the exact reference knows channels last, too."""
    rng, step = np.random.default_rng(2), 2.0**-12
    b = ChannelsLastBuilder((1, 2, 8, 8))
    weights, bias = b.quant(rng.normal(size=(3, 2, 3, 3)) * 4, step, 16), b.quant(rng.normal(size=3), step**2, 24)
    x = b.node("Conv", b.quant("x", step, 16), weights, bias, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    x = b.batch_norm(x, *(rng.uniform(0.5, 1.5, 3) for _ in range(4)), epsilon=1e-5)
    x = b.node("MaxPool", b.quant(x, 2.0**-9, 16), kernel_shape=[2, 2], strides=[2, 2])
    x = b.node("MatMul", b.node("Flatten", x), b.quant(rng.normal(size=(48, 3)) * 4, step, 16))
    reference = Reference(b.model((x, (1, 3))))
    lowering = lower_model(reference.model)
    frames = (rng.normal(size=(60, 8, 8, 2)) * 3).astype(np.float32)
    compared = compare_with(lowering.graph, lowering, reference, frames)
    assert compared.mismatches == compared.explained, compared.describe()
    assert compared.inexact > 0
    driven = drive(lowering.graph, lowering, reference)
    assert not driven.wrong
    assert driven.layers > 2


def pooled(version=13, imported=True, **attributes):
    b = ChannelsLastBuilder((1, 4, 8, 8))
    x = b.quant("x", 0.5, 4)
    x = b.node("MaxPool", x, **{"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0] * 4, **attributes})
    model = b.model((b.quant(x, 1.0, 3), (1, 4, 4, 4)))
    del model.opset_import[:]
    model.opset_import.extend([helper.make_opsetid("", 13), helper.make_opsetid("qonnx.custom_op.general", 1)])
    if imported:
        model.opset_import.append(helper.make_opsetid(DOMAIN, version))
    return model


@pytest.mark.quick
def test_versions_are_those_of_qonnx():
    """QONNX executes MaxPool of version 10 from opset 10 on; a file from before its versions follows ONNX's opset."""
    lower(pooled(ceil_mode=0))
    lower(pooled(ceil_mode=0, imported=False))
    lower(pooled(version=1))
    assert "MaxPool_1: MaxPool cannot be lowered: it has an attribute ceil_mode" in refusal(
        pooled(version=1, ceil_mode=0)
    )
    assert "operators with channels last of opset 99" in refusal(pooled(version=99))


@pytest.mark.quick
def test_what_is_not_read_is_refused_by_its_name():
    model = pooled()
    model.graph.node[1].op_type = "LpPool"
    assert "LpPool cannot be lowered: there is no kernel for it in the domain qonnx.custom_op.channels_last" in (
        refusal(model)
    )
    b = ChannelsLastBuilder((1, 4, 8, 8))
    x = b.batch_norm(b.quant("x", 0.5, 4), *(np.ones(4) for _ in range(4)))
    model = b.model((b.quant(x, 1.0, 3), (1, 4, 8, 8)))
    model.opset_import[-1].version = 8
    assert "its version 1 (opset 8 of qonnx.custom_op.channels_last) is not read, only versions 9, 14" in refusal(model)
    b = ChannelsLastBuilder((1, 4, 8, 8))
    weights = b.to_first(b.quant(np.ones((2, 4, 3, 3)), 0.5, 4))  # ChannelsLastBuilder moves them back.
    x = b.node("Conv", b.quant("x", 0.5, 4), weights, kernel_shape=[3, 3])
    b.nodes[-1].input[1] = "t0"
    text = refusal(b.model((x, (1, 2, 6, 6))))
    assert "Conv_" in text
    assert "(shapes with channels first)" in text


def test_finns_own_front_end_is_not_given_channels_last(tmp_path):
    """Its transformations take every Conv as one with channels first."""
    pytest.importorskip("finn")
    onnx.save(pooled(), tmp_path / "m.onnx")
    with pytest.raises(UsageError, match=r"operators with channels last \(MaxPool of .*use --front-end bitfabric"):
        dataflow(tmp_path / "m.onnx")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lenet5-w8a8", {"input_shape": (1, 16, 16), "width": 1 / 2}),
        ("vgg-small-w1a1", {"input_shape": (3, 16, 16), "width": 1 / 16}),
        ("resnet8-w4a4", {"input_shape": (3, 16, 16), "width": 1 / 8}),
        ("mobilenet-v1-w4a4", {"input_shape": (3, 16, 16), "width": 1 / 16}),
    ],
)
def test_exported_networks_to_the_rtl(name, options, tmp_path):
    """Networks of ``quant`` after QONNX's conversion: the graph of the original, and a build to the simulated RTL."""
    export_network(name, tmp_path / "first.onnx", **options)
    logging.getLogger().setLevel(logging.ERROR)
    with quiet():
        converted = ModelWrapper(str(tmp_path / "first.onnx")).transform(InferShapes())
        converted = converted.transform(ConvertToChannelsLastAndClean(make_input_channels_last=True))
    converted.save(str(tmp_path / "last.onnx"))
    assert kernels(lower(tmp_path / "last.onnx")) == kernels(lower(tmp_path / "first.onnx"))
    estimates = [estimate_build(tmp_path / f"{each}.onnx", "ulx3s-85f", fps=1000) for each in ("first", "last")]
    assert estimates[0]["resources"] == estimates[1]["resources"]
    assert estimates[0]["cycles"] == estimates[1]["cycles"]
    made = build(
        tmp_path / "last.onnx", "ulx3s-85f", tmp_path / "out", fps=1000, stop_after="simulate", rtl_frames=2,
        watch=lambda *_: None,
    )  # fmt: skip
    assert {"emulator", "rtl"} <= set(made.report.verified)
