"""Build steps that are done once: each has a folder of products and a record, both valid only as a whole.

A step's key is the hash of everything that its result depends on, this program's own source included. A
step with the same key and untouched products is not run again. Products are made in ``NAME.part`` and
renamed when they are complete; what a failed step left is kept in ``NAME.failed`` for its logs.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from hw.host.errors import BitfabricError

Json = dict[str, Any]


def sha256(path: Path) -> str:
    """Hash of a file's bytes, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def key_of(*parts: object) -> str:
    """Hash of JSON-able values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@cache
def code() -> str:
    """Hash of the sources of ``hw`` and ``flows``: results of other sources are never reused."""
    digest = hashlib.sha256()
    for package in ("hw", "flows"):
        root = Path(str(files(package)))
        for path in sorted(root.rglob("*")):
            if path.suffix in (".py", ".sv", ".v", ".cpp", ".yaml"):
                digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def write_json(path: Path, content: Json) -> None:
    """Write a JSON file in one step."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(content, indent=2) + "\n")
    part.replace(path)


def read_json(path: Path) -> Any:
    """The content of a JSON file."""
    return json.loads(path.read_text())


class Steps:
    """The steps of one build folder.

    ``watch(name, cached, seconds)`` is called before a step (seconds is None) and after it.
    """

    def __init__(self, folder: Path, watch: Callable[[str, bool, float | None], None]) -> None:
        self.folder = folder
        self.watch = watch
        self.done: list[Json] = []

    def _record(self, name: str) -> Path:
        return self.folder / ".steps" / f"{name}.json"

    def _valid(self, name: str, key: str) -> Json | None:
        try:
            record = json.loads(self._record(name).read_text())
            if record["key"] != key:
                return None
            for file, digest in record["files"].items():
                if sha256(self.folder / name / file) != digest:
                    return None
        except (OSError, ValueError, KeyError):
            return None
        return record["result"]

    def run(self, name: str, inputs: object, action: Callable[[Path], Json]) -> Json:
        """The result of step ``name``: from its record, or of ``action``, which leaves its products in a folder."""
        key = key_of(name, inputs, code())
        result = self._valid(name, key)
        if result is not None:
            self.watch(name, True, None)
            self.watch(name, True, 0.0)
            self.done.append({"name": name, "seconds": 0.0, "cached": True})
            return result
        self.watch(name, False, None)
        started = time.monotonic()
        place, part, failed = (self.folder / f"{name}{suffix}" for suffix in ("", ".part", ".failed"))
        self._record(name).parent.mkdir(parents=True, exist_ok=True)
        self._record(name).unlink(missing_ok=True)
        for stale in (place, part, failed):
            shutil.rmtree(stale, ignore_errors=True)
        part.mkdir()
        try:
            result = action(part)
        except BitfabricError as error:
            part.rename(failed)
            raise type(error)(str(error).replace(str(part), str(failed))) from error
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        hashes = {str(p.relative_to(part)): sha256(p) for p in sorted(part.rglob("*")) if p.is_file()}
        if hashes:
            part.rename(place)
        else:
            part.rmdir()
        write_json(self._record(name), {"key": key, "result": result, "files": hashes})
        seconds = round(time.monotonic() - started, 3)
        self.watch(name, False, seconds)
        self.done.append({"name": name, "seconds": seconds, "cached": False})
        return result
