"""Cases of ``lookup_network``: small kernels for every check, the definition, and the measured grid."""

from collections.abc import Iterator, Sequence

import numpy as np
from qonnx.core.datatype import DataType

from hw.ir.kernel import Kernel
from hw.kernels import cases as cases_of
from hw.kernels.arg_max.kernel import ArgMax
from hw.kernels.lookup_layer.cases import random_layer
from hw.kernels.lookup_layer.kernel import LookupLayer
from hw.kernels.lookup_network.kernel import LookupNetwork
from hw.kernels.popcount_class.kernel import PopcountClass
from hw.kernels.shared.chain import Layer
from hw.kernels.thermometer.kernel import Thermometer

GRID = (
    # tables, inputs of each, adders per stage, inputs of a lookup table
    (80, 4, 1, 4), (80, 4, 2, 4), (80, 4, 3, 4), (60, 6, 2, 6),
)  # fmt: skip


def named(*kernels: Kernel) -> LookupNetwork:
    """The network of these layers."""
    return LookupNetwork(tuple(Layer(f"layer{n}", f"edge{n}", kernel) for n, kernel in enumerate(kernels)))


def classifier(
    rng: np.random.Generator, features: int, sizes: tuple[int, ...], inputs: int, classes: int,
    prefix: tuple[int, ...] = (), adders: int = 2, tables: int = 4,
) -> tuple[Kernel, ...]:  # fmt: skip
    """Random layers: three levels of each feature of UINT4, layers of ``sizes`` tables, popcount and arg-max."""
    dtype = DataType["UINT4"]
    channels, kernels = 3 * features, list[Kernel]()
    levels = rng.integers(1, 16, channels)
    kernels.append(Thermometer(np.repeat(np.arange(features), 3), levels, features, dtype, prefix))
    for outputs in sizes:
        kernels.append(LookupLayer(*random_layer(rng, channels, outputs, inputs), channels, prefix))
        channels = outputs
    groups = np.arange(channels) * classes // channels
    zeros = np.zeros(classes, np.int64)
    count = PopcountClass(np.arange(channels), groups, zeros, channels, prefix, adders, tables)
    return (*kernels, count, ArgMax(classes, count.output_dtype, prefix))


def cases() -> Iterator[tuple[str, LookupNetwork]]:
    """Whole classifiers, and parts of them; the largest number signed and unsigned."""
    rng = np.random.default_rng(1)
    yield "classifier", named(*classifier(rng, 4, (20, 15), 4, 3))
    yield "positions", named(*classifier(rng, 3, (18,), 6, 2, (2, 2), 1, 6))
    yield "scores", named(*classifier(rng, 3, (24,), 3, 5, (), 3)[:-1])
    encoder, layer, count, _ = classifier(rng, 3, (12,), 4, 4)
    yield "bits", named(encoder, layer)
    assert isinstance(count, PopcountClass)
    offsets = np.array([-3, 1, 0, 0])
    signed = PopcountClass(count.wires, count.groups, offsets, count.channels)
    yield "signed", named(layer, signed, ArgMax(4, signed.output_dtype))


def definition(kernel: LookupNetwork, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The definitions of the layers, one after the other."""
    return defined(kernel.kernels, x)


def defined(kernels: Sequence[Kernel], x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The definitions of ``kernels``, one after the other."""
    for each in kernels:
        (x,) = cases_of(each.op).definition(each, x)
    return (x,)


def grid() -> Iterator[tuple[str, LookupNetwork]]:
    """The kernels that the resource model is fitted to: ten classes, with encoder and arg-max."""
    rng = np.random.default_rng(0)
    for count, inputs, adders, tables in GRID:
        name = f"lookup_network {count}x{inputs} tables={tables} adders={adders}"
        yield name, named(*classifier(rng, 16, (count,), inputs, 10, (), adders, tables))
