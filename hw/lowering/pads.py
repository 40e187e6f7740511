"""Pad: a constant around an image or a signal is a sliding window of one element, more channels are a product with a
matrix of ones, and the rest are moves of elements. Before the input's quantizer the host pads."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import onnx

from hw.host.steps import HostStep, step
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.lowering.call import Call
from hw.lowering.context import Lowering
from hw.lowering.geometry import Geometry
from hw.lowering.handlers import Handler, Handlers, affine_by_channel, with_axis_last
from hw.lowering.integer_tensor import HostTensor, IntegerTensor, Steps
from hw.lowering.layout_ops import channels_of, gather, permuted_channels
from hw.lowering.moves import is_float, moved
from hw.lowering.padding import padding
from hw.lowering.refusal import lowering_error
from hw.lowering.rounding import Interval, Product
from hw.lowering.weights import weight_dtype


def _pad(context: Lowering, node: onnx.NodeProto) -> None:
    """Negative pads select elements, and so do the modes that repeat elements; then a constant is put around."""
    call = context.call(node)
    pads = _pads(call)
    mode = str(call.get("mode", "constant"))
    if pads[0].any():
        raise lowering_error(node, "it works along the batch", "use another axis")
    if mode != "constant":
        context.values[node.output[0]] = moved(context, node, _repeated(call, pads, mode))
        return
    source, grown = node.input[0], np.maximum(pads, 0)
    if pads.min() < 0:
        kept = zip(call.shape, np.minimum(pads, 0).tolist(), strict=True)
        ranges = [range(-before, size + after) for size, (before, after) in kept]
        steps = tuple(gather(axis, each) for axis, each in enumerate(ranges) if len(each) < call.shape[axis])
        source = node.output[0]
        context.values[source] = moved(context, node, steps)
    _put_around(context, node, source, grown)


def _pads(call: Call) -> np.ndarray:
    """The elements before and after each axis, int64 (axes, 2); negative ones are left out."""
    rank = len(call.shape)
    axes, given = call.operand(3), call.operand(1) if call.version >= 11 else np.array(call.get("pads", ()))
    pads = np.zeros((rank, 2), np.int64)
    pads[range(rank) if axes is None else np.ravel(axes) % rank] = np.asarray(given, np.int64).reshape(2, -1).T
    return pads


def _repeated(call: Call, pads: np.ndarray, mode: str) -> tuple[HostStep, ...]:
    """The layout operators of the modes reflect, edge and wrap."""
    if pads.min() < 0:
        raise call.lowering_error(f"it has negative pads in the mode {mode}", "select elements with Slice before it")
    steps: list[HostStep] = []
    for axis, (size, (before, after)) in enumerate(zip(call.shape, pads.tolist(), strict=True)):
        limit = {"reflect": size - 1, "wrap": size}.get(mode, before + after)
        if max(before, after) > limit:
            raise call.lowering_error(f"its mode {mode} needs more than the {size} elements that there are", "pad less")
        if before or after:
            indices = np.pad(np.arange(size), (before, after), mode)  # type: ignore[call-overload]
            steps.append(gather(axis, indices))
    return tuple(steps)


def _put_around(context: Lowering, node: onnx.NodeProto, source: str, pads: np.ndarray) -> None:
    """A constant around the tensor ``source``; ``pads`` (axes, 2) are not negative."""
    call = context.call(node)
    given = call.get("value", 0.0) if call.version < 11 else call.operand(2)
    value = 0.0 if given is None else float(np.ravel(given)[0])
    before = context.values[source]
    assert isinstance(before, HostTensor | IntegerTensor)
    if not pads.any():
        context.values[node.output[0]] = before
        return
    if isinstance(before, HostTensor) and is_float(before):
        moves, fill = _on_host(before.tensor_shape, pads, value)
        wider = before.selected(moves)
        context.values[node.output[0]] = replace(wider, prologue=(*wider.prologue, *fill))
        return
    if pads[1].any():
        context.values[node.output[0]] = _with_channels(context, node, source, tuple(pads[1].tolist()), value)
        source = node.output[0]
    rank = len(call.shape)
    if not pads[2:].any():
        return
    if rank not in (3, 4):
        raise lowering_error(node, f"its input of shape {call.shape} is no image or signal", "pad images or signals")
    tensor = with_axis_last(context, node, context.affine_integers(source, node, codes=True), permuted=True)
    ones = (1,) * (rank - 2)
    around = Geometry(tensor.shape[:-1], ones, ones, ones, tuple((int(a), int(b)) for a, b in pads[2:]))
    padded = padding(node, tensor, around, value)
    edge, dtype = padded.edge(context, context.name("pad"), tensor)
    shape = context.nodes[-1].kernel.outputs()[0].shape

    def bounds(sources: list[Interval], value: np.ndarray) -> Interval:
        low, high = (side.reshape(value.shape) for side in sources[0])
        return low, high

    context.products[edge] = Product((tensor,), padded.around(bounds), len(tensor.steps))
    low, high = padded.range(tensor)
    context.values[node.output[0]] = IntegerTensor(
        shape, tensor.steps, tensor.origins, tensor.layout_ops,
        number=tensor.number, edge=edge, dtype=dtype, low=low, high=high,
    )  # fmt: skip


def _with_channels(
    context: Lowering, node: onnx.NodeProto, source: str, pads: tuple[int, int], value: float
) -> IntegerTensor:
    """More channels, before and after those of a tensor: a product with a matrix of ones, and of zeros for the new
    channels, whose integers are 0. Raises BitfabricError where 0 does not represent ``value``."""
    tensor = with_axis_last(context, node, context.affine_integers(source, node, codes=True), permuted=True)
    rank, channels = len(tensor.shape), channels_of(tensor.layout_ops, tensor.channels)
    place = np.arange(-pads[0], tensor.channels + pads[1])
    new, order = (place < 0) | (place >= tensor.channels), channels[place.clip(0, tensor.channels - 1)]
    matrix = np.where(new[:, None], 0, np.eye(tensor.channels, dtype=np.int64)[order])
    parts = [
        [part[..., order] if part.ndim and part.shape[-1] > 1 else part for part in s.operands] for s in tensor.steps
    ]
    kernel = MatrixVector(matrix, weight_dtype(matrix), tensor.dtype, tensor.shape[:-1], input_range=tensor.range)
    steps = tuple(replace(each, operands=tuple(part)) for each, part in zip(tensor.steps, parts, strict=True))
    low, high = (np.where(new, 0, bound[order]) for bound in (tensor.low, tensor.high))
    stream = kernel.outputs()[0]
    result = IntegerTensor(
        stream.shape, steps, tensor.origins, permuted_channels(np.arange(len(matrix)), rank), number=tensor.number,
        edge=context.append(context.name("pad"), kernel, tensor.edge), dtype=stream.dtype, low=low, high=high,
    )  # fmt: skip
    offset = affine_by_channel(result)[1][new]
    if any(each != Fraction(value) for each in offset):
        raise lowering_error(
            node,
            f"it adds channels of {value:g} to a stream, where the integer 0 represents {float(offset[0]):g}",
            "use a quantizer without a zero point before it, or compute more channels in the layer before it",
        )

    def bounds(sources: list[Interval], exact: np.ndarray) -> Interval:
        low, high = (np.where(new, value, side[..., order]) for side in sources[0])
        return low, high

    context.products[result.edge] = Product((tensor,), bounds, len(steps))
    return result


def _on_host(shape: tuple[int, ...], pads: np.ndarray, value: float) -> tuple[Steps, Steps]:
    """Host steps that put a constant around frames of ``shape``: the edges are repeated, and then replaced."""
    around = [(int(before), int(after)) for before, after in pads[1:]]
    sizes = enumerate(zip(shape, around, strict=True), 1)
    moves = tuple(gather(axis, np.pad(np.arange(size), pad, "edge")) for axis, (size, pad) in sizes if any(pad))
    inside = np.pad(np.ones((1, *shape), np.float32), [(0, 0), *around])
    fill = (step("Mul", inside), step("Add", (1 - inside) * np.float32(value)))
    return moves, fill[: 1 + (value != 0)]


HANDLERS: Handlers = {("", "Pad"): Handler(_pad, spatial=True)}
