"""The adders of a constant matrix-vector product y = W x: what they compute, their ranges and their cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.kernels.constant_matrix.adders import (
    SHORT,
    Operand,
    adder_luts,
    bits,
    chain_bits,
    feed_luts,
    is_short,
    negation_luts,
)


@dataclass(frozen=True)
class Term:
    """``sign * value << shift`` of a source. Sources are the inputs, 0 to ``inputs`` - 1, then the sums of a plan.

    ``shift`` is at least 0; ``sign`` is +1 or -1.
    """

    source: int
    shift: int
    sign: int

    @property
    def scale(self) -> int:
        """The factor of the source."""
        return self.sign << self.shift


@dataclass(frozen=True)
class Sum:
    """An adder: the sum of two or three terms, of which one at least has the sign +1 and one the shift 0.

    ``low`` and ``high`` are its least and its greatest value; inputs attain both.
    """

    terms: tuple[Term, ...]
    low: int
    high: int

    @property
    def added(self) -> tuple[Term, ...]:
        """The terms that reach into the bits of the value. What is shifted beyond them changes none of them: it cancels
        high bits of the others, as of multiples of one input of few values."""
        width = max(1, bits(self.low, self.high))
        return tuple(term for term in self.terms if term.shift < width)


@dataclass(frozen=True)
class Plan:
    """The adders of y = W x for ``inputs`` inputs from ``low`` to ``high``.

    Attributes:
        inputs: number of inputs.
        low: least value of an input.
        high: greatest value of an input.
        sums: the adders; a term's source comes before the sum that reads it.
        outputs: by row of W its value; None where the row is zero. The sign is -1 where the row has no positive weight,
            or is the negative of another value: the hardware negates it, or what reads it takes it into account.
    """

    inputs: int
    low: int
    high: int
    sums: tuple[Sum, ...]
    outputs: tuple[Term | None, ...]

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        """The product, int64 ``(samples, rows)``, for inputs ``x`` of ``(samples, inputs)``."""
        values = list(np.asarray(x, np.int64).T)
        for each in self.sums:
            values.append(np.sum([values[t.source] * t.scale for t in each.terms], axis=0))
        zero = np.zeros(len(x), np.int64)
        rows = [zero if t is None else values[t.source] * t.scale for t in self.outputs]
        return np.stack(rows, axis=1) if rows else np.zeros((len(x), 0), np.int64)

    def only(self, rows: np.ndarray) -> "Plan":
        """The plan of the rows that ``rows``, bool, marks: without the sums that only others need. Those are None."""
        outputs = [term if row else None for term, row in zip(self.outputs, rows, strict=True)]
        read = {term.source for term in outputs if term is not None}
        for source in reversed(range(self.inputs, self.inputs + len(self.sums))):
            if source in read:
                read.update(term.source for term in self.sums[source - self.inputs].terms)
        places = [*range(self.inputs), *(s for s in sorted(read) if s >= self.inputs)]
        now = {source: place for place, source in enumerate(places)}

        def moved(term: Term) -> Term:
            return Term(now[term.source], term.shift, term.sign)

        left = (self.sums[source - self.inputs] for source in places[self.inputs :])
        sums = tuple(Sum(tuple(map(moved, each.terms)), each.low, each.high) for each in left)
        return Plan(self.inputs, self.low, self.high, sums, tuple(t if t is None else moved(t) for t in outputs))

    def range(self, source: int) -> tuple[int, int]:
        """The least and the greatest value of a source."""
        if source < self.inputs:
            return self.low, self.high
        each = self.sums[source - self.inputs]
        return each.low, each.high

    def output_range(self, row: int) -> tuple[int, int]:
        """The least and the greatest value of a row of the product."""
        term = self.outputs[row]
        if term is None:
            return 0, 0
        low, high = sorted(term.scale * v for v in self.range(term.source))
        return low, high

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """By sum the number of adders on the longest path to its value."""
        result: list[int] = []
        for each in self.sums:
            before = (result[t.source - self.inputs] for t in each.terms if t.source >= self.inputs)
            result.append(1 + max(before, default=0))
        return tuple(result)

    @property
    def depth(self) -> int:
        """The number of adders on the longest path to an output."""
        return max(self.levels, default=0)

    def stages(self, adders_per_stage: int) -> int:
        """Number of registers on the way from an input to an output: one behind ``adders_per_stage`` adders, and at
        least one. The last ones are outside of the plan: the outputs enter a buffer."""
        return max(1, -(-self.depth // adders_per_stage))

    def stage(self, source: int, adders_per_stage: int) -> int:
        """The stage that computes a source: inputs and the first ``adders_per_stage`` levels are in stage 0."""
        return 0 if source < self.inputs else (self.levels[source - self.inputs] - 1) // adders_per_stage

    def _operands(self, each: Sum) -> list[Operand]:
        return [Operand(*self.range(t.source), t.shift, t.sign) for t in each.added]

    def luts(self, family: Family, short: int = SHORT) -> int:
        """Lookup tables of all adders, and of the outputs that are negated; for ``short`` see ``adder_luts``."""
        adders = (adder_luts(self._operands(each), (each.low, each.high), family, short) for each in self.sums)
        return sum(adders) + self.negation_luts(family) + (0 if family.chain_inverts else self._inverted_bits(short))

    def chain_luts(self, family: Family, short: int = SHORT) -> int:
        """Of ``luts``, those of adders of two operands that have a carry chain."""
        sums = ((self._operands(each), (each.low, each.high)) for each in self.sums)
        chains = (o for o in sums if len(o[0]) == 2 and not is_short(*o, short))
        return sum(adder_luts(*o, family, short) for o in chains)

    def _inverted_bits(self, short: int) -> int:
        """Bits of the values that carry chains subtract, each once: for families whose chains cannot invert them."""
        chained = (each for each in self.sums if not is_short(self._operands(each), (each.low, each.high), short))
        inverted = {term.source for each in chained for term in each.added if term.sign < 0}
        return sum(bits(*self.range(source)) for source in inverted)

    def negation_luts(self, family: Family) -> int:
        """Lookup tables of the outputs that are negated."""
        return sum(negation_luts(self.range(t.source), family) for t in self._negated)

    @property
    def _negated(self) -> set[Term]:
        return {t for t in self.outputs if t is not None and t.sign < 0}

    def feeds(self, family: Family, short: int = SHORT, negations: bool = True) -> int:
        """Of ``luts``, with ``negations`` or without, those that place and route adds to carry chains: synthesis does
        not count them."""
        negated = self._negated if negations else ()
        chains = [chain_bits(self._operands(each), (each.low, each.high), short) for each in self.sums]
        chains += [bits(*self.range(term.source)) for term in negated]
        return sum(feed_luts(chain, family) for chain in chains)

    def resources(self, family: Family, adders_per_stage: int) -> Resources:
        """The plan itself: lookup tables of its adders, flip-flops behind the stages, except the last, and of values
        that wait."""
        return Resources(self.luts(family), self.register_bits(adders_per_stage))

    def size(self, adders_per_stage: int) -> int:
        """Bits of all adders and registers."""
        return sum(bits(each.low, each.high) for each in self.sums) + self.register_bits(adders_per_stage)

    def register_bits(self, adders_per_stage: int) -> int:
        """Bits of the registers between stages."""
        last = self.stages(adders_per_stage) - 1
        made = [self.stage(s, adders_per_stage) for s in range(self.inputs + len(self.sums))]
        read = list(made)
        for i, each in enumerate(self.sums):
            for t in each.terms:
                read[t.source] = max(read[t.source], made[self.inputs + i])
        for out in self.outputs:
            if out is not None:
                read[out.source] = last
        return sum((read[s] - made[s]) * bits(*self.range(s)) for s in range(len(made)))


def from_tables(
    inputs: int, bounds: tuple[int, int], sums: Sequence[Sequence[Term]], outputs: Sequence[Term | None]
) -> Plan:
    """The plan of the sums ``sums``, whose ranges are computed from their linear forms."""
    low, high = bounds
    forms = list(np.eye(inputs, dtype=np.int64))
    made = []
    for terms in sums:
        form = np.sum([forms[t.source] * t.scale for t in terms], axis=0)
        forms.append(form)
        positive, negative = int(form[form > 0].sum()), int(form[form < 0].sum())
        made.append(Sum(tuple(terms), positive * low + negative * high, positive * high + negative * low))
    return Plan(inputs, low, high, tuple(made), tuple(outputs))
