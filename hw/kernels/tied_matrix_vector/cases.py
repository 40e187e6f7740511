"""Cases of ``tied_matrix_vector``: small kernels for every check, the definition, and the measured grid."""

from collections.abc import Iterator

import numpy as np
from qonnx.core.datatype import DataType

from hw.kernels.shared.random_parameters import weights
from hw.kernels.tied_matrix_vector.kernel import TiedMatrixVector

SMALL = (
    # name, weights, inputs, outputs by inputs, side of the circulant blocks, prefix
    ("xnor", "BIPOLAR", "BIPOLAR", 32, 48, 4, (2,)),
    ("signs by numbers", "BIPOLAR", "UINT4", 24, 48, 4, ()),
    ("weight planes", "INT4", "UINT4", 16, 16, 4, (2,)),
    ("numbers by signs", "INT5", "BIPOLAR", 16, 16, 4, ()),
    ("multiply", "INT8", "INT8", 16, 16, 4, ()),
)
PRODUCTS = (
    # weights, inputs, outputs by inputs, sides of the circulant blocks ...
    ("INT4", "UINT4", 64, 64, 4, 8),
    ("INT4", "UINT4", 256, 256, 8),
    ("BIPOLAR", "BIPOLAR", 256, 256, 16),
    ("INT8", "INT8", 64, 128, 4),
    ("INT4", "BIPOLAR", 64, 128, 8),
)


def circulant(rng: np.random.Generator, dtype: str, shape: tuple[int, int], side: int) -> np.ndarray:
    """Circulant blocks: weight (o, i) of a block is value (i - o) modulo the side of its first row."""
    rows = weights(rng, dtype, (shape[0] // side, shape[1])).reshape(shape[0] // side, -1, side)
    turn = (np.arange(side) - np.arange(side)[:, None]) % side
    return np.asarray(rows[:, :, turn].transpose(0, 2, 1, 3).reshape(shape))


def repeated(
    rng: np.random.Generator, dtype: str, shape: tuple[int, int], block: tuple[int, int], kinds: int
) -> np.ndarray:
    """Blocks, each of which is one of some kinds."""
    (mh, mw), (pe, simd) = shape, block
    made = weights(rng, dtype, (kinds, pe * simd)).reshape(kinds, pe, simd)
    chosen = rng.integers(kinds, size=(mh // pe, mw // simd))
    return np.asarray(made[chosen].transpose(0, 2, 1, 3).reshape(shape))


def rotated(rng: np.random.Generator, dtype: str, maps: tuple[int, int], kernel: int = 3) -> np.ndarray:
    """The filters of a group convolution over the rotations by quarters ("p4", Cohen & Welling 2016), with so many
    output and input maps in four orientations each: (outputs, kernel * kernel * inputs)."""
    filters = weights(rng, dtype, (maps[0], maps[1] * 4 * kernel * kernel)).reshape(*maps, 4, kernel, kernel)
    turned = [np.rot90(np.roll(filters, turn, 2), turn, (3, 4)) for turn in range(4)]
    return np.stack(turned, axis=1).transpose(0, 1, 4, 5, 2, 3).reshape(4 * maps[0], -1)


def cases() -> Iterator[tuple[str, TiedMatrixVector]]:
    """Small kernels of every datapath, with wires alone and with an index, and parity bits."""
    rng = np.random.default_rng(1)
    for name, weight, data, mh, mw, side, prefix in SMALL:
        matrix = circulant(rng, weight, (mh, mw), side)
        yield name, TiedMatrixVector(matrix, DataType[weight], DataType[data], prefix, side, side)
    int4, uint4 = DataType["INT4"], DataType["UINT4"]
    matrix = repeated(rng, "INT4", (16, 32), (2, 4), 5)
    yield "index", TiedMatrixVector(matrix, int4, uint4, (2,), 2, 4)
    matrix = repeated(rng, "INT4", (24, 36), (3, 6), 3)
    matrix[:, ::6] = matrix[:, 5::6]
    yield "index and wires", TiedMatrixVector(matrix, int4, uint4, (), 3, 6)
    matrix = circulant(rng, "INT4", (32, 32), 8)
    yield "rows of blocks in turns", TiedMatrixVector(matrix, int4, uint4, (2,), 1, 8)
    yield "parts of blocks in turns", TiedMatrixVector(matrix, int4, uint4, (), 2, 2)
    yield "one weight at a time", TiedMatrixVector(matrix, int4, uint4, (), 1, 1)
    yield "rotated filters", TiedMatrixVector(rotated(rng, "INT4", (4, 6)), int4, DataType["INT4"], (2,), 4, 4)
    matrix, int8 = circulant(rng, "INT8", (64, 256), 4), DataType["INT8"]
    yield "parity of turned words", TiedMatrixVector(matrix, int8, int8, (), 2, 4, parity=True)
    matrix = repeated(rng, "INT8", (64, 256), (4, 4), 60)
    yield "parity", TiedMatrixVector(matrix, DataType["INT8"], DataType["UINT2"], (), 4, 4, parity=True)


def definition(kernel: TiedMatrixVector, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The matrix product, computed with Python's integers."""
    return (x.astype(object) @ kernel.weights.T.astype(object),)


def grid() -> Iterator[tuple[str, TiedMatrixVector]]:
    """The kernels that the resource model is fitted to."""
    for weight, data, mh, mw, *sides in PRODUCTS:
        for side in sides:
            rng = np.random.default_rng([mh, mw, side])
            matrix = circulant(rng, weight, (mh, mw), side)
            kernel = TiedMatrixVector(matrix, DataType[weight], DataType[data], pe=side, simd=side)
            yield f"tied_matrix_vector {weight}x{data} {mh}x{mw} circulant blocks of {side}", kernel
    matrix = repeated(np.random.default_rng(0), "INT4", (256, 256), (4, 8), 64)
    kernel = TiedMatrixVector(matrix, DataType["INT4"], DataType["UINT4"], pe=4, simd=8)
    yield "tied_matrix_vector INT4xUINT4 256x256 blocks of 64 kinds", kernel
    matrix = rotated(np.random.default_rng(1), "INT4", (8, 16))
    kernel = TiedMatrixVector(matrix, DataType["INT4"], DataType["UINT4"], pe=4, simd=4)
    yield "tied_matrix_vector INT4xUINT4 8 by 16 maps of rotated filters", kernel
