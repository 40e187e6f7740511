"""Child processes: they end with their parent, however it ends, and take their own children with them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hw.host.errors import ToolError
from hw.native import process

ROOT = Path(__file__).parents[2]
FAMILY = (
    "import os, pathlib, subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "part = pathlib.Path('part'); part.write_text(f'{os.getpid()} {child.pid}'); part.rename('pids')\n"
    "time.sleep(600)\n"
)
"""A tool with a child process of its own, as a compiler's driver or a build tool has."""
WAYS = {
    "run": "process.run(command, cwd=folder)",
    "start": "with process.Process(command, cwd=folder) as started: started.wait()",
    "thread": "thread = threading.Thread(target=tool.run, args=(command, folder, folder / 'log', 'work'))\n"
              "thread.start(); thread.join()",
}  # fmt: skip


def runs(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(what: object, seconds: float = 60) -> None:
    """Wait until ``what()`` is true."""
    end = time.monotonic() + seconds
    while not what():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("way", WAYS)
def test_a_tool_and_its_children_end_when_their_parent_is_killed(way: str, tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, threading\nfrom hw.native import process\nfrom hw.synth import tool\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\ncommand = [sys.executable, '-c', {FAMILY!r}]\n{WAYS[way]}"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    wait_for((tmp_path / "pids").exists)
    pids = [int(each) for each in (tmp_path / "pids").read_text().split()]
    assert all(map(runs, pids))
    parent.kill()
    assert parent.wait(60) == -signal.SIGKILL
    wait_for(lambda: not any(map(runs, pids)))


def test_what_a_program_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    code = FAMILY.rpartition("time.sleep")[0]  # ends at once and leaves its child
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    for _ in range(3):
        done = process.run(
            [sys.executable, "-c", code + "child.returncode = 0"], cwd=tmp_path, stdout=None, stderr=None
        )
        assert done.returncode == 0
    if sys.platform == "linux":
        pid = int((tmp_path / "pids").read_text().split()[1])
        wait_for(lambda: not runs(pid))
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_machine_that_starts_no_more_programs_is_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(process, "_start_guard", refuse)
    with pytest.raises(ToolError, match=r"^cannot start yosys: Resource temporarily unavailable$"):
        process.run(["yosys"])


def test_exit_status_output_time_limit_and_a_program_that_does_not_start(tmp_path: Path) -> None:
    done = process.run([sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr); exit(200)"])
    assert (done.returncode, done.stdout, done.stderr) == (200, "out\n", "err\n")
    assert process.run([sys.executable, "-c", "import os; os.kill(os.getpid(), 15)"]).returncode == -signal.SIGTERM
    assert process.run([sys.executable, "-c", "print(repr(input()))"]).returncode == 1  # the standard input is empty
    started = process.Process([sys.executable, "-c", "import time; time.sleep(600)"])
    with pytest.raises(process.TimeoutExpired):
        started.wait(0.01)
    started.kill()
    assert started.wait() == -signal.SIGKILL
    with pytest.raises(process.TimeoutExpired):
        process.run([sys.executable, "-c", "import time; time.sleep(600)"], timeout=0.01)
    with pytest.raises(ToolError, match=r"^cannot start .*missing: No such file or directory$"):
        process.run([tmp_path / "missing"])
