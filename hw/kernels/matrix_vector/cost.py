"""Resource model of ``matrix_vector``, fitted to Yosys: lookup tables mostly within 15 %, memories and DSPs exact."""

from typing import Protocol

import numpy as np
from qonnx.core.datatype import BaseDataType

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.ir.stream import Stream
from hw.kernels.shared import cell_costs
from hw.kernels.shared.weight_memory import StoredWords


class Shape(Protocol):
    """The parameters of a kernel that determine its cost; see the kernel's documentation."""

    @property
    def pe(self) -> int: ...
    @property
    def simd(self) -> int: ...
    @property
    def pixels(self) -> int: ...
    @property
    def nf(self) -> int: ...
    @property
    def sf(self) -> int: ...
    @property
    def input_dtype(self) -> BaseDataType: ...
    @property
    def weight_dtype(self) -> BaseDataType: ...
    @property
    def accumulator_dtype(self) -> BaseDataType: ...
    @property
    def datapath(self) -> str: ...
    @property
    def planes(self) -> tuple[int, int, int]: ...
    @property
    def pairs(self) -> int: ...
    @property
    def adders_per_stage(self) -> int: ...
    @property
    def stages(self) -> tuple[int, int]: ...
    @property
    def latency(self) -> int: ...
    @property
    def credits(self) -> int: ...
    def inputs(self) -> tuple[Stream, ...]: ...
    def outputs(self) -> tuple[Stream, ...]: ...
    def rows(self) -> np.ndarray: ...
    def stored(self, family: Family) -> StoredWords: ...
    def buffer(self, family: Family) -> str: ...


FEW_WORDS = 8
"""Maximum depth of a memory for which equal bit columns are taken into account."""

SHORT_CHAIN = 4
"""Sign planes whose waiting times are too short to cost lookup tables on xc7, as measured: other terms hold them."""


def levels(count: int) -> int:
    """Levels of a binary tree over ``count`` leaves."""
    return (count - 1).bit_length()


def resources(kernel: Shape, family: Family, contents: bool = True) -> Resources:
    """Cost of a kernel before synthesis. Without ``contents`` the weights of small memories cost nothing."""
    out = cell_costs.stream_out(kernel.outputs()[0].width, kernel.credits, family)
    return out + _control(kernel, family) + _operands(kernel, family, contents) + sums(kernel, family)


def _control(kernel: Shape, family: Family) -> Resources:
    counters = [kernel.nf * kernel.sf, kernel.sf if kernel.nf > 1 else 1]
    bits = sum((values - 1).bit_length() for values in counters)
    six = family.lut_inputs >= 6
    return Resources(lut=bits + 5 if six else 2 * bits + 6, ff=bits + 2 * kernel.latency - 1)


def _operands(kernel: Shape, family: Family, contents: bool) -> Resources:
    """Cost of the input buffer, the weight memory, and the registers that delay the earlier of the two."""
    memory, width = kernel.stored(family), kernel.inputs()[0].width
    style, bram = kernel.buffer(family), 0
    fetch, ready = kernel.stages
    address = (memory.depth - 1).bit_length()
    lut, ff = 0, width * (1 + ready - fetch - (kernel.datapath == "weight_planes")) + address * (ready - memory.latency)
    if style == "block":
        bram += family.blocks(kernel.sf, width)
    elif style != "hold":
        lut += cell_costs.ram(kernel.sf, width, family)
        ff += cell_costs.ram_ff(kernel.sf, width, family)
    if style != "hold":
        ff += (kernel.sf - 1).bit_length()
    inside = family.lut_inputs >= 6 and family.dsp_bits is not None
    if memory.style(family) == "block" and kernel.datapath == "multiply" and inside:
        # The operand registers are inside the DSPs, except those of weights whose parity is checked.
        ff -= width + (0 if memory.parity else memory.width)
    few = None
    if 1 < memory.depth <= FEW_WORDS:
        few = cell_costs.columns(kernel.rows().reshape(memory.depth, -1), 1) if contents else 0
    return Resources(lut, ff, bram) + memory.resources(family, few)


