"""A kernel and a handler of another package (``tests/data/negate``), which entry points alone make known."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from flows import build
from hw import kernels
from hw.host.errors import BitfabricError
from tests.builders.qonnx_builder import Builder

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "tests" / "data" / "negate"
WEIGHTS = np.random.default_rng(0).integers(-3, 4, (6, 4)).astype(np.float32)


def negating(path: Path) -> Path:
    """A model file: Quant, ``test.domain::Negate``, Quant, MatMul."""
    b = Builder((1, 6))
    x = b.node("Negate", b.quant("x", 0.5, 4))
    b.nodes[-1].domain = "test.domain"
    made = b.model((b.node("MatMul", b.quant(x, 1.0, 3), b.quant(WEIGHTS, 1.0, 3)), (1, 4)))
    made.opset_import.add(domain="test.domain", version=1)
    onnx.save(made, path)
    return path


def with_plugin(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """A Python command in an interpreter that has the package installed."""
    path = os.pathsep.join((str(PLUGIN), str(ROOT)))
    return subprocess.run(
        [sys.executable, *map(str, command)], env=os.environ | {"PYTHONPATH": path}, cwd=ROOT,
        capture_output=True, text=True,
    )  # fmt: skip


def test_without_the_package_its_operator_is_refused(tmp_path):
    model = negating(tmp_path / "model.onnx")
    with pytest.raises(BitfabricError, match=r"^Negate_1: Negate .*test\.domain"):
        build(model, target="ulx3s-85f", out=tmp_path / "build", stop_after="simulate")
    with pytest.raises(BitfabricError, match=r"^no kernel negate; there are accumulate_pool, add, "):
        kernels.get("negate")


def test_with_the_package_its_operator_is_built(tmp_path):
    model, out = negating(tmp_path / "model.onnx"), tmp_path / "build"
    done = with_plugin(
        "-c",
        "from flows.cli.main import main; main()",
        "build",
        model,
        "--target",
        "ulx3s-85f",
        "--stop-after",
        "simulate",
        "-o",
        out,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((out / "build.json").read_text())
    assert [layer["operator"] for layer in report["layers"]].count("negate") == 1
    assert report["verified"]["rtl"]["frames"] > 0
    assert {engine: found["mismatches"] for engine, found in report["verified"].items()} == dict.fromkeys(
        report["verified"], 0
    )
    assert (out / "rtl" / "negate.sv").read_text() == (PLUGIN / "negate_plugin" / "negate.sv").read_text()


def test_the_contract_holds_for_the_kernel_of_the_package():
    done = with_plugin(
        "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "tests/kernels/test_contract.py", "-k", "negate"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 passed" in done.stdout
