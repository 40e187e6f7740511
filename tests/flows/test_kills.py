"""A build that is killed leaves no process behind, whichever tool is running, and the next one goes on."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

TOOLS = ("verilator_bin", "cc1plus", "libyosys", "nextpnr")


def processes(mark: str) -> dict[int, str]:
    """The processes, zombies apart, whose environment has KILLED=mark: number -> command line."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            marked = f"KILLED={mark}".encode() in (folder / "environ").read_bytes().split(b"\0")
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if marked and state != "Z":
            found[int(folder.name)] = command
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_build_leaves_no_tool_behind_and_the_next_one_goes_on(small, tmp_path):
    command = [
        sys.executable,
        "-c",
        "from flows.cli.main import main; main()",
        "build",
        str(small / "model.onnx"),
        "-t",
        "ulx3s-12f",
        "--fps",
        "1e6",
    ]
    command += ["-o", str(tmp_path / "build"), "--netlist-frames", "4"]
    environment = os.environ | {"BITFABRIC_CACHE": str(tmp_path / "cache")}
    for tool in TOOLS:
        mark = f"{tmp_path}-{tool}"
        build = subprocess.Popen(command, env=environment | {"KILLED": mark}, stderr=subprocess.DEVNULL)
        while not any(tool in line for line in processes(mark).values()):
            assert build.poll() is None, f"the build ended before {tool} was seen"
            time.sleep(0.01)
        build.kill()
        build.wait()
        end = time.monotonic() + 60
        while left := processes(mark):
            assert time.monotonic() < end, left
            time.sleep(0.01)
    assert subprocess.run(command, env=environment, stdout=subprocess.DEVNULL).returncode == 0
