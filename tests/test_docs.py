"""The reference builds without a warning, and its examples do what they say."""

import doctest
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in ("hw", "quant", "flows")
    for path in sorted((ROOT / package).rglob("*.py"))
    if "\n    >>> " in path.read_text()
]


@pytest.mark.parametrize("module", EXAMPLES)
def test_examples(module):
    failed, tried = doctest.testmod(import_module(module))
    assert tried
    assert not failed


@pytest.mark.parametrize(
    "page", [path for path in sorted((ROOT / "docs").rglob("*.md")) if "\n>>> " in path.read_text()]
)
def test_examples_of_pages(page):
    failed, tried = doctest.testfile(str(page), module_relative=False)
    assert tried
    assert not failed


def test_the_reference_builds(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", tmp_path]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    text = (tmp_path / "reference" / "hw.html").read_text()
    for name in ("hw.timing.cycles.simulate", "hw.ir.graph.Graph", "hw.lowering.lower.lower"):
        assert f'id="{name}"' in text
    assert "hw.kernels.matrix_vector.kernel.MatrixVector" in (tmp_path / "reference" / "kernels.html").read_text()
