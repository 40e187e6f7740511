"""What the kernels share that work on ``pe`` channels at a time, or on all channels of several positions."""

from abc import abstractmethod
from dataclasses import replace
from typing import Self

import numpy as np
from qonnx.core.datatype import BaseDataType

from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding, Kernel
from hw.kernels.shared import pixel

WIDEST = 32
"""Bits of the widest elements."""


def kind(dtype: BaseDataType) -> str:
    """How a code stands for an integer, as the module ``bf_widen`` names it."""
    return "bipolar" if dtype.name == "BIPOLAR" else "signed" if dtype.signed() else "unsigned"


def credits_for(gives: np.ndarray, latency: int) -> int:
    """The fewest credits with which actions that give beats as ``gives`` says, again and again, never wait for one.

    A credit is out for ``latency`` + 1 cycles, so no more than that many beats are started in as many cycles.
    """
    cycles = latency + 1
    before = np.concatenate(([0], np.cumsum(np.concatenate((gives, np.resize(gives, cycles))))))
    return int((before[cycles:] - before[:-cycles]).max())


class ChannelKernel(Kernel):
    """Base of kernels that take ``pe`` channels at a time, and give as many, of ``pixels`` positions.

    Subclasses are dataclasses with fields ``pe`` and ``pixels``.
    """

    pe: int
    pixels: int

    @property
    @abstractmethod
    def channels(self) -> int:
        """What ``pe`` divides."""

    @property
    def lanes(self) -> int:
        """Elements taken at a time."""
        return self.pe * self.pixels

    @property
    def channel_beats(self) -> int:
        """Beats of the channels."""
        return self.channels // self.pe

    @abstractmethod
    def _pixel_counts(self) -> tuple[int, ...]:
        """The legal ``pixels`` above one."""

    def _check(self, shape: tuple[int, ...], *dtypes: BaseDataType) -> None:
        """Raises BitfabricError for sizes below 1, types that are not of integers, a ``pe`` that does not divide."""
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
