"""What a driver has to know of a model: its image, its frames, and the host's share of the network. JSON and back.

Needs nothing but NumPy: the driver that a build leaves has a copy of it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import UsageError
from .packing import Format
from .steps import HostStep, run

Json = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Interface:
    """A model behind a host link.

    ``model`` is the image's hash and ``baud`` the link's rate. ``shape`` and ``dtype`` are those of the model's own
    frames, ``preprocess`` makes integers of ``input_format`` of them; ``postprocess``, by name of the model's outputs,
    makes those outputs of integers of ``output_format``.
    """

    model: int
    baud: int
    shape: tuple[int, ...]
    dtype: str
    preprocess: tuple[HostStep, ...]
    input_format: Format
    output_format: Format
    postprocess: dict[str, tuple[HostStep, ...]]

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """The model's frames ``(N, *shape)`` as integers. Raises UsageError where they do not fit."""
        frames = np.asarray(frames)
        if frames.shape[1:] != self.shape or not len(frames):
            shape = ", ".join(map(str, self.shape))
            raise UsageError(f"the model takes frames of shape (N, {shape}), not {frames.shape}")
        if self.dtype.startswith("float"):
            if frames.dtype.kind != "f" or not np.all(np.isfinite(frames)):
                raise UsageError(f"the model takes finite {self.dtype} numbers; convert the frames")
            frames = frames.astype(self.dtype)
        return run(self.preprocess, frames).reshape(-1, *self.input_format.shape)

    def decode(self, integers: np.ndarray) -> dict[str, np.ndarray]:
        """Integers of the output as the model's outputs by name."""
        return {name: run(steps, integers) for name, steps in self.postprocess.items()}

    def to_json(self) -> Json:
        """As plain data."""
        return {
            "model": f"{self.model:016x}",
            "baud": self.baud,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "preprocess": [_step_to_json(each) for each in self.preprocess],
            "input_format": vars(self.input_format),
            "output_format": vars(self.output_format),
            "postprocess": {name: [_step_to_json(each) for each in steps] for name, steps in self.postprocess.items()},
        }

    @classmethod
    def from_json(cls, data: Json) -> "Interface":
        """From plain data."""
        return cls(
            int(data["model"], 16),
            data["baud"],
            tuple(data["shape"]),
            data["dtype"],
            tuple(map(_step_from_json, data["preprocess"])),
            _format(data["input_format"]),
            _format(data["output_format"]),
            {name: tuple(map(_step_from_json, steps)) for name, steps in data["postprocess"].items()},
        )


def _format(data: Json) -> Format:
    return Format(tuple(data["shape"]), data["bits"], data["kind"])


def _step_to_json(step: HostStep) -> Json:
    operands = [{"dtype": str(a.dtype), "shape": list(a.shape), "values": a.ravel().tolist()} for a in step.operands]
    return {"op": step.op, "operands": operands, "attributes": dict(step.attributes)}


def _step_from_json(data: Json) -> HostStep:
    operands = tuple(np.array(a["values"], a["dtype"]).reshape(a["shape"]) for a in data["operands"])
    # JSON has no tuples; no attribute is a list.
    attributes = {key: tuple(value) if isinstance(value, list) else value for key, value in data["attributes"].items()}
    return HostStep(data["op"], operands, tuple(attributes.items()))
