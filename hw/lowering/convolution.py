"""Convolutions: a sliding window where there is one to slide, then a matrix-vector product or a depthwise one."""

from typing import TYPE_CHECKING

import numpy as np
import onnx
from qonnx.core.datatype import BaseDataType

from hw.host.steps import step
from hw.ir.kernel import Kernel
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.sliding_window.kernel import SlidingWindow
from hw.lowering.affine import rational
from hw.lowering.geometry import Geometry, geometry
from hw.lowering.handlers import behind, handles, line_by_channel, scaling, with_axis_last
from hw.lowering.moves import channel_first
from hw.lowering.refusal import refuse
from hw.lowering.rounding import Interval, Product, summed
from hw.lowering.weights import integer_weights, joined, reachable, weight_dtype
from hw.lowering.wires import Wire

if TYPE_CHECKING:
    from hw.lowering.lower import Lowering


@handles("Conv", spatial=True)
def _conv(lowering: "Lowering", node: onnx.NodeProto) -> None:
    """Weights (M, C / groups, *kernel). Groups are a matrix with blocks, but for depthwise ones."""
    call = lowering.call(node)
    integers, scale = integer_weights(node, lowering.values[node.input[1]])
    groups = int(call.get("group", 1))
    windows = geometry(call, integers.shape[2:])
    if len(call.shape) != integers.ndim or call.shape[1] != groups * integers.shape[1] or len(integers) % groups:
        raise refuse(node, f"its weights {integers.shape} do not fit its input {call.shape}", "export the model again")
    bias = call.operand(2)
    wire = with_axis_last(node, lowering.stream(node.input[0], node))
    refuse_padding(node, wire, windows)
    name = lowering.name("conv")
    layer = _depthwise if groups == call.shape[1] == len(integers) and groups > 1 else _dense
    result = layer(lowering, node, name, wire, windows, integers, scale, groups)
    rank = len(windows.spatial)
    if bias is not None:
        if not np.all(np.isfinite(bias)):
            raise refuse(node, "its bias is not finite", "check the training")
        result = result.then((step("Add", bias.reshape(1, -1, *(1,) * rank)),), node.name)
    lowering.values[node.output[0]] = result


@handles("Pad", spatial=True)
def _pad(lowering: "Lowering", node: onnx.NodeProto) -> None:
    """Zeros around an image: windows of one element."""
    call = lowering.call(node)
    if str(call.get("mode", "constant")) != "constant" or np.any(call.operand(2)):
        raise refuse(node, "it pads with something else than zeros", "pad with zeros")
    rank = len(call.shape)
    pads = np.zeros((2, rank), np.int64)
    axes = call.operand(3)
    given = np.asarray(call.get("pads", ()) if call.operand(1) is None else call.operand(1), np.int64).reshape(2, -1)
    pads[:, range(rank) if axes is None else np.ravel(axes) % rank] = given
    if pads.min() < 0 or pads[:, :2].any() or rank not in (3, 4):
        raise refuse(node, f"it pads {call.shape} by {pads.tolist()}", "pad height and width only")
    wire = with_axis_last(node, lowering.stream(node.input[0], node))
    ones = (1,) * (rank - 2)
    around = Geometry(call.shape[2:], ones, ones, ones, tuple((int(a), int(b)) for a, b in pads[:, 2:].T))
    refuse_padding(node, wire, around)
    if not around.padded:
        lowering.values[node.output[0]] = wire
        return
    edge, dtype = windowed(lowering, lowering.name("pad"), wire, around)
    shape = lowering.nodes[-1].kernel.outputs()[0].shape

    def bounds(sources: list[Interval], value: np.ndarray) -> Interval:
        low, high = (around.windows(side).reshape(value.shape) for side in sources[0])
        return low, high

    lowering.products[edge] = Product((wire,), bounds, len(wire.steps))
    low, high = _bounds(wire, around)
    moves = (channel_first(rank - 1),)
    lowering.values[node.output[0]] = Wire(
        shape, wire.steps, wire.origins, moves, edge=edge, dtype=dtype, low=low, high=high
    )


def refuse_padding(node: onnx.NodeProto, wire: Wire, windows: Geometry) -> None:
    """Raise where windows are padded with zeros and the integer 0 does not stand for the value 0."""
    worst = max(abs(float(value)) for value in line_by_channel(wire)[1])
    if windows.padded and worst:
        raise refuse(
            node,
            f"it pads with zeros, but its input has an offset of {worst:.3g} and the integer 0 is not its value 0",
            "use a quantizer without a zero point and nothing but scales behind it, or no padding",
        )


