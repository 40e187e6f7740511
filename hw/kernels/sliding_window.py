"""Sliding window: the windows of a convolution, one after the other (FINN: ConvolutionInputGenerator and FMPadding)."""

from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar, Self

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.errors import BitfabricError
from hw.kernels.kernel import Folding, Kernel, Resources, Rtl, Schedule
from hw.stream import Stream
from hw.synth.family import Family

BIPOLAR, TERNARY = DataType["BIPOLAR"], DataType["TERNARY"]


def _divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]


@dataclass(frozen=True, eq=False)
class SlidingWindow(Kernel):
    """The windows that a kernel of size ``kernel`` sees while it moves over an image or a signal.

    The input is (H, W, C), or (L, C): ``shape``. The output is (OH, OW, K * C), or (OL, K * C), with the elements
    of one window in the order (ky, kx, c). ``stride`` and ``dilation`` have a number for each spatial axis, ``pad`` a
    pair (before, after); padding is 0, and where BIPOLAR values are padded, the output is TERNARY. ``simd`` lanes go
    out at a time: a divisor of C, then C times a divisor of the kernel's last axis, then C times that axis times a
    divisor of its first; ``min(simd, C)`` come in.

    Raises BitfabricError for sizes that are not positive or do not belong together, for a kernel larger than the
    padded input, and for an illegal ``simd``.
    """

    op: ClassVar[str] = "sliding_window"
    sources: ClassVar[tuple[str, ...]] = ("parts/delay.sv", "parts/stream_out.sv")

    shape: tuple[int, ...]
    kernel: tuple[int, ...]
    dtype: BaseDataType
    stride: tuple[int, ...] | None = None
    dilation: tuple[int, ...] | None = None
    pad: tuple[tuple[int, int], ...] | None = None
    simd: int = 1

    def __post_init__(self) -> None:
        axes = len(self.shape) - 1
        if axes not in (1, 2) or min(self.shape) < 1:
            raise BitfabricError(f"sliding_window: shape {self.shape}; it must be (L, C) or (H, W, C), all positive")
        object.__setattr__(self, "stride", tuple(self.stride or (1,) * axes))
        object.__setattr__(self, "dilation", tuple(self.dilation or (1,) * axes))
        object.__setattr__(self, "pad", tuple((int(a), int(b)) for a, b in self.pad or ((0, 0),) * axes))
        for what, values in (("kernel", self.kernel), ("stride", self.steps), ("dilation", self.spread)):
            if len(values) != axes or min(values) < 1:
                raise BitfabricError(f"sliding_window: {what} {values}; it needs {axes} positive number(s)")
        if len(self.pads) != axes or min(map(min, self.pads)) < 0:
            raise BitfabricError(f"sliding_window: padding {self.pads}; it needs {axes} pair(s) of numbers from 0")
        if min(self.out_spatial) < 1:
            raise BitfabricError(
                f"sliding_window: a kernel {self.kernel} with dilation {self.spread} is larger than the input "
                f"{self.shape[:-1]} with padding {self.pads}"
            )
        if self.simd not in (legal := self._lanes()):
            raise BitfabricError(
                f"sliding_window: simd={self.simd} is no whole part of a window {self.kernel} of {self.channels} "
                f"channels; legal: {', '.join(map(str, legal))}"
            )

    @property
    def channels(self) -> int:
        """Elements of one position (C)."""
        return self.shape[-1]

    @property
    def steps(self) -> tuple[int, ...]:
        """Stride along each axis."""
        return self.stride or ()

    @property
    def spread(self) -> tuple[int, ...]:
        """Dilation along each axis."""
        return self.dilation or ()

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """Padding before and after each axis."""
        return self.pad or ()

    @property
    def padded(self) -> bool:
        """Whether there is padding anywhere."""
        return any(map(any, self.pads))

    @property
    def out_spatial(self) -> tuple[int, ...]:
        """Windows along each axis."""
        axes = zip(self.shape, self.kernel, self.steps, self.spread, self.pads, strict=False)
        return tuple((n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, d, p in axes)

    @property
    def out_dtype(self) -> BaseDataType:
        """TERNARY where BIPOLAR values are padded, else the input's type."""
        return TERNARY if self.padded and self.dtype == BIPOLAR else self.dtype

    def inputs(self) -> tuple[Stream, ...]:
        return (Stream(self.shape, self.dtype, min(self.simd, self.channels)),)

    def outputs(self) -> tuple[Stream, ...]:
        return (Stream((*self.out_spatial, prod(self.kernel) * self.channels), self.out_dtype, self.simd),)

    def _lanes(self) -> list[int]:
        width = self.kernel[-1]
        parts = [*_divisors(width), *(width * rows for rows in _divisors(prod(self.kernel[:-1])))]
        return sorted({*_divisors(self.channels), *(self.channels * positions for positions in parts)})

    def foldings(self) -> tuple[Folding, ...]:
        return tuple(Folding(1, simd) for simd in self._lanes())

    def fold(self, folding: Folding) -> Self:
        if folding.pe != 1:
            raise BitfabricError(f"sliding_window: pe={folding.pe}; a sliding window has simd only")
        return replace(self, simd=folding.simd)

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = frames
        if self.padded:
            x = np.pad(x, ((0, 0), *self.pads, (0, 0)))
        axes = tuple(range(1, x.ndim - 1))
        extents = tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.spread, strict=True))
        # (N, *positions, C, *extents): every step-th position and every spread-th element of each extent.
        windows = np.lib.stride_tricks.sliding_window_view(x, extents, axes)
        every = (slice(None), *(slice(None, None, s) for s in self.steps), slice(None))
        windows = windows[(*every, *(slice(None, None, d) for d in self.spread))]
        windows = np.moveaxis(windows, len(axes) + 1, -1)
        return (windows.reshape(len(x), *self.outputs()[0].shape),)

    def schedule(self) -> Schedule:
        raise NotImplementedError

    def resources(self, family: Family) -> Resources:
        raise NotImplementedError

    def rtl(self, family: Family) -> Rtl:
        raise NotImplementedError
