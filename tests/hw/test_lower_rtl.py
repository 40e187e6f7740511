"""A small network with every kind of layer, from the QONNX model to simulated hardware."""

import numpy as np
import pytest

from hw import fifo, folding, timing
from hw.emulate import Emulator
from hw.kernels.kernel import Resources
from hw.lower import lower
from hw.reference import Reference
from hw.synth.family import ECP5
from tests.hw.kernel_bench import check, random_frames
from tests.hw.qonnx_builder import Builder
from tests.hw.test_lower_images import conv, signs, weights

DEVICE = Resources(lut=24288, ff=24288, bram=56, dsp=28)


def network():
    """A padded one-bit convolution, a residual sum, a pool, depthwise and ternary convolutions, an average."""
    b = Builder((1, 2, 6, 6))
    x = b.quant(conv(b, b.quant("x", 0.25, 4), signs(b, 4, 2, 3, 3), pad=1), 0.5, 3, signed=0)
    y = b.quant(conv(b, x, weights(b, 4, 4, 3, 3), pad=1), 0.5, 3, signed=0)
    x = b.node("MaxPool", b.quant(b.node("Add", x, y), 1.0, 3, signed=0), kernel_shape=[2, 2], strides=[2, 2])
    x = b.node("BipolarQuant", conv(b, x, weights(b, 4, 1, 3, 3), pad=1, group=4), 1.0)
    x = b.quant(conv(b, x, signs(b, 4, 4, 3, 3), pad=1), 1.0, 3)
    x = b.node("MatMul", b.node("Flatten", b.node("GlobalAveragePool", x)), weights(b, 4, 3))
    return b.model((x, (1, 3)))


@pytest.mark.slow
@pytest.mark.parametrize("cycles", [400, 100000])
def test_network_in_rtl(cycles):
    rng, model = np.random.default_rng(cycles), network()
    graph = lower(model)
    table = folding.for_cycles(graph, cycles, ECP5, DEVICE)
    assert all(f.simd == table[name.removesuffix("_window")].simd for name, f in table.items() if "_window" in name)
    folded = folding.connect(folding.apply(graph, table))
    folded = fifo.insert(folded, fifo.size(folded))
    assert timing.steady(folded).interval <= cycles
    check(folded, {"input": random_frames(folded.edges["input"], 4, rng)}, rng)
    x = rng.normal(size=(50, 2, 6, 6)).astype(np.float32)
    np.testing.assert_allclose(Emulator(folded).run(x), Reference(model).run(x), rtol=1e-6, atol=1e-6)
