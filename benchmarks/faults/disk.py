"""Full disks: builds and trainings whose output folder is on a disk that is too small.

Each must end in one line that names a path, or, where the disk is large enough, with all products. Afterwards the same
command, on a disk with room, must go on from what is there and leave the products of an undisturbed run. Only root may
mount the small disks.
"""

import random
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.faults.campaign import Part
from benchmarks.faults.kills import commands, products
from tests.builders.faulty_disk import small_disk

RUNS = 20
"""Disks for each command in the whole campaign."""


def run(size: float, seed: int) -> Part:
    """Fill disks; ``size`` scales their number."""
    part = Part("disk", ("command", "full disks", "one line", "enough room", "wrong"))
    draw = random.Random(seed)
    with TemporaryDirectory() as folder:
        root = Path(folder)
        for name, command, again, _ in commands(root):
            part.add(name, _fill(name, command, again, max(1, round(RUNS * size)), root, draw, part))
    return part


def _fill(
    name: str, command: list[str], again: list[str], count: int, root: Path, draw: random.Random, part: Part
) -> Counter[str]:
    """Run a command on ``count`` disks of random sizes; the outcomes."""
    whole = root / f"{name}-whole"
    subprocess.run([*command, "-o", str(whole)], check=True, capture_output=True)
    wanted, outcomes = products(whole), Counter[str]()
    needed = sum(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    for number in range(count):
        room, moved = draw.randrange(4096, needed), root / f"{name}-{number}"
        with small_disk(room) as disk:
            ended = subprocess.run([*command, "-o", str(disk / "out")], capture_output=True, text=True)
            if (disk / "out").exists():
                shutil.copytree(disk / "out", moved)
        lines = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
        resumed = subprocess.run([*command, *again, "-o", str(moved)], capture_output=True, text=True)
        if ended.returncode and (ended.returncode > 2 or len(lines) != 1 or "Traceback" in ended.stderr):
            outcome, why = "wrong", ended.stderr[-500:]
        elif resumed.returncode or products(moved) != wanted:
            outcome, why = "wrong", f"the second run: {resumed.stderr[-500:] or 'other products'}"
        else:
            outcome, why = ("one line" if ended.returncode else "enough room"), ""
        outcomes[outcome] += 1
        if why:
            part.wrong.append(f"{name} on a disk of {room:,} of {needed:,} bytes: {why}")
    return outcomes
