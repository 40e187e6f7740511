"""The name of a network of a user's own, ``module.py:function``. Light to import: no torch, and no code of the user."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from quant.errors import QuantError
from quant.files import using

COPY = "network.py"
"""The copy of the file in a run folder: the code as it was trained."""


@dataclass(frozen=True)
class Source:
    """A Python file with its content, and the function in it that returns a network."""

    file: Path
    function: str
    content: bytes

    @property
    def name(self) -> str:
        """The model's name, with the file's absolute path."""
        return f"{self.file}:{self.function}"

    def describe(self) -> dict[str, str]:
        """Returns the path, the function and the hash of the content."""
        return {"path": str(self.file), "function": self.function, "sha256": hashlib.sha256(self.content).hexdigest()}


def is_own(name: str) -> bool:
    """Returns whether a model's name means a file."""
    return name.endswith(".py") or name.rpartition(":")[0].endswith(".py")


def find_source(name: str) -> Source:
    """Returns the file and the function of ``module.py:function``. Raises QuantError (status 2) if there is none."""
    file, _, function = name.rpartition(":")
    if not file.endswith(".py") or not function.isidentifier():
        raise QuantError(
            f"model {name!r} lacks a function: write {name.partition(':')[0]}:make_net, for example", status=2
        )
    path = Path(os.path.abspath(file))
    if not path.is_file():
        raise QuantError(f"no file {file}: give your network as module.py:function", status=2)
    with using(path, "give your network as module.py:function", "cannot read"):
        return Source(path, function, path.read_bytes())


def same_source(described: Mapping[str, str], folder: Path) -> Source:
    """Returns the source that ``Source.describe`` described: the file itself, or its copy in a run's ``folder``.

    Raises QuantError where neither has the same content.
    """
    for file in (Path(described["path"]), folder / COPY):
        if file.is_file():
            found = find_source(f"{file}:{described['function']}")
            if found.describe()["sha256"] == described["sha256"]:
                return Source(Path(described["path"]), found.function, found.content)
    raise QuantError(
        f"the network {described['path']} is not what it was at the training, and {folder} has no copy of it ({COPY}): "
        "restore the file, or train again"
    )
