"""The windows of convolutions and pools on an image or a signal, from the attributes of the ONNX operator."""

from dataclasses import dataclass, replace
from math import prod

import numpy as np
import onnx

from hw.lowering.call import Call
from hw.lowering.node_attributes import attribute

Shape = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Geometry:
    """Windows on frames (*spatial, C).

    ``given_pads`` are the elements of padding before and after, for each axis, and ``beyond`` the further ones after it
    that the last windows of ``ceil_mode`` need; ``pads`` are both.
    """

    spatial: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    given_pads: Pads
    beyond: tuple[int, ...] = ()

    @property
    def pads(self) -> Pads:
        """The elements before and after the frame that windows read, for each axis."""
        beyond = self.beyond or (0,) * len(self.given_pads)
        return tuple((before, after + more) for (before, after), more in zip(self.given_pads, beyond, strict=True))

    @property
    def reach(self) -> tuple[int, ...]:
        """The extent of a window along each axis, including the gaps of a dilation."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    @property
    def out(self) -> tuple[int, ...]:
        """The number of windows along each axis."""
        sizes = zip(self.spatial, self.pads, self.reach, self.stride, strict=True)
        return tuple((size + sum(pad) - reach) // stride + 1 for size, pad, reach, stride in sizes)

    @property
    def positions(self) -> int:
        """The number of elements of a window in one channel."""
        return prod(self.kernel)

    @property
    def padded(self) -> bool:
        return any(map(any, self.pads))

    @property
    def whole(self) -> bool:
        """Whether one window covers the whole frame."""
        return self.kernel == self.spatial and not self.padded

    @property
    def single(self) -> bool:
        """Whether every window is one element, and every element is a window."""
        return self.positions == 1 and self.out == self.spatial and not self.padded

    @property
    def tiled(self) -> bool:
        """Whether windows neither overlap nor leave gaps, without padding."""
        return self.kernel == self.stride and prod(self.dilation) == 1 and not self.padded

    @property
    def inside(self) -> np.ndarray:
        """Whether each element of a window lies in the frame and not in the padding, bool (*out, positions)."""
        return self.windows(np.ones((1, *self.spatial, 1), bool), False)[0, ..., 0, :]

    @property
    def unpadded(self) -> "Geometry":
        """The same windows on frames to which the padding has been added."""
        size = tuple(n + sum(pad) for n, pad in zip(self.spatial, self.pads, strict=True))
        return replace(self, spatial=size, given_pads=((0, 0),) * len(size), beyond=())

    def counts(self, with_pads: bool) -> np.ndarray:
        """The elements of each window (*out) that an average counts: those of the frame, or of the frame with its given
        padding. What ``ceil_mode`` reads beyond never counts."""
        if not with_pads:
            return self.inside.sum(axis=-1)
        size = tuple(n + sum(pad) for n, pad in zip(self.spatial, self.given_pads, strict=True))
        return replace(self, spatial=size, given_pads=((0, 0),) * len(size)).inside.sum(axis=-1)

    def padded_frames(self, frames: np.ndarray, fill: np.ndarray | float = 0.0) -> np.ndarray:
        """Frames (N, *spatial, C) with the padding around them: ``fill``, a number or one for each channel (C,)."""
        x = frames.reshape(len(frames), *self.spatial, -1)
        if not self.padded:
            return x
        result = np.empty((len(x), *self.unpadded.spatial, x.shape[-1]), x.dtype)
        result[...] = fill
        inside = (slice(before, before + size) for (before, _), size in zip(self.pads, self.spatial, strict=True))
        result[(slice(None), *inside)] = x
        return result

    def windows(self, frames: np.ndarray, fill: np.ndarray | float = 0.0) -> np.ndarray:
        """Frames (N, *spatial, C) to windows (N, *out, C, positions); padding is ``fill`` (see ``padded_frames``)."""
        rank = len(self.spatial)
        axes = tuple(range(1, 1 + rank))
        view = np.lib.stride_tricks.sliding_window_view(self.padded_frames(frames, fill), self.reach, axes)
        steps = tuple(slice(None, None, stride) for stride in self.stride)
        taps = tuple(slice(None, None, dilation) for dilation in self.dilation)
        view = view[(slice(None), *steps, slice(None), *taps)]
        return view.reshape(*view.shape[: rank + 2], self.positions)


def geometry(call: Call, kernel: tuple[int, ...] | None = None) -> Geometry:
    """The windows of a Conv, whose weights have the spatial shape ``kernel``, or of a pool.

    Raises BitfabricError for attributes that contradict each other, or that no kernel can compute.
    """
    spatial = call.spatial(call.shape)
    rank = len(spatial)
    if rank not in (1, 2):
        raise call.lowering_error(f"its input of shape {call.shape} has {rank} spatial axes", "use images or signals")
    kernel = tuple(int(size) for size in call.get("kernel_shape", kernel or ()))
    stride, dilation = (tuple(int(v) for v in call.get(name, (1,) * rank)) for name in ("strides", "dilations"))
    flat = [int(pad) for pad in call.get("pads", (0,) * 2 * rank)]
    pads = tuple(zip(flat[:rank], flat[rank:], strict=True))
    if not len(kernel) == len(stride) == len(dilation) == len(pads) == rank or min(*kernel, *stride, *dilation) < 1:
        raise call.lowering_error(
            "its kernel, strides, dilations and pads do not fit its input", "export the model again"
        )
    if min(flat) < 0:
        raise call.lowering_error("it has negative pads", "crop the image before the network")
    plain = Geometry(spatial, kernel, stride, dilation, ((0, 0),) * rank)
    beyond = _beyond(plain, pads, call.spatial(call.output_shape)) if call.get("ceil_mode", 0) else (0,) * rank
    return Geometry(spatial, kernel, stride, dilation, pads, beyond)


def _beyond(plain: Geometry, pads: Pads, out: tuple[int, ...]) -> tuple[int, ...]:
    """The elements after the padding of each axis that the last windows of ``ceil_mode`` need."""
    sizes = zip(plain.spatial, plain.reach, plain.stride, pads, out, strict=True)
    return tuple(
        max(0, (count - 1) * stride + reach - size - before - after)
        for size, reach, stride, (before, after), count in sizes
    )


def transposed_pads(node: onnx.NodeProto, spatial: Shape, kernel: Shape, out: Shape) -> Shape:
    """The pads of a ConvTranspose before each axis, for an output of ``out`` elements.

    The gate has seen to it that pads that follow from the output's size are even.
    """
    ones = (1,) * len(spatial)
    strides, dilations = (attribute(node, name, ones) for name in ("strides", "dilations"))
    pads, more = attribute(node, "pads", ()), attribute(node, "output_padding", [0] * len(spatial))
    if pads and attribute(node, "auto_pad", "NOTSET") == "NOTSET" and not attribute(node, "output_shape", ()):
        return tuple(int(pad) for pad in pads[: len(spatial)])
    sizes = zip(spatial, kernel, strides, dilations, more, out, strict=True)
    return tuple(
        (stride * (size - 1) + added + (taps - 1) * dilation + 1 - outputs) // 2
        for size, taps, stride, dilation, added, outputs in sizes
    )
