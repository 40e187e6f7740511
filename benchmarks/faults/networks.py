"""Random networks: the integers of the lowered graph against those of the model.

With power-of-two scales float32 is exact, and every code must be equal. With other scales the reference rounds: an
element may differ only where float32 rounding explains it. One that differs by more than one code then (behind several
quantizers in one kernel, or behind a code that exact arithmetic never reaches) is apart: a build ends with it. Wide
networks have sums that float32 cannot hold; there a reference with exact sums decides, to the last code.
"""

from collections import Counter
from collections.abc import Callable

import numpy as np

from benchmarks.faults.campaign import Part
from hw.host.errors import BitfabricError
from hw.lowering.lower import lower
from hw.verification.reference import compare
from tests.builders.random_images import RandomImages
from tests.builders.random_models import RandomModel

KINDS: dict[str, Callable[[np.random.Generator], RandomModel | RandomImages]] = {
    "dense, power-of-two scales": lambda rng: RandomModel(rng, dyadic=True),
    "dense, wide, power-of-two scales": lambda rng: RandomModel(rng, dyadic=True, wide=True),
    "dense, other scales": lambda rng: RandomModel(rng, dyadic=False),
    "convolutional, power-of-two scales": lambda rng: RandomImages(rng, dyadic=True),
    "convolutional, other scales": lambda rng: RandomImages(rng, dyadic=False),
}
NETWORKS, FRAMES = 200, 50
"""Networks of each kind, and frames for each."""


def run(size: float, seed: int) -> Part:
    """Compare random networks; ``size`` scales their number."""
    columns = ("networks", "drawn", "refused", "compared", "codes", "explained by float32", "apart", "wrong")
    part = Part("networks", columns)
    for name, make in KINDS.items():
        counts: Counter[str] = Counter()
        number = max(1, round(NETWORKS * size))
        for each in range(number):
            network = make(np.random.default_rng([seed, 77, each]))
            model, frames = network.model(), network.frames(FRAMES)
            try:
                graph = lower(model)
            except BitfabricError:
                counts["refused"] += 1
                continue
            found = compare(graph, model, frames)
            counts["compared"] += 1
            counts["codes"] += found.elements
            counts["explained by float32"] += found.explained
            counts["apart"] += found.apart
            if unexplained := found.mismatches - found.explained - found.apart:
                counts["wrong"] += unexplained
                part.wrong.append(f"{name}, network {each}: {found.describe()}")
        part.rows.append((name, number, *(counts[column] for column in columns[2:])))
    return part