def windowed(lowering: "Lowering", name: str, wire: Wire, windows: Geometry) -> tuple[str, BaseDataType]:
    """The edge of the windows on a wire, and its type; the wire's own edge where it already carries them."""
    if windows.whole or windows.single:
        return wire.edge, wire.dtype
    kernel = SlidingWindow(
        wire.shape, windows.kernel, wire.dtype, stride=windows.stride, dilation=windows.dilation, pad=windows.pads
    )
    return lowering.append(f"{name}_window", kernel, wire.edge), kernel.outputs()[0].dtype


def _bounds(wire: Wire, windows: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """What a window may hold of each channel: padding counts."""
    if not windows.padded:
        return wire.low, wire.high
    return np.minimum(wire.low, 0), np.maximum(wire.high, 0)


def _dense(
    lowering: "Lowering",
    node: onnx.NodeProto,
    name: str,
    wire: Wire,
    windows: Geometry,
    integers: np.ndarray,
    scale: np.ndarray,
    groups: int,
) -> Wire:
    """The weights as a matrix (K * C, M), in the order of a window's elements."""
    matrix, scales = (_matrix(values, groups) for values in (integers, scale))
    magnitudes = np.abs(matrix * scales)
    slope, offset = (np.tile(part, windows.positions) for part in line_by_channel(wire))
    matrix, gain, shift = joined(node, matrix, scales, slope, offset)
    low, high = _bounds(wire, windows)
    edge, dtype = windowed(lowering, name, wire, windows)
    kernel = MatrixVector(
        np.ascontiguousarray(matrix.T),
        weight_dtype(matrix),
        dtype,
        windows.out,
        input_range=(int(low.min()), int(high.max())),
    )
    bounds = reachable(matrix, np.tile(low, windows.positions), np.tile(high, windows.positions))

    def terms(values: list[np.ndarray]) -> np.ndarray:
        parts = np.moveaxis(windows.windows(values[0]), -1, -2)
        return parts.reshape(*parts.shape[:-2], -1)

    steps = scaling(len(windows.out) + 1, gain, shift)
    return _append(
        lowering, node, name, kernel, edge, bounds, steps, Product((wire,), summed(terms, magnitudes, True), len(steps))
    )


def _matrix(values: np.ndarray, groups: int) -> np.ndarray:
    """Weights or scales (M, C / groups, *kernel) as (K * C, M), with blocks on the diagonal.

    Scales have the same value outside of the blocks as inside.
    """
    outputs, inputs = values.shape[:2]
    if groups > 1:
        whole = np.zeros((outputs, groups, inputs, *values.shape[2:]), values.dtype)
        blocks = np.repeat(np.arange(groups), outputs // groups)
        if values.dtype.kind == "f":
            whole[:] = values[:, None]
        else:
            whole[np.arange(outputs), blocks] = values
        values = whole.reshape(outputs, groups * inputs, *values.shape[2:])
    return np.moveaxis(values, (0, 1), (-1, -2)).reshape(-1, outputs)


def _depthwise(
    lowering: "Lowering",
    node: onnx.NodeProto,
    name: str,
    wire: Wire,
    windows: Geometry,
    integers: np.ndarray,
    scale: np.ndarray,
    groups: int,
) -> Wire:
    """The weights as (C, K), a row for each channel."""
    matrix, scales = (values.reshape(groups, -1) for values in (integers, scale))
    if np.any(scales != scales[:, :1]):
        raise refuse(node, "its weights have different scales within one sum", "use one scale for each channel")
    low, high = _bounds(wire, windows)
    edge, dtype = windowed(lowering, name, wire, windows)
    kernel = Depthwise(matrix, weight_dtype(matrix), dtype, windows.out, input_range=(int(low.min()), int(high.max())))
    up, down = np.maximum(matrix, 0).sum(axis=1), np.minimum(matrix, 0).sum(axis=1)
    slope, offset = line_by_channel(wire)
    unit = rational(scales[:, 0])
    steps = scaling(len(windows.out) + 1, slope * unit, offset * unit * matrix.sum(axis=1).astype(object))
    product = Product(
        (wire,), summed(lambda values: windows.windows(values[0]), np.abs(matrix * scales), shared=False), len(steps)
    )
    bounds = low * up + high * down, high * up + low * down
    return _append(lowering, node, name, kernel, edge, bounds, steps, product)


def _append(
    lowering: "Lowering",
    node: onnx.NodeProto,
    name: str,
    kernel: Kernel,
    edge: str,
    bounds: tuple[np.ndarray, np.ndarray],
    steps: tuple,
    product: Product,
) -> Wire:
    written = lowering.append(name, kernel, edge)
    lowering.products[written] = product
    rank = len(kernel.outputs()[0].shape)
    return behind(node, written, kernel, bounds, steps, (channel_first(rank),))
