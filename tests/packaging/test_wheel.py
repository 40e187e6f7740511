"""The wheel in an environment that holds the core's dependencies and nothing else."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import onnx
import pytest
from packaging.requirements import Requirement

from tests.builders.qonnx_builder import Builder

ROOT = Path(__file__).parents[2]
TRAINING = ("torch", "brevitas", "lightning", "sklearn", "finn")
"""Modules that a core installation does without."""


def core_dependencies() -> dict[str, Distribution]:
    """What bitfabric needs without its extras, and what that needs in turn, of what is installed here."""
    found: dict[str, Distribution] = {}
    pending = list(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
    while pending:
        requirement = Requirement(pending.pop())
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            pytest.fail(f"{name} is required and not installed; make env")
        pending += found[name].requires or []
    return found


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """A virtual environment with the wheel and the core's dependencies, as links to the files that are here."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
    (packages,) = (folder / "env/lib").glob("python*/site-packages")
    for dependency in core_dependencies().values():
        for file in dependency.files or []:
            here = Path(str(dependency.locate_file(file))).resolve()
            place = Path(os.path.normpath(packages / file))
            if not here.is_file() or place.exists() or not place.is_relative_to(folder / "env"):
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.parent.name == "bin" and here.read_bytes()[:2] == b"#!":
                continue  # another environment's script
            try:
                os.link(here, place)
            except OSError:  # on another file system, or another user's
                place.symlink_to(here)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    # The copy keeps the folders that setuptools would make out of the repository.
    source = folder / "source"
    for package in ("hw", "quant", "flows"):
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, source], check=True)
    (wheel,) = folder.glob("bitfabric-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", packages, wheel], check=True)
    return folder / "env/bin/python"


def run(python: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment["PATH"] = f"{python.parent}{os.pathsep}{os.defpath}"
    return subprocess.run(
        [python, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=600
    )


def test_an_accelerator_is_built_outside_the_repository(bare, tmp_path):
    rng = np.random.default_rng(0)
    net = Builder((1, 6))
    x = net.quant("x", 0.25, 4)
    y = net.node("MatMul", x, rng.choice([-1.0, 1.0], (6, 4)))
    onnx.save(net.model((net.quant(net.node("Relu", y), 0.5, 3, signed=0), (1, 4))), tmp_path / "model.onnx")
    code = "import sys, hw, flows.cli.main as cli; print(hw.__file__); sys.argv[0] = 'bitfabric'; cli.main()"
    build = ["build", "model.onnx", "--target", "ulx3s-85f", "--stop-after", "simulate", "-o", "out", "--json"]
    made = run(bare, "-c", code, *build, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    where, _, report = made.stdout.partition("\n")
    assert Path(where).is_relative_to(bare.parents[1])
    assert '"mismatches": 0' in report
    assert (tmp_path / "out/build.json").exists()


def test_what_the_core_lacks_is_named(bare, tmp_path):
    code = "import importlib.util as u, sys; sys.exit(any(map(u.find_spec, sys.argv[1:])))"
    assert run(bare, "-c", code, *TRAINING, cwd=tmp_path).returncode == 0
    train = run(bare, "-c", "import flows.cli.main as cli; cli.main()", "train", "tfc-w1a1", "-o", "t", cwd=tmp_path)
    assert train.returncode == 1
    assert train.stderr.splitlines()[-1].endswith("pip install 'bitfabric[train]'")
    doctor = run(bare, "-c", "import flows.cli.main as cli; cli.main()", "doctor", "--json", cwd=tmp_path)
    assert "pip install 'bitfabric[train]'" in doctor.stdout
    assert "pip install 'bitfabric[finn]'" in doctor.stdout


@pytest.mark.slow
def test_the_extras_resolve_together(tmp_path):
    """Asks the package index; nothing is installed."""
    report = tmp_path / "report.json"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--dry-run"]
    subprocess.run([*pip, "--ignore-installed", "--report", report, f"{ROOT}[train,finn]"], check=True)
    found = {each["metadata"]["name"].lower() for each in json.loads(report.read_text())["install"]}
    assert {"brevitas", "finn-plus", "lightning", "torch"} <= found
