"""Faults on the line between host and image: every run must end with the right results, or in one line in time."""

from collections import Counter

from benchmarks.faults.campaign import Part
from tests.boards.faulty_line import FAULTS, campaign

FAULTS_MADE = 400_000
"""Faults of the whole campaign."""


def run(size: float, seed: int) -> Part:
    """Runs on lines with random faults; ``size`` scales the number of faults."""
    part = Part("links", ("runs", "runs ended", "right", "refused", "late", "wrong", "other"))
    done = campaign(max(1, round(FAULTS_MADE * size)), seed)
    part.add("runs", Counter(done.outcomes))
    part.notes.append(
        f"{done.faults.total():,} faults ({', '.join(f'{done.faults[kind]:,} x {kind}' for kind in FAULTS)}); "
        f"{done.frames:,} results of frames, all right."
    )
    part.wrong += [f"{done.outcomes[each]} runs {each}" for each in ("late", "wrong", "other") if done.outcomes[each]]
    return part
