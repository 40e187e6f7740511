"""The system's C++ compiler."""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from hw.host.errors import ToolError
from hw.host.files import is_full
from hw.native import process


@cache
def compiler() -> str:
    """The C++ compiler: ``$CXX``, ``c++``, ``g++`` or ``clang++``. Raises ToolError where there is none."""
    for name in filter(None, (os.environ.get("CXX"), "c++", "g++", "clang++")):
        if found := shutil.which(name):
            return found
    raise ToolError("no C++ compiler for the timing model and the simulators: apt-get install g++, or set CXX")


@cache
def version() -> str | None:
    """The first line that the C++ compiler prints as its version; None where there is no compiler."""
    try:
        done = process.run([compiler(), "--version"])
    except ToolError:
        return None
    return next(iter(done.stdout.splitlines()), "").strip()


def run(command: Sequence[str | Path], folder: Path, what: str, environment: Mapping[str, str] | None = None) -> None:
    """Run a tool in ``folder``. Raises ToolError with the first error that it prints; ``what`` names the tool."""
    merged = os.environ | dict(environment or {})
    done = process.run([str(c) for c in command], cwd=folder, env=merged)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or [process.ending(done.returncode)]
        first = next((line for line in lines if re.search(r"error: |%(Error|Warning)-", line)), lines[0])
        full = f"; the disk of {folder} is full, free some space there" if is_full(folder) else ""
        raise ToolError(f"{what} failed: {first.strip()}{full}")
