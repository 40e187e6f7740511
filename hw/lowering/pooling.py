"""Maximum and average pooling over windows and over whole images."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import onnx

from hw.host.steps import run, step
from hw.ir.stream import smallest_dtype
from hw.kernels.accumulate_pool.kernel import AccumulatePool
from hw.kernels.max_pool.kernel import MaxPool
from hw.kernels.requant.kernel import MAX_OUTPUT, Requant
from hw.lowering.affine import affine_steps, floats
from hw.lowering.context import Lowering
from hw.lowering.domains import channels_last_keys, onnx_keys
from hw.lowering.geometry import Geometry, geometry
from hw.lowering.handlers import Handler, Handlers, affine_by_channel, output_tensor, with_axis_last
from hw.lowering.integer_tensor import IntegerTensor, Steps
from hw.lowering.layout_ops import LayoutOps, simplified
from hw.lowering.monotone import monotone
from hw.lowering.padding import Padding, integer_zeros, zeros
from hw.lowering.refusal import lowering_error
from hw.lowering.rounding import Interval, Product, summed


def _max_pool(context: Lowering, node: onnx.NodeProto) -> None:
    """The maximum of the integers of each window. Integers are negated first where values decrease with integers."""
    call = context.call(node)
    if len(node.output) > 1 and node.output[1]:
        raise lowering_error(node, "it gives indices, too", "use only its values")
    tensor = with_axis_last(context, node, context.integers(node.input[0], node), permuted=True)
    windows = _whole(tensor) if node.op_type == "GlobalMaxPool" else geometry(call)
    context.values[node.output[0]] = (
        tensor if windows.single else _maximum(context, node, tensor, windows, tensor.layout_ops)
    )


def _maximum(
    context: Lowering, node: onnx.NodeProto, tensor: IntegerTensor, windows: Geometry, layout_ops: LayoutOps
) -> IntegerTensor:
    """Maxima of windows in hardware; ``layout_ops`` lead from their stream to the model's tensor."""
    if not windows.inside.any(axis=-1).all():
        raise lowering_error(
            node,
            f"a window of {list(windows.kernel)} sees padding alone, whose maximum is minus infinity",
            "pad with less than a window",
        )
    name = context.name("pool")
    given = _with_increasing_values(context, node, name, tensor, windows.padded)
    padded = integer_zeros(given, windows)
    if windows.positions > 1:
        edge = _pool(context, name, MaxPool, given, padded)
    else:
        edge, _ = padded.edge(context, name, given)

    def bounds(sources: list[Interval], value: np.ndarray) -> Interval:
        low, high = (windows.windows(side, -np.inf).max(axis=-1) for side in sources[0])
        return low, high

    kernel = context.nodes[-1].kernel
    context.products[edge] = Product((tensor,), bounds, len(given.steps))
    stream = kernel.outputs()[0]
    return IntegerTensor(
        stream.shape, given.steps, given.origins, layout_ops,
        number=tensor.number, edge=edge, dtype=stream.dtype, low=given.low, high=given.high,
    )  # fmt: skip


def _pool(
    context: Lowering, name: str, kind: type[MaxPool] | type[AccumulatePool], tensor: IntegerTensor, padded: Padding
) -> str:
    """Append a pool; returns its edge. Windows that overlap or are padded need a sliding window before the pool."""
    windows = padded.windows
    if windows.tiled or windows.whole:
        return context.append(name, kind(tensor.shape, windows.kernel, tensor.dtype), tensor.edge)
    edge, dtype = padded.edge(context, name, tensor)
    kernel = kind((*windows.out, tensor.channels), windows.kernel, dtype, windows=True)
    return context.append(name, kernel, edge)


