"""Resource model of ``folded_lookup_network``, fitted to Yosys."""

from dataclasses import replace
from typing import Protocol

import numpy as np

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.ir.kernel import Kernel
from hw.ir.stream import Stream
from hw.kernels.arg_max.kernel import ArgMax
from hw.kernels.folded_lookup_network.program import Program
from hw.kernels.popcount_class.kernel import PopcountClass
from hw.kernels.shared import cell_costs
from hw.kernels.shared.weight_memory import LUTS_PER_BLOCK, WeightMemory

CHOSEN = 2
"""Lookup tables that synthesis takes more for each word of several bits from lookup-table RAM."""
RANDOM = 1.25
"""Factor of the lookup tables of six inputs for contents without any regularity."""


class Shape(Protocol):
    """The parameters of a kernel that determine its cost; see the kernel's documentation."""

    @property
    def pe(self) -> int: ...
    @property
    def simd(self) -> int: ...
    @property
    def kernels(self) -> tuple[Kernel, ...]: ...
    @property
    def program(self) -> Program: ...
    @property
    def inputs_of_tables(self) -> int: ...
    @property
    def word_bits(self) -> int: ...
    @property
    def feature_bits(self) -> int: ...
    @property
    def code_bits(self) -> int: ...
    @property
    def latency(self) -> int: ...
    @property
    def credits(self) -> int: ...
    def fields(self) -> dict[str, np.ndarray]: ...
    def memories(self, family: Family | None = None) -> dict[str, WeightMemory]: ...
    def inputs(self) -> tuple[Stream, ...]: ...
    def outputs(self) -> tuple[Stream, ...]: ...


def style(words: int, width: int, family: Family) -> str:
    """Where a memory of ``words`` words of ``width`` bits is that a program writes: block RAM where each block saves
    enough lookup tables and flip-flops, otherwise lookup-table RAM, or registers in a family without it."""
    cost = cell_costs.ram(words, width, family) + cell_costs.ram_ff(words, width, family)
    if cost > LUTS_PER_BLOCK * family.blocks(words, width):
        return "block"
    return "distributed" if family.lut_ram else "logic"


def resources(kernel: Shape, family: Family) -> Resources:
    """Cost of a kernel before synthesis."""
    out = cell_costs.stream_out(kernel.outputs()[0].width, kernel.credits, family)
    return out + _control(kernel, family) + _bits(kernel, family) + _stored(kernel, family) + _counted(kernel, family)


def _control(kernel: Shape, family: Family) -> Resources:
    """Cost of the counters of steps and of written words, and of the registers that say what is where."""
    made, pe = kernel.program, kernel.pe
    step = (max(len(made.features), len(made.wires), kernel.inputs()[0].shape[-1] // kernel.simd) - 1).bit_length()
    ff = 3 * step + kernel.word_bits + 14 + 2 * (kernel.latency + 1) + pe
    ends = 0 if family.lut_inputs >= 6 else 16  # comparisons with the ends of the phases
    return Resources(cell_costs.control(2 * step + kernel.word_bits, family) + ends, ff)


def _bits(kernel: Shape, family: Family) -> Resources:
    """Cost of the memories that are written, with the multiplexers behind them and the encoder's comparators."""
    made, pe, ports = kernel.program, kernel.pe, kernel.pe * kernel.inputs_of_tables
    total = _copies(1 << kernel.word_bits, pe, ports, family)
    lane = (pe - 1).bit_length()
    joined = CHOSEN if pe > 1 and family.lut_ram else 0
    total += Resources(ports * (_multiplexer(pe, family) + joined), ports * (2 * lane + (pe > 1)))
    total += Resources(pe * _multiplexer(1 << kernel.inputs_of_tables, family), pe)
    if len(made.features):
        width = kernel.inputs()[0].dtype.bitwidth()
        total += _copies(1 << kernel.feature_bits, width, pe, family)
        total += Resources(pe * cell_costs.compare(kernel.code_bits, family), pe * (2 * kernel.code_bits + 2))
    return total


def _copies(words: int, width: int, count: int, family: Family) -> Resources:
    """Cost of ``count`` memories that are written at one address and read at their own."""
    if style(words, width, family) == "block":
        return Resources(bram=count * family.blocks(words, width))
    lut, ff = cell_costs.ram(words, width, family), cell_costs.ram_ff(words, width, family) + 2 * width
    return Resources(count * lut, count * ff)


def _multiplexer(inputs: int, family: Family) -> int:
    """Lookup tables of a multiplexer of ``inputs`` to 1."""
    if inputs == 1:
        return 0
    if family.lut_inputs >= 6:
        return -(-inputs // 4)
    return inputs - 1 if inputs <= 4 else round(2 * (inputs - 1) / 3)


def _stored(kernel: Shape, family: Family) -> Resources:
    """Cost of the program's memories."""
    total, fields = Resources(), kernel.fields()
    for name, each in kernel.memories(family).items():
        few = cell_costs.columns(fields[name], 1) if 1 < each.depth <= cell_costs.COLUMNS else None
        used = each.resources(family, few)
        random = RANDOM if family.lut_inputs >= 6 and each.style(family) == "logic" else 1.0
        total += replace(used, lut=round(random * used.lut))
    return total


def _counted(kernel: Shape, family: Family) -> Resources:
    """Cost of the popcount and the arg-max."""
    count = next((each for each in kernel.kernels if isinstance(each, PopcountClass)), None)
    if count is None:
        return Resources()
    bits, classes, pe = count.output_dtype.bitwidth(), len(count.offsets), kernel.pe
    ones = pe.bit_length()
    total = cell_costs.counter(kernel.program.turns, family) + cell_costs.counter(classes, family)
    total += Resources(cell_costs.add(bits, family) + bits, bits + 2)
    if pe > 1:
        total += Resources(pe + ones, ones + 2)
    if isinstance(kernel.kernels[-1], ArgMax):
        index = (classes - 1).bit_length()
        total += Resources(cell_costs.compare(bits, family) + 2, bits + 2 * index + 2)
    return total
