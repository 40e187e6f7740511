"""Latency and cost of the modules ``bf_interleaved_accumulator`` and ``bf_reduce_tree``, which compute sums and maxima.

The first reduces values that arrive one after another, the second values that arrive in one beat.
"""

from dataclasses import dataclass

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.kernels.shared import cell_costs

SHIFT = 4
"""Maximum number of interleaved series whose accumulators are in a shift register."""
BLOCK_BITS = 768
"""Accumulators of more than this many bits and at least 64 words are in block RAM."""
ONE_MEMORY = 16
"""Depth in words up to which lookup-table RAM needs no multiplexer at its output."""


@dataclass(frozen=True)
class Reduction:
    """A reduction of interleaved series: word i of the sequence belongs to series i modulo ``depth``.

    Attributes:
        passes: values per series.
        depth: interleaved series.
        lanes: independent reductions side by side in a word.
        bits: width of a lane's result.
        operation: ``sum``, ``sum_carry`` (each value comes with a carry bit), ``max``, ``signed_max`` or ``or``.
    """

    passes: int
    depth: int
    lanes: int
    bits: int
    operation: str

    @property
    def _block(self) -> bool:
        return self.depth >= 64 and self.depth * self.lanes * self.bits > BLOCK_BITS

    def style(self, family: Family) -> str:
        """Storage of the accumulators: ``none``, ``shift``, ``block``, ``distributed`` or ``logic``.

        Block RAM is chosen without regard to the family: it sets the latency, and cycle counts must not depend on the
        family.
        """
        if self.passes == 1:
            return "none"
        if self.depth <= SHIFT:
            return "shift"
        return "block" if self._block else "distributed" if family.lut_ram else "logic"

    @property
    def latency(self) -> int:
        """Cycles from the last value of a series to its result."""
        return 1 if self.passes == 1 or not self._block else 3

    def resources(self, family: Family) -> Resources:
        """Cost of ``bf_interleaved_accumulator``, including the output register."""
        width, six, style = self.lanes * self.bits, family.lut_inputs >= 6, self.style(family)
        carry = self.operation == "sum_carry"
        lut = _operator(self.bits, self.operation, family)
        if self.operation.startswith("sum") and not six and style != "block" and not self._joined(style):
            lut += self.bits  # the gate that clears the adder's other operand; no register before the adder does that
        if self.operation.endswith("max") and style == "shift" and self.depth == 1:
            lut -= self.bits  # the register's enable replaces the multiplexer
        lut *= self.lanes
        if style == "none":
            return Resources(lut // 2 if carry else 0, width)
        if style == "shift":
            # On xc7, three or more stages become shift registers in lookup tables.
            return Resources(lut + width, 2 * width) if six and self.depth > 2 else Resources(lut, self.depth * width)
        count = cell_costs.counter(self.depth, family)
        if style == "block":
            waiting = self.lanes * (self.bits + carry) + (self.depth - 1).bit_length()
            rows = cell_costs.block_rows(self.depth, width, family)
            return count + Resources(lut + rows, 2 * width + 2 * waiting, family.blocks(self.depth, width))
        lut += cell_costs.ram(self.depth, width, family)
        return count + Resources(lut, width + cell_costs.ram_ff(self.depth, width, family))

    def _joined(self, style: str) -> bool:
        """Whether a multiplexer selects among several memories; it can also clear its output."""
        return style == "logic" or (style == "distributed" and self.depth > ONE_MEMORY)


def reduce_tree(count: int, lanes: int, in_bits: int, bits: int, operation: str, family: Family) -> Resources:
    """Cost of ``bf_reduce_tree``, a tree of two-input operators with a register after each level.

    In each of ``lanes`` lanes it reduces ``count`` values of ``in_bits`` bits to one value of ``bits`` bits.
    """
    lut = ff = 0
    while count > 1:
        in_bits = min(bits, in_bits + (operation == "sum"))
        lut += count // 2 * _operator(in_bits, operation, family)
        count = -(-count // 2)
        ff += count * in_bits
    return Resources(lanes * lut, lanes * ff)


def _operator(bits: int, operation: str, family: Family) -> int:
    """Lookup tables of one operation on two values."""
    if operation.startswith("sum"):
        return cell_costs.add(bits, family, operation == "sum_carry")
    if operation == "or":
        return bits
    return bits + cell_costs.compare(bits, family)
