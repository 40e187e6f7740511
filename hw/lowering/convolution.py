"""Convolutions: a sliding window, then a matrix-vector product or a depthwise layer."""

import numpy as np
import onnx

from hw.host.steps import step
from hw.ir.kernel import Kernel
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.lowering.affine import affine_steps, rational
from hw.lowering.context import Lowering
from hw.lowering.domains import channels_last_keys
from hw.lowering.geometry import geometry
from hw.lowering.handlers import Handler, Handlers, affine_by_channel, output_tensor, with_axis_last
from hw.lowering.integer_tensor import IntegerTensor, Steps
from hw.lowering.layout_ops import LayoutOps, channels_of, permuted_channels
from hw.lowering.padding import Padding, padding
from hw.lowering.refusal import lowering_error
from hw.lowering.rounding import Product, summed
from hw.lowering.scale_groups import scale_groups, sum_of_groups
from hw.lowering.weights import fold_scales_into_weights, integer_weights, reachable, weight_dtype


def _conv(context: Lowering, node: onnx.NodeProto) -> None:
    """Conv with weights (M, C / groups, *kernel), or (M, *kernel, C / groups) in the domain of channels last.

    A grouped convolution is one matrix with blocks on its diagonal, except for a depthwise convolution, which has a
    kernel of its own.
    """
    call = context.call(node)
    channels = call.channel_axis
    integers, scale = (
        np.moveaxis(values, channels, 1) for values in integer_weights(node, context.values[node.input[1]])
    )
    groups = int(call.get("group", 1))
    windows = geometry(call, integers.shape[2:])
    if len(call.shape) != integers.ndim or call.shape[channels] != groups * integers.shape[1] or len(integers) % groups:
        raise lowering_error(
            node, f"its weights {integers.shape} do not fit its input {call.shape}", "export the model again"
        )
    bias = call.operand(2)
    if bias is not None and not np.all(np.isfinite(bias)):
        raise lowering_error(node, "its bias is not finite", "check the training")
    tensor = with_axis_last(context, node, context.affine_integers(node.input[0], node), permuted=True)
    padded = padding(node, tensor, windows)
    name = context.name("conv")
    if groups == call.shape[channels] == len(integers) and groups > 1:
        result = _depthwise(context, node, name, tensor, padded, integers, scale, groups, bias)
    else:
        order = np.argsort(channels_of(tensor.layout_ops, tensor.channels))
        matrix, scales = (_matrix(values, groups, order) for values in (integers, scale))
        rank = len(windows.out) + 1
        layout_ops = permuted_channels(np.arange(len(integers)), rank, channels - 1)
        result = dense(context, node, name, tensor, padded, matrix, scales, layout_ops, bias)
    if bias is not None:
        result = result.then((step("Add", bias.reshape(call.along(channels))),), node.name)
    context.values[node.output[0]] = result


def dense(
    context: Lowering,
    node: onnx.NodeProto,
    name: str,
    tensor: IntegerTensor,
    padded: Padding,
    matrix: np.ndarray,
    scales: np.ndarray,
    layout_ops: LayoutOps,
    bias: np.ndarray | None,
) -> IntegerTensor:
    """The product of windows with a matrix of integers times scales (K * C, M).

    ``bias``, (M,), is what the model's operator adds; a later step adds it here.

    Its rows are in the order of a window's elements, the stream's channels innermost; ``layout_ops`` lead from the
    stream of the results to the model's tensor.
    """
    result = _product(context, node, name, tensor, padded, matrix, scales, layout_ops, bias)
    if result is not None:
        return result
    parts = []
    positions = padded.windows.positions
    for group in scale_groups(context, node, tensor):
        rows = (np.arange(positions)[:, None] * tensor.channels + group.rows).ravel()
        own = matrix[rows] * np.tile(group.used, positions)[:, None]
        more = len(matrix) - len(rows)
        around = padding(node, group.tensor, padded.windows)
        parts.append(_product(context, node, name, group.tensor, around, own, scales[rows], layout_ops, bias, more))
    return sum_of_groups(name, node, parts, len(matrix))


