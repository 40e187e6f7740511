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
    chosen = stratified(y, share, seed) if by_class else any_samples(len(y), share, seed)
    if not chosen.any() or chosen.all():
        raise QuantError(
            f"test_share={share} of {len(y)} samples leaves {int(chosen.sum())} for the test and "
            f"{int((~chosen).sum())} for the training: give another share, or more samples",
            status=2,
        )
    return replace(parts, x_train=x[~chosen], y_train=y[~chosen], x_test=x[chosen], y_test=y[chosen])
