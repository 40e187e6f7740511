"""Damaged model files: each must be refused in one line that names the thing, or be read and agree with its reference.

Every fourth file has damaged bytes, the others one to three damages of the graph: nodes removed, exchanged, rewired or
of another type, attributes, constants, types, shapes, names, annotations.
"""

import time
from collections import Counter

from benchmarks.faults.campaign import Part
from tests.builders.every_operator import finn_models, models
from tests.builders.mutations import mutant
from tests.builders.outcomes import examine

FILES = 6000
"""Files in the whole campaign; a third as many again in FINN's dialect."""
FIRST = 100_000
"""The first seed: those of the tests are below."""


def run(size: float, seed: int) -> Part:
    """Examine damaged files; ``size`` scales their number."""
    part = Part("files", ("damaged files of", "files", "refused", "equal", "read", "large", "degenerate", "wrong"))
    slowest = 0.0
    for name, of, count in (("QONNX", models(), FILES), ("FINN's dialect", finn_models(), FILES // 3)):
        outcomes: Counter[str] = Counter()
        for number in range(max(1, round(count * size))):
            damaged = mutant(FIRST + seed * FILES + number, of)
            started = time.process_time()
            try:
                outcomes[examine(damaged).result] += 1
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                outcomes["wrong"] += 1
                part.wrong.append(f"seed {damaged.seed} ({damaged.kind}): {type(error).__name__}: {error}")
            slowest = max(slowest, time.process_time() - started)
        part.add(name, outcomes)
    part.notes.append(f"The slowest file took {slowest:.1f} s of CPU.")
    return part
