"""Resource model of ``reorder``, fitted to Yosys: lookup tables mostly within 15 %, memories exact."""

from typing import Protocol

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.ir.buffer import Buffer
from hw.ir.kernel import Schedule
from hw.ir.stream import Stream
from hw.kernels.shared import cell_costs

CONTROL_SHARE = 0.85
"""Lookup tables in proportion to those of the usual control logic: few bits of the loops' moves differ."""


class Shape(Protocol):
    """The parameters of a kernel that determine its cost; see the kernel's documentation."""

    @property
    def buffer(self) -> Buffer: ...
    @property
    def word(self) -> int: ...
    @property
    def block(self) -> bool: ...
    @property
    def fetch(self) -> int: ...
    def outputs(self) -> tuple[Stream, ...]: ...
    def schedule(self) -> Schedule: ...


def resources(kernel: Shape, family: Family) -> Resources:
    """Cost of a kernel before synthesis."""
    buffer, word, depth = kernel.buffer, kernel.word, kernel.buffer.places
    counters = sum(_bits(loop.turns) + (loop.turns > 1) for loop in buffer.loops)
    point = _bits(depth + int(buffer.nest[:, 1].max()) + 2) + 1
    control = counters + 2 * point + 2 * _bits(depth) + kernel.fetch
    total = cell_costs.stream_out(kernel.outputs()[0].width, kernel.schedule().credits, family)
    total += Resources(round(CONTROL_SHARE * cell_costs.control(control, family)), control + word)
    if kernel.block:
        return total + Resources(cell_costs.block_rows(depth, word, family), bram=family.blocks(depth, word))
    return total + Resources(cell_costs.ram(depth, word, family), cell_costs.ram_ff(depth, word, family))


def _bits(values: int) -> int:
    return max(0, values - 1).bit_length()
