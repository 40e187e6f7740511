"""FINN's Python execution: of its own dataflow graph, or of the one that its front end makes of a QONNX model."""

import numpy as np

from flows.engines.engine import Engine, RunOptions, Traits
from flows.implementation import Implementation
from hw import finn
from hw.host.errors import UsageError
from hw.ir.frames import Batch
from hw.model import Model
from hw.simulation.emulator import Emulator
from hw.verification.difference import first_difference


def _run(made: Implementation, x: Batch, options: RunOptions) -> Batch:
    if made.model.frontend.engine == "finn":
        return made.model.reference.run(x)
    from flows.finn.dataflow import FinnDataflow

    if isinstance(x, dict):
        raise UsageError(f"FINN's Python execution takes one input; the model has {len(x)}")
    return FinnDataflow(made.model).run(x)


def _difference(model: Model, x: Batch) -> str | None:
    """FINN executes the model if it is a graph of FINN's, and otherwise our graph in FINN's dialect."""
    proto = model.proto if model.frontend.engine == "finn" else finn.write(finn.adapted(model.graph))
    return first_difference(finn.execute(proto, x, model.path), np.asarray(Emulator(model.graph).run(x)))


ENGINE = Engine(
    "finn",
    Traits("FINN", "FINN's Python execution of the graph that it made", executes_model=True),
    _run,
    difference=_difference,
    compared_frames=4,
)
