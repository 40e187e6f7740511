"""The split of samples into a training and a test set."""

from dataclasses import replace

import numpy as np

from quant.data.dataset import Parts
from quant.errors import QuantError

TEST_SHARE = 0.2
"""The share of the samples in the test set, where the source has none and the user does not say."""


def stratified(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Returns a mask (N,) that selects ``fraction`` of each class at random."""
    random = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        chosen[members[: round(fraction * len(members))]] = True
    return chosen


def any_samples(count: int, fraction: float, seed: int) -> np.ndarray:
    """Returns a mask (count,) that selects ``fraction`` of the samples at random."""
    chosen = np.zeros(count, dtype=bool)
    chosen[np.random.default_rng(seed).permutation(count)[: round(fraction * count)]] = True
    return chosen


def held_out(targets: np.ndarray, share: float, seed: int, by_class: bool, option: str, part: str) -> np.ndarray:
    """Returns a mask (N,) of the samples with these ``targets`` (N, ...) that become the ``part`` of an option: a
    ``share`` of all (of each class, with ``by_class``), or none.

    Raises QuantError (status 2) for a share above 0 that leaves one of the two parts empty.
    """
    chosen = stratified(targets, share, seed) if by_class else any_samples(len(targets), share, seed)
    count = int(chosen.sum())
    if share and not 0 < count < len(chosen):
        raise QuantError(
            f"{option}={share:g} of {len(chosen)} samples leaves {count} for the {part} and {len(chosen) - count} for "
            "the training: give another share, or more samples",
            status=2,
        )
    return chosen


def with_test_set(parts: Parts, share: float | None, seed: int, source: object, by_class: bool) -> Parts:
    """Returns the parts with a test set: their own, or ``share`` of the samples (of each class, with ``by_class``).

    Raises QuantError (status 2) for a share out of range, one that leaves a part empty, or one for a source that has a
    test set of its own.
    """
    if parts.x_test is not None:
        if share is not None:
            raise QuantError(f"{source} has a test set of its own: leave test_share (--test-share) out", status=2)
        return parts
    share = TEST_SHARE if share is None else share
    if not 0 < share < 1:
        raise QuantError(f"test_share={share} is not above 0 and below 1: it is the share of the test set", status=2)
    x, y = parts.x_train, parts.y_train
    chosen = held_out(y, share, seed, by_class, "test_share", "test")
    return replace(parts, x_train=x[~chosen], y_train=y[~chosen], x_test=x[chosen], y_test=y[chosen])
