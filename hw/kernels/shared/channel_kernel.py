"""Base class of kernels whose beats hold ``pe`` channels of one position, or all channels of several positions."""

from abc import abstractmethod
from dataclasses import replace
from typing import Self

import numpy as np
from qonnx.core.datatype import BaseDataType

from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding, Kernel
from hw.kernels.shared import pixel

WIDEST = 32
"""Maximum bits of an element."""


def kind(dtype: BaseDataType) -> str:
    """The encoding of a data type, as the module ``bf_widen`` names it."""
    return "bipolar" if dtype.name == "BIPOLAR" else "signed" if dtype.signed() else "unsigned"


def credits_for(produces: np.ndarray, latency: int) -> int:
    """The smallest number of credits (beats of the output buffer) with which a kernel never waits for a credit.

    A credit is in use for ``latency`` + 1 cycles, so the result is the maximum number of beats produced in that many
    consecutive firings. ``produces`` (firings,): whether each firing of the periodic pattern produces a beat.
    """
    cycles = latency + 1
    before = np.concatenate(([0], np.cumsum(np.concatenate((produces, np.resize(produces, cycles))))))
    return int((before[cycles:] - before[:-cycles]).max())


class ChannelKernel(Kernel):
    """Base class of kernels whose input and output beats hold ``pe`` channels of ``pixels`` positions.

    Subclasses are dataclasses with fields ``pe`` and ``pixels``.
    """

    pe: int
    pixels: int

    @property
    @abstractmethod
    def channels(self) -> int:
        """Channels of a position; ``pe`` divides this number."""

    @property
    def lanes(self) -> int:
        """Elements per input beat."""
        return self.pe * self.pixels

    @property
    def channel_beats(self) -> int:
        """Beats per position."""
        return self.channels // self.pe

    @abstractmethod
    def _pixel_counts(self) -> tuple[int, ...]:
        """The legal values of ``pixels``, except 1."""

    def _check(self, shape: tuple[int, ...], *dtypes: BaseDataType) -> None:
        """Raise BitfabricError for sizes below 1, types that are not integers or too wide, and illegal parallelism."""
        if not shape or any(size < 1 for size in shape):
            raise BitfabricError(f"{self.op}: shape {shape}; it needs sizes of 1 or more, channels last")
        for dtype in dtypes:
            if not dtype.is_integer() or dtype.bitwidth() > WIDEST:
                raise BitfabricError(f"{self.op} takes integers of at most {WIDEST} bits, not {dtype.name}")
        if self.pe < 1 or self.channels % self.pe:
            legal = ", ".join(str(pe) for pe in range(1, self.channels + 1) if self.channels % pe == 0)
            raise BitfabricError(
                f"{self.op}: PE {self.pe} does not divide {self.channels} channels; use one of {legal}"
            )
        pixel.check(self.op, self.pixels, self._pixel_counts(), pe=(self.pe, self.channels))

    def foldings(self) -> tuple[Folding, ...]:
        parts = (Folding(pe) for pe in range(1, self.channels + 1) if self.channels % pe == 0)
        return (*parts, *(Folding(self.channels, pixels=n) for n in self._pixel_counts()))

    def fold(self, folding: Folding) -> Self:
        if folding.simd != 1:
            raise BitfabricError(f"{self.op} has no SIMD, {folding.simd} was asked for; give only PE")
        return replace(self, **{"pe": folding.pe, "pixels": folding.pixels})
