"""How good outputs are, by task: accuracy, errors of numbers, errors of reconstructions. Without torch."""

import numpy as np

__all__ = ["anomaly_scores", "area_under_curve", "scores"]


def scores(
    task: str,
    outputs: np.ndarray,
    targets: np.ndarray | None,
    frames: np.ndarray | None = None,
    scale: np.ndarray | float = 1.0,
) -> dict[str, float]:
    """Returns the figures of ``task`` (``quant.data.Task``) for outputs (N, K).

    - classification: ``accuracy``, for classes (N,).
    - regression: ``rmse`` and ``mae`` over all numbers (N, K), and ``r2``, the mean over the K numbers of the share of
      the variance that is explained (numbers that are constant are left out).
    - reconstruction: ``error``, the mean of ``anomaly_scores``, and with targets (N,) of both kinds, 1 for anomalous
      and 0 for normal frames, ``auc``, the probability that an anomalous frame has the larger score.

    ``frames`` (N, ...) are the inputs, ``scale`` is as in ``anomaly_scores``.
    """
    flat = outputs.reshape(len(outputs), -1).astype(np.float64)
    if task == "reconstruction":
        assert frames is not None
        each = anomaly_scores(outputs, frames, scale)
        found = {"error": float(each.mean())}
        if targets is not None and set(np.unique(targets).tolist()) == {0, 1}:
            found["auc"] = area_under_curve(each, np.asarray(targets).reshape(-1) == 1)
        return found
    assert targets is not None
    if task == "classification":
        return {"accuracy": float(np.mean(flat.argmax(1) == targets))}
    wanted = np.asarray(targets, np.float64).reshape(len(targets), -1)
    error, spread = flat - wanted, ((wanted - wanted.mean(0)) ** 2).mean(0)
    found = {"rmse": float(np.sqrt((error**2).mean())), "mae": float(np.abs(error).mean())}
    if (spread > 0).any():
        found["r2"] = float(1 - ((error**2).mean(0)[spread > 0] / spread[spread > 0]).mean())
    return found


def anomaly_scores(outputs: np.ndarray, frames: np.ndarray, scale: np.ndarray | float = 1.0) -> np.ndarray:
    """Returns the mean of ``((output - frame) / scale)**2`` of each frame, (N,) float64.

    ``scale`` (K,) makes elements of different units comparable.
    """
    difference = outputs.reshape(len(outputs), -1).astype(np.float64) - frames.reshape(len(frames), -1)
    each: np.ndarray = ((difference / scale) ** 2).mean(1)
    return each


def area_under_curve(values: np.ndarray, positive: np.ndarray) -> float:
    """Returns the area under the ROC curve: the share of pairs whose ``positive`` member has the larger value; ties
    count half. ``values`` (N,), ``positive`` (N,) bool with both kinds."""
    _, place, tied = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(tied) - (tied - 1) / 2)[place]  # from 1 on; the mean of those of equal values
    count = int(positive.sum())
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(values) - count)))
