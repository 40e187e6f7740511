"""The RTL, simulated with Verilator."""

from flows.engines.engine import Engine, RunOptions, Traits
from flows.implementation import Implementation
from flows.simulation import simulate
from flows.verify import check_rtl
from hw.families.ecp5 import ECP5
from hw.host.errors import BitfabricError
from hw.ir.frames import Batch
from hw.model import Model
from hw.passes.lanes import connected
from hw.rtl.design import generate


def _run(made: Implementation, x: Batch, options: RunOptions) -> Batch:
    outputs, _ = simulate(made.hardware, made.rtl, made.graph.encode(x), options.trace, made.clock_mhz)
    return made.graph.decode(outputs)


def _difference(model: Model, x: Batch) -> str | None:
    hardware = connected(model.graph)
    try:
        check_rtl(hardware, ECP5, model.graph.encode(x), generate(hardware, ECP5))
    except BitfabricError as error:
        return str(error)
    return None


ENGINE = Engine(
    "rtl",
    Traits("RTL", "Verilator against the emulator to the integer, against the cycle model to the cycle", waveform=True),
    _run,
    difference=_difference,
    compared_frames=4,
)
