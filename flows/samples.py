"""The frames on which a build verifies its engines, with their labels."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from flows.files import sha256
from flows.frames import classes, load_frames, load_labels, score
from hw.host.errors import UsageError
from hw.ir.frames import Batch
from hw.model import Model
from hw.verification.reference import random_frames

RANDOM_FRAMES = 256
"""Number of random frames where the user states no frames."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Frames ``(N, *shape)`` for a model from the file ``path``, or random ones, and their ``labels``."""

    model: Model
    path: Path | None
    given: np.ndarray | None
    labels: np.ndarray | None
    key: tuple[str | None, str | None]
    """Hashes of the files of frames and labels."""

    @classmethod
    def open(cls, model: Model, frames: Path | None, labels: Path | None) -> Self:
        """The samples in two ``.npy`` files. Raises UsageError for files that cannot be read or do not match."""
        given = None if frames is None else load_frames(frames)
        classes = None if labels is None or given is None else load_labels(labels, len(given))
        key = (None if frames is None else sha256(frames), None if labels is None else sha256(labels))
        return cls(model, frames, given, classes, key)

    @cached_property
    def frames(self) -> np.ndarray:
        """The frames. Raises UsageError where they do not match the model, or are fewer than two."""
        if self.given is None:
            return random_frames(self.model.graph, RANDOM_FRAMES, seed=0)
        self.model.graph.inputs[0].check(self.given)
        if len(self.given) < 2:
            raise UsageError(f"{self.path} holds {len(self.given)} frames; at least 2 are needed")
        return self.given

    def score(self, outputs: Batch) -> float | None:
        """The accuracy of outputs for the first frames; None where there are no labels."""
        return None if self.labels is None else score(outputs, self.labels[: len(classes(outputs))])
