"""Registers in the adders of a plan: after every few adders in series, and where values skip a stage."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from hw.kernels.constant_matrix.adders import bits
from hw.kernels.constant_matrix.plan import Plan, Term


@dataclass(frozen=True)
class Pipeline:
    """A ``plan`` in stages of at most ``adders_per_stage`` adders in series; its outputs are reduced by ``offsets``.

    A value of stage s is computed in it, from values of the same stage and registers at its beginning. The inputs are
    those of stage 1, which has ``lead`` adders fewer than the others. The outputs are computed in the last stage, and
    have no registers behind it.

    With ``raw`` there are the sums in place of outputs, each once: without shift, sign and offset, and as wide as its
    range. What reads them takes these into account.
    """

    plan: Plan
    offsets: tuple[int, ...]
    adders_per_stage: int
    lead: int = 0
    raw: bool = False

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

    @property
    def raw_bits(self) -> int:
        """Bits of raw outputs, at least 1."""
        return max(1, self._width(self.places))

    def _width(self, sources: Iterable[int]) -> int:
        return sum(max(1, bits(*self.plan.range(source))) for source in sources)

    @cached_property
    def depth(self) -> int:
        """Adders in series."""
        return max((self._level(term) + self.adjusted(row) for row, term in self._outputs()), default=0)

    def _outputs(self) -> Iterator[tuple[int, Term]]:
        return ((row, term) for row, term in enumerate(self.plan.outputs) if term is not None)

    def _level(self, term: Term) -> int:
        return self.plan.levels[term.source - self.plan.inputs] if term.source >= self.plan.inputs else 0

    @property
    def stages(self) -> int:
        return max(1, -(-(self.depth + self.lead) // self.adders_per_stage))

    def stage(self, source: int) -> int:
        """The stage that an input or a sum belongs to, from 1 on."""
        if source < self.plan.inputs:
            return 1
        return -(-(self.plan.levels[source - self.plan.inputs] + self.lead) // self.adders_per_stage)

    @cached_property
    def last(self) -> dict[int, int]:
        """Input or sum -> the last stage that uses it; what nothing uses is left out."""
        found: dict[int, int] = {}
        for number, each in enumerate(self.plan.sums):
            stage = self.stage(self.plan.inputs + number)
            for term in each.terms:
                found[term.source] = max(found.get(term.source, 0), stage)
        for _, term in self._outputs():
            found[term.source] = self.stages
        return found
