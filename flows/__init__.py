"""Pipelines over ``quant`` and ``hw``: build, FINN, reports, command line."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.accelerator import Accelerator
    from flows.agreement import assert_engines_agree
    from flows.build import build

__all__ = ["Accelerator", "assert_engines_agree", "build"]

_MODULES = {"Accelerator": "accelerator", "assert_engines_agree": "agreement", "build": "build"}


def __getattr__(name: str) -> Any:
    # Heavy modules are imported when they are first used: `bitfabric --help` answers at once.
    if name in __all__:
        value = getattr(import_module(f"flows.{'accelerator' if name == 'Accelerator' else 'build'}"), name)
        globals()[name] = value  # in place of the module of the same name, which its import has put there
        return value
    raise AttributeError(name)
