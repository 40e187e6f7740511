"""What a driver knows of a model: its image, its frames, and the host's steps; to and from JSON."""

from collections.abc import Mapping, Sequence
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
class Input:
    """An input of the model: ``shape`` (without the batch) and ``dtype`` of the model's own frames, the ``steps`` that
    convert these to integers, and the ``format`` of the integers."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    steps: tuple[HostStep, ...]
    format: Format

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
        return run(self.steps, frames).reshape(-1, *self.format.shape)

    def to_json(self) -> Json:
        """The input as data for JSON."""
        steps = [step_to_json(each) for each in self.steps]
        own = {"name": self.name, "shape": list(self.shape), "dtype": self.dtype}
        return own | {"preprocess": steps, "format": vars(self.format)}

    @classmethod
    def from_json(cls, data: Json) -> "Input":
        """The input from ``to_json``'s data."""
        steps = tuple(map(_step_from_json, data["preprocess"]))
        return cls(data["name"], tuple(data["shape"]), data["dtype"], steps, _format(data["format"]))


@dataclass(frozen=True, eq=False)
class Interface:
    """A model behind a host link.

    ``model`` is the image's hash, ``transport`` the kind of the link and ``settings`` what is needed to open it. The
    image has an output for each of ``output_formats``, whose frame it sends in as many ``beats``; ``postprocess``, by
    name of the model's output, is the number of the output that it is computed from, and the steps that convert its
    integers. ``meaning`` says what both mean.
    """

    model: int
    transport: str
    settings: dict[str, int | str | None]
    inputs: tuple[Input, ...]
    output_formats: tuple[Format, ...]
    beats: tuple[int, ...]
    postprocess: dict[str, tuple[int, tuple[HostStep, ...]]]
    meaning: Meaning = field(default_factory=Meaning)

    @property
    def baud(self) -> int | None:
        """The baud rate of a serial port; None for other transports."""
        baud = self.settings.get("baud")
        return baud if isinstance(baud, int) else None

    @property
    def input_formats(self) -> tuple[Format, ...]:
        """The formats of the accelerator's inputs."""
        return tuple(each.format for each in self.inputs)

    def encode(self, frames: np.ndarray | Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Convert frames ``(N, *shape)``, by name where there are several inputs, to the integers of every input.

        Raises UsageError for other names, shapes and types, and for unequal numbers of frames.
        """
        given = frames if isinstance(frames, Mapping) else {self.inputs[0].name: frames}
        names = [each.name for each in self.inputs]
        if sorted(given) != sorted(names):
            raise UsageError(f"the model has the inputs {', '.join(names)}; given: {', '.join(given)}")
        found = [each.encode(given[each.name]) for each in self.inputs]
        if len({len(each) for each in found}) > 1:
            raise UsageError("the inputs hold different numbers of frames")
        return found

    def decode(self, integers: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Convert the accelerator's integers, ``(N, *shape)`` of each of its outputs, to the model's, by name."""
        return {name: run(steps, integers[number]) for name, (number, steps) in self.postprocess.items()}

    def to_json(self) -> Json:
        """The interface as data for JSON."""
        return {
            "model": f"{self.model:016x}",
            "transport": self.transport,
            "settings": self.settings,
            "inputs": [each.to_json() for each in self.inputs],
            "output_formats": [vars(each) for each in self.output_formats],
            "beats": list(self.beats),
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
            str(data["transport"]),
            dict(data["settings"]),
            tuple(map(Input.from_json, data["inputs"])),
            tuple(map(_format, data["output_formats"])),
            tuple(data["beats"]),
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
