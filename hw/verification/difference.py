"""The first difference between two batches of integers."""

import numpy as np


def first_difference(got: np.ndarray, want: np.ndarray) -> str | None:
    """The first frame and element at which ``got`` differs from ``want`` (both ``(N, *shape)``); None where equal."""
    differs = np.asarray(got) != np.asarray(want)
    if not differs.any():
        return None
    at = np.unravel_index(int(np.argmax(differs)), differs.shape)
    frames = int(np.any(differs.reshape(len(differs), -1), axis=1).sum())
    element = "".join(f"[{i}]" for i in at[1:])
    return (
        f"frame {at[0]}, element {element}: {got[at]} instead of {want[at]} ({frames} of {len(differs)} frames differ)"
    )