def _product(
    context: Lowering,
    node: onnx.NodeProto,
    name: str,
    tensor: IntegerTensor,
    padded: Padding,
    matrix: np.ndarray,
    scales: np.ndarray,
    layout_ops: LayoutOps,
    bias: np.ndarray | None,
    others: int = 0,
) -> IntegerTensor | None:
    """The same, for inputs of one scale.

    ``others`` is the number of terms that other kernels add. None if scales within one sum have no small ratio.
    """
    windows = padded.windows
    slope, offset = (np.tile(part, windows.positions) for part in affine_by_channel(tensor))
    folded = fold_scales_into_weights(matrix, scales, slope, offset)
    if folded is None:
        return None
    magnitudes = np.abs(matrix * scales)
    matrix, gain, shift = folded
    low, high = padded.range(tensor)
    edge, dtype = padded.edge(context, name, tensor)
    kernel = MatrixVector(
        np.ascontiguousarray(matrix.T),
        weight_dtype(matrix),
        dtype,
        windows.out,
        input_range=(int(low.min()), int(high.max())),
    )
    bounds = reachable(matrix, np.tile(low, windows.positions), np.tile(high, windows.positions))

    def terms(values: list[np.ndarray]) -> np.ndarray:
        parts = np.moveaxis(windows.unpadded.windows(values[0]), -1, -2)
        return parts.reshape(*parts.shape[:-2], -1)

    steps = affine_steps(len(windows.out) + 1, gain, shift)
    return _append(
        context,
        node,
        name,
        kernel,
        edge,
        bounds,
        steps,
        Product((tensor,), padded.around(summed(terms, magnitudes, True, others, bias)), len(steps)),
        layout_ops,
    )


def _matrix(values: np.ndarray, groups: int, channels: np.ndarray) -> np.ndarray:
    """Weights or scales (M, C / groups, *kernel) as a matrix (K * C, M), for groups with blocks on its diagonal.

    Integers are 0 outside of the blocks, scales the same as inside. ``channels`` are the model's channels in the order
    of the stream.
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
    return np.moveaxis(values[:, channels], (0, 1), (-1, -2)).reshape(-1, outputs)


def _depthwise(
    context: Lowering,
    node: onnx.NodeProto,
    name: str,
    tensor: IntegerTensor,
    padded: Padding,
    integers: np.ndarray,
    scale: np.ndarray,
    groups: int,
    bias: np.ndarray | None,
) -> IntegerTensor:
    """A depthwise convolution: weights (C, K), one row for each channel. ``bias`` as in ``dense``, (C,)."""
    windows = padded.windows
    channels = np.argsort(channels_of(tensor.layout_ops, groups))
    matrix, scales = (values.reshape(groups, -1)[channels] for values in (integers, scale))
    if np.any(scales != scales[:, :1]):
        raise lowering_error(node, "its weights have different scales within one sum", "use one scale for each channel")
    low, high = padded.range(tensor)
    edge, dtype = padded.edge(context, name, tensor)
    kernel = Depthwise(matrix, weight_dtype(matrix), dtype, windows.out, input_range=(int(low.min()), int(high.max())))
    up, down = np.maximum(matrix, 0).sum(axis=1), np.minimum(matrix, 0).sum(axis=1)
    slope, offset = affine_by_channel(tensor)
    unit = rational(scales[:, 0])
    steps = affine_steps(len(windows.out) + 1, slope * unit, offset * unit * matrix.sum(axis=1).astype(object))
    sums = summed(
        lambda values: windows.unpadded.windows(values[0]),
        np.abs(matrix * scales),
        shared=False,
        bias=None if bias is None else bias[channels],
    )
    product = Product((tensor,), padded.around(sums), len(steps))
    bounds = low * up + high * down, high * up + low * down
    return _append(context, node, name, kernel, edge, bounds, steps, product, tensor.layout_ops)


def _append(
    context: Lowering,
    node: onnx.NodeProto,
    name: str,
    kernel: Kernel,
    edge: str,
    bounds: tuple[np.ndarray, np.ndarray],
    steps: Steps,
    product: Product,
    layout_ops: LayoutOps,
) -> IntegerTensor:
    """Append a convolution's kernel and record how rounding propagates through it; returns its output."""
    written = context.append(name, kernel, edge)
    context.products[written] = product
    return output_tensor(node, written, kernel, bounds, steps, layout_ops)


HANDLERS: Handlers = {
    **dict.fromkeys((("", "Conv"), *channels_last_keys("Conv")), Handler(_conv, spatial=True)),
}
