"""Negation of a stream, element by element."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from qonnx.core.datatype import BaseDataType

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.ir.kernel import Role, Rtl, Schedule
from hw.ir.stream import Stream, container, smallest_dtype
from hw.kernels.shared import cell_costs, pixel
from hw.kernels.shared.channel_kernel import ChannelKernel, kind

LATENCY = 2


@dataclass(frozen=True, eq=False)
class Negate(ChannelKernel):
    """``y = -x`` of a stream ``shape`` (*prefix, C), ``pe`` channels of ``pixels`` positions per beat."""

    op: ClassVar[str] = "negate"
    role: ClassVar[Role] = "compute"
    sources: ClassVar[tuple[str, ...]] = ("bf_stream_out.sv", "bf_widen.sv")

    shape: tuple[int, ...]
    dtype: BaseDataType
    pe: int = 1
    pixels: int = 1

    def __post_init__(self) -> None:
        self._check(self.shape, self.dtype)

    @property
    def channels(self) -> int:
        return self.shape[-1]

    def _pixel_counts(self) -> tuple[int, ...]:
        return pixel.counts(self.shape)

    @property
    def output_dtype(self) -> BaseDataType:
        return smallest_dtype(-int(self.dtype.max()), -int(self.dtype.min()))

    def inputs(self) -> tuple[Stream, ...]:
        return (Stream(self.shape, self.dtype, self.lanes),)

    def outputs(self) -> tuple[Stream, ...]:
        return (Stream(self.shape, self.output_dtype, self.lanes),)

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = frames
        return (-x.astype(container(self.output_dtype)),)

    def schedule(self) -> Schedule:
        every = np.ones(1, bool)
        return Schedule((every,), (every,), LATENCY, credits=LATENCY + 1, repeats=self.inputs()[0].beats)

    def resources(self, family: Family) -> Resources:
        bits = self.lanes * self.output_dtype.bitwidth()
        subtract = self.lanes * cell_costs.subtract(self.output_dtype.bitwidth(), family)
        return cell_costs.stream_out(bits, LATENCY + 1, family) + Resources(subtract, bits + 1)

    def rtl(self, family: Family) -> Rtl:
        parameters: dict[str, int | str] = {
            "PE": self.lanes,
            "IN_BITS": self.dtype.bitwidth(),
            "IN_KIND": kind(self.dtype),
            "OUT_BITS": self.output_dtype.bitwidth(),
        }
        return Rtl("negate", parameters)
