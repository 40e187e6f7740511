"""Nearest-neighbour upsampling (FINN: UpsampleNearestNeighbour)."""

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

BUFFER_BITS = 768
"""Buffers of more than this many bits and at least 64 beats are in block RAM."""


@dataclass(frozen=True, eq=False)
class Upsample(ChannelKernel):
    """Repeats elements along the spatial axes: (H, W, C) becomes (H * fh, W * fw, C), and (L, C) becomes (L * f, C).

    ``shape`` is that of the input, ``factors`` (fh, fw) or (f,), ``dtype`` any integer type. Input and output have
    ``pe`` lanes; or an input beat holds ``pixels`` positions, and an output beat all their copies within the row. The
    kernel outputs the first copy of a row while it reads the row; it reads the other copies from a buffer, and the
    input waits. Raises BitfabricError for factors below one, for a number of factors other than that of the spatial
    axes, for more than two spatial axes, and for a ``pe`` that does not divide C.
    """

    op: ClassVar[str] = "upsample"
    role: ClassVar[Role] = "window"
    sources: ClassVar[tuple[str, ...]] = ("bf_replay.sv", "bf_stream_out.sv")

    shape: tuple[int, ...]
    factors: tuple[int, ...]
    dtype: BaseDataType
    pe: int = 1
    pixels: int = 1

    def __post_init__(self) -> None:
        self._check(self.shape, self.dtype)
        if len(self.shape) not in (2, 3) or len(self.factors) != len(self.shape) - 1:
            raise BitfabricError(
                f"upsample: factors {self.factors} on a stream {self.shape}; one or two spatial axes, channels "
                "last, and a factor for each"
            )
        if any(factor < 1 for factor in self.factors):
            raise BitfabricError(f"upsample: factors {self.factors}; each must be at least 1")

    @property
    def channels(self) -> int:
        return self.shape[-1]

    def _pixel_counts(self) -> tuple[int, ...]:
        return pixel.counts(self.shape)

    @property
    def copies(self) -> int:
        """Copies of each position per output beat."""
        return self.factors[-1] if self.pixels > 1 else 1

    def inputs(self) -> tuple[Stream, ...]:
        return (Stream(self.shape, self.dtype, self.lanes),)

    def outputs(self) -> tuple[Stream, ...]:
        spatial = (n * f for n, f in zip(self.shape[:-1], self.factors, strict=True))
        return (Stream((*spatial, self.channels), self.dtype, self.copies * self.lanes),)

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        (y,) = frames
        for axis, factor in enumerate(self.factors, 1):
            y = np.repeat(y, factor, axis=axis)
        return (y,)

    @property
    def _grid(self) -> tuple[int, int, int, int]:
        """Rows, columns, copies of each row, and copies of each column.

        The positions of one beat count as one column. Where rows are not repeated, each column counts as a row.
        """
        rows, columns = (1, *self.shape[:-1])[-2:]
        fh, fw = (1, *self.factors)[-2:]
        columns, fw = columns // self.pixels, fw // self.copies
        return (rows * columns, 1, 1, fw) if fh == 1 else (rows, columns, fh, fw)

    @property
    def _depth(self) -> int:
        """Beats of one row, which the buffer holds."""
        return self.channel_beats * self._grid[1]

    def _buffer(self, family: Family | None = None) -> str:
        """Storage of the buffer: ``hold`` (a register), ``block``, ``distributed`` or ``logic``.

        Block RAM is chosen without regard to the family: it sets the latency, and cycle counts must not depend on the
        family.
        """
        if self._depth == 1 or max(self.factors) == 1:
            return "hold"
        if self._depth >= 64 and self._depth * self.inputs()[0].width > BUFFER_BITS:
            return "block"
        return "distributed" if family is None or family.lut_ram else "logic"

    @property
    def latency(self) -> int:
        """Cycles from the firing until the output is valid."""
        return {"hold": 1, "block": 3}.get(self._buffer(), 2) + 1

    def schedule(self) -> Schedule:
        rows, columns, fh, fw = self._grid
        consumes = np.zeros((fh, columns, fw, self.channel_beats), bool)
        consumes[0, :, 0] = True
        every = np.ones(consumes.size, bool)
        return Schedule((consumes.ravel(),), (every,), self.latency, credits=self.latency + 1, repeats=rows)

    def resources(self, family: Family) -> Resources:
        _, columns, fh, fw = self._grid
        width, style = self.inputs()[0].width, self._buffer(family)
        total = cell_costs.stream_out(self.copies * width, self.latency + 1, family) + Resources(
            6, width + self.latency
        )
        if style == "block":
            blocks, rows = family.blocks(self._depth, width), cell_costs.block_rows(self._depth, width, family)
            total += Resources(rows, width, blocks)
        elif style != "hold":
            total += Resources(
                cell_costs.ram(self._depth, width, family), cell_costs.ram_ff(self._depth, width, family)
            )
        for values in (self.channel_beats, fw, columns, fh):
            total += cell_costs.counter(values, family)
        return total

    def rtl(self, family: Family) -> Rtl:
        _, columns, fh, fw = self._grid
        return Rtl(
            f"bf_{self.op}",
            {
                "WIDTH": self.inputs()[0].width,
                "PIXELS": self.pixels,
                "COPIES": self.copies,
                "STEPS": self.channel_beats,
                "COLUMNS": columns,
                "FH": fh,
                "FW": fw,
                "BUFFER": self._buffer(family),
                "LATENCY": self.latency,
                "CREDITS": self.latency + 1,
            },
        )
