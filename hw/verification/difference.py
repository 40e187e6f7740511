"""The first difference between two batches of numbers."""

import numpy as np


def same(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """Which elements are equal: equal numbers, equal infinities, or both not a number."""
    got, want = np.asarray(got), np.asarray(want)
    equal = got == want
    if got.dtype.kind == want.dtype.kind == "f":
        equal |= np.isnan(got) & np.isnan(want)
    return np.asarray(equal)


def first_difference(got: np.ndarray, want: np.ndarray) -> str | None:
    """The first frame and element at which ``got`` differs from ``want`` (both ``(N, *shape)``); None where equal."""
    differs = ~same(got, want)
    if not differs.any():
        return None
    at = np.unravel_index(int(np.argmax(differs)), differs.shape)
    frames = int(np.any(differs.reshape(len(differs), -1), axis=1).sum())
    element = "".join(f"[{i}]" for i in at[1:])
    return (
        f"frame {at[0]}, element {element}: {got[at]} instead of {want[at]} ({frames} of {len(differs)} frames differ)"
    )
