"""The windows of convolutions and pools on an image or a signal, from the attributes of the ONNX operator."""

from dataclasses import dataclass
from math import prod

import numpy as np

from hw.lowering.node_steps import Call

Pads = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Geometry:
    """Windows on frames (*spatial, C); ``pads`` are the elements of padding before and after, for each axis."""

    spatial: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: Pads

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

    def windows(self, frames: np.ndarray, fill: float = 0.0) -> np.ndarray:
        """Frames (N, *spatial, C) to windows (N, *out, C, positions)."""
        rank = len(self.spatial)
        x = np.pad(frames.reshape(len(frames), *self.spatial, -1), ((0, 0), *self.pads, (0, 0)), constant_values=fill)
        axes = tuple(range(1, 1 + rank))
        view = np.lib.stride_tricks.sliding_window_view(x, self.reach, axes)
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
    mode = str(call.get("auto_pad", "NOTSET"))
    if mode.startswith("SAME"):
        if any(step > reach for step, reach in zip(stride, plain.reach, strict=True)):
            raise call.lowering_error(
                f"{mode} pads nothing where strides exceed the kernel", "give the pads as numbers"
            )
        pads = _same(plain, mode == "SAME_UPPER")
    elif mode == "VALID":
        pads = plain.pads
    if call.get("ceil_mode", 0):
        pads = _ceiled(plain, pads, call.spatial(call.output_shape))
    return Geometry(spatial, kernel, stride, dilation, pads)


def _same(plain: Geometry, upper: bool) -> Pads:
    """The padding for ceil(size / stride) windows. If it is odd, the larger part is after (``upper``) or before."""
    pads = []
    for size, reach, stride in zip(plain.spatial, plain.reach, plain.stride, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + reach - size)
        small, large = total // 2, total - total // 2
        pads.append((small, large) if upper else (large, small))
    return tuple(pads)


def _ceiled(plain: Geometry, pads: Pads, out: tuple[int, ...]) -> Pads:
    """The padding, increased at the end by the elements that the last windows of ``ceil_mode`` need."""
    sizes = zip(plain.spatial, plain.reach, plain.stride, pads, out, strict=True)
    return tuple(
        (before, max(after, (count - 1) * stride + reach - size - before))
        for size, reach, stride, (before, after), count in sizes
    )
