"""The reference builds without a warning, and its examples do what they say."""

import doctest
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.flows import browser

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


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of the site."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", folder]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def test_the_site_has_every_name_command_and_message(built):
    text = (built / "reference" / "hw.html").read_text()
    for name in ("hw.timing.cycles.simulate", "hw.ir.graph.Graph", "hw.lowering.lower.lower"):
        assert f'id="{name}"' in text
    assert "hw.kernels.matrix_vector.kernel.MatrixVector" in (built / "reference" / "kernels.html").read_text()
    commands = (built / "reference" / "cli.html").read_text()
    assert all(f'id="bitfabric-{name}"' in commands for name in ("train", "build", "estimate", "soft-errors"))
    assert "holds no finished build" in (built / "reference" / "errors.html").read_text()
    assert "host_link" in (built / "reference" / "build-json.html").read_text()


def test_the_site_in_a_browser(built):
    pages = [
        "index",
        "getting-started",
        "concepts",
        "compression",
        "howto/finn",
        "reference/cli",
        "reference/build-json",
    ]
    pages += [f"notebooks/{path.stem}" for path in sorted((ROOT / "notebooks").glob("0[15]*.ipynb"))]
    found, errors = browser.site(built, [f"{page}.html" for page in pages], (360, 800, 1400))
    assert not errors
    for each in found:
        assert each["overflow"] <= 0, each
        assert not each["missing"], each
        assert each["texts"] > 500, each


def test_figures_of_pages_are_those_of_the_result_files():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.readme", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


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
