"""Operators that move elements: they cost no logic, or a memory of the rows that they reach over."""

import numpy as np

from tests.builders.qonnx_builder import Builder
from tests.lowering.operators.layers import IMAGE, _weights
from tests.lowering.operators.row import Build, Row


def _ints(b: Builder, *values: int) -> str:
    return b.constant(np.array(values, np.int64), np.int64)


def _before_conv(move: Build, channels: int) -> Build:
    """The move between two layers, so that the hardware has to do it."""

    def build(b: Builder, x: str, opset: int) -> str:
        y = move(b, x, opset)
        return b.node("Conv", y, _weights(b, 3, channels, 2, 2), kernel_shape=[2, 2])

    return build


def _reshape(*shape: int) -> Build:
    return lambda b, x, opset: b.node("Reshape", x, _ints(b, *shape))


def _shuffle(b: Builder, x: str, opset: int) -> str:
    y = b.node("Transpose", _reshape(1, 2, 2, 6, 6)(b, x, opset), perm=[0, 2, 1, 3, 4])
    return _reshape(1, 4, 6, 6)(b, y, opset)


def _axes(op: str, *axes: int) -> Build:
    return lambda b, x, opset: b.node(op, x, axes=list(axes)) if opset < 13 else b.node(op, x, _ints(b, *axes))


def _squeeze(b: Builder, x: str, opset: int) -> str:
    return _axes("Squeeze", 2)(b, b.node("Conv", x, _weights(b, 4, 4, 6, 1), kernel_shape=[6, 1]), opset)


def _split(b: Builder, x: str, opset: int) -> str:
    if opset < 13:
        y = b.node("Split", x, axis=1, split=[1, 3], outputs=2)
    else:
        y = b.node("Split", x, _ints(b, 1, 3), axis=1, outputs=2)
    return b.node("Concat", f"{y}_1", b.quant(b.node("Neg", y), 0.125, 6), axis=1)


def _slice(starts, ends, axes, steps=None) -> Build:
    def build(b: Builder, x: str, opset: int) -> str:
        if opset < 10:
            return b.node("Slice", x, starts=starts, ends=ends, axes=axes)
        return b.node("Slice", x, *(_ints(b, *v) for v in (starts, ends, axes) + ((steps,) if steps else ())))

    return build


def _gather(axis: int, *indices: int) -> Build:
    return lambda b, x, opset: b.node("Gather", x, _ints(b, *indices), axis=axis)


def _indexed(b: Builder, x: str, opset: int) -> str:
    """``x[:, [3, 0, 1]]`` as PyTorch exports it."""
    y = b.node("GatherND", b.node("Transpose", x, perm=[1, 0, 2, 3]), b.constant([[3], [0], [1]], np.int64))
    return b.node("Transpose", y, perm=[1, 0, 2, 3])


def _depth(op: str, **attributes) -> Build:
    return lambda b, x, opset: b.node(op, x, blocksize=2, **attributes)


def _cropped(b: Builder, x: str, opset: int) -> str:
    """A crop that does not keep whole blocks."""
    return _slice([1], [11], [2])(b, _depth("DepthToSpace")(b, x, opset), opset)


def _turned(b: Builder, x: str, opset: int) -> str:
    return b.node("Transpose", x, perm=[0, 1, 3, 2])


def _repeated(op: str, *counts: int) -> Build:
    return lambda b, x, opset: b.node(op, x, _ints(b, *counts))


def _flatten(b: Builder, x: str, opset: int) -> str:
    return b.node("MatMul", b.node("Flatten", x, axis=1), _weights(b, 144, 3))


_OUT = {"shape": IMAGE, "output": (1.0, 8)}

ROWS = (
    Row("Reshape", _before_conv(_reshape(1, 4, 4, 9), 4), "the batch stays the first axis", **_OUT),
    Row("Flatten", _flatten, "the batch stays the first axis", **_OUT),
    Row("Squeeze", _squeeze, "not the batch", **_OUT),
    Row("Unsqueeze", lambda b, x, opset: _axes("Unsqueeze", 2)(b, x, opset), "not the batch", (1, 4)),
    Row("Transpose", _before_conv(_turned, 4), "the batch stays the first axis", **_OUT),
    Row("Transpose", _before_conv(_shuffle, 4), "between two Reshapes: a channel shuffle", **_OUT),
    Row("Split", _before_conv(_split, 4), "along any axis but the batch", **_OUT),
    Row("Slice", _before_conv(_slice([1, 1], [6, 5], [2, 3]), 4), "constant bounds: a crop", **_OUT),
    Row("Slice", _before_conv(_slice([1], [3], [1]), 2), "of channels", **_OUT),
    Row("Slice", _before_conv(_slice([0], [6], [2], [2]), 4), "with steps", since=10, **_OUT),
    Row("Gather", _before_conv(_gather(1, 3, 0, 1), 3), "constant indices", **_OUT),
    Row("GatherND", _before_conv(_indexed, 3), "constant indices of any axes but the batch", **_OUT),
    Row("Slice", _before_conv(_cropped, 1), "also behind other moves", **_OUT),
    Row("Gather", _before_conv(_gather(2, 5, 3, 1), 4), "of rows and columns in a regular order", **_OUT),
    Row("DepthToSpace", _before_conv(_depth("DepthToSpace"), 1), "order DCR", **_OUT),
    Row("DepthToSpace", _before_conv(_depth("DepthToSpace", mode="CRD"), 1), "and CRD", since=11, **_OUT),
    Row("SpaceToDepth", _before_conv(_depth("SpaceToDepth"), 16), "", **_OUT),
    Row("Tile", _before_conv(_repeated("Tile", 1, 2, 1, 1), 8), "constant repeats, not of the batch", **_OUT),
    Row("Expand", _before_conv(_repeated("Expand", 1, 4, 6, 6), 4), "a constant shape", since=8, **_OUT),
)
