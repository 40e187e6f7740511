"""Transposed convolutions as convolutions of stride 1 whose channels are the elements between two inputs.

An output ``o = stride * i + dilation * t - pad`` adds the input at ``i`` times the weight of tap ``t``. Outputs of one
*phase*, ``(o + shift) % stride``, read the same taps at neighbouring inputs. So one convolution computes all phases of
a block of ``stride`` outputs as channels, and its outputs are reordered from depth to space. No product is with an
inserted zero: a layer of stride 2 has a quarter of the products of the convolution behind inserted zeros.

Shi et al., "Is the deconvolution layer the same as a convolutional layer?", 2016.
"""

from dataclasses import dataclass, replace
from functools import reduce
from math import gcd, prod

import numpy as np
import onnx

from hw.host.steps import run, step
from hw.lowering.context import Lowering
from hw.lowering.convolution import dense
from hw.lowering.domains import onnx_keys
from hw.lowering.geometry import Geometry, transposed_pads
from hw.lowering.handlers import Handler, Handlers, affine_by_channel, with_axis_last
from hw.lowering.integer_tensor import IntegerTensor, Steps
from hw.lowering.layout_ops import channels_of, element_order, gather, permuted_channels, simplified
from hw.lowering.moves import selected
from hw.lowering.padding import padding
from hw.lowering.refusal import lowering_error
from hw.lowering.reordering import channel_rows, reordered
from hw.lowering.weights import integer_weights


