"""Fork: copies one stream to several readers (FINN: DuplicateStreams)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from qonnx.core.datatype import BaseDataType

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError
from hw.ir.kernel import Role, Rtl, Schedule
from hw.ir.stream import Stream
from hw.kernels.shared import cell_costs, pixel
from hw.kernels.shared.channel_kernel import ChannelKernel


@dataclass(frozen=True, eq=False)
class Fork(ChannelKernel):
    """Copies the stream ``shape`` (*prefix, C) of ``dtype`` to ``copies`` outputs, which drain independently.

    A beat has ``pe`` channels of ``pixels`` positions. Raises BitfabricError for fewer than two copies and for a
    ``pe`` that does not divide C.
    """

    op: ClassVar[str] = "fork"
    role: ClassVar[Role] = "join"
    sources: ClassVar[tuple[str, ...]] = ("bf_stream_out.sv",)

    shape: tuple[int, ...]
    dtype: BaseDataType
    copies: int = 2
    pe: int = 1
    pixels: int = 1

    def __post_init__(self) -> None:
        self._check(self.shape, self.dtype)
        if self.copies < 2:
            raise BitfabricError(f"a fork to {self.copies} readers; it needs two or more")

    @property
    def channels(self) -> int:
        return self.shape[-1]

    def _pixel_counts(self) -> tuple[int, ...]:
        return pixel.counts(self.shape)

    def inputs(self) -> tuple[Stream, ...]:
        return (Stream(self.shape, self.dtype, self.lanes),)

    def outputs(self) -> tuple[Stream, ...]:
        return self.inputs() * self.copies

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        return frames * self.copies

    def schedule(self) -> Schedule:
        every = np.ones(1, bool)
        return Schedule((every,), (every,) * self.copies, latency=2, credits=3, repeats=self.inputs()[0].beats)

    def resources(self, family: Family) -> Resources:
        width = self.inputs()[0].width
        return sum([cell_costs.stream_out(width, 3, family)] * self.copies, Resources(1, width + 1))

    def rtl(self, family: Family) -> Rtl:
        return Rtl("bf_fork", {"WIDTH": self.inputs()[0].width, "COPIES": self.copies})
