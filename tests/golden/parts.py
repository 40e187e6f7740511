"""The parts of the golden replay: each is a function from an empty folder to files by name."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.golden import cells, command_line, record
from tests.golden.networks import NETWORKS

PARTS: dict[str, Callable[[Path], dict[str, str]]] = {
    **{f"network-{name}": partial(record.record, name) for name in NETWORKS},
    "kernels": record.kernels,
    "modules": record.modules,
    "help": command_line.helps,
    "errors": command_line.errors,
    "refusals": command_line.refusals,
    "cells-quick": cells.quick,
    **{f"cells-{name}": partial(cells.family, name) for name in ("ecp5", "ice40", "gowin", "xc7")},
    **{f"cells-network-{name}": partial(cells.network, name) for name in cells.SMALL},
}
SLOW = {part for part in PARTS if part.startswith("cells-") and part != "cells-quick"}
"""Parts that take a minute of synthesis."""
