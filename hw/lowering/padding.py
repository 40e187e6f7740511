"""The integers of padding: a window is padded exactly where an integer of its input represents the value of padding."""

from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import NamedTuple

import numpy as np
import onnx
from qonnx.core.datatype import BaseDataType

from hw.host.errors import BitfabricError
from hw.host.steps import run
from hw.kernels.sliding_window.kernel import SlidingWindow
from hw.lowering.context import Lowering
from hw.lowering.geometry import Geometry
from hw.lowering.handlers import affine_by_channel
from hw.lowering.integer_tensor import IntegerTensor
from hw.lowering.layout_ops import channels_of
from hw.lowering.refusal import lowering_error
from hw.lowering.rounding import Bounds, Interval

LARGEST = 1 << 30
"""Maximum magnitude of an integer of padding."""


@dataclass(frozen=True, eq=False)
class Padding:
    """The windows of a tensor with the integers of their padding.

    ``codes`` is int64 (channels,). The model pads with ``value``; in exact arithmetic the codes represent
    ``value + excess``, where ``excess`` (channels,) is not 0 only where the model's float32 arithmetic rounds it away.
    """

    windows: Geometry
    codes: np.ndarray
    value: float
    excess: np.ndarray

    def range(self, tensor: IntegerTensor) -> tuple[np.ndarray, np.ndarray]:
        """Minimum and maximum integer of each channel in a window, int64 (channels,)."""
        if not self.windows.padded:
            return tensor.low, tensor.high
        return np.minimum(tensor.low, self.codes), np.maximum(tensor.high, self.codes)

    def edge(self, context: Lowering, name: str, tensor: IntegerTensor) -> tuple[str, BaseDataType]:
        """The edge that carries the windows, and its type.

        Appends a sliding window named after the layer ``name``, unless the tensor's stream already is one of windows.
        """
        windows = self.windows
        if windows.whole or windows.single:
            return tensor.edge, tensor.dtype
        kernel = SlidingWindow(
            tensor.shape, windows.kernel, tensor.dtype, stride=windows.stride, dilation=windows.dilation,
            pad=windows.pads, pad_value=tuple(self.codes.tolist()),
        )  # fmt: skip
        return context.append(f"{name}_window", kernel, tensor.edge), kernel.outputs()[0].dtype

    def around(self, bounds: Bounds) -> Bounds:
        """Bounds on results over windows of the padded input, from ``bounds`` of ``windows.unpadded``."""

        def padded(sources: list[Interval], value: np.ndarray) -> Interval:
            error = np.abs(self.excess)
            low, high = sources[0]
            ends = (self.windows.padded_frames(x, self.value + e) for x, e in ((low, -error), (high, error)))
            return bounds([(next(ends), next(ends))], value)

        return padded


def padding(node: onnx.NodeProto, tensor: IntegerTensor, windows: Geometry, value: float = 0.0) -> Padding:
    """The padding of ``windows`` of a tensor with the model's ``value``.

    A channel's integer of padding is the one to which its steps give the value, in exact or in the model's own float32
    arithmetic, whether or not a quantizer's codes reach it. Raises BitfabricError if there is none.
    """
    codes = _codes(tensor, value) if windows.padded else None
    if codes is None:
        return integer_zeros(tensor, windows)
    if codes.missing is not None:
        raise _without_code(node, tensor, value, codes.missing)
    return Padding(windows, codes.codes, value, codes.excess)


def zeros(tensor: IntegerTensor, windows: Geometry) -> Padding | None:
    """The padding with the value 0; None if there is padding, and no integer of a channel represents 0."""
    if not windows.padded:
        return integer_zeros(tensor, windows)
    codes = _codes(tensor, 0.0)
    return Padding(windows, codes.codes, 0.0, codes.excess) if codes.missing is None else None


def integer_zeros(tensor: IntegerTensor, windows: Geometry) -> Padding:
    """The padding with the integer 0, whatever its value: for sums that leave padding out, and for maxima."""
    return Padding(windows, np.zeros(tensor.channels, np.int64), 0.0, np.zeros(tensor.channels))


class _Codes(NamedTuple):
    """The integers that represent a value: ``codes`` and ``excess`` as in Padding.

    ``missing`` is the first channel without one, with two integers beside the value; None if there is none.
    """

    codes: np.ndarray
    excess: np.ndarray
    missing: tuple[int, int, int] | None = None


def _codes(tensor: IntegerTensor, value: float) -> _Codes:
    channels = tensor.channels
    codes, excess = np.zeros(channels, np.int64), np.zeros(channels)
    slope, offset = affine_by_channel(tensor)
    wanted, rounded = Fraction(value), {}
    for channel in range(channels):
        place = (wanted - offset[channel]) / slope[channel] if slope[channel] else Fraction(2 * LARGEST)
        if abs(place) > LARGEST:
            # No integer, or a channel that is constant.
            rounded[channel] = int(tensor.low[channel])
        elif place.denominator == 1:
            codes[channel] = int(place)
        else:
            rounded[channel] = floor(place)
    if not rounded:
        return _Codes(codes, excess)
    places = np.array([rounded.get(channel, 0) for channel in range(channels)])
    frames = np.stack([places, places + 1]).reshape(2, *(1,) * (len(tensor.shape) - 1), channels)
    values = run(tensor.steps, frames.astype(np.float64)).reshape(2, channels)
    for channel, place in rounded.items():
        gaps = {
            place + i: slope[channel] * (place + i) + offset[channel] - wanted
            for i in range(2)
            if values[i, channel] == np.float32(value)
        }
        if not gaps:
            return _Codes(codes, excess, (channel, place, place + 1))
        codes[channel], gap = min(gaps.items(), key=lambda pair: abs(pair[1]))
        excess[channel] = float(gap)
    return _Codes(codes, excess)


def _without_code(
    node: onnx.NodeProto, tensor: IntegerTensor, value: float, missing: tuple[int, int, int]
) -> BitfabricError:
    """The error that no integer of a channel represents the value of padding."""
    channel, *nearest = missing
    slope, offset = (part[channel] for part in affine_by_channel(tensor))
    model_channel = np.argsort(channels_of(tensor.layout_ops, tensor.channels))[channel]
    where = f" in channel {model_channel}" if tensor.channels > 1 else ""
    because = f", but its input has an offset of {float(offset):.3g}{where}" if offset else ""
    ends = " and ".join(f"{float(slope * code + offset):.3g}" for code in nearest)
    return lowering_error(
        node,
        f"it pads with {'zeros' if value == 0 else f'{value:g}'}{because}, and no integer represents {value:g}: "
        f"{nearest[0]} and {nearest[1]} represent {ends}",
        "use a quantizer with an integer zero point and nothing but scales behind it, or no padding",
    )
