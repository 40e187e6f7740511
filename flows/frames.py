"""Files of outputs and labels, and the accuracy of outputs."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hw.host.arrays import load_array, save_array, save_arrays
from hw.host.errors import UsageError
from hw.host.meaning import Meaning, classes
from hw.ir.frames import Batch


def save_frames(path: Path, frames: Batch) -> None:
    """Write outputs to a ``.npy`` file; several outputs are written to a ``.npz`` file by name.

    Raises UsageError for a suffix that does not fit, and BitfabricError where the file cannot be written.
    """
    if isinstance(frames, dict) != (path.suffix == ".npz"):
        kind = ".npz, for its several outputs" if isinstance(frames, dict) else ".npy"
        raise UsageError(f"{path}: the model's output goes into a file that ends in {kind}")
    if isinstance(frames, dict):
        save_arrays(path, frames)
    else:
        save_array(path, frames)


def load_labels(path: Path, count: int) -> np.ndarray:
    """Classes ``(count,)`` from a ``.npy`` file. Raises UsageError for an array of another shape."""
    labels = load_array(path)
    if labels.shape != (count,):
        raise UsageError(f"{count} frames need as many labels, {path} holds an array {labels.shape}")
    return labels


def score(outputs: Batch, labels: np.ndarray) -> float:
    """The fraction of frames whose class equals the label."""
    return float(np.mean(classes(outputs) == labels))


CONFUSED = 64
"""Largest number of classes of which a confusion matrix is made."""


def confusion(outputs: Batch, labels: np.ndarray) -> tuple[tuple[int, ...], ...] | None:
    """How many frames of each class, a row, get each class, a column; None for more than ``CONFUSED`` classes."""
    found = classes(outputs)
    if labels.dtype.kind not in "iu" or min(labels.min(), found.min()) < 0:
        return None
    logits = 0 if isinstance(outputs, dict) or outputs[0].size == 1 else outputs[0].size
    count = max(int(labels.max()) + 1, int(found.max()) + 1, logits)
    if count > CONFUSED:
        return None
    matrix = np.zeros((count, count), np.int64)
    np.add.at(matrix, (labels, found), 1)
    return tuple(map(tuple, matrix.tolist()))


def are_maps(outputs: Batch) -> bool:
    """Whether outputs have values by position, as images and the heads of a detector, and none is a vector."""
    values = outputs.values() if isinstance(outputs, dict) else [outputs]
    return all(np.ndim(each) > 2 and np.prod(np.shape(each)[2:]) > 1 for each in values)


def predictions(outputs: Batch, labels: np.ndarray | None, meaning: Meaning) -> dict[str, Any]:
    """What a run says of its outputs: the ``classes`` of the frames, by name where the model has names; with labels,
    the ``accuracy`` and the ``confusion`` matrix of ``class_names`` (rows: labels). Nothing of maps
    without labels."""
    if labels is None and are_maps(outputs):
        return {}
    said: dict[str, Any] = {"classes": meaning.named(classes(outputs)) if meaning.class_names else (
        classes(outputs).tolist()
    )}  # fmt: skip
    if labels is None:
        return said
    said["accuracy"] = score(outputs, labels)
    if (matrix := confusion(outputs, labels)) is not None:
        names = meaning.named(np.arange(len(matrix)))
        said |= {"class_names": names, "confusion": [list(row) for row in matrix]}
    return said


def timed(run: Callable[[], Batch]) -> tuple[Batch, float]:
    """The outputs of a run, and its seconds, loading included."""
    started = time.monotonic()
    outputs = run()
    return outputs, round(time.monotonic() - started, 3)
