"""The training of the model that was built, from the run folder that its file lies in."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.build_report import BuildReport
from hw.host.files import read_json

METRICS = "metrics.json"
WIDTH, HEIGHT = 400, 100
"""The box of a curve."""


@dataclass(frozen=True)
class Curve:
    """A figure over the epochs: an SVG path in a box of ``WIDTH`` by ``HEIGHT``, its first, last, least and greatest
    value. ``path`` has a point for each epoch."""

    name: str
    path: str
    first: float
    last: float
    least: float
    greatest: float


@dataclass(frozen=True)
class TrainingRun:
    """What the page says of a training."""

    model: str
    data: str
    epochs: int
    kept: int
    scheme: str
    curves: tuple[Curve, ...]


_FIGURES = {
    "loss": "loss",
    "train_accuracy": "accuracy in training",
    "validation_accuracy": "accuracy on the validation part",
    "validation_loss": "loss on the validation part",
    "learning_rate": "learning rate",
    "flip_ratio": "share of the weights that an epoch changed",
}


def find(report: BuildReport, folder: Path) -> TrainingRun | None:
    """The training that made the model of the build in ``folder``; None where the model's file does not lie in a run
    folder that records it. Its path may be relative to a folder above, in which the build was made."""
    path = Path(report.model.path)
    starts = [Path()] if path.is_absolute() else [Path(), *folder.resolve().parents]
    return next(filter(None, (_read(start / path.parent / METRICS, report) for start in starts)), None)


def _read(metrics: Path, report: BuildReport) -> TrainingRun | None:
    try:
        content = read_json(metrics)
        if content["onnx"]["sha256"] != report.model.sha256:
            return None
        history: list[dict[str, Any]] = content["fit"]["history"]
        curves = tuple(
            _curve(label, values)
            for name, label in _FIGURES.items()
            if len(values := [epoch[name] for epoch in history if epoch.get(name) is not None]) > 1
        )
        return TrainingRun(
            str(content["model"]), str(content["data"]), len(history), int(content["fit"]["epoch"]),
            str(content["scheme"]["name"]), curves,
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # no run folder of this version: the page has no section then


def _curve(name: str, values: list[float]) -> Curve:
    least, greatest = min(values), max(values)
    span = greatest - least or 1.0
    points = (
        f"{WIDTH * index / (len(values) - 1):.1f},{HEIGHT * (greatest - value) / span:.1f}"
        for index, value in enumerate(values)
    )
    return Curve(name, "M" + "L".join(points), values[0], values[-1], least, greatest)
