"""SIGKILL at random times of a build and of a training: the same command again must give the same products.

The build is that of a small network, with simulation, synthesis, place and route; its products are compared as the
hashes of all files that it leaves, but for logs and times. A training is killed and resumed. After each kill no tool
that the killed program had started may still run.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import torch
from torch.utils._pytree import tree_flatten_with_path

from benchmarks.faults.campaign import Part
from tests.builders.qonnx_builder import Builder

BUILDS, TRAININGS = 20, 20
"""Kills in the whole campaign."""
GRACE = 3.0
"""Seconds in which the tools of a killed program must end."""
MARK = "BITFABRIC_CAMPAIGN"
"""A variable in the environment of a killed program, by which its tools are found."""
VOLATILE = {"seconds", "cached", "steps", "tools", "when", "time", "evidence"}
"""Keys of JSON files whose values are times, or hash these."""


def run(size: float, seed: int) -> Part:
    """Kill builds and trainings; ``size`` scales their number."""
    part = Part("kills", ("killed", "kills", "same products", "nothing left to do", "orphans", "wrong"))
    draw = random.Random(seed)
    with TemporaryDirectory() as folder:
        root = Path(folder)
        for name, command, again, count in commands(root):
            part.add(name, _kill(name, command, again, max(1, round(count * size)), root, draw, part))
    return part


def commands(root: Path) -> list[tuple[str, list[str], list[str], int]]:
    """Name, command, additional arguments of the second run, and the number of kills."""
    model, frames = root / "model.onnx", root / "x.npy"
    rng = np.random.default_rng(0)
    build = Builder((1, 12))
    x = build.quant("x", 1.0, 4, signed=0)
    for inputs, outputs in ((12, 8), (8, 6)):
        x = build.node("MatMul", x, build.node("BipolarQuant", rng.normal(size=(inputs, outputs)), 1.0))
        x = build.node("BipolarQuant", build.node("Add", x, rng.integers(-6, 6, outputs) + 0.5), 1.0)
    x = build.node("MatMul", x, build.quant(rng.normal(size=(6, 3)), 0.5, 3, narrow=1))
    onnx.save(build.model((x, (1, 3))), model)
    np.save(frames, rng.integers(0, 16, (80, 12)).astype(np.float32))
    program = [sys.executable, "-c", "from flows.cli.main import main; main()"]
    return [
        ("build", [*program, "build", str(model), "--target", "icebreaker", "--input", str(frames)], [], BUILDS),
        ("train", [*program, "train", "tfc-w1a1", "--data", "digits", "--epochs", "40"], ["--resume"], TRAININGS),
    ]


def _kill(
    name: str, command: list[str], again: list[str], count: int, root: Path, draw: random.Random, part: Part
) -> Counter[str]:
    """Kill a command ``count`` times, each in a folder of its own; the outcomes."""
    for whole in (root / f"{name}-first", root / f"{name}-whole"):  # The first fills the caches.
        started = time.monotonic()
        subprocess.run([*command, "-o", str(whole)], check=True, capture_output=True)
        length = time.monotonic() - started
    wanted, outcomes = products(whole), Counter[str]()
    for number in range(count):
        out, at = root / f"{name}-{number}", draw.uniform(0.05, 0.98) * length
        mark = f"{name}-{number}-{os.getpid()}"
        process = subprocess.Popen(
            [*command, "-o", str(out)], env={**os.environ, MARK: mark}, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            process.wait(at)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        finished = process.wait() == 0
        orphans = _survivors(mark)
        resumed = subprocess.run([*command, *again, "-o", str(out)], capture_output=True, text=True)
        if orphans:
            outcome, why = "orphans", f"still at work after {GRACE} s: {orphans}"
        elif resumed.returncode or (found := products(out)) != wanted:
            differing = sorted({k for k in wanted.keys() | found.keys() if wanted.get(k) != found.get(k)}) if not (
                resumed.returncode) else [resumed.stderr.strip()]  # fmt: skip
            outcome, why = "wrong", f"the second run: {differing}"
        else:
            outcome, why = ("nothing left to do" if finished else "same products"), ""
        outcomes[outcome] += 1
        if why:
            part.wrong.append(f"{name} killed after {at:.2f} of {length:.2f} s: {why}")
    return outcomes


def products(folder: Path) -> dict[str, str]:
    """The hashes of the files of a folder, without logs; of JSON files and checkpoints without times."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if not path.is_file() or path.suffix in (".log", ".html") or name.parts[0].startswith("."):
            continue
        data = path.read_bytes()
        if path.suffix == ".pt":
            data = _weights(path)
        elif path.suffix == ".json":
            data = json.dumps(_steady(json.loads(data), str(folder)), sort_keys=True).encode()
        found[str(name)] = hashlib.sha256(data).hexdigest()
    return found


def _weights(path: Path) -> bytes:
    """The weights in a checkpoint, which also holds the times of the epochs."""
    stored = torch.load(path, weights_only=True)
    tensors = {str(place): leaf for place, leaf in tree_flatten_with_path(stored)[0] if torch.is_tensor(leaf)}
    return b"".join(name.encode() + tensors[name].numpy().tobytes() for name in sorted(tensors))


def _steady(content: object, folder: str) -> object:
    """JSON content without times and without the folder's own name."""
    if isinstance(content, dict):
        return {key: _steady(value, folder) for key, value in content.items() if key not in VOLATILE}
    if isinstance(content, list):
        return [_steady(value, folder) for value in content]
    return content.replace(folder, "") if isinstance(content, str) else content


def _survivors(mark: str) -> list[str]:
    """The commands that a killed program left at work, after the time that they have to end."""
    wanted = f"{MARK}={mark}".encode()
    deadline = time.monotonic() + GRACE
    while True:
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append((entry / "comm").read_text().strip())
            except OSError:
                continue  # It has ended, or it is another user's.
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)
