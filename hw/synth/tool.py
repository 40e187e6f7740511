"""Finds external tools and runs them as subprocesses.

Output goes to a log file; a failure becomes a one-line error; an interrupt, or the end of this process for whatever
reason, kills the tool with its child processes (``hw.native.process``).
"""

import contextlib
import hashlib
import os
import re
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from importlib.metadata import version as wheel_version
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

from hw.fabric.toolchain import Tool
from hw.host.errors import BitfabricError, ToolError
from hw.host.files import is_full, read_json, using
from hw.host.text import one_line
from hw.native import cache, process
from hw.native.library import processor


def locate(module: str, entry: str, native: str, install: str) -> list[str]:
    """The command line that starts a tool.

    The pip wheel is preferred because its version is pinned. Raises BitfabricError where neither is installed.

    Args:
        module: import name of the wheel.
        entry: Python code that starts the wheel's tool.
        native: name of the program on PATH that is used without the wheel.
        install: distribution name of the wheel, for the error message.
    """
    if find_spec(module) is not None:
        return [sys.executable, "-c", entry]
    if found := which(native):
        return [found]
    raise BitfabricError(f"no {native}: pip install {install}, or put {native} on PATH")


def on_path(tool: Tool) -> str | None:
    """The path of a native program, by any of its names; None where there is none."""
    return next(filter(None, map(which, (tool.name, *tool.others))), None)


def command(tool: Tool) -> list[str]:
    """The command line of a place-and-route tool. Raises BitfabricError where it is missing."""
    if not tool.wheel:
        if native := on_path(tool):
            return [native]
        raise BitfabricError(f"no {tool.name} on PATH: `bitfabric doctor` says where to get it")
    found = locate(tool.wheel.replace("-", "_"), tool.entry, tool.name, tool.wheel)
    if not tool.wasm or found[0] != sys.executable:
        return found
    return [*found[:-1], _with_code(tool, _machine_code(tool))]


def _machine_code(tool: Tool) -> Path:
    """The folder with the machine code of a WebAssembly tool, which its first start makes.

    The runtime of these wheels writes the code in place and maps it into memory, so two first starts at the same time
    end a third with a bus error. Here one process makes it, and the others wait. Raises ToolError where it cannot be
    made.
    """

    def make(folder: Path) -> None:
        done = process.run([sys.executable, "-c", _with_code(tool, folder), "--help"])
        if not any(path.is_file() for path in folder.rglob("*")):
            lines = (done.stderr or done.stdout).strip().splitlines() or [process.ending(done.returncode)]
            full = f"; the disk of {folder.parent} is full, free some space there" if is_full(folder) else ""
            raise ToolError(f"{tool.name} cannot be compiled: {lines[-1].strip()}{full}")

    # The runtime refuses code for instructions that this processor lacks, and would write its own over it.
    content = (tool, wheel_version(tool.wheel), wheel_version("wasmtime"), processor())
    return cache.entry("tools", hashlib.sha256(repr(content).encode()).hexdigest()[:24], make)


def _with_code(tool: Tool, folder: Path) -> str:
    """Python code that runs a WebAssembly tool whose machine code is in ``folder``.

    The runtime looks for the user's own cache, too, which a user without a home folder has not.
    """
    return f"import os; os.environ['YOWASP_CACHE_DIR'] = os.environ['XDG_CACHE_HOME'] = {str(folder)!r}; {tool.entry}"


def version(distribution: str, native: str, flag: str) -> str:
    """Name and version of the tool that ``locate`` would choose; ``native flag`` prints that of a native program."""
    if find_spec(distribution.replace("-", "_")) is not None:
        return f"{distribution} {wheel_version(distribution)}"
    done = process.run([native, flag])
    return (done.stdout or done.stderr).strip().splitlines()[0]


def run(
    command: Sequence[str], folder: Path, log: Path, what: str, environment: Mapping[str, str] | None = None
) -> None:
    """Run ``command`` in ``folder``, with its output in the file ``log``.

    ``environment``: variables for the tool, beside those of this process. Raises BitfabricError with the first error
    line of the log; ``what`` names the operation in it.
    """
    run_all([(command, log)], folder, what, 1, environment)


def run_all(
    commands: Sequence[tuple[Sequence[str], Path]],
    folder: Path,
    what: str,
    jobs: int,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run ``commands``, pairs (command, log), in ``folder``, at most ``jobs`` at a time.

    The first command that fails ends the others and raises BitfabricError. An interrupt from the terminal reaches only
    this process, which then kills the tools.
    """
    waiting, running = deque(commands), dict[process.Process, Path]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                command, log = waiting.popleft()
                with using(log), open(log, "w") as file:
                    merged = os.environ | dict(environment or {})
                    started = process.Process(command, cwd=folder, env=merged, stdout=file, stderr=process.STDOUT)
                running[started] = log
            for started, log in list(running.items()):
                with contextlib.suppress(process.TimeoutExpired):
                    status = started.wait(0.05)
                    del running[started]
                    if status or is_full(folder):  # Some tools end well though their files are cut off.
                        raise BitfabricError(f"{what} failed: {_reason(log, status)}; log: {log}")
    finally:
        for started in running:
            started.kill()
            started.wait()


def _reason(log: Path, status: int) -> str:
    """Why a tool failed, in one line: the first error in its log, the signal, or the last line of the log."""
    if is_full(log.parent):
        return f"the disk of {log.parent} is full; free some space there, or build in another folder"
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    for line in lines:
        if re.search(r"\berror:", line, re.IGNORECASE):
            return re.sub(r"^error:\s*", "", line, flags=re.IGNORECASE)
    return lines[-1] if lines and status >= 0 else process.ending(status)


def read_output(path: Path) -> Any:
    """The content of a JSON file that a tool has written. Raises ToolError for one that is not whole."""
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise ToolError(
            f"{path} is not whole ({one_line(error, 80)}); free some space on its disk and build again"
        ) from None


def publish(made: Path, name: Path) -> Path:
    """Rename the finished file ``made`` to ``name`` and return ``name``.

    The renaming is atomic, so an interrupted run leaves no incomplete file of that name.
    """
    made.replace(name)
    return name
