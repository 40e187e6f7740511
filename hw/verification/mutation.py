"""The mutation score: how many of a graph's mutants the checks of a build find."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from hw.faults.mutants import Mutant, mutants
from hw.ir.graph import Graph
from hw.lowering.lower import Source, lower_model
from hw.verification.equivalence import Equivalence
from hw.verification.layers import LayerDriver
from hw.verification.reference import Reference, compare_with, random_frames
from hw.verification.segments import Segment
from hw.verification.stimuli import stimuli

FRAMES = 256
"""Random frames of a build."""

Check = Callable[[Graph], bool]
"""Whether the comparison of whole frames finds an error in a graph."""


@dataclass
class Score:
    """The mutants of one kind: how many there are, how many of them compute the same as the graph, how many the checks
    find, and those that they do not."""

    mutants: int = 0
    equivalent: int = 0
    killed: int = 0
    survivors: list[str] = field(default_factory=list)

    @property
    def score(self) -> float:
        """The part of the mutants that are not equivalent that the checks find; 1 where there are none."""
        different = self.mutants - self.equivalent
        return self.killed / different if different else 1.0

    def __add__(self, other: "Score") -> "Score":
        return Score(
            self.mutants + other.mutants,
            self.equivalent + other.equivalent,
            self.killed + other.killed,
            [*self.survivors, *other.survivors],
        )


def model_scores(model: Source, count: int = 500, seed: int = 0) -> dict[str, Score]:
    """The scores by kind of ``count`` mutants of a model's graph, as a build checks it without frames of the user.

    Raises BitfabricError for a model that cannot be lowered.
    """
    reference = Reference(model)
    lowering = lower_model(reference.model)
    frames = random_frames(lowering.graph, FRAMES, seed)

    def whole(graph: Graph) -> bool:
        compared = compare_with(graph, lowering, reference, frames)
        return compared.mismatches > compared.explained

    return mutation_scores(lowering.graph, LayerDriver(lowering, reference), whole, count, seed)


def mutation_scores(
    graph: Graph, driver: LayerDriver, whole: Check, count: int = 500, seed: int = 0
) -> dict[str, Score]:
    """The scores by kind of ``count`` mutants of a graph, of every layer with constants.

    ``driver`` drives the layers of the same model. ``whole`` compares whole frames; it is asked about the mutants that
    no layer's own inputs show.
    """
    found, _ = driver.segments(graph)
    equivalence = Equivalence(graph, driver.lowering)
    scores: dict[str, Score] = {}
    for mutant in mutants(graph, count, seed):
        score = scores.setdefault(mutant.kind, Score())
        score.mutants += 1
        if equivalence.equivalent(mutant):
            score.equivalent += 1
        elif _found(graph, mutant, found, driver) or whole(graph.with_kernels({mutant.layer: mutant.kernel})):
            score.killed += 1
        else:
            score.survivors.append(str(mutant))
    return scores


def _found(graph: Graph, mutant: Mutant, found: list[Segment], driver: LayerDriver) -> bool:
    """Whether driving the segments with the mutant's layer shows a difference that rounding does not explain."""
    for segment in found:
        if not any(node.name == mutant.layer for node in segment.nodes):
            continue
        nodes = (replace(n, kernel=mutant.kernel) if n.name == mutant.layer else n for n in segment.nodes)
        changed = replace(segment, nodes=tuple(nodes))
        _, difference = driver.compare(graph, changed, stimuli(changed).integers)
        if difference is not None:
            return True
    return False
