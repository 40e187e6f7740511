"""For a user's own tests: all engines give the same for a model, or the test fails and says where they part.

In a pytest file, three lines check an accelerator from the QONNX file to the hardware's cycles::

    from flows import assert_engines_agree

    def test_accelerator():
        assert_engines_agree("model.onnx")
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from flows import verify
from hw import finn
from hw import model as model_file
from hw.families.ecp5 import ECP5
from hw.host.errors import BitfabricError, UsageError
from hw.ir.graph import Graph
from hw.passes.lanes import insert_width_converters
from hw.simulation.emulator import Emulator
from hw.verification.reference import compare, random_frames

ENGINES = ("qonnx", "finn", "emulator", "rtl")
"""What can be held against the emulator; ``finn`` is FINN's Python execution of our graph in its dialect."""
MOST = {"qonnx": 256, "finn": 4, "emulator": 256, "rtl": 4}
"""Frames that each engine sees at most."""


def assert_engines_agree(
    model: str | os.PathLike[str], x: np.ndarray | None = None, engines: Sequence[str] = ENGINES, *, seed: int = 0
) -> None:
    """Run frames ``x`` (N, *shape), random ones by default, through engines; raise AssertionError where they differ.

    ``model`` is a QONNX file or FINN's dataflow graph. Integers must be equal, and the RTL's cycles those of the cycle
    model; against QONNX only values within float32's rounding of a decision may differ (see
    ``hw.verification.reference.compare``).
    Engines that cannot be had for this model raise BitfabricError; leave them out by ``engines``.
    """
    __tracebackhide__ = True
    path = Path(model)
    if unknown := sorted(set(engines) - set(ENGINES)):
        raise UsageError(f"no engine {unknown[0]} to compare; there are {', '.join(ENGINES)}")
    graph = model_file.graph(path)
    frames = random_frames(graph, max(MOST.values()), seed) if x is None else np.asarray(x)
    for engine in engines:
        difference = _difference(engine, path, graph, frames[: MOST[engine]])
        if difference:
            raise AssertionError(f"{path}: {engine} and the emulator differ: {difference}")


def _difference(engine: str, path: Path, graph: Graph, x: np.ndarray) -> str | None:
    """Where an engine differs from the emulator, in words."""
    finns = model_file.of_finn(path)
    match engine:
        case "qonnx":
            if finns:
                return None  # FINN's graph has no QONNX to hold it against; its execution is its reference.
            compared = compare(graph, path, x)
            return compared.describe() if compared.mismatches != compared.explained else None
        case "finn":
            from flows.finn import execute

            made = path if finns else finn.write(finn.adapted(graph))
            return verify.first_difference(execute(made, x), np.asarray(Emulator(graph).run(x)))
        case "rtl":
            try:
                verify.check_rtl(insert_width_converters(graph), ECP5, graph.encode(x))
            except BitfabricError as error:
                return str(error)
    return None
