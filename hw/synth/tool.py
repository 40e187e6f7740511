"""Finds a tool and runs it as a process of its own: the log in a file, one line of error, killed with its children."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from importlib.metadata import version as wheel_version
from importlib.util import find_spec
from pathlib import Path
from shutil import which

from hw.fabric.toolchain import Tool
from hw.host.errors import BitfabricError


def locate(module: str, entry: str, native: str, install: str) -> list[str]:
    """The command line of a tool: the pip wheel ``module`` (Python code ``entry``), or ``native`` on PATH.

    The wheel goes first because its version is pinned. Raises BitfabricError where there is neither.
    """
    if find_spec(module) is not None:
        return [sys.executable, "-c", entry]
    if found := which(native):
        return [found]
    raise BitfabricError(f"no {native}: pip install {install}, or put {native} on PATH")


def command(tool: Tool) -> list[str]:
    """The command line of a place-and-route tool. Raises BitfabricError where it is missing."""
    return locate(tool.wheel.replace("-", "_"), tool.entry, tool.name, tool.wheel)


def version(distribution: str, native: str, flag: str) -> str:
    """Version of the tool that ``locate`` would choose."""
    if find_spec(distribution.replace("-", "_")) is not None:
        return f"{distribution} {wheel_version(distribution)}"
    done = subprocess.run([native, flag], capture_output=True, text=True)
    return (done.stdout or done.stderr).strip().splitlines()[0]


def run(command: Sequence[str], folder: Path, log: Path, what: str) -> None:
    """Run ``command`` in ``folder``, all it prints into ``log``. Raises BitfabricError with the first error line."""
    run_all([(command, log)], folder, what, 1)


def run_all(commands: Sequence[tuple[Sequence[str], Path]], folder: Path, what: str, jobs: int) -> None:
    """Run commands, each with its log, ``jobs`` at a time. The first one that fails ends the others.

    Each tool runs in a session of its own: an interrupt reaches only this process, which then ends the tools.
    """
    waiting, running = deque(commands), dict[subprocess.Popen, Path]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                command, log = waiting.popleft()
                with open(log, "w") as file:
                    process = subprocess.Popen(
                        command,
                        cwd=folder,
                        stdin=subprocess.DEVNULL,
                        stdout=file,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                running[process] = log
            for process, log in list(running.items()):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    status = process.wait(0.05)
                    del running[process]
                    if status:
                        raise BitfabricError(f"{what} failed: {_reason(log, status)}; log: {log}")
    finally:
        for process in running:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _reason(log: Path, status: int) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    for line in lines:
        if re.search(r"\berror:", line, re.IGNORECASE):
            return re.sub(r"^error:\s*", "", line, flags=re.IGNORECASE)
    if status < 0:
        return f"killed by signal {-status}" + (" (out of memory?)" if status == -signal.SIGKILL else "")
    return lines[-1] if lines else f"exit status {status}"


def publish(made: Path, name: Path) -> Path:
    """Give a finished product its name in one step, so that an interrupted run leaves none half written."""
    made.replace(name)
    return name
