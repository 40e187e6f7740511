"""Sliding window: the windows of a convolution, in order (FINN: ConvolutionInputGenerator with FMPadding)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from math import gcd, prod
from typing import ClassVar, NamedTuple, Self

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError
from hw.ir.buffer import Buffer, Loop
from hw.ir.buffer_size import fitted
from hw.ir.kernel import Folding, Kernel, Role, Rtl, Schedule
from hw.ir.stream import Stream, container, encode, smallest_dtype
from hw.kernels.shared import pixel
from hw.kernels.shared.channel_kernel import WIDEST
from hw.kernels.shared.parameters import divisors
from hw.kernels.sliding_window import cost
from hw.kernels.sliding_window.unfold import unfold

BIPOLAR, TERNARY = DataType["BIPOLAR"], DataType["TERNARY"]
BUFFER_BITS = 768
"""Memories of more than this many bits and at least 64 beats are in block RAM, which saves at least 150 lookup tables
on ECP5."""


class _Plane(NamedTuple):
    """The geometry, (y, x) each."""

    image: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    before: tuple[int, int]
    windows: tuple[int, int]


@dataclass(frozen=True, eq=False)
class SlidingWindow(Kernel):
    """Extracts the windows of size ``kernel`` of an image or a signal (im2col).

    The input ``shape`` is (H, W, C) or (L, C). The output is (OH, OW, K * C) or (OL, K * C), with the elements of one
    window in the order (ky, kx, c). ``stride`` and ``dilation`` have a number per spatial axis, ``pad`` a pair (before,
    after). The elements of padding are ``pad_value``: one integer for all channels, or a tuple of one for each. Where
    the input's type does not hold it, the output has a wider one: TERNARY for BIPOLAR values padded with 0. The output
    has ``simd`` lanes: a divisor of C, or C times a divisor of the kernel's last axis, or C times that axis times a
    divisor of its first. The input has ``min(simd, C)`` lanes.

    With whole windows per beat, the input may have ``pixels`` positions of a row per beat, a divisor of the row's
    length. An output beat then has the minimum number of windows that sustains this rate, a divisor of the windows in
    a row.

    Raises BitfabricError for sizes that are not positive or do not match, for a kernel larger than the
    padded input, for windows of padding alone, for padding that needs more than 32 bits, and for an illegal ``simd`` or
    illegal ``pixels``.
    """

    op: ClassVar[str] = "sliding_window"
    role: ClassVar[Role] = "window"
    sources: ClassVar[tuple[str, ...]] = (
        "bf_delay.sv", "bf_modulo_counter.sv", "bf_stream_out.sv", "bf_window_axis.sv", "bf_window_memory.sv",
        "bf_window_walk.sv",
    )  # fmt: skip

    shape: tuple[int, ...]
    kernel: tuple[int, ...]
    dtype: BaseDataType
    stride: tuple[int, ...] | None = None
    dilation: tuple[int, ...] | None = None
    pad: tuple[tuple[int, int], ...] | None = None
    simd: int = 1
    pixels: int = 1
    pad_value: int | tuple[int, ...] = 0

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
        if not all(self.inside(axis).any() for axis in range(axes)):
            raise BitfabricError(
                f"sliding_window: with stride {self.steps}, dilation {self.spread} and padding {self.pads} no window "
                f"of {self.kernel} sees the input {self.shape[:-1]}, but padding alone"
            )
        self._check_pad_value()
        if self.simd not in (legal := self._lanes()):
            raise BitfabricError(
                f"sliding_window: simd={self.simd} is no whole part of a window {self.kernel} of {self.channels} "
                f"channels; legal: {', '.join(map(str, legal))}"
            )
        pixel.check(self.op, self.pixels, self._pixel_counts(), simd=(self.simd, self.window))

    def _check_pad_value(self) -> None:
        """Store the padding as one integer where it is the same in all channels, and as 0 where there is none."""
        given = self.pad_value if isinstance(self.pad_value, tuple) else (self.pad_value,)
        if len(given) not in (1, self.channels) or any(not isinstance(value, int) for value in given):
            raise BitfabricError(
                f"sliding_window: pad_value {self.pad_value}; it needs one integer, or one for each of {self.channels} "
                "channels"
            )
        value = 0 if not self.padded else given[0] if len(set(given)) == 1 else given
        object.__setattr__(self, "pad_value", value)
        if (bits := self.out_dtype.bitwidth()) > WIDEST:
            raise BitfabricError(
                f"sliding_window: padding of {min(given)}..{max(given)} needs {bits} bits; at most {WIDEST} fit"
            )

    @property
    def channels(self) -> int:
        """Elements of one position (C)."""
        return self.shape[-1]

    @property
    def window(self) -> int:
        """Elements of a window."""
        return prod(self.kernel) * self.channels

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

    def inside(self, axis: int) -> np.ndarray:
        """Whether each element of each window along an axis lies in the input, bool (windows, elements)."""
        first = np.arange(self.out_spatial[axis]) * self.steps[axis] - self.pads[axis][0]
        places = first[:, None] + np.arange(self.kernel[axis]) * self.spread[axis]
        return (places >= 0) & (places < self.shape[axis])

    @property
    def pad_values(self) -> tuple[int, ...]:
        """The integers of padding: one, or one for each channel where they differ."""
        return self.pad_value if isinstance(self.pad_value, tuple) else (self.pad_value,)

    @cached_property
    def out_dtype(self) -> BaseDataType:
        """The input's type, or one that also holds the padding: TERNARY for BIPOLAR values and 0."""
        if not self.padded or all(map(self.dtype.allowed, self.pad_values)):
            return self.dtype
        low, high = int(self.dtype.min()), int(self.dtype.max())
        low, high = min(low, *self.pad_values), max(high, *self.pad_values)
        return TERNARY if (low, high) == (-1, 1) else smallest_dtype(low, high)

    def inputs(self) -> tuple[Stream, ...]:
        return (Stream(self.shape, self.dtype, self.pixels * min(self.simd, self.channels)),)

    def outputs(self) -> tuple[Stream, ...]:
        return (Stream((*self.out_spatial, self.window), self.out_dtype, self.windows_per_beat * self.simd),)

    def _lanes(self) -> list[int]:
        width = self.kernel[-1]
        parts = [*divisors(width), *(width * rows for rows in divisors(prod(self.kernel[:-1])))]
        return sorted({*divisors(self.channels), *(self.channels * positions for positions in parts)})

    def _pixel_counts(self) -> list[int]:
        return [n for n in pixel.counts(self.shape) if self._windows_for(n)]

    def _windows_for(self, pixels: int) -> int:
        """The minimum windows per beat for an input of ``pixels`` positions per beat; 0 if a row has too few."""
        beats, row = prod(self.shape[:-1]) // pixels, self.out_spatial[-1]
        rows = prod(self.out_spatial[:-1])
        return next((n for n in divisors(row) if rows * (row // n) <= beats), 0)

    @property
    def windows_per_beat(self) -> int:
        """Windows per output beat."""
        return 1 if self.pixels == 1 else self._windows_for(self.pixels)

    def foldings(self) -> tuple[Folding, ...]:
        several = (Folding(1, self.window, n) for n in self._pixel_counts())
        return (*(Folding(1, simd) for simd in self._lanes()), *several)

    def fold(self, folding: Folding) -> Self:
        if folding.pe != 1:
            raise BitfabricError(f"sliding_window: pe={folding.pe}; a sliding window has simd only")
        return replace(self, simd=folding.simd, pixels=folding.pixels)

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        plane = self._plane
        x = frames[0].reshape(-1, *plane.image, self.channels)
        padding = np.array(self.pad_values, np.int64)
        if not np.array_equal(padding.astype(x.dtype), padding):
            x = x.astype(container(self.out_dtype))
        windows = unfold(x, plane.kernel, plane.stride, plane.dilation, plane.before, plane.windows, padding)
        return (windows.reshape(len(x), *self.out_spatial, self.window),)

    # From here on a signal is an image of one row.

    @cached_property
    def _plane(self) -> _Plane:
        def pair(values: tuple[int, ...], first: int) -> tuple[int, int]:
            return (first, *values) if len(values) == 1 else values  # type: ignore[return-value]

        before = tuple(low for low, _ in self.pads)
        return _Plane(
            *(pair(self.shape[:-1], 1), pair(self.kernel, 1), pair(self.steps, 1), pair(self.spread, 1)),
            *(pair(before, 0), pair(self.out_spatial, 1)),
        )

    @property
    def part(self) -> tuple[int, int]:
        """Kernel positions of a window in an output beat: rows and columns."""
        positions, width = max(1, self.simd // self.channels), self.kernel[-1]
        return max(1, positions // width), min(positions, width)

    @property
    def channel_words(self) -> int:
        """Words of a position: beats of the input, or 1 where a beat has several positions."""
        return max(1, self.channels // self.inputs()[0].lanes)

    @cached_property
    def columns(self) -> list[int]:
        """Columns of the image that the windows of an output beat read, relative to the first."""
        across, right = self._plane.stride[1], self._plane.dilation[1]
        return sorted({w * across + x * right for w in range(self.windows_per_beat) for x in range(self.part[1])})

    @property
    def offsets(self) -> list[int]:
        """Positions of an output beat, in words after the first."""
        down = self._plane.dilation[0]
        return [y * down * self.shape[-2] + x for y in range(self.part[0]) for x in self.columns]

    @cached_property
    def banks(self) -> int:
        """Memory banks: the smallest number that puts the positions of an output beat, and those of an input beat, into
        different banks."""
        offsets = set(self.offsets)  # in an image narrower than the kernel, padding may share another's position
        fewest = -(-len(offsets) // self.pixels) * self.pixels
        return next(b for b in count(fewest, self.pixels) if len({o % b for o in offsets}) == len(offsets))

    @cached_property
    def grain(self) -> int:
        """Greatest common divisor of the banks and of all moves of the read position."""
        nest = self.buffer.nest
        return gcd(self.banks, *(int(move) for turns, move, _ in nest[1:] if turns > 1), int(nest[0, 1]))

    def _buffers(self) -> Iterator[Buffer]:
        """Three candidate buffers: they keep the input until a window, a row of windows, or the frame is produced."""
        beats = self.channel_words
        (rows, columns), plane = self.part, self._plane
        pitch = (self.shape[-2] * beats, beats)
        (down, right), (line, window) = (
            tuple(p * s for p, s in zip(pitch, steps, strict=True)) for steps in (plane.dilation, plane.stride)
        )
        window *= self.windows_per_beat
        for frees in ((line, window), (line, 0), (0, 0)):
            loops = (
                Loop(plane.windows[0], line, frees[0]),
                Loop(plane.windows[1] // self.windows_per_beat, window, frees[1]),
                Loop(plane.kernel[0] // rows, rows * down, 0),
                Loop(plane.kernel[1] // columns, columns * right, 0),
                Loop(beats, 1, 0),
            )
            yield Buffer(
                beats=self.inputs()[0].beats,
                places=self.pixels,
                start=-sum(p * b for p, b in zip(pitch, plane.before, strict=True)),
                reach=self.offsets[-1] + 1,
                loops=loops,
                release=1 if self.banks == 1 else 3,
                words_per_beat=self.pixels,
            )

    @cached_property
    def buffer(self) -> Buffer:
        """The legal buffer that releases its input earliest."""
        # With wide padding, a window may begin before the previous one.
        buffer = fitted(next(b for b in self._buffers() if b.monotone()))
        return replace(buffer, places=-(-buffer.places // self.banks) * self.banks)

    @property
    def word(self) -> int:
        """Bits of a memory word."""
        return self.inputs()[0].width // self.pixels

    @property
    def block(self) -> bool:
        """Whether the memory is block RAM."""
        depth = self.buffer.places // self.banks
        return depth >= 64 and depth * self.word > BUFFER_BITS

    @property
    def fetch(self) -> int:
        """Cycles from a firing until the words that it reads are available."""
        return (1 if self.banks == 1 else 4) + self.block

    def schedule(self) -> Schedule:
        latency = self.fetch + 1
        return Schedule(
            (np.zeros(1, bool),), (np.ones(1, bool),), latency, latency + 1, self.outputs()[0].beats, self.buffer
        )

    def resources(self, family: Family) -> Resources:
        return cost.resources(self, family)

    def rtl(self, family: Family) -> Rtl:
        lanes, logic = min(self.simd, self.channels), "distributed" if family.lut_ram else "logic"
        parameters: dict[str, int | str | tuple[int, ...]] = {
            "BITS": self.dtype.bitwidth(),
            "LANES": lanes,
            "CF": self.channel_words,
            "TAKEN": self.pixels,
            "WINDOWS": self.windows_per_beat,
            "COLUMNS": len(self.columns),
            "COLUMN": tuple(self.columns),
        }
        plane, part = self._plane, self.part
        parts = tuple(k // j for k, j in zip(plane.kernel, part, strict=True))
        pairs = (
            (("H", "W"), plane.image), (("OH", "OW"), plane.windows), (("SY", "SX"), plane.stride),
            (("DY", "DX"), plane.dilation), (("TOP", "LEFT"), plane.before), (("PY", "PX"), parts),
            (("JY", "JX"), part),
        )  # fmt: skip
        for names, values in pairs:
            parameters |= dict(zip(names, values, strict=True))
        parameters |= {
            "PADDED": int(self.padded),
            "TERNARY": int(self.dtype == BIPOLAR and self.out_dtype != BIPOLAR),
            "PLACES": self.buffer.places,
            "BANKS": self.banks,
            "FREES_Y": self.buffer.loops[0].frees,
            "FREES_X": self.buffer.loops[1].frees,
            "STYLE": "block" if self.block else logic,
            "LATENCY": self.fetch + 1,
            "CREDITS": self.schedule().credits,
        }
        codes = tuple(encode(np.array(self.pad_values), self.out_dtype).tolist())
        if any(codes):
            parameters |= {
                "OUT_BITS": self.out_dtype.bitwidth(),
                "SIGNED": int(self.dtype.signed()),
                "PADDINGS": len(codes),
                "PADDING": codes,
            }
        return Rtl(f"bf_{self.op}", parameters)
