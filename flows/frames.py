"""Files of outputs and labels, and the accuracy of outputs."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hw.host.arrays import load_array, save_array, save_arrays
from hw.host.errors import UsageError
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


def classes(outputs: Batch) -> np.ndarray:
    """The class of every frame, ``(N,)``: that of the largest logit, or the network's own arg-max or TopK."""
    if isinstance(outputs, dict):
        outputs = next((y for y in outputs.values() if y.dtype.kind in "iu"), next(iter(outputs.values())))
    flat = np.asarray(outputs).reshape(len(outputs), -1)
    return flat[:, 0].astype(np.int64) if flat.shape[1] == 1 else flat.argmax(axis=1)


def load_labels(path: Path, count: int) -> np.ndarray:
    """Classes ``(count,)`` from a ``.npy`` file. Raises UsageError for an array of another shape."""
    labels = load_array(path)
    if labels.shape != (count,):
        raise UsageError(f"{count} frames need as many labels, {path} holds an array {labels.shape}")
    return labels


def score(outputs: Batch, labels: np.ndarray) -> float:
    """The fraction of frames whose class equals the label."""
    return float(np.mean(classes(outputs) == labels))


def timed(run: Callable[[], Batch]) -> tuple[Batch, float]:
    """The outputs of a run, and its seconds, loading included."""
    started = time.monotonic()
    outputs = run()
    return outputs, round(time.monotonic() - started, 3)
