"""Registers in the adders of a plan: after every few adders in series, and where values skip a stage."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from hw.kernels.constant_matrix.adders import bits
from hw.kernels.constant_matrix.plan import Plan, Term

FAR = 5
"""Sums that read a value from which on its wires are long: their ends are all over the layer."""
LARGE = 256
"""Sums of a layer from which on that is far."""


@dataclass(frozen=True)
class Pipeline:
    """A ``plan`` in stages of at most ``adders_per_stage`` adders in series; its outputs are reduced by ``offsets``.

    A value of stage s is computed in it, from values of the same stage and registers at its beginning. The inputs are
    those of stage 1, which has ``lead`` adders fewer than the others. The outputs are computed in the last stage, and
    have no registers behind it.

    With one adder between registers, long wires set the clock of a large layer (``LARGE``). So there a sum of a value
    that many read (``FAR``) waits a stage for it, a register more on the way, where no output becomes later by that.
    Values that wait have mostly fewer bits than the sums that would wait in their place.

    ``slack`` is stages that such a layer has beyond those that it needs, so that more sums can wait.

    With ``raw`` there are the sums in place of outputs, each once: without shift, sign and offset, and as wide as its
    range. What reads them takes these into account.

    ``least`` is the number of stages that it has at least.
    """

    plan: Plan
    offsets: tuple[int, ...]
    adders_per_stage: int
    lead: int = 0
    raw: bool = False
    slack: int = 0
    least: int = 1

    @property
    def far(self) -> bool:
        """Whether wires set the clock of the layer, so that sums wait."""
        return self.adders_per_stage == 1 and len(self.plan.sums) >= LARGE

    def adjusted(self, row: int) -> bool:
        """Whether an output needs an adder of its own: to negate a sum, or for its offset."""
        term = self.plan.outputs[row]
        return term is not None and not self.raw and (term.sign < 0 or self.offsets[row] != 0)

    @cached_property
    def places(self) -> dict[int, int]:
        """Of raw outputs: source -> its lowest bit in the result."""
        found: dict[int, int] = {}
        for _, term in self._outputs():
            if term.source not in found:
                found[term.source] = self._width(found)
        return found

    def only(self, rows: np.ndarray) -> "Pipeline":
        """The pipeline of the rows that ``rows``, bool, marks, with as many stages."""
        return replace(self, plan=self.plan.only(rows), least=self.stages)

    @property
    def raw_bits(self) -> int:
        """Bits of raw outputs, at least 1."""
        return max(1, self._width(self.places))

    def _width(self, sources: Iterable[int]) -> int:
        return sum(max(1, bits(*self.plan.range(source))) for source in sources)

    @cached_property
    def depth(self) -> int:
        """Adders in series, and the ``slack`` of a layer in which sums wait."""
        adders = max((self._level(term) + self.adjusted(row) for row, term in self._outputs()), default=0)
        return adders + self.slack * self.far

    def _outputs(self) -> Iterator[tuple[int, Term]]:
        return ((row, term) for row, term in enumerate(self.plan.outputs) if term is not None)

    def _level(self, term: Term) -> int:
        return self._levels[term.source]

    @cached_property
    def _levels(self) -> tuple[int, ...]:
        """By input and sum the adders in series up to its value."""
        return (0,) * self.plan.inputs + self.plan.levels

    @cached_property
    def _slots(self) -> tuple[int, ...]:
        """By input and sum the adders in series up to its value, and those that pass while it waits for long wires."""
        inputs, sums = self.plan.inputs, self.plan.sums
        if not self.far:
            return self._levels
        latest = [self.depth] * (inputs + len(sums))
        for row, term in self._outputs():
            latest[term.source] = min(latest[term.source], self.depth - self.adjusted(row))
        for source in reversed(range(inputs, len(latest))):
            for term in sums[source - inputs].terms:
                latest[term.source] = min(latest[term.source], latest[source] - 1)
        readers = Counter(source for each in sums for source in {term.source for term in each.terms})
        slots = [0] * inputs
        for source, each in enumerate(sums, inputs):
            wanted = max(slots[term.source] + 1 + (readers[term.source] >= FAR) for term in each.terms)
            slots.append(min(wanted, latest[source]))
        return tuple(slots)

    @property
    def stages(self) -> int:
        return max(self.least, -(-(self.depth + self.lead) // self.adders_per_stage))

    def stage(self, source: int) -> int:
        """The stage that an input or a sum belongs to, from 1 on."""
        return max(1, -(-(self._slots[source] + self.lead * (source >= self.plan.inputs)) // self.adders_per_stage))

    @cached_property
    def last(self) -> dict[int, int]:
        """Input or sum -> the last stage that uses it; what nothing uses is left out."""
        found = {term.source: self.stages for _, term in self._outputs()}
        for source, each in reversed([*enumerate(self.plan.sums, self.plan.inputs)]):
            for term in each.added if source in found else ():
                found[term.source] = max(found.get(term.source, 0), self.stage(source))
        return found

    @property
    def register_bits(self) -> int:
        """Bits of the registers between stages."""
        return sum((last - self.stage(source)) * bits(*self.plan.range(source)) for source, last in self.last.items())
