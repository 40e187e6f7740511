"""Concatenation along the channels (FINN: StreamingConcat)."""

from dataclasses import dataclass
from math import gcd, prod
from typing import ClassVar

import numpy as np
from qonnx.core.datatype import BaseDataType

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError
from hw.ir.kernel import Role, Rtl, Schedule
from hw.ir.stream import Stream, container, smallest_dtype
from hw.kernels.shared import cell_costs, pixel
from hw.kernels.shared.channel_kernel import ChannelKernel, kind


@dataclass(frozen=True, eq=False)
class Concat(ChannelKernel):
    """Concatenates streams ``shapes`` (*prefix, C_i) of ``dtypes`` to one stream (*prefix, sum of the C_i).

    All streams have ``pe`` lanes, and for each position the kernel reads one input after another; or a beat of every
    stream holds all channels of ``pixels`` positions.

    Inputs of one type keep it. Otherwise the output has the narrowest type that holds the values of all of them, where
    BIPOLAR has the values -1 and +1. Raises BitfabricError for shapes that differ in another axis than the last, fewer
    than two inputs, types that are not integers, and a ``pe`` that does not divide every C_i.
    """

    op: ClassVar[str] = "concat"
    role: ClassVar[Role] = "join"
    sources: ClassVar[tuple[str, ...]] = (
        "bf_align_operands.sv",
        "bf_stream_join.sv",
        "bf_stream_out.sv",
        "bf_widen.sv",
    )

    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[BaseDataType, ...]
    pe: int = 1
    pixels: int = 1

    def __post_init__(self) -> None:
        if len(self.shapes) < 2 or len(self.shapes) != len(self.dtypes):
            raise BitfabricError(
                f"concat of {len(self.shapes)} shapes and {len(self.dtypes)} types; two or more of each"
            )
        for shape in self.shapes:
            self._check(shape, *self.dtypes)
        if len({shape[:-1] for shape in self.shapes}) > 1:
            raise BitfabricError(f"concat of {', '.join(map(str, self.shapes))}: only the last axis may differ")

    @property
    def channels(self) -> int:
        """The greatest common divisor of the inputs' channels."""
        return gcd(*(shape[-1] for shape in self.shapes))

    def _pixel_counts(self) -> tuple[int, ...]:
        return pixel.counts(self.shapes[0])

    @property
    def output_dtype(self) -> BaseDataType:
        """The type that holds the elements of every input."""
        if len({dtype.name for dtype in self.dtypes}) == 1:
            return self.dtypes[0]
        return smallest_dtype(min(int(d.min()) for d in self.dtypes), max(int(d.max()) for d in self.dtypes))

    def inputs(self) -> tuple[Stream, ...]:
        lanes = (self.pe if self.pixels == 1 else self.pixels * shape[-1] for shape in self.shapes)
        return tuple(map(Stream, self.shapes, self.dtypes, lanes))

    def outputs(self) -> tuple[Stream, ...]:
        channels = sum(shape[-1] for shape in self.shapes)
        lanes = self.pe if self.pixels == 1 else self.pixels * channels
        return (Stream((*self.shapes[0][:-1], channels), self.output_dtype, lanes),)

    def execute(self, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.concatenate(frames, axis=-1, dtype=container(self.output_dtype), casting="unsafe"),)

    @property
    def _beats(self) -> tuple[int, ...]:
        """Beats of one position of each input."""
        return tuple(shape[-1] // self.pe for shape in self.shapes)

    def schedule(self) -> Schedule:
        positions, once = prod(self.shapes[0][:-1]), np.ones(1, bool)
        if self.pixels > 1:
            consumes, beats = (once,) * len(self.shapes), positions // self.pixels
            return Schedule(consumes, (once,), latency=2, credits=3, repeats=beats, input_registers=True)
        source = np.repeat(np.arange(len(self.shapes)), self._beats)
        consumes = tuple(source == i for i in range(len(self.shapes)))
        every = np.ones(len(source), bool)
        return Schedule(consumes, (every,), latency=2, credits=3, repeats=positions)

    def resources(self, family: Family) -> Resources:
        out = self.outputs()[0].width
        inputs = len(self.shapes)
        if self.pixels > 1:
            return cell_costs.stream_out(out, 3, family) + cell_costs.stream_join(inputs, family) + Resources(ff=out)
        # One lookup table selects among few inputs; a chain of tables or one more level of tables combines them.
        each, rest = family.lut_inputs // 2, (family.lut_inputs - 1) // 2
        tables = -(-inputs // each)
        tree = tables + -(-(tables - 1) // (family.lut_inputs - 1))
        select = out * min(tree, 1 + max(0, -(-(inputs - each) // rest)))
        total = cell_costs.stream_out(out, 3, family) + cell_costs.counter(max(self._beats), family)
        return total + Resources(select + 2 * inputs, inputs + out + 1)

    def rtl(self, family: Family) -> Rtl:
        # Codes of one common type pass unchanged.
        same = self.output_dtype in self.dtypes and len({d.name for d in self.dtypes}) == 1
        kinds = tuple(0 if same else ("unsigned", "signed", "bipolar").index(kind(d)) for d in self.dtypes)
        channels, bits = tuple(shape[-1] for shape in self.shapes), tuple(d.bitwidth() for d in self.dtypes)
        elements: dict[str, int | tuple[int, ...]] = {
            "INPUTS": len(self.shapes),
            "IN_BITS": bits,
            "IN_KIND": kinds,
            "OUT_BITS": self.output_dtype.bitwidth(),
        }
        if self.pixels > 1:
            total = sum(c * b for c, b in zip(channels, bits, strict=True))
            whole = {"PIXELS": self.pixels, "CHANNELS": channels, "IN_TOTAL": total, "TOTAL": sum(channels)}
            return Rtl("bf_concat_whole", elements | whole)
        return Rtl(f"bf_{self.op}", elements | {"PE": self.pe, "BEATS": self._beats, "IN_TOTAL": sum(bits)})