def _with_increasing_values(
    context: Lowering, node: onnx.NodeProto, name: str, tensor: IntegerTensor, padded: bool
) -> IntegerTensor:
    """The tensor with integers that have the order of its values and, if ``padded``, are never below the padding's 0.

    If the steps of a channel decrease (a BatchNorm with a negative factor), or an integer may be negative, a Requant
    negates and shifts the integers first. Raises BitfabricError if a step is not monotone.
    """
    if turning := [each.op for each in tensor.steps if not monotone((each,))]:
        raise lowering_error(
            node,
            f"its input passes {', '.join(turning)}, which turns, after the last quantizer",
            "put a quantizer before it",
        )
    first, last = (run(tensor.steps, bound[None].astype(np.float64)) for bound in tensor.bounds)
    falling = np.broadcast_to((first > last).ravel(), tensor.low.shape)
    if not falling.any() and not (padded and tensor.low.min() < 0):
        return tensor
    if max(abs(bound) for bound in tensor.range) >= 1 << MAX_OUTPUT - 2:
        raise lowering_error(
            node, f"its input has sums of {tensor.dtype.bitwidth()} bits, which it would have to negate or shift"
        )
    sign = np.where(falling, -1, 1)
    low, high = np.where(falling, -tensor.high, tensor.low), np.where(falling, -tensor.low, tensor.high)
    shift = -low if padded else np.zeros_like(low)
    low, high = low + shift, high + shift
    least, most = int(low.min()), int(high.max())
    dtype = smallest_dtype(least, most)
    kernel = Requant(sign, shift, 0, "FLOOR", tensor.dtype, dtype, least, most, tensor.shape[:-1])
    edge = context.append(f"{name}_turn", kernel, tensor.edge)
    undo: Steps = (step("Sub", tensor.by_channel(shift)),) if shift.any() else ()
    undo += (step("Mul", tensor.by_channel(sign)),) if falling.any() else ()
    return IntegerTensor(
        tensor.shape, (*undo, *tensor.steps), (node.name,) * len(undo) + tensor.origins, tensor.layout_ops,
        edge=edge, dtype=dtype, low=low, high=high,
    )  # fmt: skip


def _average_pool(context: Lowering, node: onnx.NodeProto) -> None:
    """The average over windows, or over the whole image."""
    call = context.call(node)
    tensor = with_axis_last(context, node, context.affine_integers(node.input[0], node), permuted=True)
    windows = _whole(tensor) if node.op_type == "GlobalAveragePool" else geometry(call)
    with_pads = bool(call.get("count_include_pad", 0))
    if with_pads and any(windows.beyond) and call.version < 19:
        raise lowering_error(
            node,
            "its last windows reach beyond the padding (ceil_mode), where runtimes divide by different numbers before "
            "opset 19",
            "export with opset 19 or newer, or leave ceil_mode out",
        )
    divisors = windows.counts(with_pads)
    if not divisors.all():
        raise lowering_error(node, "a window sees padding alone, of which it counts nothing", "pad with less")
    context.values[node.output[0]] = _average(context, node, tensor, windows, divisors, tensor.layout_ops)


def _reduce(context: Lowering, node: onnx.NodeProto) -> None:
    """The mean, sum or maximum over axes except the batch and others, of which the first becomes the channel axis."""
    call = context.call(node)
    rank = len(call.shape)
    axes_are_input = context.version(node) >= (13 if node.op_type == "ReduceSum" else 18)
    given = call.operand(1) if axes_are_input else call.get("axes", None)
    axes = {int(axis) % rank for axis in (range(rank) if given is None or not np.size(given) else np.ravel(given))}
    kept = sorted(set(range(rank)) - axes)
    verb = {"ReduceMean": "average", "ReduceSum": "sum", "ReduceMax": "maximise"}[node.op_type]
    if len(kept) < 2 or kept[0] != 0:
        raise lowering_error(
            node,
            f"it {verb}s over the axes {sorted(axes)} of {call.shape}",
            "keep the batch and another axis (of LayerNorm, whose statistics are those of each frame, use BatchNorm)",
        )
    find = context.integers if node.op_type == "ReduceMax" else context.affine_integers
    tensor = with_axis_last(context, node, find(node.input[0], node), kept[1] - 1, permuted=True)
    others = [axis for axis in range(1, rank) if axis != kept[1]]
    sizes = tensor.shape[:-1]
    merged = _merged([(size, axis in axes) for axis, size in zip(others, sizes, strict=True)])
    if len(merged) > 2:
        raise lowering_error(
            node, f"it {verb}s over the axes {sorted(axes)} of {call.shape}", "reshape to at most two axes of windows"
        )
    rest = tuple(1 if axis in axes else size for axis, size in zip(others, sizes, strict=True))
    apart, reshape = step("Reshape", shape=(*rest, tensor.channels)), step("Reshape", shape=call.output_shape[1:])
    layout_ops = tensor.layout_ops
    tensor = tensor.reshaped((*(size for size, _ in merged), tensor.channels))
    windows = _tiles(tensor, tuple(kernel for _, kernel in merged))
    layout_ops = simplified((apart, *layout_ops, reshape), (*windows.out, tensor.channels))
    if node.op_type == "ReduceMax":
        context.values[node.output[0]] = _maximum(context, node, tensor, windows, layout_ops)
        return
    divisors = np.array(1 if node.op_type == "ReduceSum" else windows.positions)
    context.values[node.output[0]] = _average(context, node, tensor, windows, divisors, layout_ops)


