"""The engines, which execute frames: the model itself, the integer graph, the RTL, the netlist, the board.

``ENGINES`` lists their names in the order in which each is verified against the one before it. Each engine is a module
of that name with the constant ``ENGINE``; ``find_engine`` imports it at the first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from flows.engines.engine import Engine

EngineName = Literal["qonnx", "onnxruntime", "finn", "emulator", "rtl", "netlist", "board"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)


def find_engine(name: str) -> "Engine":
    """The engine of this name. Raises UsageError with the names there are."""
    if name not in ENGINES:
        from hw.host.errors import UsageError

        raise UsageError(f"no engine {name}; there are {', '.join(ENGINES)}")
    found: Engine = import_module(f"flows.engines.{name}").ENGINE
    return found
