"""Cases of ``folded_lookup_network``: small kernels for every check, the definition, and the measured grid."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from qonnx.core.datatype import DataType

from hw.ir.kernel import Kernel
from hw.kernels.arg_max.kernel import ArgMax
from hw.kernels.folded_lookup_network.kernel import FoldedLookupNetwork
from hw.kernels.lookup_layer.cases import random_layer
from hw.kernels.lookup_layer.kernel import LookupLayer
from hw.kernels.lookup_network import cases as network
from hw.kernels.popcount_class.kernel import PopcountClass
from hw.kernels.thermometer.kernel import Thermometer

GRID = (
    # features, tables, inputs of each, tables at a time
    (16, 80, 4, 1), (64, 1400, 4, 1), (32, 600, 4, 2), (32, 300, 6, 4),
)  # fmt: skip


def folded(pe: int, *kernels: Kernel) -> FoldedLookupNetwork:
    """The network of these layers, ``pe`` tables at a time."""
    return FoldedLookupNetwork(network.named(*kernels).layers, pe)


def cases() -> Iterator[tuple[str, FoldedLookupNetwork]]:
    """Every kind of input and output, one and several tables at a time, positions, signed numbers, and parity."""
    rng = np.random.default_rng(1)
    yield "classifier", folded(1, *network.classifier(rng, 5, (20, 15), 4, 3))
    wide = network.classifier(rng, 3, (18,), 6, 2, (2, 2))
    yield "positions", folded(4, *wide)
    yield "parity", replace(folded(2, *network.classifier(rng, 40, (150,), 4, 3)), parity=True)
    encoder, layer, count, _ = network.classifier(rng, 3, (12,), 4, 4)
    assert isinstance(count, PopcountClass)
    yield "outputs", folded(2, encoder, layer)
    signed = PopcountClass(rng.integers(0, 12, 23), rng.integers(0, 4, 23), np.array([-30, 1, 0, 0]), 12)
    yield "signed", folded(1, layer, signed, ArgMax(4, signed.output_dtype))
    yield "sums", folded(2, LookupLayer(*random_layer(rng, 8, 12, 3), 8), signed)
    levels = np.array([-4, -1, 0, 2, 3, 5, 3])
    bits = Thermometer(np.array([0, 1, 1, 2, 0, 2, 1]), levels, 3, DataType["INT3"])
    yield "signs", folded(8, bits, LookupLayer(*random_layer(rng, 7, 16, 2), 7))
    signs = Thermometer(np.arange(4), np.array([0, 1, -1, 1]), 4, DataType["BIPOLAR"], (3,))
    yield "layers", folded(4, signs, *(LookupLayer(*random_layer(rng, 4, 4, 2), 4, (3,)) for _ in range(3)))
    yield "one layer", folded(2, LookupLayer(*random_layer(rng, 12, 6, 5), 12, (2,)))
    yield "popcount", folded(1, signed)


def definition(kernel: FoldedLookupNetwork, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The definitions of the layers, one after the other."""
    return network.defined(kernel.kernels, x)


def grid() -> Iterator[tuple[str, FoldedLookupNetwork]]:
    """The kernels that the resource model is fitted to: ten classes, with encoder and arg-max."""
    rng = np.random.default_rng(0)
    for features, count, inputs, pe in GRID:
        name = f"folded_lookup_network {count}x{inputs} features={features} PE={pe}"
        yield name, folded(pe, *network.classifier(rng, features, (count,), inputs, 10))
