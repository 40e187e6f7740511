"""The arguments of a training as a YAML file, ``train.yaml`` in its run folder, which can be given back.

Light to import.
"""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from quant.errors import QuantError
from quant.files import using, write_bytes
from quant.training.config import TrainConfig

CONFIG = "train.yaml"
"""The file in a run folder."""

_KEYS = ("model", "data", "data_options", "scheme", "scheme_options", "model_options", "teacher", "start", "training")
_MAPPINGS = ("data_options", "scheme_options", "model_options", "training")
_LARGEST = 1 << 20


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which refuses a key given twice instead of taking the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key for key, _value in node.value if isinstance(key, yaml.ScalarNode)]
        for index, key in enumerate(keys):
            if any((key.tag, key.value) == (other.tag, other.value) for other in keys[:index]):
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key.value} is given twice; leave one out", problem_mark=key.start_mark
                )
        return super().construct_mapping(node, deep)


def write_config(path: Path, request: Mapping[str, Any]) -> None:
    """Writes the request of ``quant.train_run``: ``training`` are the settings of ``TrainConfig``, the others its
    arguments of the same names."""
    content = {
        "model": request["model"],
        "data": request["dataset"]["source"],
        "data_options": _plain(request["dataset"]["options"]),
        "scheme": request["scheme"],
        "scheme_options": _plain(request["scheme_options"]),
        "model_options": _plain(request["model_options"]),
        "teacher": request["teacher"] and [each["path"] for each in request["teacher"]],
        "start": request["start"] and request["start"]["path"],
        "training": request["config"],
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    write_bytes(path, f"# bitfabric train --config {CONFIG} -o RUN/\n{text}".encode())


def read_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the arguments of ``quant.train_run`` in a file: those that it has, with ``config`` for ``training``.

    A relative path of the data is relative to the working folder. Raises QuantError (status 2) for a file that cannot
    be read, and for what is no argument.
    """
    with using(path, "give a train.yaml of a run", "cannot read"), open(path, "rb") as file:
        data = file.read(_LARGEST + 1)
    try:
        content = yaml.load(data[:_LARGEST].decode(), _Loader)  # safe: a subclass of SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f" line {mark.line + 1}" if mark else ""
        raise QuantError(f"{path}{place} is no YAML: {getattr(error, 'problem', None) or error}", status=2) from error
    if not isinstance(content, dict) or len(data) > _LARGEST:
        raise QuantError(f"{path} is no mapping of arguments to values: give a {CONFIG} of a run", status=2)
    for key, value in content.items():
        if key not in _KEYS:
            near = difflib.get_close_matches(str(key), _KEYS, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_KEYS)}"
            raise QuantError(f"{path} has no key {key!r}: {hint}", status=2)
        wanted: Any = dict if key in _MAPPINGS else (str, list) if key == "teacher" else str
        if value is not None and not isinstance(value, wanted):
            kind = "a mapping of names to values" if wanted is dict else "a text"
            raise QuantError(f"{path}: {key} is {value!r}, not {kind}", status=2)
    found = {key: value for key, value in content.items() if value is not None}
    training = found.pop("training", {})
    try:
        return {**found, "config": TrainConfig.from_dict(training)}
    except QuantError as error:
        raise QuantError(f"{path}: {error}", error.status) from error


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
