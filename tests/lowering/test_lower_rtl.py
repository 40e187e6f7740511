"""Small networks of every kind, from the QONNX model to simulated hardware."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.fabric.resources import Resources
from hw.families.ecp5 import ECP5
from hw.folding import choose
from hw.folding.search import Search
from hw.ir.graph import Graph
from hw.lowering.lower import lower
from hw.passes.fifos import insert_fifos
from hw.passes.fold import apply_folding
from hw.passes.lanes import insert_width_converters
from hw.simulation.emulator import Emulator
from hw.timing.cycles import steady
from hw.timing.fifo_sizing import size_fifos
from hw.verification.reference import Reference, compare
from tests.builders.qonnx_builder import Builder
from tests.builders.random_images import RandomImages
from tests.kernels.kernel_bench import check, random_frames
from tests.lowering.test_lower_images import conv, integers, signs, weights
from tests.lowering.test_lower_random_images import lowered

DEVICE = Resources(lut=24288, ff=24288, bram=56, dsp=28)


def every_layer() -> onnx.ModelProto:
    """A padded one-bit convolution, a residual sum, a pool, depthwise and ternary convolutions, an average."""
    b = Builder((1, 2, 6, 6))
    x = b.quant(conv(b, b.quant("x", 0.25, 4), signs(b, 4, 2, 3, 3), pad=1), 0.5, 3, signed=0)
    y = b.quant(conv(b, x, weights(b, 4, 4, 3, 3), pad=1), 0.5, 3, signed=0)
    x = b.node("MaxPool", b.quant(b.node("Add", x, y), 1.0, 3, signed=0), kernel_shape=[2, 2], strides=[2, 2])
    x = b.node("BipolarQuant", conv(b, x, weights(b, 4, 1, 3, 3), pad=1, group=4), 1.0)
    x = b.quant(conv(b, x, signs(b, 4, 4, 3, 3), pad=1), 1.0, 3)
    x = b.node("MatMul", b.node("Flatten", b.node("GlobalAveragePool", x)), weights(b, 4, 3))
    return b.model((x, (1, 3)))


def signal() -> onnx.ModelProto:
    """Convolutions of a signal, with dilation, padding and stride, a pool, and a dense layer."""
    b = Builder((1, 2, 24))
    x = b.quant(conv(b, b.quant("x", 0.25, 4), weights(b, 4, 2, 3), (3,), pad=2, dilations=[2]), 0.5, 3)
    x = b.quant(conv(b, x, weights(b, 6, 4, 5), (5,), pad=1, strides=[2]), 1.0, 2, signed=0)
    x = b.node("Flatten", b.node("MaxPool", x, kernel_shape=[2], strides=[2]))
    return b.model((b.node("MatMul", x, weights(b, 30, 3)), (1, 3)))


def two_scales() -> onnx.ModelProto:
    """A path at half the resolution, upsampled and concatenated with the other one."""
    b = Builder((1, 2, 6, 6))
    x = b.quant(conv(b, b.quant("x", 0.25, 4), weights(b, 3, 2, 3, 3), pad=1), 0.25, 4)
    small = b.quant(conv(b, x, weights(b, 2, 3, 2, 2), (2, 2), strides=[2, 2]), 0.5, 3)
    large = b.node("Resize", small, "", np.float32([1, 1, 2, 2]), mode="nearest", nearest_mode="floor",
                   coordinate_transformation_mode="asymmetric")  # fmt: skip
    x = b.quant(conv(b, b.node("Concat", x, large, axis=1), weights(b, 2, 5, 3, 3), pad=1), 0.5, 4)
    return b.model((x, (1, 2, 6, 6)))


def moves() -> onnx.ModelProto:
    """Parts of the channels with layers of their own, joined and shuffled; a crop, and every second row."""
    b = Builder((1, 4, 6, 6))
    x = b.quant("x", 0.25, 4)
    first = b.node("Split", x, outputs=2, axis=1)
    y = b.quant(conv(b, f"{first}_1", weights(b, 2, 2, 1, 1), (1, 1)), 0.25, 4)
    x = b.node("Reshape", b.node("Concat", first, y, axis=1), integers(b, 1, 2, 2, 6, 6))
    x = b.node("Reshape", b.node("Transpose", x, perm=[0, 2, 1, 3, 4]), integers(b, 1, 4, 6, 6))
    crop = b.node("Slice", x, integers(b, 1, 1), integers(b, 5, 5), integers(b, 2, 3))
    rows = b.node("Slice", x, integers(b, 0, 1), integers(b, 6, 5), integers(b, 2, 3), integers(b, 2, 1))
    x = b.quant(conv(b, crop, weights(b, 2, 4, 2, 1), (2, 1)), 0.25, 4)
    x = b.node("Concat", x, b.quant(rows, 0.25, 4), axis=1)
    return b.model((b.quant(conv(b, x, weights(b, 2, 6, 1, 1), (1, 1)), 0.5, 4), (1, 2, 3, 4)))


def unequal_scales() -> onnx.ModelProto:
    """A sum of a BatchNorm and a residual with scales of their own by channel, and a sum that leaves the network."""
    b = Builder((1, 2, 4, 4))
    x = b.quant("x", 0.0973, 4)
    y = b.batch_norm(conv(b, x, weights(b, 2, 2, 3, 3), pad=1), [0.7, -0.3], [0.1, 0.2], [0.3, 0.1], [1.5, 0.9])
    y = b.quant(b.node("Relu", b.node("Add", y, x)), 0.31, 3, signed=0)
    return b.model((b.node("Sub", y, x), (1, 2, 4, 4)))


def reorders() -> onnx.ModelProto:
    """Shuffled pixels, a transposed image, tiles, and a flipped one, each between layers."""
    b = Builder((1, 2, 4, 4))
    x = b.quant(conv(b, b.quant("x", 0.25, 4), weights(b, 4, 2, 1, 1), (1, 1)), 0.25, 4)
    x = b.node("DepthToSpace", x, blocksize=2, mode="CRD")
    x = b.quant(conv(b, x, weights(b, 2, 1, 3, 3)), 0.5, 4)
    x = b.quant(conv(b, b.node("Transpose", x, perm=[0, 1, 3, 2]), weights(b, 2, 2, 3, 1), (3, 1)), 0.5, 4)
    x = b.quant(conv(b, b.node("SpaceToDepth", x, blocksize=2), weights(b, 2, 8, 1, 1), (1, 1)), 0.5, 4)
    x = b.node("Slice", x, integers(b, -1), integers(b, -9), integers(b, 3), integers(b, -1))
    return b.model((b.quant(conv(b, x, weights(b, 2, 2, 1, 2), (1, 2)), 0.5, 4), (1, 2, 2, 2)))


def u_net() -> onnx.ModelProto:
    """A path at half the resolution with a scale of its own, upsampled and concatenated with the other one."""
    b = Builder((1, 2, 4, 4))
    x = b.quant(b.node("Relu", conv(b, b.quant("x", 0.0973, 4), weights(b, 2, 2, 3, 3), pad=1)), 0.31, 3, signed=0)
    small = b.quant(conv(b, x, weights(b, 2, 2, 2, 2), (2, 2), strides=[2, 2]), 0.517, 3)
    large = b.node("Resize", small, "", np.float32([1, 1, 2, 2]), mode="nearest", nearest_mode="floor",
                   coordinate_transformation_mode="asymmetric")  # fmt: skip
    x = conv(b, b.node("Concat", x, large, axis=1), weights(b, 2, 4, 3, 3), pad=1)
    return b.model((b.quant(b.node("Relu", x), 0.613, 3, signed=0), (1, 2, 4, 4)))


def autoencoder() -> onnx.ModelProto:
    """A signal that is halved, and enlarged again by a transposed convolution whose sums are cropped."""
    b = Builder((1, 2, 8))
    x = b.quant(conv(b, b.quant("x", 0.25, 4), weights(b, 3, 2, 3), (3,), pad=1, strides=[2]), 0.5, 3)
    x = b.node("ConvTranspose", x, weights(b, 3, 2, 4), strides=[2], pads=[1, 1])
    return b.model((b.quant(x, 0.5, 4), (1, 2, 8)))


def transposed() -> onnx.ModelProto:
    """A U-Net: half the resolution, enlarged by a transposed convolution and joined with the other path; and a larger
    kernel of another stride along each axis, with groups."""
    b = Builder((1, 2, 4, 4))
    x = b.quant(conv(b, b.quant("x", 0.25, 4), weights(b, 2, 2, 3, 3), pad=1), 0.5, 3)
    small = b.quant(conv(b, x, weights(b, 4, 2, 2, 2), (2, 2), strides=[2, 2]), 1.0, 3)
    large = b.quant(b.node("ConvTranspose", small, weights(b, 4, 2, 2, 2), strides=[2, 2]), 0.5, 3)
    x = b.quant(conv(b, b.node("Concat", x, large, axis=1), weights(b, 2, 4, 3, 3), pad=1), 1.0, 3)
    x = b.node("ConvTranspose", x, weights(b, 2, 1, 3, 4), strides=[1, 2], pads=[1, 1, 1, 1], group=2)
    return b.model((b.quant(x, 1.0, 4), (1, 2, 4, 8)))


def folded(graph: Graph, cycles: int) -> Graph:
    """The cheapest hardware of at most so many cycles a frame, or the fastest, with its FIFOs."""
    table = choose.for_cycles(graph, max(cycles, Search(graph, ECP5, DEVICE).min_interval[0]), ECP5, DEVICE)
    connected = insert_width_converters(apply_folding(graph, table))
    return insert_fifos(connected, size_fifos(connected))


@pytest.mark.parametrize(
    ("network", "cycles"),
    [
        (signal, 60),
        (two_scales, 500),
        pytest.param(moves, 100, marks=pytest.mark.slow),
        (unequal_scales, 100),
        (autoencoder, 60),
        pytest.param(transposed, 200, marks=pytest.mark.slow),
        pytest.param(transposed, 10000, marks=pytest.mark.slow),
        pytest.param(reorders, 100, marks=pytest.mark.slow),
        pytest.param(every_layer, 400, marks=pytest.mark.slow),
        pytest.param(every_layer, 100000, marks=pytest.mark.slow),
        pytest.param(moves, 1000, marks=pytest.mark.slow),
        pytest.param(signal, 1000, marks=pytest.mark.slow),
        pytest.param(two_scales, 60, marks=pytest.mark.slow),
        pytest.param(u_net, 200, marks=pytest.mark.slow),
    ],
)
def test_network_in_rtl(network, cycles):
    rng, model = np.random.default_rng(cycles), network()
    hardware = folded(lower(model), cycles)
    assert steady(hardware).interval <= cycles
    check(hardware, {"input": random_frames(hardware.edges["input"], 4, rng)}, rng)
    x = rng.normal(size=(50, *hardware.inputs[0].shape)).astype(np.float32)
    np.testing.assert_allclose(Emulator(hardware).run(x), Reference(model).run(x), rtol=1e-6, atol=1e-6)
    assert compare(hardware, model, x).mismatches == 0


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), cycles=st.sampled_from([1, 50, 300, 10**6]))
def test_random_networks_in_rtl(seed, cycles):
    network = RandomImages(np.random.default_rng(seed), dyadic=True)
    if graph := lowered(network.model()):
        hardware = folded(graph, cycles)
        frames = graph.encode(network.frames(4))
        check(hardware, frames, np.random.default_rng(seed))
