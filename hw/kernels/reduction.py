"""The part ``reduce``: sums or maxima of several interleaved series."""

from dataclasses import dataclass

from hw.kernels import cost
from hw.kernels.kernel import Resources
from hw.synth.family import Family

SHIFT = 4
"""Series whose accumulators are a shift register."""
BLOCK_BITS = 768
"""Accumulators of more bits, and at least 64 words, go to block RAM."""


@dataclass(frozen=True)
class Reduction:
    """``passes`` values of each of ``depth`` series, one of each in turn; ``lanes`` results of ``bits`` bits a word.

    ``operation``: ``sum``, ``sum_carry`` (a carry bit comes with each value), ``max``, ``signed_max`` or ``or``.
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
        """Where the accumulators are. Block RAM or not does not hang on the family, for the latency does."""
        if self.passes == 1:
            return "none"
        if self.depth <= SHIFT:
            return "shift"
        return "block" if self._block else "distributed" if family.lut_ram else "logic"

    @property
    def latency(self) -> int:
        """Cycles from a value to the result with it."""
        return 1 if self.passes == 1 or not self._block else 3

    def resources(self, family: Family) -> Resources:
        width, word = self.lanes * self.bits, self.lanes * (self.bits + (self.operation == "sum_carry"))
        if self.operation.startswith("sum"):
            each = cost.add(self.bits + (self.operation == "sum_carry"), family)
        else:
            each = 0 if self.operation == "or" else cost.compare(self.bits, family) + self.bits
        lut = self.lanes * each
        if self.passes == 1:
            return Resources(0 if self.operation != "sum_carry" else lut, width)
        style, count = self.style(family), cost.counter(self.depth, family)
        if style == "shift":
            return Resources(lut, self.depth * width)
        if style == "block":
            address = (self.depth - 1).bit_length()
            blocks = family.blocks(self.depth, width)
            rows = cost.block_rows(self.depth, width, family)
            return count + Resources(lut + rows, 2 * (word + width) + width + 2 * address, blocks)
        return count + Resources(lut + cost.ram(self.depth, width, family), width)
