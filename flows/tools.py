"""Versions of the tools that a result may depend on."""

import platform
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from hw.families import find_family, spec_of
from hw.host.errors import BitfabricError, ToolError
from hw.native import compiler
from hw.simulation import verilator
from hw.synth import nextpnr, yosys

PACKAGES = ("bitfabric", "finn-plus", "numpy", "onnx", "onnxruntime", "qonnx", "scipy")


@cache
def tools(family: str) -> dict[str, str]:
    """Name -> version of everything that a result for a family may depend on, without the tools that are missing."""
    found = {"python": platform.python_version()}
    if (compiled := compiler.version()) is not None:
        found["c++"] = compiled
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    with suppress(BitfabricError):
        found["verilator"] = verilator.version()
    with suppress(ToolError):
        found["yosys"] = yosys.version()
    if (toolchain := spec_of(find_family(family)).toolchain) is not None:
        with suppress(ToolError):
            found["nextpnr"] = nextpnr.version(toolchain)
    return found
