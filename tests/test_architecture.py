"""The structure of the packages: no circle of imports, no registration by an import's side effect.

The rules of import between rooms are contracts in ``pyproject.toml``, which ``lint-imports`` checks.
"""

import re
from pathlib import Path

import grimp
import networkx as nx
import pytest

pytestmark = pytest.mark.quick

ROOT = Path(__file__).parents[1]
PACKAGES = ("hw", "quant", "flows")


@pytest.fixture(scope="module")
def imports() -> nx.DiGraph:
    """Module -> the modules that it imports, those inside functions and for type checkers too."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    edges = ((module, other) for module in graph.modules for other in graph.find_modules_directly_imported_by(module))
    return nx.DiGraph(edges)


def test_no_circle_of_imports(imports):
    assert imports.number_of_edges() > 500
    assert [sorted(ring) for ring in nx.strongly_connected_components(imports) if len(ring) > 1] == []


def test_quant_and_hw_know_nothing_of_each_other(imports):
    rooms = {"quant", "hw"}
    crossing = [(a, b) for a, b in imports.edges if {a.partition(".")[0], b.partition(".")[0]} == rooms]
    assert crossing == []


def test_no_import_for_its_side_effect():
    """FINN's own registration is out of our hands; the modules that need it say so."""
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for line in path.read_text().splitlines()
        if re.search(r"import .*# noqa: F401", line) and "import finn." not in line
    ]
    assert found == []


def test_programs_are_started_in_one_place():
    """A program started elsewhere would outlive a killed parent."""
    found = [
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if re.search(
            r"^\s*(from|import) (subprocess|multiprocessing)\b|\bos\.(system|popen|fork|exec|spawn)",
            path.read_text(),
            re.M,
        )
    ]
    assert found == ["hw/native/process.py"]


def test_tests_and_packages_do_not_import_the_benchmarks():
    found = [
        str(path.relative_to(ROOT))
        for folder in ("tests", *PACKAGES)
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"^\s*(from|import) benchmarks\b", path.read_text(), flags=re.M)
    ]
    assert found == []
