"""What a study searches for, in the file ``study.json`` that all of its workers read."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import floor
from pathlib import Path
from typing import Any, Literal, get_args

from flows.explore.space import Space
from hw.host.errors import BitfabricError, UsageError

Objective = Literal["accuracy", "lut", "ff", "bram", "dsp", "energy", "fps", "latency"]
"""What is sought: most of ``accuracy`` and ``fps``, least of the others; ``latency`` is in cycles, ``energy`` the proxy
of a frame in the unit of the target's device (``hw.folding.energy``)."""
LARGEST: tuple[Objective, ...] = ("accuracy", "fps")
SETTINGS = "study.json"


@dataclass(frozen=True)
class Settings:
    """A study: the network and its ``space``, the target, and what is sought within which limits.

    ``epochs``: the lengths of training of the rungs, increasing. Only networks near the front after one rung reach the
    next. ``data_options``: further arguments of ``quant.load_data``. ``validation``: fraction of the training set that
    accuracy is measured on. ``augment``: random changes of training images, as of ``quant.TrainConfig``. ``limits``:
    maximum resources. ``clock_mhz``: of the accelerators;
    None: the target's. ``min_accuracy``: a fraction. ``storage``: URL of a database, or of a server of one
    (``grpc://host:port``); None: a journal in the study's folder. ``id``: what the storage knows this study by.

    Raises UsageError for values out of range.
    """

    model: str
    target: str
    data: str
    space: Space
    fps: float | None = None
    objectives: tuple[Objective, ...] = ("accuracy", "lut")
    trials: int = 50
    epochs: tuple[int, ...] = (20,)
    validation: float = 0.1
    augment: str | None = None
    limits: Mapping[str, int] = field(default_factory=dict)
    min_accuracy: float | None = None
    clock_mhz: float | None = None
    seed: int = 0
    storage: str | None = None
    data_options: Mapping[str, Any] = field(default_factory=dict)
    code: str = ""
    id: str = ""

    def __post_init__(self) -> None:
        for name in ("objectives", "epochs"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        lists = {name: tuple(value) if isinstance(value, list) else value for name, value in self.data_options.items()}
        object.__setattr__(self, "data_options", lists)  # JSON has lists only
        for each in self.objectives:
            if each not in get_args(Objective):
                raise UsageError(f"--objective has no {each!r}: choose {', '.join(get_args(Objective))}")
        if self.objectives[:1] != ("accuracy",) or len(self.objectives) != 2 or self.objectives[1] == "accuracy":
            raise UsageError("--objective is accuracy and one of the hardware, as accuracy,lut or accuracy,fps")
        if self.objectives[1] == "fps" and self.fps is not None:
            raise UsageError("--objective accuracy,fps seeks the rate: leave --fps out, and give --max-lut")
        if self.objectives[1] not in ("fps", "latency") and self.fps is None:
            raise UsageError(
                f"--objective accuracy,{self.objectives[1]} needs --fps: without a rate every network is as small "
                "as it is slow"
            )
        if self.trials < 1:
            raise UsageError(f"--trials {self.trials} is not at least 1")
        if not self.epochs or min(self.epochs) < 1 or list(self.epochs) != sorted(set(self.epochs)):
            raise UsageError(f"--epochs {','.join(map(str, self.epochs))} are not increasing numbers from 1, as 5,20")
        if not 0 < self.validation < 1:
            raise UsageError(f"--validation {self.validation:g} is not above 0 and below 1")
        if self.min_accuracy is not None and not 0 <= self.min_accuracy < 1:
            raise UsageError(f"--min-accuracy {self.min_accuracy:g} is not from 0 to below 1 (a fraction)")

    def rate(self, hardware: Mapping[str, float]) -> float:
        """The rate, in frames per second, that a network of this estimated ``hardware`` is built for: that of the
        study, or else the fastest within its limits."""
        return self.fps if self.fps is not None else max(1e-3, float(floor(hardware["fps"])) or hardware["fps"])

    def build_options(self) -> dict[str, Any]:
        """The options of ``flows.build`` for a network: the rate of the study, or the fastest design within its limits
        at its clock."""
        if self.fps is None:
            return {"fill": True, "clock_mhz": self.clock, "limits": self.limits}
        return {"fps": self.fps, "clock_mhz": self.clock_mhz, "limits": self.limits}

    @property
    def clock(self) -> float:
        """The clock of the accelerators in MHz: the study's, or the target's."""
        from hw.boards.targets import find_target

        return self.clock_mhz or find_target(self.target).device.clock_mhz

    def to_json(self) -> dict[str, Any]:
        """The settings as values of JSON."""
        content: dict[str, Any] = json.loads(json.dumps({**vars(self), "space": self.space.to_json()}))
        return content

    def same_search(self, other: "Settings") -> list[str]:
        """The names of settings in which another study differs, of those that its results depend on."""
        mine, its = self.to_json(), other.to_json()
        names = [each.name for each in fields(self) if each.name not in ("trials", "id")]
        return [name for name in names if mine[name] != its[name]]


def from_anywhere(name: str) -> str:
    """A model or data set as every worker understands it, wherever it works: a file has an absolute path."""
    from quant.data import NAMES

    there = name not in NAMES and Path(name.rpartition(":")[0] if ".py:" in name else name).exists()
    return str(Path(name).absolute()) if there else name


def code_version() -> str:
    """A hash of the packages that a trial's results depend on, and the versions of the libraries."""
    from importlib import metadata

    digest = hashlib.sha256()
    root = Path(__file__).parents[2]
    for package in ("flows", "hw", "quant"):
        for source in sorted((root / package).rglob("*.py")):
            digest.update(source.relative_to(root).as_posix().encode() + source.read_bytes())
    versions = (f"{name} {metadata.version(name)}" for name in ("torch", "brevitas", "optuna"))
    return ", ".join([f"code {digest.hexdigest()[:12]}", *versions])


def write_settings(folder: Path, settings: Settings) -> None:
    """Writes the study's file, replacing it only when the new one is complete."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        work = folder / f".{SETTINGS}.{os.getpid()}"
        work.write_text(f"{json.dumps(settings.to_json(), indent=2)}\n")
        os.replace(work, folder / SETTINGS)
    except OSError as error:
        raise UsageError(f"cannot write the study to {folder}: {error.strerror or error}; choose another -o") from None


def read_settings(folder: Path) -> Settings:
    """The settings of a study's folder. Raises UsageError for a folder that holds none."""
    path = folder / SETTINGS
    if not path.is_file():
        raise UsageError(f"{folder} holds no study: bitfabric explore MODEL -o {folder} starts one")
    try:
        content = json.loads(path.read_text())
        return Settings(**{**content, "space": Space(**content["space"])})
    except (ValueError, KeyError, TypeError) as error:
        raise BitfabricError(f"{path} is no study of this version: {error}") from None


def check_code(settings: Settings) -> None:
    """Raises BitfabricError where this worker has another version than the study, whose results would differ."""
    here = code_version()
    if settings.code != here:
        raise BitfabricError(
            f"this worker's version ({here}) is not that of the study ({settings.code}): their results would differ; "
            "install the same one, or start a new study"
        )
