"""Merge: for each frame the early result, or the late one, in the order of the frames."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError
from hw.ir.kernel import Role, Rtl, Schedule
from hw.ir.stream import Stream, container, smallest_dtype
from hw.kernels.shared import cell_costs, pixel
from hw.kernels.shared.channel_kernel import ChannelKernel, kind


@dataclass(frozen=True, eq=False)
class Merge(ChannelKernel):
    """The early result of frames whose verdict is 1, and the late result of the others.

    Inputs: the verdict (1,) of type UINT1; the early result ``shape`` (*prefix, C) of ``dtypes[0]`` of every frame; the
    late result of ``dtypes[1]``, of the frames that go on. Output: ``shape``, in the narrowest type of both. A frame
    that goes on waits here for its late result, and the frames after it wait in the FIFOs before this kernel. A beat
    has ``pe`` channels of ``pixels`` positions. Raises BitfabricError for a ``pe`` that does not divide C.

    ``execute`` has the late results of all frames (see ``hw.kernels.exit.kernel.Exit``).
    """

    op: ClassVar[str] = "merge"
    role: ClassVar[Role] = "join"
    sources: ClassVar[tuple[str, ...]] = ("bf_stream_out.sv", "bf_widen.sv")
    verdict: ClassVar[int | None] = 0

    shape: tuple[int, ...]
    dtypes: tuple[BaseDataType, BaseDataType]
    pe: int = 1
    pixels: int = 1

    def __post_init__(self) -> None:
        self._check(self.shape, *self.dtypes)
        if len(self.dtypes) != 2 or (self.dtypes[0].name == "BIPOLAR") != (self.dtypes[1].name == "BIPOLAR"):
            raise BitfabricError(
                f"merge of {', '.join(dtype.name for dtype in self.dtypes)}; both results are integers, or both BIPOLAR"
            )

    @property
    def channels(self) -> int:
        return self.shape[-1]

    def _pixel_counts(self) -> tuple[int, ...]:
        return pixel.counts(self.shape)

    @property
    def output_dtype(self) -> BaseDataType:
        """The type that holds both results."""
        if self.dtypes[0] == self.dtypes[1]:
            return self.dtypes[0]
        return smallest_dtype(min(int(d.min()) for d in self.dtypes), max(int(d.max()) for d in self.dtypes))

    def inputs(self) -> tuple[Stream, ...]:
        results = (Stream(self.shape, dtype, self.lanes) for dtype in self.dtypes)
        return Stream((1,), DataType["UINT1"], 1), *results

    def outputs(self) -> tuple[Stream, ...]:
        return (Stream(self.shape, self.output_dtype, self.lanes),)

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        verdict, early, late = frames
        leaves = verdict.reshape(-1, *[1] * len(self.shape)) == 1
        return (np.where(leaves, early, late).astype(container(self.output_dtype)),)

    def carried(self, leaves: np.ndarray) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
        every = np.ones(len(leaves), bool)
        return (every, every, ~leaves), (every,)

    def schedule(self) -> Schedule:
        return self.schedule_of(np.zeros(1, bool))

    def schedule_of(self, leaves: np.ndarray) -> Schedule:
        # A frame that leaves has the verdict and the early result; one that goes on the verdict, the late result, and
        # the early one, which is dropped last: so no beat moves later where a frame leaves.
        beats = self.outputs()[0].beats
        whole = np.concatenate(([0], np.full(beats, 2), np.full(beats, 1)))
        early = np.concatenate(([0], np.full(beats, 1)))
        port = np.concatenate([early if left else whole for left in leaves])
        left = np.repeat(leaves, np.where(leaves, len(early), len(whole)))
        made = np.where(left, port == 1, port == 2)
        return Schedule(tuple(port == number for number in range(3)), (made,), latency=2, credits=3)

    def resources(self, family: Family) -> Resources:
        out = self.outputs()[0]
        counter = cell_costs.counter(out.beats, family)
        # Where a family has multiplexers of 16 tables (Gowin), Yosys maps the control to those, with more tables.
        control = 14 if family.wide_inputs - family.lut_inputs < 4 else 44
        return cell_costs.stream_out(out.width, 3, family) + counter + Resources(out.width + control, out.width + 4)

    def rtl(self, family: Family) -> Rtl:
        same = self.dtypes[0] == self.dtypes[1]  # codes of one type pass unchanged
        kinds = ("unsigned", "unsigned") if same else tuple(map(kind, self.dtypes))
        out = self.outputs()[0]
        return Rtl(
            f"bf_{self.op}",
            {
                "LANES": self.lanes,
                "BEATS": out.beats,
                "EARLY_BITS": self.dtypes[0].bitwidth(),
                "LATE_BITS": self.dtypes[1].bitwidth(),
                "EARLY_KIND": kinds[0],
                "LATE_KIND": kinds[1],
                "OUT_BITS": self.output_dtype.bitwidth(),
            },
        )
