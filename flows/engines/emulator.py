"""The integer dataflow graph in NumPy."""

from flows.engines.engine import Engine, RunOptions, Traits
from flows.implementation import Implementation
from hw.ir.frames import Batch
from hw.simulation.emulator import Emulator


def _run(made: Implementation, x: Batch, options: RunOptions) -> Batch:
    return Emulator(made.graph).run(x)


ENGINE = Engine(
    "emulator",
    Traits("emulator", "the integer dataflow graph against the reference"),
    _run,
    difference=lambda model, x: None,  # all other engines are compared with this one
)
