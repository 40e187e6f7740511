"""What the numbers of a model's frames and outputs mean, as its file states it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

METADATA = "bitfabric.data"
"""The key of a model's metadata that holds this as JSON."""
TASKS = ("classification", "regression", "reconstruction")


@dataclass(frozen=True)
class Meaning:
    """``task``: one of ``TASKS``: outputs are scores of classes, numbers, or the frame itself again.

    ``class_names``: of the classes, or of the numbers, in the order of the outputs; ``feature_names``: of the numbers
    of a frame; ``scales``: what an error of each number of an output is a part of. Each is empty where the model does
    not state it.
    """

    task: str = "classification"
    class_names: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()
    scales: tuple[float, ...] = ()

    def named(self, predicted: np.ndarray) -> list[str]:
        """Classes ``(N,)`` by their names, or numbers where a class has none."""
        known = self.class_names
        return [known[c] if 0 <= c < len(known) else str(c) for c in predicted.tolist()]

    def to_json(self) -> dict[str, Any]:
        """The meaning as data for JSON, without what is not stated."""
        return {name: value for name, value in asdict(self).items() if value and value != "classification"}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Meaning":
        """The meaning from ``to_json``'s data. Raises ValueError for other data."""
        task = data.get("task", TASKS[0])
        names = [data.get(key, ()) for key in ("class_names", "feature_names")]
        listed = (isinstance(each, list | tuple) and all(isinstance(name, str) for name in each) for each in names)
        scales = data.get("scales", ())
        numbers = isinstance(scales, list | tuple) and all(
            isinstance(each, int | float) and each > 0 for each in scales
        )
        if task not in TASKS or not all(listed) or not numbers:
            raise ValueError("it needs a task, lists of names and positive scales")
        return cls(task, tuple(names[0]), tuple(names[1]), tuple(map(float, scales)))


def classes(outputs: np.ndarray | Mapping[str, np.ndarray]) -> np.ndarray:
    """The class of every frame, ``(N,)``: that of the largest logit, or the network's own arg-max or TopK."""
    if isinstance(outputs, Mapping):
        outputs = next((y for y in outputs.values() if y.dtype.kind in "iu"), next(iter(outputs.values())))
    flat = np.asarray(outputs).reshape(len(outputs), -1)
    return flat[:, 0].astype(np.int64) if flat.shape[1] == 1 else flat.argmax(axis=1)
