"""Exit: passes the streams of the frames that go on, and drops those of the frames that leave."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.ir.kernel import Role, Rtl, Schedule
from hw.ir.stream import Stream
from hw.kernels.shared import cell_costs, pixel
from hw.kernels.shared.channel_kernel import ChannelKernel


@dataclass(frozen=True, eq=False)
class Exit(ChannelKernel):
    """Passes the stream ``shape`` (*prefix, C) of ``dtype`` for frames whose verdict is 0; those of verdict 1 leave.

    Inputs: the verdict (1,) of type UINT1, and the stream. A frame waits for its verdict in the FIFO before this
    kernel. A beat has ``pe`` channels of ``pixels`` positions. Raises BitfabricError for a ``pe`` that does not
    divide C.

    ``execute`` passes every frame: the layers behind it then have the integers that each frame would have there, and
    ``hw.ir.verdicts`` says which of them the hardware computes.
    """

    op: ClassVar[str] = "exit"
    role: ClassVar[Role] = "join"
    sources: ClassVar[tuple[str, ...]] = ("bf_stream_out.sv",)
    verdict: ClassVar[int | None] = 0

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
    def _stream(self) -> Stream:
        return Stream(self.shape, self.dtype, self.lanes)

    def inputs(self) -> tuple[Stream, ...]:
        return Stream((1,), DataType["UINT1"], 1), self._stream

    def outputs(self) -> tuple[Stream, ...]:
        return (self._stream,)

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        return (frames[1],)

    def carried(self, leaves: np.ndarray) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
        every = np.ones(len(leaves), bool)
        return (every, every), (~leaves,)

    def schedule(self) -> Schedule:
        return self.schedule_of(np.zeros(1, bool))

    def schedule_of(self, leaves: np.ndarray) -> Schedule:
        verdict = np.tile(np.arange(self._stream.beats + 1) == 0, len(leaves))
        passes = ~verdict & ~np.repeat(leaves, self._stream.beats + 1)
        return Schedule((verdict, ~verdict), (passes,), latency=2, credits=3)

    def resources(self, family: Family) -> Resources:
        width = self._stream.width
        counter = cell_costs.counter(self._stream.beats, family)
        return cell_costs.stream_out(width, 3, family) + counter + Resources(10, width + 3)

    def rtl(self, family: Family) -> Rtl:
        return Rtl(f"bf_{self.op}", {"WIDTH": self._stream.width, "BEATS": self._stream.beats})
