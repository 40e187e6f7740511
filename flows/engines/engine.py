"""The interface of an engine."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flows.implementation import Implementation
from hw.host.errors import BitfabricError
from hw.ir.frames import Batch
from hw.model import Model

Progress = Callable[[int, int], None]
"""A callback with the number of finished frames and of all frames."""


@dataclass(frozen=True)
class RunOptions:
    """Options of a run, each for the engines with the corresponding trait.

    ``trace``: file (``.vcd``, ``.fst``) for the waveform. For a board: ``port``, that of its link (None: search for
    it), ``baud`` (None: that of the image), ``progress``, and ``counters``, which receives the board's counters.
    """

    trace: Path | None = None
    port: str | None = None
    baud: int | None = None
    progress: Progress | None = None
    counters: dict[str, int] | None = None


@dataclass(frozen=True)
class Traits:
    """The properties of an engine. ``title`` and ``what`` describe, in reports, what a build verified with it."""

    title: str
    what: str
    executes_model: bool = False
    """It executes the model itself, not the integer graph."""
    waveform: bool = False
    """It can write a waveform."""
    on_board: bool = False
    """It runs on a board behind a serial port."""


def _of_model(name: str, made: Implementation) -> str | None:
    engine = made.model.frontend.engine
    return None if engine == name else f"{name} does not execute {made.model.path}; use --engine {engine}"


def _difference(name: str, model: Model, x: Batch) -> str | None:
    if model.frontend.engine != name:
        return None
    try:
        model.frontend.compare(model.graph, x)
    except BitfabricError as error:
        return str(error)
    return None


@dataclass(frozen=True)
class Engine:
    """A way to compute a model's outputs.

    ``available`` returns the reason why a build cannot be run with the engine, or None if it can. ``run`` computes the
    model's outputs for frames ``(N, *shape)`` in the model's own layout, by name for several inputs; it raises
    BitfabricError where the run fails. ``difference`` returns the first difference from the emulator on at most
    ``compared_frames`` frames, without a build; it is None for an engine that needs a build.
    """

    name: str
    traits: Traits
    run: Callable[[Implementation, Batch, RunOptions], Batch]
    available: Callable[[Implementation], str | None] = lambda made: None
    difference: Callable[[Model, Batch], str | None] | None = None
    compared_frames: int = 256

    @classmethod
    def of_model(cls, name: str, title: str, what: str) -> "Engine":
        """The engine that executes the models of a front end that names it. It differs from no model of others."""
        return cls(
            name,
            Traits(title, what, executes_model=True),
            lambda made, x, options: made.model.reference.run(x),
            partial(_of_model, name),
            partial(_difference, name),
        )
