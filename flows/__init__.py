"""Pipelines over ``quant`` and ``hw``: build, FINN, reports, command line."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.accelerator import Accelerator
    from flows.agreement import assert_engines_agree
    from flows.cost import HardwareCost
    from flows.estimates import estimate_build
    from flows.pipeline import build

_MODULES = {
    "Accelerator": "accelerator",
    "HardwareCost": "cost",
    "assert_engines_agree": "agreement",
    "build": "pipeline",
    "estimate_build": "estimates",
}
"""Public name -> module that defines it. The two always differ, because an imported module would hide the name."""

__all__ = ["Accelerator", "HardwareCost", "assert_engines_agree", "build", "estimate_build"]


def __getattr__(name: str) -> Any:
    # Heavy modules are imported when they are first used: `bitfabric --help` answers at once.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"flows.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
