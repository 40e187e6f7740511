"""Resource model of ``sliding_window``, fitted to Yosys: lookup tables mostly within 15 %, memories exact."""

from math import ceil
from typing import Protocol

import numpy as np
from qonnx.core.datatype import BaseDataType

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.ir.buffer import Buffer
from hw.ir.kernel import Schedule
from hw.ir.stream import Stream, encode
from hw.kernels.shared import cell_costs


class Shape(Protocol):
    """The parameters of a kernel that determine its cost; see the kernel's documentation."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> BaseDataType: ...
    @property
    def pads(self) -> tuple[tuple[int, int], ...]: ...
    @property
    def padded(self) -> bool: ...
    @property
    def pad_values(self) -> tuple[int, ...]: ...
    @property
    def channel_words(self) -> int: ...
    @property
    def part(self) -> tuple[int, int]: ...
    @property
    def columns(self) -> list[int]: ...
    @property
    def offsets(self) -> list[int]: ...
    @property
    def banks(self) -> int: ...
    @property
    def grain(self) -> int: ...
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
    schedule, stream = kernel.schedule(), kernel.outputs()[0]
    found = _found(kernel)
    bits = found * stream.dtype.bitwidth() // kernel.dtype.bitwidth()
    # An element of several windows is in the beat as often.
    out = cell_costs.stream_out(stream.width, schedule.credits, family, bits)
    control = _control(kernel)
    lut = cell_costs.control(control, family)
    if kernel.padded:
        lut += min(bits, found)  # the gates that insert the padding
    return out + Resources(lut, control) + _memory(kernel, family) + _padding_table(kernel, stream, family)


def _padding_table(kernel: Shape, stream: Stream, family: Family) -> Resources:
    """Cost of the table of padding that differs between the words of a position, and of its counter."""
    words = kernel.channel_words
    if words == 1 or len(kernel.pad_values) == 1:
        return Resources()
    codes = encode(np.array(kernel.pad_values), stream.dtype).reshape(words, -1)
    width = stream.dtype.bitwidth()
    varying = sum(cell_costs.varying(map(int, column)) for column in codes.T)
    columns = cell_costs.columns(codes, width) if words <= cell_costs.COLUMNS else varying
    address = Resources(ff=kernel.fetch * _bits(words))
    return cell_costs.counter(words, family) + address + Resources(cell_costs.rom(words, columns, family), columns)


def _found(kernel: Shape) -> int:
    """Bits of the positions that are read at a time."""
    return kernel.part[0] * len(kernel.columns) * kernel.word


def _distances(kernel: Shape) -> set[tuple[int, ...]]:
    """How many words further than the reader a bank is read, for every phase: the banks that differ in it."""
    phases = range(kernel.buffer.start % kernel.buffer.places % kernel.grain, kernel.banks, kernel.grain)
    found = np.zeros((kernel.banks, len(phases)), np.int64)
    for i, phase in enumerate(phases):
        for offset in kernel.offsets:
            found[(phase + offset) % kernel.banks, i] = (phase + offset) // kernel.banks
    return set(map(tuple, found.tolist()))


def _bits(values: int) -> int:
    return max(0, values - 1).bit_length()


def _control(kernel: Shape) -> int:
    """Flip-flops of the control logic."""
    buffer, rows, columns = kernel.buffer, kernel.part[0], len(kernel.columns)
    banks, phases = kernel.banks, kernel.banks // kernel.grain
    word, bank, fetch = _bits(buffer.places // banks), _bits(phases), kernel.fetch
    beyond = max(0, buffer.start + buffer.reach - int(buffer.nest[0, 1]))
    point = _bits(buffer.places - buffer.start + int(buffer.nest[:, 1].max()) + beyond + 2) + 1
    ff = sum(_bits(loop.turns) + (loop.turns > 1) for loop in buffer.loops) + 2 * point + 2 * word + fetch
    if banks > 1:
        ff += 2 * bank + (fetch - 1) * bank + word + 6
        ff += sum(word + _bits(max(each) + 1) for each in _distances(kernel))
    if kernel.padded:
        ff += _bits(buffer.beats) + 1 + _bits(buffer.places // buffer.frame + 3) + 2
        ff += sum(_bits(size + sum(pads) + 1) for size, pads in zip(kernel.shape, kernel.pads, strict=False))
        ff += rows + columns + (fetch - 1) * rows * columns
    return ff


def _memory(kernel: Shape, family: Family) -> Resources:
    """Cost of the memories and of the multiplexers behind them."""
    width, depth, banks = kernel.word, kernel.buffer.places // kernel.banks, kernel.banks
    result = Resources(ff=banks * width)
    if kernel.block:
        result += Resources(
            lut=banks * cell_costs.block_rows(depth, width, family), bram=banks * family.blocks(depth, width)
        )
    else:
        result += Resources(
            banks * cell_costs.ram(depth, width, family), banks * cell_costs.ram_ff(depth, width, family)
        )
    if banks > 1:
        found = _found(kernel)
        result += Resources(_choice(kernel, family), found)
    return result


def _choice(kernel: Shape, family: Family) -> int:
    """Lookup tables that select the words of a beat among those that the banks have read.

    Neighbouring positions share a tree, a barrel rotator with one level for each bit of the phase. For many phases,
    synthesis builds separate multiplexers where the family has wide functions, which are faster and larger.
    """
    phases, found = kernel.banks // kernel.grain, _found(kernel)
    levels, six = _bits(phases), family.lut_inputs >= 6
    if phases <= 16:
        return found * (min(levels, ceil(phases / 4)) if six else levels)
    if six or family.wide_inputs <= 4:
        return round((0.75 if six else 1.15) * _rotator(kernel))
    if family.wide_inputs <= 7:
        return found * max(16, (1 << levels) // 4)
    return round(1.25 * _rotator(kernel)) if levels == 5 else 28 * found


def _rotator(kernel: Shape) -> int:
    """Multiplexers of two inputs in a barrel rotator of the banks, of which some banks are needed behind it."""
    needed, count = {offset % kernel.banks for offset in kernel.offsets}, 0
    for level in reversed(range(_bits(kernel.banks // kernel.grain))):
        count += len(needed)
        needed |= {(bank + (kernel.grain << level)) % kernel.banks for bank in needed}
    return count * kernel.word
