"""Checks which tools are installed on this machine, and how to install the missing ones."""

import os
import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from hw.host.errors import BitfabricError


def _wheel(name: str, extra: str = "") -> Callable[[], str]:
    def find() -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            raise BitfabricError(f"pip install 'bitfabric[{extra}]'" if extra else f"pip install {name}") from None

    return find


def _compiler() -> str:
    from hw.native.compiler import compiler

    return compiler()


def _verilator() -> str:
    from hw.simulation.verilator import verilator

    return str(verilator()[0])


def _yosys() -> str:
    from hw.synth import yosys

    return yosys.version()


def _router(family: str) -> Callable[[], str]:
    def find() -> str:
        from hw.families import find_family, reference_device
        from hw.synth import nextpnr, tool

        tools = nextpnr.toolchain(reference_device(find_family(family)))
        for each in (tools.router, tools.packer):
            tool.command(each)
        return nextpnr.version(tools)

    return find


def _loader() -> str:
    from flows.engines.program import loader

    return loader()[0]


def _vcd2fst() -> str:
    if found := shutil.which("vcd2fst"):
        return found
    raise BitfabricError("apt-get install gtkwave")


def _vivado() -> str:
    path = os.environ.get("XILINX_VIVADO") or shutil.which("vivado")
    if not path:
        raise BitfabricError("install Vivado and set XILINX_VIVADO")
    return path


PROBES: tuple[tuple[str, str, bool, Callable[[], str]], ...] = (
    ("torch", "training", False, _wheel("torch", "train")),
    ("brevitas", "quantized layers", False, _wheel("brevitas", "train")),
    ("qonnx", "model format and reference", True, _wheel("qonnx")),
    ("C++ compiler", "RTL simulation", True, _compiler),
    ("Verilator", "RTL simulation", True, _verilator),
    ("Yosys", "synthesis", True, _yosys),
    ("nextpnr-ecp5", "place and route, bitstream", True, _router("ecp5")),
    ("nextpnr-ice40", "the same for iCE40", False, _router("ice40")),
    ("nextpnr-himbaechel", "the same for Gowin, with Apycula", False, _router("gowin")),
    ("openFPGALoader", "programming boards", False, _loader),
    ("finn-plus", "FINN's estimates and emulator", False, _wheel("finn-plus", "finn")),
    ("vcd2fst", "waveforms as .fst (.vcd needs nothing)", False, _vcd2fst),
    ("Vivado", "FINN's bitstreams for AMD boards", False, _vivado),
)


def examine() -> list[dict[str, Any]]:
    """One finding for each tool: ``name``, ``purpose``, ``needed``, ``found`` and ``remedy``.

    ``found`` is the version or the path; None for a missing tool, for which ``remedy`` states how to install it.
    """
    findings = []
    for name, purpose, needed, probe in PROBES:
        found, remedy = None, None
        try:
            found = probe()
        except BitfabricError as error:
            remedy = str(error)
        findings.append({"name": name, "purpose": purpose, "needed": needed, "found": found, "remedy": remedy})
    return findings
