"""Calibration and test frames in the forms that people have them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from quant.data import DataSet, load_data
from quant.errors import QuantError

Samples = Any
"""An array or tensor (N, ...), a pair of these with labels (N,), a ``DataSet`` or its name, or batches of either, as a
``torch.utils.data.DataLoader`` gives them."""


@dataclass(frozen=True)
class Frames:
    """Frames x (N, ...) float32, and labels y (N,) int64 if there are any."""

    x: torch.Tensor
    y: torch.Tensor | None

    def __len__(self) -> int:
        return len(self.x)

    def shaped(self, shape: tuple[int, ...] | None) -> "Frames":
        """Returns the frames with another shape of as many elements; as they are for None."""
        return self if shape is None else Frames(self.x.reshape(len(self.x), *shape), self.y)


def frames_of(given: Samples, limit: int | None, what: str = "calibration", test: bool = False) -> Frames:
    """Returns at most ``limit`` frames. Of a ``DataSet``, the training part, or the ``test`` part.

    Raises QuantError (status 2) for no frames, other types, labels that do not fit, and values that are not finite.
    """
    if isinstance(given, str):
        given = load_data(given)
    if isinstance(given, DataSet):
        given = (given.x_test, given.y_test) if test else (given.x_train, given.y_train)
    if isinstance(given, np.ndarray | torch.Tensor):
        found = _cut(given, None, limit, what)
    elif isinstance(given, tuple) and len(given) == 2 and len(given[0]) > 0 and _is_array(given[0]):
        found = _cut(given[0], given[1], limit, what)
    elif isinstance(given, Iterable):
        found = _gather(given, limit, what)
    else:
        raise QuantError(
            f"{what} is {type(given).__name__}: give an array (N, ...), a pair of arrays with labels, a data set, or "
            "batches",
            status=2,
        )
    if not len(found.x):
        raise QuantError(f"{what} has no frames: give a few hundred that are like those in use", status=2)
    wrong = torch.argwhere(~torch.isfinite(found.x))
    if len(wrong):
        raise QuantError(f"frame {int(wrong[0, 0])} of {what} has a value that is not finite: correct it", status=2)
    return found


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray | torch.Tensor)


def _gather(batches: Iterable[Any], limit: int | None, what: str) -> Frames:
    parts: list[Frames] = []
    count = 0
    for batch in batches:
        pair = batch if isinstance(batch, tuple | list) and len(batch) == 2 else (batch, None)
        parts.append(_cut(pair[0], pair[1], None if limit is None else limit - count, what))
        count += len(parts[-1])
        if limit is not None and count >= limit:
            break
    if not parts:
        raise QuantError(f"{what} has no frames: give a few hundred that are like those in use", status=2)
    if len({part.x.shape[1:] for part in parts}) > 1:
        raise QuantError(f"the batches of {what} have frames of several shapes: give one shape", status=2)
    labels = [part.y for part in parts if part.y is not None]
    return Frames(torch.cat([part.x for part in parts]), torch.cat(labels) if len(labels) == len(parts) else None)


def _cut(x: Any, y: Any, limit: int | None, what: str) -> Frames:
    if not _is_array(x) or x.ndim < 2 or (isinstance(x, np.ndarray) and x.dtype.kind not in "biuf"):
        shape = getattr(x, "shape", None)
        described = type(x).__name__ if shape is None else f"an array of {x.dtype} {tuple(shape)}"
        raise QuantError(f"{what} has {described}: give frames of numbers, (N, ...)", status=2)
    if y is not None and (not _is_array(y) or len(y) != len(x)):
        raise QuantError(f"{what} has {len(x)} frames, and labels for {len(y)}: give one for each", status=2)
    frames = _tensor(x[:limit]).float()
    labels = None if y is None else _tensor(y[:limit]).long().reshape(len(frames), -1)
    if labels is not None and labels.shape[1] > 1:  # one-hot
        labels = labels.argmax(1, keepdim=True)
    return Frames(frames, None if labels is None else labels[:, 0])


def _tensor(values: Any) -> torch.Tensor:
    # A copy, because arrays may be read-only.
    return torch.from_numpy(np.array(values)) if isinstance(values, np.ndarray) else values.detach().cpu()
