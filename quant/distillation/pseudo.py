"""Unlabelled samples that look like the training set, for a student with a teacher and few data."""

import numpy as np
import torch

from quant.errors import QuantError

__all__ = ["pseudo_data"]


def pseudo_data(
    x: np.ndarray, multiple: int, *, swap: float = 0.2, spread: float = 8.0, low: int, high: int, seed: int = 0
) -> np.ndarray:
    """Returns ``multiple * N`` new samples from samples ``x`` (N, ...), whole numbers from ``low`` to ``high``.

    Every sample is paired with its nearest neighbour. With the probability ``swap``, each of their features is
    exchanged for a draw from a normal distribution around the other's value, with the deviation ``|a - b| / spread``.
    MUNGE of Bucila, Caruana, Niculescu-Mizil, "Model compression", KDD 2006, figure 2, for continuous features. The
    draws are rounded and clipped to the range.

    Raises QuantError (status 2) for fewer than two samples or values out of range.
    """
    if len(x) < 2 or not 0 < swap <= 1 or not spread > 0 or multiple < 0:
        raise QuantError(
            f"pseudo data of {len(x)} samples with swap={swap} and spread={spread}: give two samples or more, a swap "
            "above 0 and at most 1, and a spread above 0",
            status=2,
        )
    random = np.random.default_rng(seed)
    flat = x.reshape(len(x), -1).astype(np.float32)
    nearest = _nearest(flat)
    made = []
    for _ in range(multiple):
        new = flat.copy()
        for index, other in enumerate(nearest):
            a, b = new[index], new[other]
            chosen = random.random(len(a)) < swap
            deviation = np.abs(a - b) / spread
            draws = [random.normal(mean[chosen], deviation[chosen]) for mean in (b, a)]
            a[chosen], b[chosen] = draws
        made.append(new)
    if not made:
        return np.empty((0, *x.shape[1:]), x.dtype)
    rounded = np.clip(np.rint(np.concatenate(made)), low, high)
    return rounded.reshape(-1, *x.shape[1:]).astype(x.dtype)


def _nearest(x: np.ndarray, rows: int = 2000) -> np.ndarray:
    """Returns the index of the nearest other sample of each of (N, F), by Euclidean distance."""
    samples = torch.from_numpy(x)
    found = []
    for start in range(0, len(samples), rows):
        distance = torch.cdist(samples[start : start + rows], samples)
        here = torch.arange(len(distance))
        distance[here, here + start] = torch.inf
        found.append(distance.argmin(1))
    return torch.cat(found).numpy()
