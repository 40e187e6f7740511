"""Hardware side of bitfabric: streams, cycles and LUTs. It starts from a QONNX file and never imports training code.

    from hw import Emulator, lower, simulate

    graph = lower("model.onnx")          # the exact integer dataflow graph
    outputs = Emulator(graph).run(frames)
    print(simulate(graph, 4).interval)   # cycles between frames

Importing ``hw`` is quick; a module is imported with the first name that needs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hw.boards.targets import find_target
    from hw.host.errors import BitfabricError, UsageError
    from hw.host.steps import HostStep, step
    from hw.ir.graph import Graph, Node, Port
    from hw.ir.kernel import Folding, Kernel
    from hw.ir.stream import Stream
    from hw.kernels.matrix_vector.kernel import MatrixVector
    from hw.kernels.threshold.kernel import Threshold
    from hw.lowering.lower import lower
    from hw.passes.fifos import insert_fifos
    from hw.passes.fold import apply_folding, current_folding
    from hw.passes.lanes import connected, insert_width_converters
    from hw.simulation.emulator import Emulator
    from hw.timing.cycles import Deadlock, simulate, steady, steady_state
    from hw.timing.fifo_sizing import size_fifos

_HOMES = {
    "BitfabricError": "hw.host.errors",
    "Deadlock": "hw.timing.cycles",
    "Emulator": "hw.simulation.emulator",
    "Folding": "hw.ir.kernel",
    "Graph": "hw.ir.graph",
    "HostStep": "hw.host.steps",
    "Kernel": "hw.ir.kernel",
    "MatrixVector": "hw.kernels.matrix_vector.kernel",
    "Node": "hw.ir.graph",
    "Port": "hw.ir.graph",
    "Stream": "hw.ir.stream",
    "Threshold": "hw.kernels.threshold.kernel",
    "UsageError": "hw.host.errors",
    "apply_folding": "hw.passes.fold",
    "connected": "hw.passes.lanes",
    "current_folding": "hw.passes.fold",
    "find_target": "hw.boards.targets",
    "insert_fifos": "hw.passes.fifos",
    "insert_width_converters": "hw.passes.lanes",
    "lower": "hw.lowering.lower",
    "simulate": "hw.timing.cycles",
    "size_fifos": "hw.timing.fifo_sizing",
    "steady": "hw.timing.cycles",
    "steady_state": "hw.timing.cycles",
    "step": "hw.host.steps",
}

__all__ = [
    "BitfabricError",
    "Deadlock",
    "Emulator",
    "Folding",
    "Graph",
    "HostStep",
    "Kernel",
    "MatrixVector",
    "Node",
    "Port",
    "Stream",
    "Threshold",
    "UsageError",
    "apply_folding",
    "connected",
    "current_folding",
    "find_target",
    "insert_fifos",
    "insert_width_converters",
    "lower",
    "simulate",
    "size_fifos",
    "steady",
    "steady_state",
    "step",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hw' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
