"""Resource model of ``sliding_window``, fitted to Yosys: lookup tables mostly within 15 %, memories exact."""

from math import ceil
from typing import TYPE_CHECKING

from hw.kernels import cost
from hw.kernels.kernel import Resources
from hw.synth.family import Family

if TYPE_CHECKING:
    from hw.kernels.sliding_window import SlidingWindow


def estimate(kernel: "SlidingWindow", family: Family) -> Resources:
    """Cost of a kernel before synthesis."""
    schedule, stream = kernel.schedule(), kernel.outputs()[0]
    out = cost.stream_out(stream.width, schedule.credits, family)
    control = _control(kernel)
    six = family.lut_inputs >= 6
    # Nearly all of the control counts: an adder, and what it adds.
    lut = round((1.45 if six else 2.0) * control)
    if kernel.padded:
        lut += stream.lanes * kernel.dtype.bitwidth()  # the mask
    return out + Resources(lut, control) + _memory(kernel, family)


def _bits(values: int) -> int:
    return max(0, values - 1).bit_length()


def _control(kernel: "SlidingWindow") -> int:
    """Flip-flops of everything but the data."""
    buffer, rows, columns = kernel.buffer, kernel.part[0], len(kernel.columns)
    banks, phases = kernel.banks, kernel.banks // kernel.grain
    word, bank, fetch = _bits(buffer.places // banks), _bits(phases), kernel.fetch
    beyond = max(0, buffer.start + buffer.reach - int(buffer.nest[0, 1]))
    point = _bits(buffer.places - buffer.start + int(buffer.nest[:, 1].max()) + beyond + 2) + 1
    ff = sum(_bits(loop.turns) + (loop.turns > 1) for loop in buffer.loops) + 2 * point + 2 * word + fetch
    if banks > 1:
        further = _bits(kernel.buffer.reach // banks + 2)
        ff += 2 * bank + (fetch - 1) * bank + word + banks * (word + further) + 6
    if kernel.padded:
        ff += _bits(buffer.beats) + 1 + _bits(buffer.places // buffer.frame + 3) + 2
        ff += sum(_bits(size + sum(pads) + 1) for size, pads in zip(kernel.shape, kernel.pads, strict=False))
        ff += rows + columns + (fetch - 1) * rows * columns
    return ff


def _memory(kernel: "SlidingWindow", family: Family) -> Resources:
    """The memories, and what chooses between them."""
    width, depth, banks = kernel.word, kernel.buffer.places // kernel.banks, kernel.banks
    result = Resources(ff=banks * width)
    if kernel.block:
        result += Resources(lut=banks * cost.block_rows(depth, width, family), bram=banks * family.blocks(depth, width))
    else:
        result += Resources(banks * cost.ram(depth, width, family), banks * cost.ram_ff(depth, width, family))
    if banks > 1:
        found = kernel.part[0] * len(kernel.columns) * width
        phases = banks // kernel.grain
        # Of what is left of a multiplexer, four inputs choose one of two, six one of four.
        choice = ceil(phases / 4) if family.lut_inputs >= 6 else max(2, ceil(phases / 2))
        result += Resources(choice * found, found)
    return result
