"""Child processes that end when this process ends, also where it is killed.

Every program that bitfabric starts is started here. It runs in a process group of its own, together with a guard: a
shell that waits for the end of a pipe, which only this process can write to, and then kills the group. So the program
and its own child processes end with this process, whatever ends it. (Linux's ``PR_SET_PDEATHSIG`` depends on the thread
that starts a program, does not reach grandchildren, and needs code between fork and exec.) A signal of the terminal
reaches only this process, which ends its programs while it handles it.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT, CompletedProcess, TimeoutExpired
from typing import Any

from hw.host.errors import ToolError

__all__ = ["DEVNULL", "PIPE", "STDOUT", "CompletedProcess", "Process", "TimeoutExpired", "ending", "run"]

_GUARD = ("/bin/sh", "-c", "read -r _; kill -9 -$$")
"""Kills its own process group, which is that of the program, when its standard input ends."""


class Process(subprocess.Popen[Any]):
    """A program in a process group of its own, which ends at the latest with this process.

    ``options`` are those of ``subprocess.Popen``; the standard input is empty unless they say otherwise. When the
    program has ended, what it has left running in its group is killed. Raises ToolError where the program cannot be
    started.
    """

    def __init__(self, command: Sequence[str | Path], **options: Any) -> None:
        try:
            self._guard, self._life = _start_guard()
            try:
                super().__init__(command, **{"stdin": DEVNULL, **options}, process_group=self._guard.pid)
            except BaseException:
                self._end_group()
                raise
        except OSError as error:
            raise ToolError(f"cannot start {command[0]}: {error.strerror}") from None

    def poll(self) -> int | None:
        """The exit status, or None while the program runs."""
        status = super().poll()
        if status is not None:
            self._end_group()
        return status

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the program. Raises TimeoutExpired after ``timeout`` seconds."""
        status = super().wait(timeout)
        self._end_group()
        return status

    def kill(self) -> None:
        """Kill the program and its child processes."""
        self._end_group()

    def _end_group(self) -> None:
        """Kill the group. The guard is not waited for before, so its number still belongs to the group."""
        if self._guard.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._guard.pid, signal.SIGKILL)
            self._guard.wait()
            os.close(self._life)


def _start_guard() -> tuple[subprocess.Popen[bytes], int]:
    """A guard in a new process group, and the end of its pipe that this process holds."""
    end, life = os.pipe()
    try:
        return subprocess.Popen(_GUARD, stdin=end, stdout=DEVNULL, stderr=DEVNULL, process_group=0), life
    except BaseException:
        os.close(life)
        raise
    finally:
        os.close(end)


def run(command: Sequence[str | Path], timeout: float | None = None, **options: Any) -> CompletedProcess[str]:
    """Run a program to its end; standard output and error are captured as text unless ``options`` say otherwise.

    Any exception, an interrupt too, kills the program. Raises TimeoutExpired after ``timeout`` seconds, and ToolError
    where the program cannot be started.
    """
    defaults = {"stdout": PIPE, "stderr": PIPE, "text": True, "errors": "replace"}
    with Process(command, **{**defaults, **options}) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return CompletedProcess(command, process.returncode, out, err)


def ending(status: int) -> str:
    """How a program ended that printed nothing: its exit status, or the signal that killed it."""
    if status >= 0:
        return f"exit status {status}"
    reason = "out of memory?" if status == -signal.SIGKILL else signal.strsignal(-status)
    return f"killed by signal {-status} ({reason})"
