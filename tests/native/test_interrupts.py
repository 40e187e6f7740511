"""An interrupt waits for the end of an import, where libraries ignore it or stay imported by half."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULE = """
import pathlib, time
try:
    print("importing", flush=True)
    while not pathlib.Path("go").exists():
        time.sleep(0.01)
except BaseException:
    print("interrupted in the import", flush=True)
print("imported", flush=True)
"""
PROGRAM = """
import signal, sys, time
from hw.native import interrupts
interrupts.PATIENCE = float(sys.argv[1])
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where these tests run in the background
interrupts.raise_interrupts()
sys.path.insert(0, "")
try:
    import module
    time.sleep(600)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.quick
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("patience", "expected"),
    [(600, "importing\nimported\ninterrupted\n"), (0, "importing\ninterrupted in the import\nimported\n")],
)
def test_an_interrupt_waits_for_the_end_of_an_import(
    number: signal.Signals, patience: int, expected: str, tmp_path: Path
) -> None:
    (tmp_path / "module.py").write_text(MODULE)
    command = [sys.executable, "-c", PROGRAM, str(patience)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        process.send_signal(number)
        if patience:
            (tmp_path / "go").touch()
            said += process.stdout.read()
        else:
            said += process.stdout.readline() + process.stdout.readline()
            process.kill()
    assert said == expected
