"""The parts of the golden replay: each is a function from an empty folder to files by name."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.golden import record
from tests.golden.networks import NETWORKS

PARTS: dict[str, Callable[[Path], dict[str, str]]] = {
    **{f"network-{name}": partial(record.record, name) for name in NETWORKS},
}
SLOW: set[str] = set()
