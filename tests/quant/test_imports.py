"""How the modules of ``quant`` import each other, read from their source: local and type-only imports count as well."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import quant

ROOT = Path(quant.__file__).parent


def imports() -> dict[str, set[str]]:
    """Every module of ``quant`` and what it imports: modules of ``quant`` in full, other packages by their name."""
    sources = {}
    for path in ROOT.rglob("*.py"):
        *parents, last = path.relative_to(ROOT.parent).with_suffix("").parts
        sources[".".join(parents if last == "__init__" else [*parents, last])] = path
    graph: dict[str, set[str]] = {}
    for name, path in sources.items():
        found: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                full = {f"{node.module}.{alias.name}" for alias in node.names}
                found.update(each if each in sources else str(node.module) for each in full)
        graph[name] = {each if each in sources else each.partition(".")[0] for each in found} - {name}
    return graph


def test_no_import_circle():
    assert list(TopologicalSorter(imports()).static_order())  # raises CycleError, which names the circle


def test_quant_does_not_import_hw_or_flows():
    assert [(name, each) for name, found in imports().items() for each in found & {"hw", "flows"}] == []
