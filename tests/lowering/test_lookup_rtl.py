"""Lookup networks from the ONNX model to simulated hardware."""

import numpy as np
import onnx
import pytest

from hw.families.ecp5 import ECP5
from hw.folding import choose
from hw.ir.kernel import Folding
from hw.passes.chains import fused
from hw.passes.fifos import insert_fifos
from hw.passes.fold import apply_folding
from hw.passes.lanes import insert_width_converters
from hw.passes.removal.remove import remove_channels
from hw.simulation.emulator import Emulator
from hw.timing.fifo_sizing import size_fifos
from hw.verification.reference import Reference
from hw.verification.reference import random_frames as frames_of
from tests.builders.lookup_models import LookupBuilder, LookupModel
from tests.kernels.kernel_bench import check, random_frames
from tests.lowering.test_lookup_networks import builder, convolution, dense, signs
from tests.lowering.test_lower_rtl import DEVICE, folded, lower

FLOAT = onnx.TensorProto.FLOAT


def windows() -> onnx.ModelProto:
    """Two convolutional lookup layers, padded, and a layer of all positions."""
    b = builder(1, 6, 7, seed=1)
    bits = b.node("Cast", b.node("GreaterOrEqual", "x", 7.5), to=FLOAT)
    y, shape = convolution(b, bits, (1, 6, 7), 3, 2, 1, 3, 4)
    y, shape = convolution(b, y, shape, 2, 1, 0, 4, 4)
    count = int(np.prod(shape))
    return b.model((b.counted(b.layer(b.node("Flatten", y), count, 12, 4), 12), (1, 3)))


def between() -> onnx.ModelProto:
    """Tables behind the signs of a layer, and before a layer."""
    b: LookupBuilder = builder(5, dtype="", seed=2)
    y = b.layer(signs(b, "BipolarQuant"), 10, 12, 4)
    return b.model((b.quant(dense(b, y, 12, 4), 0.5, 3), (1, 4)))


def skips() -> onnx.ModelProto:
    """A layer that reads the bits of the encoder, too, and the class."""
    b = builder(6, seed=3)
    bits, count = b.encoder("x")
    y = b.layer(b.node("Concat", b.layer(bits, count, 9, 6), bits, axis=1), 9 + count, 15, 4)
    return b.model((b.node("ArgMax", b.counted(y, 15), axis=1), (1, 1), onnx.TensorProto.INT64))


def levels() -> onnx.ModelProto:
    """A thermometer of three comparisons, which a Concat joins."""
    b = builder(3, seed=4)
    bits = [b.node(op, "x", level) for op, level in (("Greater", 2.0), ("Less", [7.5, 8, 9]), ("GreaterOrEqual", 12.0))]
    joined = b.node("Concat", *(b.node("Unsqueeze", each, b.int64([2])) for each in bits), axis=2)
    bits = b.node("Cast", b.node("Reshape", joined, b.int64([-1, 9])), to=b.spec.number)
    return b.model((b.counted(b.layer(bits, 9, 12, 4), 12), (1, 3), b.spec.number))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "cycles"),
    [
        (windows, 200),
        (between, 20),
        (skips, 1),
        (levels, 1),
        *((LookupModel(seed=s, layers=((9, 3), (6, 5))).model, 1) for s in (4, 5)),
    ],
)
def test_lookup_network_in_rtl(network, cycles):
    rng, model = np.random.default_rng(cycles), network()
    graph = remove_channels(lower(model)).graph
    hardware = folded(fused(graph), cycles)
    check(hardware, {"input": random_frames(hardware.edges["input"], 4, rng)}, rng)
    x = frames_of(hardware, 50)
    np.testing.assert_array_equal(Emulator(hardware).run(x), Reference(model).run(x))


@pytest.mark.slow
@pytest.mark.parametrize("network", [windows, between, skips])
def test_every_lookup_layer_can_be_folded(network):
    """Also those of windows, which the positions share: the windows give a bit a beat then."""
    rng, graph = np.random.default_rng(7), fused(remove_channels(lower(network())).graph)
    table = choose.for_cycles(graph, 10_000, ECP5, DEVICE)
    table |= {
        node.name: Folding(1, 1, implementation=each.op)
        for node in graph
        for each in node.kernel.implementations()
        if each.for_low_rates
    }
    connected = insert_width_converters(apply_folding(graph, table))
    hardware = insert_fifos(connected, size_fifos(connected))
    check(hardware, {"input": random_frames(hardware.edges["input"], 4, rng)}, rng)
    x = frames_of(hardware, 50)
    np.testing.assert_array_equal(Emulator(hardware).run(x), Reference(network()).run(x))
