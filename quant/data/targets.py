"""What a network learns from the samples, by task."""

from dataclasses import replace
from typing import get_args

import numpy as np

from quant.data.choices import Task
from quant.data.dataset import Parts
from quant.data.labels import with_classes
from quant.errors import QuantError


def check_task(task: str) -> None:
    """Raises QuantError (status 2) for an unknown task."""
    if task not in get_args(Task):
        raise QuantError(f"no task {task!r}: choose {', '.join(get_args(Task))}", status=2)


def with_targets(parts: Parts, task: Task, source: object) -> tuple[Parts, int]:
    """Returns the parts with the targets of ``task``, and the number of classes or numbers (0: as in a sample)."""
    if task == "classification":
        return with_classes(parts, source)
    if task == "regression":
        numbers = [None if y is None else _numbers(y, source) for y in (parts.y_train, parts.y_test)]
        y_train, y_test = numbers
        assert y_train is not None
        if y_test is not None and y_test.shape[1] != y_train.shape[1]:
            raise QuantError(f"{source}: {y_train.shape[1]} and {y_test.shape[1]} numbers to predict", status=2)
        return replace(parts, y_train=y_train, y_test=y_test, class_names=parts.target_names), y_train.shape[1]
    return replace(parts, class_names=None), 0


def with_anomalies(parts: Parts, source: object) -> Parts:
    """Returns the parts of a reconstruction with targets 0 and 1, and without anomalous samples for the training."""
    assert parts.x_test is not None
    assert parts.y_test is not None
    train, test = parts.y_train.reshape(-1), parts.y_test.reshape(-1)
    if set(np.unique(np.concatenate([train, test]).astype(str)).tolist()) <= {"0", "1", "0.0", "1.0", "False", "True"}:
        train, test = (y.astype(np.float64).astype(np.int64) for y in (train, test))
        normal = train == 0
        if not normal.any():
            raise QuantError(f"{source} has no normal sample (label 0) to train on", status=2)
        return replace(parts, x_train=parts.x_train[normal], y_train=train[normal], y_test=test)
    known = np.isin(test.astype(str), np.unique(train.astype(str)))
    return replace(parts, y_train=np.zeros(len(train), np.int64), y_test=(~known).astype(np.int64))


def _numbers(y: np.ndarray, source: object) -> np.ndarray:
    """Numbers to predict, (N, K) float32."""
    if y.dtype.kind not in "biuf":
        raise QuantError(
            f"{source}: {str(y.reshape(-1)[0])!r} is no number to predict: take task classification", status=2
        )
    with np.errstate(over="ignore"):
        numbers: np.ndarray = y.reshape(len(y), -1).astype(np.float32)
    if not np.isfinite(numbers).all():
        raise QuantError(f"{source}: the numbers to predict are not all finite in float32", status=2)
    if not numbers.shape[1]:
        raise QuantError(f"{source} has no numbers to predict", status=2)
    return numbers


def target_scale(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Offset and scale (K,) float32 of numbers (N, K): mean and deviation, as those of a network's outputs."""
    wide = y.astype(np.float64)
    deviation = wide.std(0)
    return wide.mean(0).astype(np.float32), np.where(deviation > 1e-30, deviation, 1.0).astype(np.float32)
