"""What a driver knows of a model: its image, its frames, and the host's steps; to and from JSON."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .arrays import integers_as
from .errors import UsageError
from .meaning import Meaning
from .packing import Format
from .steps import HostStep, run

Json = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Interface:
    """A model behind a host link.

    ``model`` is the image's hash, ``baud`` the link's rate, and ``usb`` the USB ids of the board's serial port
    (``vendor:product``), None where it has none of its own. ``shape`` (without the batch) and ``dtype`` are those of
    the model's own frames. ``preprocess`` converts frames to integers of ``input_format``. The image has an output for
    each of ``output_formats``; ``postprocess``, by name of the model's output, is the number of the output that it is
    computed from, and the steps that convert its integers. ``meaning`` says what both mean.
    """

    model: int
    baud: int
    usb: str | None
    shape: tuple[int, ...]
    dtype: str
    preprocess: tuple[HostStep, ...]
    input_format: Format
    output_formats: tuple[Format, ...]
    postprocess: dict[str, tuple[int, tuple[HostStep, ...]]]
    meaning: Meaning = field(default_factory=Meaning)

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """Convert frames ``(N, *shape)`` to the accelerator's integers. Raises UsageError for another shape or type."""
        frames = np.asarray(frames)
        if frames.shape[1:] != self.shape or not len(frames):
            shape = ", ".join(map(str, self.shape))
            raise UsageError(f"the model takes frames of shape (N, {shape}), not {frames.shape}")
        if self.dtype.startswith("float"):
            frames = integers_as(frames, self.dtype, "the model") if frames.dtype.kind in "iu" else frames
            if frames.dtype.kind != "f" or not np.all(np.isfinite(frames)):
                raise UsageError(f"the model takes finite {self.dtype} numbers; convert the frames")
            frames = frames.astype(self.dtype)
        return run(self.preprocess, frames).reshape(-1, *self.input_format.shape)

    def decode(self, integers: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Convert the accelerator's integers, ``(N, *shape)`` of each of its outputs, to the model's, by name."""
        return {name: run(steps, integers[number]) for name, (number, steps) in self.postprocess.items()}

    def to_json(self) -> Json:
        """The interface as data for JSON."""
        return {
            "model": f"{self.model:016x}",
            "baud": self.baud,
            "usb": self.usb,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "preprocess": [step_to_json(each) for each in self.preprocess],
            "input_format": vars(self.input_format),
            "output_formats": [vars(each) for each in self.output_formats],
            "postprocess": {
                name: {"output": number, "steps": [step_to_json(each) for each in steps]}
                for name, (number, steps) in self.postprocess.items()
            },
            "meaning": self.meaning.to_json(),
        }

    @classmethod
    def from_json(cls, data: Json) -> "Interface":
        """The interface from ``to_json``'s data."""
        return cls(
            int(data["model"], 16),
            data["baud"],
            data["usb"],
            tuple(data["shape"]),
            data["dtype"],
            tuple(map(_step_from_json, data["preprocess"])),
            _format(data["input_format"]),
            tuple(map(_format, data["output_formats"])),
            {
                name: (each["output"], tuple(map(_step_from_json, each["steps"])))
                for name, each in data["postprocess"].items()
            },
            Meaning.from_json(data.get("meaning", {})),
        )


def _format(data: Json) -> Format:
    return Format(tuple(data["shape"]), data["bits"], data["kind"])


def step_to_json(step: HostStep) -> Json:
    """A host step as data for JSON."""
    operands = [{"dtype": str(a.dtype), "shape": list(a.shape), "values": a.ravel().tolist()} for a in step.operands]
    branches = [[step_to_json(each) for each in branch] for branch in step.branches]
    content = {"op": step.op, "operands": operands, "attributes": dict(step.attributes)}
    return content | ({"branches": branches} if branches else {})


def _step_from_json(data: Json) -> HostStep:
    operands = tuple(np.array(a["values"], a["dtype"]).reshape(a["shape"]) for a in data["operands"])
    # JSON has no tuples; no attribute is a list.
    attributes = {key: tuple(value) if isinstance(value, list) else value for key, value in data["attributes"].items()}
    branches = tuple(tuple(map(_step_from_json, branch)) for branch in data.get("branches", ()))
    return HostStep(data["op"], operands, tuple(attributes.items()), branches)