def _merged(axes: Sequence[tuple[int, bool]]) -> list[tuple[int, int]]:
    """The axes of windows that lie beside one another, as (size, kernel), from those of a frame, as (size, reduced).

    Neighbouring axes are one where both are kept or both are reduced, and so is a kept one with a reduced one behind.
    """
    result: list[tuple[int, int]] = []
    for size, reduced in axes:
        before, kernel = result[-1] if result else (1, 1)
        if result and (reduced or kernel == 1):
            result[-1] = before * size, kernel * size if reduced else 1
        else:
            result.append((size, size if reduced else 1))
    return result


def _whole(tensor: IntegerTensor) -> Geometry:
    """One window that covers the whole frame."""
    return _tiles(tensor, tensor.shape[:-1])


def _tiles(tensor: IntegerTensor, kernel: tuple[int, ...]) -> Geometry:
    """Windows beside one another, which cover the frame."""
    spatial = tensor.shape[:-1]
    return Geometry(spatial, kernel, kernel, (1,) * len(spatial), ((0, 0),) * len(spatial))


def _average(
    context: Lowering,
    node: onnx.NodeProto,
    tensor: IntegerTensor,
    windows: Geometry,
    divisors: np.ndarray,
    layout_ops: LayoutOps,
) -> IntegerTensor:
    """Sums of windows in hardware; the division by ``divisors`` (*out), or by one number, is a step on the sums.

    Padding has the value 0. Where no integer represents it, padding is the integer 0, and the offset counts as often as
    a window has elements of the frame.
    """
    slope, offset = affine_by_channel(tensor)
    rank, count = len(tensor.shape), windows.positions
    padded = zeros(tensor, windows)
    if padded is not None:
        steps = affine_steps(rank, slope, offset * Fraction(count))
    else:
        padded = integer_zeros(tensor, windows)
        offsets = floats(windows.inside.sum(axis=-1).astype(object)[..., None] * offset)[None]
        steps = (*affine_steps(rank, slope, np.zeros_like(offset)), step("Add", offsets))
    varies = divisors.min() < divisors.max()
    steps += (step("Div", divisors.astype(np.float64)[None, ..., None] if varies else float(divisors.flat[0])),)
    name = context.name("pool")
    edge = _pool(context, name, AccumulatePool, tensor, padded)
    kernel = context.nodes[-1].kernel
    magnitudes = np.repeat(1 / divisors[..., None, None], count, axis=-1)
    sums = summed(lambda values: windows.unpadded.windows(values[0]), magnitudes, shared=False)
    context.products[edge] = Product((tensor,), padded.around(sums), len(steps))
    low, high = padded.range(tensor)
    return output_tensor(node, edge, kernel, (low * count, high * count), steps, layout_ops)


HANDLERS: Handlers = {
    **dict.fromkeys(
        (*onnx_keys("MaxPool", "GlobalMaxPool"), *channels_last_keys("MaxPool")), Handler(_max_pool, spatial=True)
    ),
    **dict.fromkeys(onnx_keys("AveragePool", "GlobalAveragePool"), Handler(_average_pool, spatial=True)),
    **dict.fromkeys(onnx_keys("ReduceMean", "ReduceSum", "ReduceMax"), Handler(_reduce, spatial=True)),
}
