"""Objects that other installed packages provide through entry points, looked up by name when a model needs them."""

import sys
from functools import lru_cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hw.host.errors import BitfabricError

PREFIX = "bitfabric"
"""The common prefix of the entry point groups."""


def find(group: str, name: str) -> Any | None:
    """The object that an installed package provides as ``name`` in an entry point group; None if no package does.

    The first call for a group reads the metadata of every installed package (about 0.1 s), so callers look into their
    built-in tables first. Raises BitfabricError where several packages provide the name, or where the object cannot
    be imported.
    """
    found: list[EntryPoint] = list(_group(group, tuple(sys.path)).select(name=name))
    if not found:
        return None
    if len(found) > 1:
        values = ", ".join(each.value for each in found)
        raise BitfabricError(f"{name}: several packages provide it as {group} ({values}); uninstall all but one")
    point = found[0]
    try:
        return point.load()
    except Exception as error:
        raise BitfabricError(
            f"{name}: {point.value}, which is to provide it as {group}, cannot be imported "
            f"({type(error).__name__}: {error}); repair or uninstall that package"
        ) from None


def find_all(group: str) -> dict[str, Any]:
    """All objects of an entry point group, by name.

    Raises BitfabricError where several packages provide a name, or where an object cannot be imported.
    """
    return {name: find(group, name) for name in sorted(names(group))}


def names(group: str) -> frozenset[str]:
    """The names that installed packages provide in an entry point group. Nothing is imported."""
    return frozenset(_group(group, tuple(sys.path)).names)


def places() -> list[Path]:
    """The packages (folders) and modules (files) that provide anything in the groups ``bitfabric.*``.

    Nothing is imported.
    """
    path = tuple(sys.path)
    ours = [group for group in _groups(path) if group.startswith(f"{PREFIX}.")]
    specs = [find_spec(point.module.partition(".")[0]) for group in ours for point in _group(group, path)]
    found = {(spec.origin, bool(spec.submodule_search_locations)) for spec in specs if spec and spec.origin}
    return sorted(Path(origin).parent if package else Path(origin) for origin, package in found)


@lru_cache(maxsize=4)
def _groups(path: tuple[str, ...]) -> frozenset[str]:
    """The names of all entry point groups; ``path`` as in ``_group``."""
    return frozenset(entry_points().groups)


@lru_cache(maxsize=16)
def _group(group: str, path: tuple[str, ...]) -> EntryPoints:
    """The entry points of a group; ``path`` (``sys.path``) is the key under which the answer is kept."""
    return entry_points(group=group)
