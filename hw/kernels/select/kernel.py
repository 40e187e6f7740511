"""Select: passes on some elements of a stream in their order: a part of the channels, a crop, every second row."""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from math import gcd
from typing import ClassVar, Self

import numpy as np
from qonnx.core.datatype import BaseDataType

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding, Kernel, Role, Rtl, Schedule
from hw.ir.stream import Stream
from hw.kernels.shared import cell_costs, pixel
from hw.kernels.shared.channel_kernel import credits_for
from hw.kernels.shared.parameters import divisors

LATENCY = 1
"""Cycles from the firing until the output is valid."""


@dataclass(frozen=True, eq=False)
class Select(Kernel):
    """Passes on the elements whose index along every axis is kept: (H, W, C) becomes (H', W', C').

    ``shape`` is that of the input, ``kept`` the indices along each axis, increasing; ``dtype`` any integer type. Beats
    of ``pe`` channels are passed on or dropped whole, so ``pe`` divides every boundary between kept and dropped
    channels. With all channels of ``pixels`` positions in a beat, the output beat holds the kept channels of these
    positions, and ``pixels`` divides the boundaries along the last spatial axis. Raises BitfabricError for indices that
    are none of the axis or do not increase, and for an illegal ``pe`` or illegal ``pixels``.
    """

    op: ClassVar[str] = "select"
    role: ClassVar[Role] = "plumbing"
    sources: ClassVar[tuple[str, ...]] = ("bf_stream_out.sv",)

    shape: tuple[int, ...]
    kept: tuple[tuple[int, ...], ...]
    dtype: BaseDataType
    pe: int = 1
    pixels: int = 1

    def __post_init__(self) -> None:
        if not self.shape or min(self.shape) < 1 or len(self.kept) != len(self.shape):
            raise BitfabricError(
                f"select: {len(self.kept)} lists of indices for a stream {self.shape}; give one for each axis"
            )
        for size, kept in zip(self.shape, self.kept, strict=True):
            if not kept or kept[0] < 0 or kept[-1] >= size or any(a >= b for a, b in pairwise(kept)):
                raise BitfabricError(f"select: indices {kept[:8]} of {size} elements; they must increase, from 0 on")
        if self.pe not in self._lanes():
            legal = ", ".join(map(str, self._lanes()))
            raise BitfabricError(
                f"select: PE {self.pe} does not divide the kept and the dropped channels; use one of {legal}"
            )
        pixel.check(self.op, self.pixels, self._pixel_counts(), pe=(self.pe, self.channels))

    @property
    def channels(self) -> int:
        """Channels of a position of the input."""
        return self.shape[-1]

    @property
    def whole(self) -> bool:
        """Whether a beat holds all channels of its positions."""
        return self.pe == self.channels

    def _lanes(self) -> list[int]:
        return sorted({*divisors(_grain(self.kept[-1], self.channels)), self.channels})

    def _pixel_counts(self) -> list[int]:
        if len(self.shape) == 1:
            return []
        return divisors(_grain(self.kept[-2], self.shape[-2]))[1:]

    def inputs(self) -> tuple[Stream, ...]:
        return (Stream(self.shape, self.dtype, self.pe * self.pixels),)

    def outputs(self) -> tuple[Stream, ...]:
        shape = tuple(map(len, self.kept))
        return (Stream(shape, self.dtype, self.pixels * shape[-1] if self.whole else self.pe),)

    def foldings(self) -> tuple[Folding, ...]:
        several = (Folding(self.channels, pixels=n) for n in self._pixel_counts())
        return (*map(Folding, self._lanes()), *several)

    def fold(self, folding: Folding) -> Self:
        if folding.simd != 1:
            raise BitfabricError(f"select has no SIMD, {folding.simd} was asked for; give only PE")
        return replace(self, pe=folding.pe, pixels=folding.pixels)

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (y,) = frames
        for axis, kept in enumerate(self.kept, 1):
            y = np.take(y, kept, axis)
        return (y,)

    @cached_property
    def axes(self) -> tuple[np.ndarray, ...]:
        """The axes of a frame's beats, the outermost first: whether the beats of each index are passed on.

        Neighbouring axes that are kept as a whole are one, and the outermost axis is not: the frame repeats what is
        inside it. There is at least one axis.
        """
        masks = [np.isin(np.arange(size), kept) for size, kept in zip(self.shape, self.kept, strict=True)]
        last = masks.pop()
        if not self.whole:
            masks.append(last.reshape(-1, self.pe)[:, 0])
        elif masks:
            masks[-1] = masks[-1].reshape(-1, self.pixels)[:, 0]
        merged: list[np.ndarray] = []
        for mask in masks:
            if merged and merged[-1].all() and mask.all():
                merged[-1] = np.ones(len(merged[-1]) * len(mask), bool)
            elif len(mask) > 1:
                merged.append(mask)
        if merged and merged[0].all():
            del merged[0]
        return tuple(merged) or (np.ones(1, bool),)

    @cached_property
    def _passed(self) -> np.ndarray:
        """Whether each beat of the repeated pattern is passed on."""
        passed = np.ones(1, bool)
        for mask in self.axes:
            passed = (passed[:, None] & mask).ravel()
        return passed

    def schedule(self) -> Schedule:
        passed = self._passed
        repeats = self.inputs()[0].beats // len(passed)
        return Schedule((np.ones(len(passed), bool),), (passed,), LATENCY, credits_for(passed, LATENCY), repeats)

    def resources(self, family: Family) -> Resources:
        total = cell_costs.stream_out(self.outputs()[0].width, self.schedule().credits, family) + Resources(lut=2)
        for mask in self.axes:
            if len(mask) > 1:
                total += cell_costs.counter(len(mask), family) + Resources(_lookup(mask, family) + 2, 2)
        return total

    def rtl(self, family: Family) -> Rtl:
        lanes = self.outputs()[0].lanes
        kept = range(self.pe) if not self.whole else self.kept[-1]
        picked = tuple(p * self.channels + c for p in range(self.pixels) for c in kept)
        words: list[int] = []
        for mask in reversed(self.axes):
            number = sum(1 << i for i in np.flatnonzero(mask).tolist())
            words.extend(number >> at & 0xFFFFFFFF for at in range(0, len(mask), 32))
        return Rtl(
            f"bf_{self.op}",
            {
                "BITS": self.dtype.bitwidth(),
                "LANES": self.inputs()[0].lanes,
                "KEPT": lanes,
                "LANE": picked,
                "AXES": len(self.axes),
                "SIZES": tuple(len(mask) for mask in reversed(self.axes)),
                "WORDS": len(words),
                "PASSED": tuple(words),
                "CREDITS": self.schedule().credits,
            },
        )


def _grain(kept: tuple[int, ...], size: int) -> int:
    """The greatest common divisor of an axis' size and of the boundaries between its kept and its dropped indices."""
    mask = np.isin(np.arange(size), kept)
    return gcd(size, *(np.flatnonzero(np.diff(mask)) + 1).tolist())


def _lookup(mask: np.ndarray, family: Family) -> int:
    """Lookup tables that find the next index among those of an axis that are passed on.

    A multiplexer tree of constants: parts of it whose indices are all passed on, or all dropped, cost nothing.
    """
    inputs = family.lut_inputs
    tables, level = 0, np.resize(mask, 1 << (len(mask) - 1).bit_length())
    level[len(mask) :] = level[len(mask) - 1]
    while len(level) > 1:
        parts = level.reshape(-1, min(len(level), 1 << inputs))
        mixed = (parts != parts[:, :1]).any(axis=1)
        tables += int(mixed.sum())
        if len(parts) == 1:
            break
        level = np.where(mixed, np.arange(len(mixed)) + 2, parts[:, 0].astype(np.int64))
        inputs = 2
    return max(1, tables)
