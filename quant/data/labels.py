"""Labels as classes 0, 1, ..., with their names."""

from dataclasses import replace

import numpy as np

from quant.data.dataset import Parts
from quant.errors import QuantError

MANY = 1000
"""More classes than this are taken for numbers to predict."""


def with_classes(parts: Parts, source: object) -> tuple[Parts, int]:
    """Returns the parts with classes (N,) int64 for labels, and the number of classes.

    Labels are whole numbers (N,) or one-hot (N, classes), which are the classes themselves, or any other whole numbers
    or strings, which are the classes' names in ascending order. Raises QuantError (status 2) for others.
    """
    given = [np.asarray(y) for y in (parts.y_train, parts.y_test) if y is not None]
    flat = [_flat(y, source) for y in given]
    joined = np.concatenate(flat) if len({y.dtype.kind for y in flat}) == 1 else np.concatenate(
        [y.astype(str) for y in flat]
    )  # fmt: skip
    names = parts.class_names
    if joined.dtype.kind in "US":
        joined, names = _named(joined.astype(str), names, source)
    elif names is None and not parts.numbered and not _are_classes(joined):
        found, codes = np.unique(joined, return_inverse=True)
        _check_count(len(found), len(joined), source)
        joined, names = codes.astype(np.int64), tuple(map(str, found.tolist()))
    if joined.min() < 0:
        raise QuantError(f"{source}: labels of named classes must be whole numbers from 0 on", status=2)
    classes = int(joined.max()) + 1
    if names is not None:
        if len(names) < classes:
            raise QuantError(f"{source} names {len(names)} classes, but a label is {classes - 1}", status=2)
        classes = len(names)
    if classes < 2:
        raise QuantError(f"{source} has samples of one class only: a network needs two or more", status=2)
    cut = len(flat[0])
    y_train, y_test = joined[:cut], joined[cut:] if len(flat) == 2 else None
    return replace(parts, y_train=y_train, y_test=y_test, class_names=names), classes


def _flat(y: np.ndarray, source: object) -> np.ndarray:
    """Labels (N,): int64 or strings."""
    if y.dtype.kind in "US":
        return y.reshape(-1)
    if y.dtype.kind not in "biuf":
        raise QuantError(f"{source}: labels are {y.dtype}, not whole numbers or strings", status=2)
    if y.ndim == 2 and y.shape[1] > 1:
        if not ((y == 0) | (y == 1)).all() or not (y.sum(1) == 1).all():
            raise QuantError(f"{source}: labels of shape {y.shape} are not one-hot: give (N,) whole numbers", status=2)
        return np.asarray(y.argmax(1))
    if y.size != len(y) or not np.isfinite(y).all():
        raise QuantError(f"{source}: labels of shape {y.shape} must be (N,) whole numbers or strings", status=2)
    labels: np.ndarray = y.reshape(-1).astype(np.int64)
    if (labels != y.reshape(-1)).any():
        raise QuantError(
            f"{source}: labels must be whole numbers or strings; numbers to predict are task regression "
            "(bitfabric train --task regression; bitfabric explore searches classifiers)",
            status=2,
        )
    return labels


def _are_classes(labels: np.ndarray) -> bool:
    """Whether whole numbers are classes themselves: from 0 on, and most of them occur."""
    most = int(labels.max())
    return int(labels.min()) == 0 and most < 2 * len(np.unique(labels))


def _named(labels: np.ndarray, names: tuple[str, ...] | None, source: object) -> tuple[np.ndarray, tuple[str, ...]]:
    found, codes = np.unique(labels, return_inverse=True)
    if names is None:
        _check_count(len(found), len(labels), source)
        return codes.astype(np.int64), tuple(found.tolist())
    place = {name: index for index, name in enumerate(names)}
    missing = [name for name in found.tolist() if name not in place]
    if missing:
        raise QuantError(f"{source}: label {missing[0]!r} is none of the classes {', '.join(names)}", status=2)
    return np.array([place[name] for name in found.tolist()], np.int64)[codes], names


def _check_count(classes: int, samples: int, source: object) -> None:
    if classes > MANY or (classes > 20 and classes > samples // 2):
        raise QuantError(
            f"{source}: the labels have {classes:,} different values in {samples:,} samples, too many for classes: "
            "choose the label (--target-column), or take task regression for numbers",
            status=2,
        )