def _tree(count: int, width: int, carry: bool, adders_per_stage: int, family: Family) -> Resources:
    """Cost of an adder tree."""
    lut = ff = 0
    for level in range(levels(count) + 1):
        if level:
            lut += count // 2 * cell_costs.add(width, family, carry)
            count = -(-count // 2)
        if count == 1 or (level and level % adders_per_stage == 0):
            ff += count * (width + carry)
        width += 1
    return Resources(lut, ff)


def sums(kernel: Shape, family: Family) -> Resources:
    """Cost of the dot products and their accumulators."""
    parts = {"xnor": _counting, "ternary": _counting, "multiply": _multiplying}
    shared, each = parts.get(kernel.datapath, _signing)(kernel, family)
    carry = kernel.datapath != "multiply" and not kernel.planes[2]
    out = kernel.accumulator_dtype.bitwidth() - (kernel.datapath in ("xnor", "ternary"))
    lut = cell_costs.add(out, family, carry)
    if kernel.datapath == "xnor" and family.lut_inputs >= 6:
        lut = min(lut, 2 + levels(-(-kernel.simd // 4)))  # where nothing is added, the carry passes by
    each += Resources(lut, out if kernel.sf > 1 else 0)
    if kernel.datapath == "ternary":  # the sum of what is not zero, and its difference from each output
        shared += Resources(cell_costs.add(out + 1, family, True), out + 1 if kernel.sf > 1 else 0)
        each += Resources(cell_costs.add(out + 1, family))
    lut, ff = shared.lut + kernel.pe * each.lut, shared.ff + kernel.pe * each.ff
    return Resources(kernel.pixels * lut, kernel.pixels * ff, 0, kernel.pixels * kernel.pe * each.dsp)


def _counting(kernel: Shape, family: Family) -> tuple[Resources, Resources]:
    """Cost of popcounts: the part shared by all outputs, and the part of each output."""
    quads, rest = divmod(kernel.simd, 4)
    six, ternary = family.lut_inputs >= 6, kernel.datapath == "ternary"
    tree = _tree(-(-kernel.simd // 4), 2, True, kernel.adders_per_stage, family)
    ff = 3 * quads + (0, 1, 2, 2)[rest]
    shared = tree + Resources(2 * quads, ff) if ternary else Resources()
    if kernel.nf * kernel.sf == 1:
        # Each of 2 sums (ternary: 8), 8 carries and 2 inputs, for three inputs and a fourth, is made once.
        made = 8 * (1 - (7 / 8) ** kernel.pe)
        luts, ffs = (2 + (2 if six else 4) * made, 2 + 2 * made) if ternary else (3 + made, 4 + made)
        return shared + Resources(round(quads * luts), round(quads * ffs)), tree
    full = (4 if six else 8) if ternary else (3 if six else 5)
    lut = quads * full + (0, 1, 2, full - 1)[rest]
    return shared, tree + Resources(lut, ff)


def _multiplying(kernel: Shape, family: Family) -> tuple[Resources, Resources]:
    """Cost of multipliers: the part shared by all outputs, and the part of each output."""
    a, b = (t.bitwidth() + (not t.signed()) for t in (kernel.input_dtype, kernel.weight_dtype))
    tree = _tree(kernel.simd, a + b, False, kernel.adders_per_stage, family)
    if family.dsp_bits is None:
        return Resources(), tree + Resources(kernel.simd * cell_costs.soft_product(a, b), kernel.simd * (a + b))
    dsp = kernel.simd * family.multipliers(a, b)
    if family.lut_inputs < 6:
        return Resources(), tree + Resources(ff=kernel.simd * (a + b), dsp=dsp)
    # A DSP of xc7 registers its product and adds the product of the neighbouring DSP.
    inside = kernel.simd // 2 * (a + b + 1)
    return Resources(), Resources(tree.lut - inside, max(0, tree.ff - inside), dsp=dsp)


def _signing(kernel: Shape, family: Family) -> tuple[Resources, Resources]:
    """Cost of sign planes: the part shared by all outputs, and the part of each output."""
    planes, bits, extra = kernel.planes
    pairs, six = kernel.pairs, family.lut_inputs >= 6
    tree = _tree(pairs, bits, True, kernel.adders_per_stage, family)
    # Six inputs hold a pair's function and one bit of the adder behind it.
    leaves = (pairs - pairs // 2 if six else pairs) * bits
    if kernel.nf * kernel.sf == 1:
        # Constant signs choose nothing, and rows of four with equal signs, of 16, have one adder for all.
        rows = planes * kernel.pe
        once = 1 - 16 * (1 - (15 / 16) ** rows) / rows
        leaves = -round(pairs // 2 * cell_costs.add(bits + 1, family, True) * once)
    lut, ff = planes * (tree.lut + leaves), planes * tree.ff
    high = max(bits + levels(pairs), extra) + 1
    if extra:
        lut += planes * cell_costs.add(high, family, True)
        ff += planes * high
        if six and planes > SHORT_CHAIN:  # a plane and the bits below it wait in shift registers, but for one cycle
            lut += (planes - 2) * (high + 1)
            ff += high
        else:
            ff += sum(range(planes)) * high
    shared = Resources()
    if kernel.datapath == "weight_planes":
        full = kernel.simd // 2
        both = cell_costs.add(bits, family) + cell_costs.subtract(bits, family)
        shared = Resources(full * both, (2 * full + kernel.simd % 2) * bits)
        if extra:
            shared += _tree(pairs, bits, False, kernel.adders_per_stage, family)
    return shared, Resources(lut, ff)
