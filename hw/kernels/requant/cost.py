"""Resource model of ``requant``: the parameter memory, and per lane the products, sum, rounding and saturation."""

from typing import Protocol

import numpy as np
from qonnx.core.datatype import BaseDataType

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.ir.kernel import Memory, Schedule
from hw.kernels.requant.requant_arithmetic import Arithmetic, Product
from hw.kernels.shared import cell_costs


class Shape(Protocol):
    """The parameters of a kernel that determine its cost; see the kernel's documentation."""

    @property
    def pe(self) -> int: ...
    @property
    def lanes(self) -> int: ...
    @property
    def parity(self) -> bool: ...
    @property
    def low(self) -> int: ...
    @property
    def high(self) -> int: ...
    @property
    def input_dtype(self) -> BaseDataType: ...
    @property
    def output_dtype(self) -> BaseDataType: ...
    @property
    def arithmetic(self) -> Arithmetic: ...
    @property
    def product(self) -> Product: ...
    @property
    def groups(self) -> int: ...
    @property
    def fetch(self) -> int: ...
    @property
    def levels(self) -> int: ...
    def limbs(self, family: Family) -> list[tuple[int, int, int]]: ...
    def in_blocks(self, family: Family) -> bool: ...
    def stored(self, family: Family) -> Memory: ...
    def schedule(self) -> Schedule: ...


def resources(kernel: Shape, family: Family) -> Resources:
    """Cost of a kernel before synthesis."""
    product, groups, latency = kernel.product, kernel.groups, kernel.schedule().latency
    m_bits, a_bits = product.bits, product.addend_bits
    total = cell_costs.stream_out(kernel.pe * kernel.output_dtype.bitwidth(), latency + 1, family)
    total += Resources(ff=latency - 1 + kernel.lanes * kernel.fetch * kernel.input_dtype.bitwidth())
    if groups > 1:
        total += cell_costs.counter(groups, family)
        width = kernel.pe * (m_bits + a_bits)
        if kernel.in_blocks(family):
            stored = kernel.stored(family)
            width = cell_costs.varying(stored.words)
            total += Resources(cell_costs.block_rows(groups, width, family), width, family.blocks(groups, width))
            total += cell_costs.parity(stored.width, family) if kernel.parity else Resources()
        else:
            if groups <= cell_costs.COLUMNS and max(m_bits, a_bits) < 63:
                sides = ((product.codes, m_bits), (product.addends, a_bits))
                width = sum(cell_costs.columns(np.reshape(values, (groups, kernel.pe)), bits) for values, bits in sides)
            total += Resources(cell_costs.rom(groups, width, family), width)
    lane = _lane(kernel, family)
    return total + Resources(kernel.lanes * lane.lut, kernel.lanes * lane.ff, 0, kernel.lanes * lane.dsp)


def _lane(kernel: Shape, family: Family) -> Resources:
    """Cost of one lane: products, sum, rounding and saturation."""
    plan, product, out = kernel.arithmetic, kernel.product, kernel.output_dtype.bitwidth()
    six = family.lut_inputs >= 6
    lut, ff, dsp = 0.0, 0, 0
    limbs = kernel.limbs(family)
    lowest = [at for _, _, at in limbs] or [product.scale]  # of each term of the sum, the lowest bit that may be set
    for x, m, at in limbs:
        taken = family.multipliers(x, m)
        if len(limbs) == 4 and at == 0 and family.dsp_bits:
            # The low parts have no sign: each exceeds the DSP by one bit, which is logic.
            taken = family.multipliers(min(x, family.dsp_bits[0]), min(m, family.dsp_bits[1]))
        dsp += taken
        lut += 0 if taken else x * m if min(x, m) == 1 else 3 * min(x, m) * (x + m)
        ff += 0 if six and taken else x + m  # a DSP48 contains the operand registers
    if product.power:
        moved = _moved(kernel, family)
        lut, ff = lut + moved.lut, ff + moved.ff
    if product.addend_bits:
        lowest.append(0)
        ff += product.addend_bits if product.bits and kernel.groups > 1 else 0
    in_dsp = six and len(limbs) == 1  # a DSP48 also adds the addend
    for _ in range(0 if in_dsp else kernel.levels):
        pairs = [lowest[i : i + 2] for i in range(0, len(lowest), 2)]
        lut += sum(cell_costs.add(plan.sum_bits - max(pair), family) for pair in pairs if len(pair) == 2)
        lowest = [min(pair) for pair in pairs]
        ff += sum(plan.sum_bits - low for low in lowest)
    narrow, whole = out + (kernel.low >= 0), plan.sum_bits - plan.shift
    tested = max(0, whole - narrow)
    if plan.rounding != "FLOOR":
        tested += plan.shift + min(narrow, whole)
        lut += 0 if six else cell_costs.add(min(out, whole), family)  # to count up, CARRY4 needs no lookup tables
    for bound, full in ((kernel.low, -(1 << (narrow - 1))), (kernel.high, (1 << (narrow - 1)) - 1)):
        lut += 0 if bound == full else cell_costs.compare(narrow, family)
    lut += tested / (5 if six else 3) + (out if whole > narrow or kernel.low >= 0 else 0)
    if six and len(limbs) > 1:
        ff //= 2  # as measured: DSP48s absorb about half of the registers
    return Resources(round(lut), ff + out + 3, 0, dsp)


def _moved(kernel: Shape, family: Family) -> Resources:
    """Cost of one lane's input, optionally complemented and shifted, with its register; only the register where the
    parameters are constants."""
    plan, product = kernel.arithmetic, kernel.product
    if kernel.groups == 1:
        return Resources(ff=plan.x_bits)
    places = product.bits - 1
    signs = len({code >> places for code in product.codes}) > 1
    width = plan.x_bits + max(code & (1 << places) - 1 for code in product.codes)
    # As measured, about one lookup table per bit; with six inputs a 4:1 choice leaves no input for the sign.
    both = family.lut_inputs >= 6 and places > 1 and signs
    return Resources(width * (places > 0 or signs) + plan.x_bits // 2 * both, width)
