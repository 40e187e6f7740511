"""The reference builds without a warning, and its examples do what they say."""

import doctest
import os
import re
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


def test_the_page_of_the_fault_campaign_has_all_figures_and_no_wrong_case():
    """``python -m benchmarks.faults --write`` makes the tables."""
    text = (ROOT / "docs" / "reliability.md").read_text()
    parts = re.findall(r"<!-- (\w+) -->\n(.*?)<!-- end of \1 -->", text, re.S)
    assert [name for name, _ in parts] == ["files", "networks", "mutants", "links", "kills", "disk"]
    for name, content in parts:
        table = [[cell.strip() for cell in line.strip("|").split("|")] for line in content.splitlines() if "|" in line]
        columns, _, *rows = table
        assert rows, name
        for row in rows:
            cells = dict(zip(columns, row, strict=True))
            assert {cells.get(each, "0") for each in ("wrong", "late", "other", "orphans")} == {"0"}, (name, row)
            assert float(cells.get("score", "100%").rstrip("%")) >= 95, (name, row)
