"""The QONNX model itself, executed in float32."""

import numpy as np

from flows.engines.engine import Engine, RunOptions, Traits
from flows.implementation import Implementation
from hw.host.errors import BitfabricError
from hw.ir.frames import Batch
from hw.model import Model


def _available(made: Implementation) -> str | None:
    if made.model.frontend.engine != "qonnx":
        return "qonnx does not execute FINN's graph, which this is; use --engine finn"
    return None


def _run(made: Implementation, x: np.ndarray, options: RunOptions) -> Batch:
    return made.model.reference.run(x)


def _difference(model: Model, x: np.ndarray) -> str | None:
    if model.frontend.engine != "qonnx":
        return None  # FINN's graph has no QONNX reference; FINN's execution is its reference.
    try:
        model.frontend.compare(model.graph, x)
    except BitfabricError as error:
        return str(error)
    return None


ENGINE = Engine(
    "qonnx",
    Traits("QONNX reference", "the model in floating point, as onnxruntime and qonnx execute it", executes_model=True),
    _run,
    _available,
    _difference,
)
