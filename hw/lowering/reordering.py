"""Kernels that bring the elements of a stream into the order that the next layer reads."""

from collections.abc import Iterator
from dataclasses import replace
from math import prod

import numpy as np
import onnx

from hw.ir.kernel import Kernel
from hw.kernels.reorder.kernel import Reorder
from hw.kernels.shared.parameters import divisors
from hw.kernels.sliding_window.kernel import SlidingWindow
from hw.lowering.context import Lowering
from hw.lowering.integer_tensor import IntegerTensor
from hw.lowering.layout_ops import compressed, permuted_channels, strides
from hw.lowering.refusal import lowering_error
from hw.lowering.rounding import Interval, Product

MOST_ELEMENTS = 1 << 22
"""Elements of a frame that are reordered at most."""


def channel_rows(order: np.ndarray, axis: int) -> np.ndarray | None:
    """The channel of the stream that each index of ``axis`` is, for elements at positions ``order`` of a stream.

    None unless the stream has the indices of ``axis`` innermost, in the same order at all positions, row by row.
    """
    rows = np.moveaxis(order, axis, -1).reshape(-1, order.shape[axis])
    channels: np.ndarray = rows[0]
    return channels if np.array_equal(rows, channels + order.shape[axis] * np.arange(len(rows))[:, None]) else None


def reordered(
    context: Lowering, node: onnx.NodeProto, tensor: IntegerTensor, order: np.ndarray, permuted: bool = False
) -> IntegerTensor:
    """The elements at positions ``order`` of a stream's frame, as a stream of the shape of ``order``.

    If ``permuted``, the last axis of the stream may be permuted, at all positions alike; the layout operators of the
    result undo it. Appends the kernel that reads the elements in this order. Raises BitfabricError where nested loops
    cannot count through it.
    """
    if order.size > MOST_ELEMENTS:
        raise lowering_error(
            node,
            f"its input arrives in another order than it is read in, and has {order.size:,} elements",
            f"reorder frames of up to {MOST_ELEMENTS:,} elements",
        )
    tensor, ordered = context.summed(tensor), np.arange(order.shape[-1])
    for windows in _tilings(tensor, order.shape):
        channels = _permutation(windows, order)
        if channels is not None and (permuted or np.array_equal(channels, ordered)):
            return _appended(context, tensor, windows, order.shape, channels)
    return _appended(context, tensor, _loops(node, tensor, order), order.shape, ordered)


def _tilings(tensor: IntegerTensor, shape: tuple[int, ...]) -> Iterator[SlidingWindow]:
    """The sliding windows that take a stream apart into tiles of as many elements as the last axis of ``shape`` has."""
    spatial = tensor.shape[:-1]
    if len(spatial) not in (1, 2) or prod(shape) != prod(tensor.shape) or shape[-1] % tensor.channels:
        return
    positions = shape[-1] // tensor.channels
    for width in divisors(positions):
        sizes = (positions // width, width)[-len(spatial) :]
        whole = prod(sizes) == positions > 1
        if whole and not any(size % tile for size, tile in zip(spatial, sizes, strict=True)):
            yield SlidingWindow(tensor.shape, sizes, tensor.dtype, stride=sizes)


def _permutation(windows: SlidingWindow, order: np.ndarray) -> np.ndarray | None:
    """For each index of the last axis, its index in a window, for elements at positions ``order`` of the input's frame.

    None unless the windows have the same elements in the same order of rows, permuted in all of them alike.
    """
    rows = windows.execute(np.arange(order.size).reshape(1, *windows.shape))[0].reshape(-1, order.shape[-1])
    wanted = order.reshape(rows.shape)
    ranked = np.argsort(rows[0])
    channels: np.ndarray = ranked[np.searchsorted(rows[0][ranked], wanted[0]).clip(max=len(ranked) - 1)]
    return channels if np.array_equal(rows[:, channels], wanted) else None


def _loops(node: onnx.NodeProto, tensor: IntegerTensor, order: np.ndarray) -> Reorder:
    """The kernel that reads the elements in nested loops."""
    loops = strides(order.ravel())
    if loops is None:
        raise lowering_error(
            node,
            "it reads the elements of its input in an order that no nested loops count through",
            "move them before the input's quantizer, or permute channels before a convolution",
        )
    return Reorder(tensor.shape, order.shape, int(order.flat[0]), loops, tensor.dtype)


def _appended(
    context: Lowering, tensor: IntegerTensor, kernel: Kernel, shape: tuple[int, ...], channels: np.ndarray
) -> IntegerTensor:
    """The output of a kernel that moves elements, as a stream of ``shape``; ``channels``: see ``permuted_channels``."""
    edge = context.append(context.name("reorder"), kernel, tensor.edge)
    places = kernel.execute(np.arange(prod(tensor.shape)).reshape(1, *tensor.shape))[0].reshape(shape)

    def bounds(sources: list[Interval], value: np.ndarray) -> Interval:
        low, high = (kernel.execute(side.reshape(-1, *tensor.shape))[0].reshape(-1, *shape) for side in sources[0])
        return low, high

    context.products[edge] = Product((tensor,), bounds, len(tensor.steps))

    def moved(operand: np.ndarray) -> np.ndarray:
        if operand.size == 1:
            return operand.reshape((1,) * (1 + places.ndim))
        lead = operand.shape[0] if operand.ndim > len(tensor.shape) else 1
        whole = np.broadcast_to(operand, (lead, *tensor.shape)).reshape(lead, -1)
        return compressed(whole[:, places])

    low, high = (
        np.broadcast_to(bound, tensor.shape).ravel()[places].reshape(-1, places.shape[-1])
        for bound in (tensor.low, tensor.high)
    )
    return replace(
        tensor,
        shape=places.shape,
        steps=tuple(replace(each, operands=tuple(map(moved, each.operands))) for each in tensor.steps),
        layout_ops=permuted_channels(channels, places.ndim, places.ndim - 1),
        edge=edge,
        low=low.min(axis=0),
        high=high.max(axis=0),
        restore_ops=(),
    )
