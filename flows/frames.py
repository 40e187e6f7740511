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
from quant.scores import anomaly_scores, scores


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


def load_labels(path: Path, count: int, task: str = "classification") -> np.ndarray:
    """Labels from a ``.npy`` file: ``(count,)``, or ``(count, K)`` numbers of a regression.

    Raises UsageError for an array of another shape.
    """
    labels = load_array(path)
    if labels.shape != (count,) and not (task == "regression" and labels.ndim == 2 and len(labels) == count):
        raise UsageError(f"{count} frames need as many labels, {path} holds an array {labels.shape}")
    return labels


def score(outputs: Batch, labels: np.ndarray) -> float:
    """The fraction of frames whose class equals the label.

    Raises UsageError for a label that is none of the classes.
    """
    count = _logits(outputs)
    wrong = (labels < 0) | (labels != np.floor(labels)) | ((labels >= count) & (count > 0))
    if wrong.any():
        known = f"the network's classes, 0 to {count - 1}" if count else "the whole numbers from 0 on"
        raise UsageError(f"label {labels[wrong][0]:g} of frame {int(np.argmax(wrong))} is none of {known}")
    return float(np.mean(classes(outputs) == labels))


def _logits(outputs: Batch) -> int:
    """The number of values of each frame's output; 0 where there is one, an index perhaps, or several outputs."""
    return 0 if isinstance(outputs, dict) or outputs[0].size == 1 else int(outputs[0].size)


CONFUSED = 64
"""Largest number of classes of which a confusion matrix is made."""


def confusion(outputs: Batch, labels: np.ndarray) -> tuple[tuple[int, ...], ...] | None:
    """How many frames of each class, a row, get each class, a column; None for more than ``CONFUSED`` classes."""
    found = classes(outputs)
    if labels.dtype.kind not in "iu" or min(labels.min(), found.min()) < 0:
        return None
    count = max(int(labels.max()) + 1, int(found.max()) + 1, _logits(outputs))
    if count > CONFUSED:
        return None
    matrix = np.zeros((count, count), np.int64)
    np.add.at(matrix, (labels, found), 1)
    return tuple(map(tuple, matrix.tolist()))


def are_maps(outputs: Batch) -> bool:
    """Whether outputs have values by position, as images and the heads of a detector, and none is a vector."""
    values = outputs.values() if isinstance(outputs, dict) else [outputs]
    return all(np.ndim(each) > 2 and np.prod(np.shape(each)[2:]) > 1 for each in values)


def figures(outputs: Batch, labels: np.ndarray | None, frames: Batch, meaning: Meaning) -> dict[str, float]:
    """The figures of a regression or reconstruction (``quant.scores``); none where it needs labels and there are none.

    Raises UsageError for labels that are not one number for each number of an output.
    """
    values = next(iter(outputs.values())) if isinstance(outputs, dict) else outputs
    if meaning.task == "regression":
        if labels is None:
            return {}
        if labels.size != values.size:
            raise UsageError(f"outputs of shape {values.shape} need as many numbers as labels, not {labels.shape}")
    frames = next(iter(frames.values())) if isinstance(frames, dict) else frames
    return scores(meaning.task, values, labels, frames, np.array(meaning.scales or 1.0))


def predictions(outputs: Batch, labels: np.ndarray | None, frames: Batch, meaning: Meaning) -> dict[str, Any]:
    """What a run says of its outputs.

    The ``classes`` of the frames, by name where the model has names; with labels, the ``accuracy`` and the
    ``confusion`` matrix of ``class_names`` (rows: labels). For other tasks their ``figures`` (``quant.scores``), and
    the ``anomaly_scores`` of the frames of a reconstruction. Nothing of maps without labels.
    """
    if meaning.task != "classification":
        said: dict[str, Any] = {"figures": figures(outputs, labels, frames, meaning)}
        if meaning.task == "reconstruction" and not isinstance(outputs, dict) and not isinstance(frames, dict):
            said["anomaly_scores"] = anomaly_scores(outputs, frames, np.array(meaning.scales or 1.0)).tolist()
        return said
    if labels is None and are_maps(outputs):
        return {}
    found = classes(outputs)
    said = {"classes": meaning.named(found) if meaning.class_names else found.tolist()}
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
