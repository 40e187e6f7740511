"""Base class of ``max_pool`` and ``accumulate_pool``, which compute a maximum or a sum over windows of each channel."""

from abc import abstractmethod
from collections.abc import Iterator
from math import prod
from typing import ClassVar

import numpy as np
from qonnx.core.datatype import BaseDataType

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError
from hw.ir.kernel import Rtl, Schedule
from hw.ir.stream import Stream, container
from hw.kernels.shared import cell_costs, pixel
from hw.kernels.shared.channel_kernel import ChannelKernel, credits_for, kind
from hw.kernels.shared.reduction import Reduction, reduce_tree


class Pool(ChannelKernel):
    """Base class of pools. Subclasses are dataclasses with the fields that are declared here.

    - ``windows`` false: windows that do not overlap. Input ``shape`` (*spatial, C) with one or two spatial axes, output
      (*spatial // ``kernel``, C). Rows and columns that fill no window are dropped (ONNX: floor mode).
    - ``windows`` true: input is a window stream (*spatial, K*C), elements in the order (k, c), K the product of
      ``kernel``; ``shape`` is (*spatial, C), which is also the shape of the output.

    Folding: input and output have ``pe`` lanes; or an input beat holds all channels of ``pixels`` positions of the
    image or of the window stream. These are part of a row of one window (in a window stream: part of a window), or a
    row of each of several windows; an output beat holds the results that they complete. The hardware stores partial
    results only: those of C channels, and those of one row of windows.
    """

    sources: ClassVar[tuple[str, ...]] = (
        "bf_delay.sv", "bf_reduce_tree.sv", "bf_pool_axis.sv", "bf_interleaved_accumulator.sv", "bf_stream_out.sv",
        "bf_widen.sv",
    )  # fmt: skip
    ufunc: ClassVar[np.ufunc]
    """The NumPy function that combines two elements."""

    shape: tuple[int, ...]
    kernel: tuple[int, ...]
    dtype: BaseDataType
    windows: bool

    def _check_pool(self) -> None:
        """Raise BitfabricError where the parameters are inconsistent."""
        self._check(self.shape, self.dtype)
        spatial = self.shape[:-1]
        if not self.kernel or any(size < 1 for size in self.kernel):
            raise BitfabricError(f"{self.op}: kernel {self.kernel}; it needs sizes of 1 or more")
        if not self.windows and (len(spatial) not in (1, 2) or len(self.kernel) != len(spatial)):
            raise BitfabricError(
                f"{self.op}: kernel {self.kernel} on a stream {self.shape}; one or two spatial axes, channels "
                "last, and a kernel size for each"
            )
        if not self.windows and any(k > size for k, size in zip(self.kernel, spatial, strict=True)):
            raise BitfabricError(
                f"{self.op}: kernel {self.kernel} is larger than the {spatial} that it pools; pad first"
            )
        container(self.output_dtype)

    @property
    def output_dtype(self) -> BaseDataType:
        """The type of the results."""
        return self._partial(prod(self.kernel))

    @abstractmethod
    def _partial(self, count: int) -> BaseDataType:
        """The type of the result over ``count`` elements."""

    @abstractmethod
    def _operation(self) -> str:
        """The operation as the module ``bf_interleaved_accumulator`` names it."""

    @property
    def channels(self) -> int:
        return self.shape[-1]

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        if self.windows:
            return self.shape
        return (*(size // k for size, k in zip(self.shape[:-1], self.kernel, strict=True)), self.channels)

    def inputs(self) -> tuple[Stream, ...]:
        shape = (*self.shape[:-1], prod(self.kernel) * self.channels) if self.windows else self.shape
        return (Stream(shape, self.dtype, self.lanes),)

    def outputs(self) -> tuple[Stream, ...]:
        return (Stream(self.out_shape, self.output_dtype, self.windows_per_beat * self.pe),)

    # Arithmetic.

    def _views(self, x: np.ndarray) -> Iterator[np.ndarray]:
        """One array ``(N, *out_shape)`` for each element of a window."""
        if self.windows:
            every = x.reshape(len(x), *self.shape[:-1], -1, self.channels)
            for i in range(every.shape[-2]):
                yield every[..., i, :]
            return
        bounds = [n * k for n, k in zip(self.out_shape, self.kernel, strict=False)]
        for offset in np.ndindex(*self.kernel):
            steps = (slice(i, end, k) for i, end, k in zip(offset, bounds, self.kernel, strict=True))
            yield x[(slice(None), *steps)]

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        views = self._views(frames[0])
        y = next(views).astype(container(self.output_dtype))
        for view in views:
            self.ufunc(y, view, out=y, casting="unsafe")
        return (y,)

    # Hardware.

    def _pixel_counts(self) -> tuple[int, ...]:
        kw = self._image[3]
        if self.windows:
            parts = tuple(n for n in range(2, kw + 1) if kw % n == 0)
            return (*parts, *(kw * n for n in pixel.counts(self.shape)))
        return tuple(n for n in pixel.counts(self.shape) if kw % n == 0 or n % kw == 0)

    @property
    def elements(self) -> int:
        """Positions per beat that belong to one row of a window."""
        return min(self.pixels, self._image[3])

    @property
    def windows_per_beat(self) -> int:
        """Windows per beat, side by side."""
        return self.pixels // self.elements

    @property
    def _grid(self) -> tuple[int, int, int, int]:
        """Rows and columns of the image and of the kernel, where the positions of one beat count as one column."""
        rows, columns, kh, kw = self._image
        if kh == 1 and columns % kw == 0:
            each = kw // self.elements
            return rows * columns // self.pixels // each, each, 1, each
        return rows, columns // self.pixels, kh, kw // self.elements

    @property
    def _image(self) -> tuple[int, int, int, int]:
        """Rows and columns of the image and of the kernel; every pool is described as a pool over an image.

        Where the elements of a window are consecutive (in a window stream, and in windows as wide as the image), each
        window counts as one row.
        """
        if self.windows:
            return prod(self.shape[:-1]), prod(self.kernel), 1, prod(self.kernel)
        rows, columns = (1, *self.shape[:-1])[-2:]
        kh, kw = (1, *self.kernel)[-2:]
        if rows == 1 or columns == kw:
            size, k = rows * columns, kh * kw
            return (size // k, k, 1, k) if size % k == 0 else (1, size, 1, k)
        return rows, columns, kh, kw

    @property
    def _reductions(self) -> tuple[Reduction, Reduction]:
        """The reduction over the columns of a window, then the one over its rows."""
        _, columns, kh, kw = self._grid
        across = self._partial(kw * self.elements).bitwidth()
        return (
            Reduction(kw, self.channel_beats, self.windows_per_beat * self.pe, across, self._operation()),
            Reduction(
                kh,
                columns // kw * self.channel_beats,
                self.windows_per_beat * self.pe,
                self.output_dtype.bitwidth(),
                self._operation(),
            ),
        )

    @property
    def _gather(self) -> int:
        """Cycles in which the elements of one beat are reduced."""
        return (self.elements - 1).bit_length()

    @property
    def latency(self) -> int:
        """Cycles from the firing with the last beat of a window until the output is valid."""
        across, down = self._reductions
        return 2 + self._gather + across.latency + (down.latency if down.passes > 1 else 0)

    def schedule(self) -> Schedule:
        rows, columns, kh, kw = self._grid
        pattern = kh if rows % kh == 0 else rows
        row, column = np.arange(pattern)[:, None], np.arange(columns)
        last = (row % kh == kh - 1) & (column % kw == kw - 1) & (column < columns // kw * kw)
        produces = np.repeat(last.ravel(), self.channel_beats)
        every, credits = np.ones(len(produces), bool), credits_for(produces, self.latency)
        return Schedule((every,), (produces,), self.latency, credits, rows // pattern)

    def resources(self, family: Family) -> Resources:
        rows, columns, kh, kw = self._grid
        across, down = self._reductions
        total = cell_costs.stream_out(self.outputs()[0].width, self.schedule().credits, family) + across.resources(
            family
        )
        if kh > 1:
            total += down.resources(family)
        lanes = self.windows_per_beat * self.pe
        total += reduce_tree(self.elements, lanes, self.dtype.bitwidth(), across.bits, self._operation(), family)
        used = (self.channel_beats, kw, columns if kh > 1 or columns % kw else 1, kh, rows if rows % kh else 1)
        for values in used:
            total += cell_costs.counter(values, family)
        return total + Resources(6, self.inputs()[0].width + 2 * self.latency)

    def rtl(self, family: Family) -> Rtl:
        rows, columns, kh, kw = self._grid
        across, down = self._reductions
        return Rtl(
            "bf_pool",
            {
                "PE": self.pe,
                "ELEMENTS": self.elements,
                "WINDOWS": self.windows_per_beat,
                "STEPS": self.channel_beats,
                "ROWS": rows,
                "COLUMNS": columns,
                "KH": kh,
                "KW": kw,
                "IN_BITS": self.dtype.bitwidth(),
                "IN_KIND": kind(self.dtype) if self._operation() == "sum" else "unsigned",
                "ACROSS_BITS": across.bits,
                "ACROSS_KIND": kind(self._partial(kw * self.elements)) if self._operation() == "sum" else "unsigned",
                "OUT_BITS": down.bits,
                "OPERATION": self._operation(),
                "ACROSS_STYLE": across.style(family),
                "DOWN_STYLE": down.style(family),
                "GATHER_LATENCY": self._gather,
                "ACROSS_LATENCY": across.latency,
                "LATENCY": self.latency,
                "CREDITS": self.schedule().credits,
            },
        )
