"""The hash of the code that a module uses: the module and everything that it imports, without docstrings and comments.

The files that a module uses are found by parsing its source; nothing is imported:

- every module that it imports, anywhere in its source except under ``if TYPE_CHECKING``, and the packages of these;
- every module in the folder of one that imports by computed names (``import_module``, ...), unless it only defers its
  public names (a module-level ``__getattr__``), and for a deferred name every module of that package;
- every file in the folder of one that reads files (``files``, ``__file__``), and in the folder of a package that a
  string names, as in ``files("hw.boards")``: SystemVerilog, C++, YAML, Python. Those of deferred names do not count.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from hw import plugins

PACKAGES = ("hw", "flows")
"""This project's packages, in which imports are followed. For other packages the version counts (see
``flows.steps.step``)."""
DATA = frozenset({".sv", ".v", ".cpp", ".hpp", ".h", ".yaml", ".yml", ".csv", ".json", ".toml", ".txt"})
"""Suffixes of data files that code reads."""
DYNAMIC = frozenset({"import_module", "__import__", "iter_modules", "walk_packages"})
"""Names of functions that find modules by computed names."""
READING = frozenset({"files", "__file__", "iterdir"})
"""Names by which code finds files in its own folder."""


def code_of(modules: Iterable[str], root: Path | None = None) -> str:
    """The hash of the code that ``modules`` use; ``root``: folder of their packages (default: that of this package).

    Raises KeyError for a module that does not exist.
    """
    base = root or Path(__file__).parent.parent
    return _hash(tuple(sorted(modules)), base) if root is None else _digest(tuple(modules), base)


def files_of(modules: Iterable[str], root: Path | None = None) -> list[Path]:
    """The files that ``modules`` use, relative to ``root``; see ``code_of``."""
    base = root or Path(__file__).parent.parent
    return sorted(path.relative_to(base) for path in _closure(tuple(modules), base))


def code_of_packages() -> str:
    """The hash of the packages that provide kernels, handlers, families or front ends through entry points."""
    digest = hashlib.sha256()
    for place in plugins.places():
        files = place.rglob("*") if place.is_dir() else (place,)
        for path in sorted(path for path in files if path.suffix in DATA | {".py"}):
            content = _source(path).digest if path.suffix == ".py" else _data(path)
            digest.update(f"{path.relative_to(place.parent)}\0{content}\0".encode())
    return digest.hexdigest()


@lru_cache(maxsize=64)
def _hash(modules: tuple[str, ...], root: Path) -> str:
    return _digest(modules, root)


def _digest(modules: tuple[str, ...], root: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(_closure(modules, root)):
        content = _source(path).digest if path.suffix == ".py" else _data(path)
        digest.update(f"{path.relative_to(root)}\0{content}\0".encode())
    return digest.hexdigest()


def _data(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _closure(modules: tuple[str, ...], root: Path) -> set[Path]:
    """The files of modules and of all that they use."""
    found: set[Path] = set()
    todo = list(modules)
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        path = _locate(name, root)
        if path is None:
            raise KeyError(f"no module {name} in {root}")
        found.add(path)
        source = _source(path)
        if source.reads:
            found.update(_below(path.parent, root, DATA))
        for package in () if source.deferred else source.packages:
            if (place := _locate(package, root)) is not None:
                found.update(_below(place.parent, root, DATA | {".py"}))
        parent = name.rpartition(".")[0]
        todo += [parent] if parent else []
        todo += _uses(name, path, root)
    return found


def _locate(name: str, root: Path) -> Path | None:
    """The file of a module or package; None where there is none."""
    place = root.joinpath(*name.split("."))
    return next((path for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file()), None)


def _uses(name: str, path: Path, root: Path) -> Iterator[str]:
    """The names of the modules that a module uses directly."""
    source = _source(path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    if source.dynamic and not source.deferred:
        yield from _modules(path.parent, root)
    for level, module, names in source.imports:
        base = package.rsplit(".", level - 1)[0] if level > 1 else package
        full = f"{base}.{module}".rstrip(".") if level else module
        if full.partition(".")[0] not in PACKAGES or (found := _locate(full, root)) is None:
            continue
        yield full
        for each in names:
            if _locate(f"{full}.{each}", root) is not None:
                yield f"{full}.{each}"
            elif found.name == "__init__.py" and _source(found).deferred:
                yield from _modules(found.parent, root)  # it can come from anywhere in the package


def _below(folder: Path, root: Path, suffixes: frozenset[str]) -> Iterator[Path]:
    """The files of a folder and its subfolders; for a top-level package only those in its own folder."""
    for each in folder.glob("*") if folder.parent == root else folder.rglob("*"):
        if each.suffix in suffixes:
            yield each


def _modules(folder: Path, root: Path) -> Iterator[str]:
    """Every module in a folder and below it."""
    for path in folder.rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@dataclass(frozen=True)
class _Source:
    """The uses of other code and files in a source file.

    ``imports``: (level of a relative import, module, names). ``packages``: packages that strings name. ``dynamic``: it
    imports by computed names. ``reads``: it reads files. ``deferred``: the public names that it defers.
    """

    digest: str
    imports: tuple[tuple[int, str, tuple[str, ...]], ...]
    packages: tuple[str, ...]
    dynamic: bool
    reads: bool
    deferred: bool


def _source(path: Path) -> _Source:
    return _parsed(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4096)
def _parsed(path: Path, modified: int) -> _Source:
    """Parse a source file. The result is cached; ``modified`` (in ns) is part of the key."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [each for each in node.body if not _is_text(each)] or [ast.Pass()]
    imports: list[tuple[int, str, tuple[str, ...]]] = []
    packages: list[str] = []
    names: set[str] = set()
    for node in _executed(tree):
        if isinstance(node, ast.Import):
            imports += [(0, alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imports.append((node.level, node.module or "", tuple(alias.name for alias in node.names)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _names_package(node.value):
            packages.append(node.value)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.Name):
            names.add(node.id)
    return _Source(
        hashlib.sha256(ast.dump(tree).encode()).hexdigest(),
        tuple(imports),
        tuple(packages),
        bool(names & DYNAMIC),
        bool(names & READING),
        any(isinstance(each, ast.FunctionDef) and each.name == "__getattr__" for each in tree.body),
    )


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node of a syntax tree except those under ``if TYPE_CHECKING``, which only type checkers use."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            continue
        yield node
        yield from _executed(node)


def _is_text(node: ast.stmt) -> bool:
    """Whether a statement is only a string: a docstring, or one after an attribute."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@cache
def _names_package(text: str) -> bool:
    """Whether a string can be the name of one of these modules, such as ``"hw.boards"``."""
    parts = text.split(".")
    return len(parts) > 1 and parts[0] in PACKAGES and all(part.isidentifier() for part in parts)
