"""Mutated accelerators: one wrong threshold, weight, constant or permutation, which the checks of a build must find.

The networks are the reference networks with random weights. A mutant is equivalent where no input of the layer changes
its output, which is decided from the reachable sums. The score is the share of the others that are found.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.faults.campaign import Part
from hw.verification.mutation import Score, model_scores
from tests.golden.product import export_network

NETWORKS = (
    *(f"{family}-{widths}" for family in ("tfc", "jsc-mlp", "kws-mlp") for widths in ("w1a1", "w2a2", "w4a4", "w8a8")),
    *(f"lenet5-{widths}" for widths in ("w1a2", "w2a2", "w4a4", "w8a8")),
    *(f"resnet8-{widths}" for widths in ("w1a1", "w2a2", "w4a4", "w8a8")),
)
MUTANTS = 500
"""Mutants of each network."""
LEAST = 0.95


def run(size: float, seed: int) -> Part:
    """Mutate every network; ``size`` scales the number of mutants."""
    part = Part("mutants", ("network", "mutants", "equivalent", "found", "survivors", "score"))
    for name in NETWORKS:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            export_network(name, path)
            found = model_scores(path, max(20, round(MUTANTS * size)), seed)
        whole = sum(found.values(), start=Score())
        part.rows.append(
            (name, whole.mutants, whole.equivalent, whole.killed, len(whole.survivors), f"{whole.score:.1%}")
        )
        print(*(f"survivor of {name}: {line}" for line in whole.survivors), sep="\n", end="\n" * bool(whole.survivors))
        if whole.score < LEAST:
            part.wrong.append(f"{name}: {whole.score:.1%} of the mutants found, fewer than {LEAST:.0%}")
    return part
