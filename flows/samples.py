"""The frames on which a build verifies its engines, with their labels."""

from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Self

import numpy as np

from flows.facts.checks import Inputs
from flows.frames import confusion, figures, load_labels, score
from flows.inputs import received
from hw.host.arrays import load_arrays
from hw.host.errors import UsageError
from hw.host.files import sha256
from hw.host.meaning import classes
from hw.host.tables import SUFFIXES, load_frames
from hw.ir.frames import Batch, chosen
from hw.ir.frames import count as count_of
from hw.model import Model
from hw.verification.directed import directed_frames
from hw.verification.reference import random_frames

RANDOM_FRAMES = 256
"""Number of random frames where the user states no frames."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Frames ``(N, *shape)`` for a model from the file ``path``, or random ones, and their ``labels``; by name where
    the model has several inputs."""

    model: Model
    path: Path | None
    given: Batch | None
    labels: np.ndarray | None
    clip: bool
    key: tuple[str | None, str | None, bool]
    """Hashes of the files of frames and labels, and ``clip``."""

    @classmethod
    def open(cls, model: Model, frames: Path | None, labels: Path | None, clip: bool = False) -> Self:
        """The samples in two ``.npy`` files; frames may be a table (``.csv``), and of several inputs are in a ``.npz``
        file.

        Raises UsageError for files that cannot be read or do not match.

        ``clip``: see ``flows.inputs.received``.
        """
        given: Batch | None = None
        known = None
        if frames is not None:
            given = _load(frames, model)
            known = None if labels is None else load_labels(labels, count_of(given), model.meaning.task)
        key = (None if frames is None else sha256(frames), None if labels is None else sha256(labels), clip)
        return cls(model, frames, given, known, clip, key)

    @cached_property
    def _received(self) -> tuple[Batch, tuple[Inputs, ...]]:
        if self.given is None:
            return random_frames(self.model.graph, RANDOM_FRAMES, seed=0), ()
        given, shape = self.given, self.model.graph.inputs[0].shape
        table = self.path is not None and self.path.suffix.lower() in SUFFIXES
        if table and isinstance(given, np.ndarray) and given[0].size == prod(shape):
            given = given.reshape(-1, *shape)
        frames, values = received(self.model.graph, given, self.clip)
        if count_of(frames) < 2:
            raise UsageError(f"{self.path} holds {count_of(frames)} frames; at least 2 are needed")
        return frames, values

    @property
    def frames(self) -> Batch:
        """The frames as the model receives them. Raises UsageError where they do not match it, or are fewer than
        two."""
        return self._received[0]

    def first(self, count: int | None) -> Batch:
        """The first ``count`` frames, for an engine that runs only a few; None: all frames.

        Random frames may use few of the input's codes. So the second and the third of them are replaced by frames far
        below and far above the range of the input, and every other one after them by another directed frame.
        """
        if self.given is not None or count is None or count < 3:
            return chosen(self.frames, slice(count))
        some, directed = chosen(self.frames, slice(count)), directed_frames(self.model.graph)
        if isinstance(some, dict):
            return {name: _directed(frames, directed[name]) for name, frames in some.items()}
        return _directed(some, directed[self.model.graph.inputs[0].name])

    @property
    def inputs(self) -> tuple[Inputs, ...]:
        """What became of the values of the user's frames at every input; nothing for random ones."""
        return self._received[1]

    def confusion(self, outputs: Batch) -> tuple[tuple[int, ...], ...] | None:
        """The confusion matrix (``flows.frames.confusion``); None where there are no labels of classes."""
        if self.model.meaning.task != "classification":
            return None
        return None if self.labels is None else confusion(outputs, self.labels[: len(classes(outputs))])

    def figures(self, outputs: Batch) -> dict[str, float]:
        """The figures of another task than classification (``flows.frames.figures``) for the first frames."""
        meaning = self.model.meaning
        if meaning.task == "classification" or self.given is None:
            return {}
        count = count_of(outputs)
        labels = None if self.labels is None else self.labels[:count]
        return figures(outputs, labels, chosen(self.frames, slice(count)), meaning)

    def score(self, outputs: Batch) -> float | None:
        """The accuracy of outputs for the first frames; None where there are no labels of classes."""
        if self.model.meaning.task != "classification":
            return None
        return None if self.labels is None else score(outputs, self.labels[: len(classes(outputs))])


def _load(path: Path, model: Model) -> Batch:
    """The frames in a file, of a ``.npz`` file by name. Raises UsageError for a file that cannot be read."""
    if path.suffix.lower() == ".npz":
        return load_arrays(path)
    return load_frames(path, None, model.meaning.feature_names)


def _directed(frames: np.ndarray, directed: np.ndarray) -> np.ndarray:
    """Random frames of an input, some replaced by directed ones."""
    frames = frames.copy()
    frames[1:3] = directed[:2]
    frames[4::2] = np.resize(directed[:1:-1], frames[4::2].shape)
    return frames
