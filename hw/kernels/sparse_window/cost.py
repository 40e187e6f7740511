"""Resource model of ``sparse_window``, fitted to Yosys."""

from typing import Protocol

import numpy as np

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.kernels.shared import cell_costs
from hw.kernels.sliding_window.cost import Shape


class SparseShape(Shape, Protocol):
    """The parameters of a kernel that determine its cost; see the kernel's documentation."""

    @property
    def kernel(self) -> tuple[int, ...]: ...
    @property
    def beats(self) -> int: ...
    @property
    def memories(self) -> int: ...
    @property
    def item_bits(self) -> tuple[int, int, int]: ...
    @property
    def table(self) -> np.ndarray: ...


def resources(kernel: SparseShape, family: Family) -> Resources:
    """Cost of a kernel before synthesis."""
    schedule, stream = kernel.schedule(), kernel.outputs()[0]
    out = cell_costs.stream_out(stream.width, schedule.credits, family)
    control = _control(kernel)
    lut = round(0.72 * cell_costs.control(control, family))
    if kernel.padded:
        lut += stream.lanes * stream.dtype.bitwidth()  # the gates that insert the padding
    return out + Resources(lut, control) + _places(kernel, family) + _memory(kernel, family)


def _bits(values: int) -> int:
    return max(0, values - 1).bit_length()


def _control(kernel: SparseShape) -> int:
    """Flip-flops of the control logic."""
    buffer, nest = kernel.buffer, kernel.buffer.nest
    beyond = max(0, buffer.start + buffer.reach - int(nest[0, 1]))
    point = _bits(buffer.places + abs(buffer.start) + int(nest[:, 1].max()) + beyond + 2) + 1
    ff = sum(_bits(loop.turns) + (loop.turns > 1) for loop in buffer.loops) + 2 * point + 2 * _bits(buffer.places)
    ff += _bits(kernel.beats) + kernel.fetch + 8
    if kernel.padded:
        ff += _bits(buffer.beats) + 1 + _bits(buffer.places // buffer.frame + 3) + 2
        ff += sum(_bits(size + sum(pads) + 1) for size, pads in zip(kernel.shape, kernel.pads, strict=False))
        ff += sum(kernel.kernel) + (kernel.fetch - 1) * kernel.memories
    return ff


def _places(kernel: SparseShape, family: Family) -> Resources:
    """Cost of the table of places, and of the addresses."""
    width = sum(kernel.item_bits)
    if kernel.beats <= cell_costs.COLUMNS:
        columns = cell_costs.columns(kernel.table, width)
    else:
        columns = sum(cell_costs.varying(map(int, column)) for column in kernel.table.T)
    table = Resources(round(0.5 * cell_costs.rom(kernel.beats, columns, family)), columns)  # offsets increase
    address = _bits(kernel.buffer.places)
    adders = cell_costs.add(address + 1, family) + cell_costs.add(address + 1, family) + address
    image = sum(kernel.item_bits[1:])
    return table + Resources(kernel.memories * (adders + image), (kernel.memories + 1) * address)


def _memory(kernel: SparseShape, family: Family) -> Resources:
    """Cost of the memories."""
    count, width, depth = kernel.memories, kernel.word // kernel.memories, kernel.buffer.places
    result = Resources(ff=kernel.word)
    if kernel.block:
        lut = count * cell_costs.block_rows(depth, width, family)
        return result + Resources(lut, bram=count * family.blocks(depth, width))
    return result + Resources(
        count * cell_costs.ram(depth, width, family), count * cell_costs.ram_ff(depth, width, family)
    )
