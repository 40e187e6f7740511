"""``emulate``: the graph of the hardware against the model's own reference: qonnx, ONNX Runtime or FINN."""

from pathlib import Path

from pydantic import Field

from flows.design_point import DesignPoint
from flows.facts.checks import Compared, DirectedCounts, RemovalCounts
from flows.facts.network import MeasuredExits
from flows.samples import Samples
from flows.steps.step import Step
from hw.ir.frames import Batch
from hw.ir.graph import Graph
from hw.ir.verdicts import branches, carried, verdicts
from hw.simulation.emulator import Emulator
from hw.timing.exits import affordable, pace
from hw.verification.removal import check_removal


class Emulated(Compared):
    """The result of the comparison, the ``accuracy`` of the reference (by the name of its engine) and of the emulator,
    what was compared on ``directed`` inputs, the check of channels that were removed, the emulator's ``confusion`` of
    classes (rows: labels; columns: what the network says), or its ``figures`` of another task, and what all frames did
    at early ``exits``."""

    accuracy: dict[str, float | None]
    directed: DirectedCounts | None = None
    removal: RemovalCounts | None = None
    confusion: tuple[tuple[int, ...], ...] | None = None
    figures: dict[str, float] = Field(default_factory=dict)
    exits: MeasuredExits | None = None


class Emulate(Step[Emulated]):
    """Compares the graph that the RTL is generated from, on every frame and on directed inputs; for a model with a slow
    reference, on ``frames`` frames or a few.

    A graph from which channels were removed has not all tensors of the model. There the graph that has them is compared
    with the reference, and the graph of the hardware with it, exactly.
    """

    name = "emulate"
    result = Emulated
    packages = ("onnxruntime", "finn-plus")

    def __init__(self, point: DesignPoint, samples: Samples, frames: int | None) -> None:
        self.point = point
        self.samples = samples
        default = point.model.frontend.default_frames
        self.frames = None if default is None else frames or default

    def inputs(self) -> list[object]:
        return [self.point.model.sha256, self.point.parity, self.point.to_json(), self.samples.key, self.frames]

    def reads(self) -> tuple[str, ...]:
        return "lower", "fold"

    def run(self, out: Path) -> Emulated:
        model, hardware, x = self.point.model, self.point.hardware, self.samples.first(self.frames)
        removal = self.point.removal
        graph = removal.original if removal.layers else hardware
        agreement = model.frontend.compare(graph, x)
        directed = model.frontend.check_directed(graph)
        engines = {model.frontend.engine: model.reference.run, "emulator": Emulator(hardware).run}
        scored = self.samples.labels is not None or model.meaning.task == "reconstruction"
        outputs = {engine: run(x) for engine, run in engines.items()} if scored else dict.fromkeys(engines)
        accuracy = {engine: None if y is None else self.samples.score(y) for engine, y in outputs.items()}
        counts = DirectedCounts(**vars(directed), summary=directed.summary) if directed else None
        classes = model.meaning.task == "classification"
        explanation = agreement.explanation if classes else agreement.differences
        said: dict[str, object] = {"explanation": explanation, "remark": agreement.remark, "directed": counts}
        if (made := outputs["emulator"]) is not None and (confused := self.samples.confusion(made)) is not None:
            said["confusion"] = confused
        if made is not None and (reached := self.samples.figures(made)):
            said["figures"] = reached
        if branches(hardware):
            said["exits"] = _measured(hardware, x)
        if removal.layers:
            checked = check_removal(removal, hardware, x)
            said["removal"] = RemovalCounts(**vars(checked), summary=checked.summary)
        return Emulated.model_validate({**vars(agreement), **said, "accuracy": accuracy})


def _measured(hardware: Graph, x: Batch) -> MeasuredExits:
    """The frames that go on at every exit, and the pace of the first ones."""
    given = verdicts(hardware, Emulator(hardware).edges(x))
    count = len(next(iter(given.values())))
    there = carried(hardware, count, given)
    # An exit may end several streams: those with the same verdict.
    exits = {node.inputs[0]: node for node in hardware if node.kernel.op == "exit"}.values()
    shares = [(int(there[node.outputs[0]].sum()), int(there[node.inputs[1]].sum())) for node in exits]
    timed = affordable(hardware, count)
    taken = pace(hardware, {name: each[:timed] for name, each in given.items()})
    return MeasuredExits(
        frames=count,
        going_on=tuple(on / max(1, every) for on, every in shares),
        timed=timed,
        **{name: getattr(taken, name) for name in ("interval", "mean", "median", "high", "worst")},
    )
