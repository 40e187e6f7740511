"""Faults on the line between host and image: every run must end with the right results, or in one line in time."""

from collections import Counter

from benchmarks.faults.campaign import Part
from tests.boards.faulty_images import LINKS, image_campaign
from tests.boards.faulty_line import FAULTS, campaign

FAULTS_MADE = 400_000
"""Faults of the campaign on a model of an image."""
IMAGE_FAULTS = 500
"""Faults of the campaign on each simulated image."""


def run(size: float, seed: int) -> Part:
    """Runs on lines with random faults; ``size`` scales the number of faults."""
    part = Part("links", ("runs", "runs ended", "right", "refused", "late", "wrong", "other"))
    done = {"host and a model of an image": campaign(max(1, round(FAULTS_MADE * size)), seed)}
    done |= {f"host and RTL, {link}": image_campaign(link, max(1, round(IMAGE_FAULTS * size)), seed) for link in LINKS}
    faults = sum((each.faults for each in done.values()), Counter[str]())
    for name, each in done.items():
        part.add(name, Counter(each.outcomes))
        bad = ("late", "wrong", "other")
        part.wrong += [f"{name}: {each.outcomes[kind]} runs {kind}" for kind in bad if each.outcomes[kind]]
    part.notes.append(
        f"{faults.total():,} faults ({', '.join(f'{faults[kind]:,} x {kind}' for kind in FAULTS)}); "
        f"{sum(each.frames for each in done.values()):,} results of frames, all right."
    )
    return part
