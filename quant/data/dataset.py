"""A data set in memory, and the parts of one as its file holds them."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from quant.data.choices import Task
from quant.errors import QuantError


@dataclass(frozen=True, eq=False)
class DataSet:
    """Images (N, C, H, W) or features (N, F), and the targets of a task (``quant.data.Task``).

    Values are those of the source, as the driver of a board takes them: whole numbers ``low..high`` where ``scale`` and
    ``offset`` are None, else float32. A network then converts them to codes ``low..high`` itself,
    ``clip(round((x - offset) / scale), low, high)`` (``quant.layers.Normalize``). ``scale`` and ``offset`` are
    float32 and of the shape (F,) or (C, 1, 1).

    ``classes`` is the number of classes, or of the numbers that a network gives. Those are scaled by the network
    itself, from values around 0: ``target_offset + target_scale * value``, both (K,) float32; None for classes.
    ``class_names``, of the classes or of these numbers, and ``feature_names`` are those of the source, None where it
    has none.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: int
    low: int
    high: int
    scale: np.ndarray | None = None
    offset: np.ndarray | None = None
    class_names: tuple[str, ...] | None = None
    feature_names: tuple[str, ...] | None = None
    task: Task = "classification"
    target_offset: np.ndarray | None = None
    target_scale: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample: (C, H, W) or (F,)."""
        return self.x_train.shape[1:]

    @property
    def options(self) -> dict[str, Any]:
        """What a network has to know of the data: options of ``quant.create_model``."""
        options: dict[str, Any] = {
            "input_shape": self.shape,
            "classes": self.classes,
            "in_range": (self.low, self.high),
        }
        if self.scale is not None and self.offset is not None:
            options["normalization"] = {"offset": self.offset.tolist(), "scale": self.scale.tolist()}
        if self.target_offset is not None and self.target_scale is not None:
            options["targets"] = {
                "task": self.task,
                "offset": self.target_offset.tolist(),
                "scale": self.target_scale.tolist(),
            }
        if self.class_names is not None:
            options["class_names"] = list(self.class_names)
        if self.feature_names is not None:
            options["feature_names"] = list(self.feature_names)
        return options


@dataclass(frozen=True, eq=False)
class Parts:
    """The arrays of a source before labels are encoded and values are normalized. ``x_test`` and ``y_test`` are None
    where the source has no test set of its own. ``whole``: whether integer features are kept in up to 16 bits.
    ``target_names``: of the columns of ``y_train`` where they have names.
    ``numbered``: labels are the classes 0, 1, ... even where some do not occur."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    class_names: tuple[str, ...] | None = None
    feature_names: tuple[str, ...] | None = None
    whole: bool = True
    target_names: tuple[str, ...] | None = None
    numbered: bool = False


def check_lengths(parts: Parts, source: object) -> None:
    """Raises QuantError where samples and labels do not match, or where there are none."""
    for x, y in ((parts.x_train, parts.y_train), (parts.x_test, parts.y_test)):
        if x is not None and y is not None and (len(x) != len(y) or len(x) == 0):
            raise QuantError(f"{source} holds {len(x)} samples for {len(y)} labels: the files do not belong together")


def data_hash(dataset: DataSet) -> str:
    """Returns a hash of the samples and labels."""
    digest = hashlib.sha256()
    for array in (dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test):
        digest.update(repr((array.dtype.str, array.shape)).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
