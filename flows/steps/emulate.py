"""``emulate``: the emulator against the model's own reference, QONNX's execution or FINN's."""

from pathlib import Path

from flows.build_report import Facts
from flows.samples import Samples
from flows.steps.step import Step
from hw.model import Model
from hw.simulation.emulator import Emulator


class Emulated(Facts):
    """The result of the comparison.

    It holds the number of frames compared, the elements that differ by float32 rounding, the frames whose class these
    change, and the ``accuracy`` of the reference (by the name of its engine) and of the emulator.
    """

    frames: int
    mismatches: int
    arg_max_changes: int
    accuracy: dict[str, float | None]


class Emulate(Step[Emulated]):
    """Compares every frame; for a model with a slow reference, ``frames`` frames or a few."""

    name = "emulate"
    result = Emulated
    packages = ("onnxruntime", "finn-plus")

    def __init__(self, model: Model, samples: Samples, frames: int | None) -> None:
        self.model = model
        self.samples = samples
        default = model.frontend.default_frames
        self.frames = None if default is None else frames or default

    def inputs(self) -> list[object]:
        return [self.model.sha256, self.samples.key, self.frames]

    def run(self, out: Path) -> Emulated:
        model, x = self.model, self.samples.frames[: self.frames]
        compared = model.frontend.compare(x)
        outputs = {model.frontend.engine: model.reference.run(x), "emulator": Emulator(model.graph).run(x)}
        return Emulated(
            frames=compared.frames,
            mismatches=compared.mismatches,
            arg_max_changes=compared.arg_max_changes,
            accuracy={engine: self.samples.score(y) for engine, y in outputs.items()},
        )