@dataclass(frozen=True)
class Phases:
    """One axis of a transposed convolution: blocks of ``stride`` outputs, each computed from one window.

    Output ``o`` is phase ``(o + shift) % stride`` of block ``(o + shift) // stride``; of ``blocks * stride`` outputs
    those from ``shift`` on are ``size``. A block's window starts ``before`` inputs ahead of it and has ``kernel``
    elements, ``dilation`` apart; ``taps`` (kernel, stride) are the taps with which they are multiplied, -1 for none.
    """

    inputs: int
    size: int
    stride: int
    shift: int
    before: int
    dilation: int
    taps: np.ndarray

    @property
    def kernel(self) -> int:
        return len(self.taps)

    @property
    def blocks(self) -> int:
        return -(-(self.size + self.shift) // self.stride)

    @property
    def after(self) -> int:
        """The elements of padding behind the input."""
        return self.blocks - 1 + (self.kernel - 1) * self.dilation - self.before - (self.inputs - 1)

    @property
    def cropped(self) -> bool:
        """Whether some outputs of the first or the last block are none of the layer's."""
        return self.blocks * self.stride > self.size


def phases(inputs: int, size: int, kernel: int, stride: int, dilation: int, pad: int, shift: int) -> Phases:
    """The phases of an axis of ``inputs`` elements and ``size`` outputs, the first of which is phase ``shift``."""
    base, blocks = pad - shift, -(-(size + shift) // stride)
    taps = {
        ((phase + base - tap * dilation) // stride, phase): tap
        for phase in range(stride)
        for tap in range(kernel)
        if (phase + base - tap * dilation) % stride == 0
    }
    # Windows start at the first input or before it, and the last one ends at the last input or behind it.
    offsets = {offset for offset, _ in taps} or {0}
    if min(offsets) > 0:
        offsets.add(0)
    if max(offsets) < inputs - blocks:
        offsets.add(inputs - blocks)
    first, last = min(offsets), max(offsets)
    apart = reduce(gcd, (offset - first for offset in offsets)) or 1
    table = np.full(((last - first) // apart + 1, stride), -1)
    for (offset, phase), tap in taps.items():
        table[(offset - first) // apart, phase] = tap
    return Phases(inputs, size, stride, shift, -first, apart, table)


def cheapest(inputs: int, size: int, kernel: int, stride: int, dilation: int, pad: int, whole: bool) -> Phases:
    """The phases with the fewest products. Among equal ones, and where ``whole``, rather those without a crop."""
    found = [phases(inputs, size, kernel, stride, dilation, pad, shift) for shift in range(stride)]
    return min(found, key=lambda each: (whole and each.cropped, each.blocks * each.kernel, each.cropped))


def _conv_transpose(context: Lowering, node: onnx.NodeProto) -> None:
    """ConvTranspose with weights (C, M / groups, *kernel), as a dense layer; groups are blocks on its diagonal."""
    call = context.call(node)
    integers, scale = integer_weights(node, context.values[node.input[1]])
    rank, channels = integers.ndim - 2, len(integers)
    if rank not in (1, 2):
        raise lowering_error(node, f"its input of shape {call.shape} has {rank} spatial axes", "use images or signals")
    bias = call.operand(2)
    tensor = with_axis_last(context, node, context.affine_integers(node.input[0], node), permuted=True)
    groups = int(call.get("group", 1))
    integers, scale = (_whole(values, groups) for values in (integers, scale))
    outputs = integers.shape[1]
    spatial, size, kernel = call.spatial(call.shape), call.spatial(call.output_shape), integers.shape[2:]
    strides, dilations = (tuple(int(v) for v in call.get(name, (1,) * rank)) for name in ("strides", "dilations"))
    pads = transposed_pads(node, spatial, kernel, size)
    # Where inputs have an offset, the sums of each phase have another one: a channel's, as long as nothing is cropped.
    whole = any(affine_by_channel(tensor)[1])
    axes = [
        cheapest(spatial[axis], size[axis], kernel[axis], strides[axis], dilations[axis], pads[axis], whole)
        for axis in range(rank)
    ]
    windows = Geometry(
        spatial,
        tuple(axis.kernel for axis in axes),
        (1,) * rank,
        tuple(axis.dilation for axis in axes),
        tuple((axis.before, axis.after) for axis in axes),
    )
    padded = padding(node, tensor, windows)
    order = np.argsort(channels_of(tensor.layout_ops, channels))
    matrix = _matrix(integers, axes, 0)[:, order].reshape(-1, prod(strides) * outputs)
    scales = _matrix(np.ascontiguousarray(scale), axes, None)[:, order].reshape(matrix.shape)
    blocks, stream = windows.out, (*windows.out, prod(strides) * outputs)
    perm = (2 * rank + 1, *(axis + 1 for pair in zip(range(rank), range(rank, 2 * rank), strict=True) for axis in pair))
    to_space: Steps = (
        step("Reshape", shape=(*blocks, *strides, outputs)),
        step("Transpose", perm=(0, *perm)),
        step("Reshape", shape=(outputs, *(axis.blocks * axis.stride for axis in axes))),
    )
    name = context.name("conv")
    added = None if bias is None else np.tile(bias, prod(strides))
    result = dense(context, node, name, tensor, padded, matrix, scales, simplified(to_space, stream), added)
    if bias is not None:
        result = result.then((step("Add", bias.reshape(call.along(1))),), node.name)
    context.values[node.output[0]] = _cropped(context, node, result, axes)


def _whole(values: np.ndarray, groups: int) -> np.ndarray:
    """Weights or scales (C, M / groups, *kernel) as (C, M, *kernel): weights are 0 outside of their group,
    where scales are those of the group's first channel."""
    if groups == 1:
        return values
    channels, outputs = values.shape[:2]
    size = channels // groups
    whole = np.zeros((channels, groups, outputs, *values.shape[2:]), values.dtype)
    if values.dtype.kind == "f":
        whole[:] = values[::size]
    whole[np.arange(channels), np.arange(channels) // size] = values
    return whole.reshape(channels, groups * outputs, *values.shape[2:])


def _matrix(values: np.ndarray, axes: list[Phases], fill: int | None) -> np.ndarray:
    """Weights or scales (C, M, *kernel) as (elements of a window, C, phases, M).

    Elements without a tap are ``fill``, or, if that is None, as the first tap.
    """
    rank = len(axes)
    for number, axis in enumerate(axes):
        # The axis of taps becomes two: the elements of a window, and phases.
        at = 2 + 2 * number
        taps = np.maximum(axis.taps, 0)
        values = values.take(taps, axis=at)
        if fill is not None:
            shape = (1,) * at + axis.taps.shape + (1,) * (values.ndim - at - 2)
            values = np.where(axis.taps.reshape(shape) < 0, fill, values)
    window, phase = range(2, 2 + 2 * rank, 2), range(3, 3 + 2 * rank, 2)
    values = values.transpose(*window, 0, *phase, 1)
    positions, count = prod(values.shape[:rank]), prod(axis.stride for axis in axes)
    return values.reshape(positions, values.shape[rank], count, values.shape[-1])


def _cropped(context: Lowering, node: onnx.NodeProto, tensor: IntegerTensor, axes: list[Phases]) -> IntegerTensor:
    """The outputs that are the layer's: sums in the order of space, without those before and after them."""
    if not any(axis.cropped for axis in axes):
        return tensor
    steps = [
        gather(number + 2, range(axis.shift, axis.shift + axis.size))
        for number, axis in enumerate(axes)
        if axis.cropped
    ]
    order = np.moveaxis(element_order(tensor.layout_ops, tensor.shape), 0, -1)
    if channel_rows(order, len(axes)) is None:
        tensor = reordered(context, node, tensor, order)
    else:
        tensor = tensor.reshaped(order.shape)
    tensor = replace(tensor, layout_ops=permuted_channels(np.arange(tensor.channels), order.ndim))
    order = run(tuple(steps), element_order(tensor.layout_ops, tensor.shape)[None])[0]
    return selected(context, node, tensor, order)


HANDLERS: Handlers = dict.fromkeys(onnx_keys("ConvTranspose"), Handler(_conv_transpose, spatial=True))
