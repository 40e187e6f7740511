"""Mutated accelerators: one wrong threshold, weight, constant or permutation, which the checks of a build must find.

The networks are the reference networks with random weights. A mutant is equivalent where no input of the layer changes
its output, which is decided from the reachable sums. The score is the share of the others that are found.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.faults.campaign import Part
from hw.ir.graph import Graph
from hw.lowering.lower import lower_model
from hw.verification.layers import LayerDriver
from hw.verification.mutation import Score, mutation_scores
from hw.verification.reference import Reference, compare_with, random_frames
from tests.golden.product import export_network

NETWORKS = tuple(f"{family}-{widths}" for family in ("tfc", "jsc-mlp", "kws-mlp", "lenet5", "resnet8")
                 for widths in ("w1a1", "w2a2", "w4a4", "w8a8"))  # fmt: skip
MUTANTS = 500
"""Mutants of each network."""
FRAMES = 256
"""Random whole frames, as many as a build compares."""
LEAST = 0.95


def run(size: float, seed: int) -> Part:
    """Mutate every network; ``size`` scales the number of mutants."""
    part = Part("mutants", ("network", "mutants", "equivalent", "found", "survivors", "score"))
    for name in NETWORKS:
        found = _scores(name, max(20, round(MUTANTS * size)), seed)
        whole = sum(found.values(), start=Score())
        part.rows.append(
            (name, whole.mutants, whole.equivalent, whole.killed, len(whole.survivors), f"{whole.score:.1%}")
        )
        print(*(f"survivor of {name}: {line}" for line in whole.survivors), sep="\n", end="\n" * bool(whole.survivors))
        if whole.score < LEAST:
            part.wrong.append(f"{name}: {whole.score:.1%} of the mutants found, fewer than {LEAST:.0%}")
    return part


def _scores(name: str, count: int, seed: int) -> dict[str, Score]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export_network(name, path)
        reference = Reference(path)
    lowering = lower_model(reference.model)
    frames = random_frames(lowering.graph, FRAMES)

    def whole(graph: Graph) -> bool:
        compared = compare_with(graph, lowering, reference, frames)
        return compared.mismatches > compared.explained

    return mutation_scores(lowering.graph, LayerDriver(lowering, reference), whole, count, seed)
