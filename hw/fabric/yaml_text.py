"""YAML texts of users: plain values only, and aliases that cannot multiply without limit."""

from typing import Any

import yaml

MOST_NODES = 100_000
"""Most values of a text, those of aliases counted wherever they are used."""


def parse(text: str) -> Any:
    """The values in a YAML text.

    Raises ValueError that says the line, also for what is nested too deeply, and for a key given twice in a mapping.
    """
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check_size(node)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or next(iter(str(error).splitlines()), "")
        raise ValueError(f"line {mark.line + 1}: {problem}" if mark else problem) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _check_size(root: yaml.Node) -> None:
    """Raise ValueError for a text whose aliases lead back to themselves, or make too many values."""
    sizes: dict[int, int | None] = {}

    def size(node: yaml.Node) -> int:
        known = sizes.get(id(node), 0)
        if known is None:
            raise ValueError(f"line {node.start_mark.line + 1}: an alias leads back to itself")
        if known == 0:
            sizes[id(node)] = None
            if isinstance(node, yaml.MappingNode):
                _check_keys(node)
            inner = [each for entry in node.value for each in (entry if isinstance(entry, tuple) else (entry,))]
            known = 1 + sum(map(size, inner)) if isinstance(node, yaml.CollectionNode) else 1
            if known > MOST_NODES:
                raise ValueError(f"line {node.start_mark.line + 1}: more than {MOST_NODES:,} values, with its aliases")
            sizes[id(node)] = known
        return known

    size(root)


def _check_keys(mapping: yaml.MappingNode) -> None:
    """Raise ValueError for a key given twice, of which YAML's loader would take the last."""
    seen: set[tuple[str, str]] = set()
    for key, _value in mapping.value:
        if isinstance(key, yaml.ScalarNode):
            if (key.tag, key.value) in seen:
                raise ValueError(f"line {key.start_mark.line + 1}: the key {key.value} is given twice; leave one out")
            seen.add((key.tag, key.value))
