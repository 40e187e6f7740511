"""The cache of build steps. A step has a folder of output files and a record; both are valid only together.

The key of a step is the hash of its declared inputs, of the code that it uses (also that of other packages, which
provide kernels or handlers), and of the versions of the Python packages that it uses. A step with the same key and
unmodified files is not run again. A step writes to ``NAME.part``, which is renamed when the step is complete;
``NAME.failed`` keeps the files of a failed step, for its logs.

A modified record is detected: it contains a hash of its content, and its result must have the step's result type. If
either check fails, the step runs again.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

from pydantic import ValidationError

from flows.build_report import Facts, StepTime
from flows.files import read_json, sha256, write_json
from flows.source_hash import code_of, code_of_packages
from flows.steps.step import PACKAGES, Step, installed
from hw.host.errors import BitfabricError

Watch = Callable[[str, bool, float | None], None]
"""``watch(name, cached, seconds)`` is called before a step (``seconds`` is None) and after it."""
R = TypeVar("R", bound=Facts)


def key_of(*parts: object) -> str:
    """Hash of JSON-able values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class StepCache:
    """The steps of one build folder; ``done`` lists the finished ones with their times."""

    def __init__(self, folder: Path, watch: Watch) -> None:
        self.folder = folder
        self.watch = watch
        self.done: list[StepTime] = []

    def _record(self, name: str) -> Path:
        return self.folder / ".steps" / f"{name}.json"

    def _valid(self, step: Step[R], key: str) -> R | None:
        """The result in the step's valid record; None where the step has to run."""
        try:
            record = read_json(self._record(step.name))
            if record["key"] != key or record["seal"] != _seal(record):
                return None
            for file, digest in record["files"].items():
                if sha256(self.folder / step.name / file) != digest:
                    return None
            return cast(R, step.result.model_validate(record["result"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ValidationError):
            return None

    def run(self, step: Step[R]) -> R:
        """The result of a step, from its record or from running it. Raises BitfabricError where it fails."""
        name = step.name
        versions = {package: installed(package) for package in (*PACKAGES, *step.packages)}
        code = code_of((type(step).__module__,)), code_of_packages()
        key = key_of(name, step.inputs(), versions, code)
        known = self._valid(step, key)
        if known is not None:
            self.watch(name, True, None)
            self.watch(name, True, 0.0)
            self.done.append(StepTime(name=name, seconds=0.0, cached=True))
            return known
        self.watch(name, False, None)
        started = time.monotonic()
        place, part, failed = (self.folder / f"{name}{suffix}" for suffix in ("", ".part", ".failed"))
        self._record(name).parent.mkdir(parents=True, exist_ok=True)
        self._record(name).unlink(missing_ok=True)
        for stale in (place, part, failed):
            shutil.rmtree(stale, ignore_errors=True)
        part.mkdir()
        try:
            result = step.run(part)
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
        record: dict[str, object] = {"key": key, "result": result.to_json(), "files": hashes}
        write_json(self._record(name), record | {"seal": _seal(record)})
        seconds = round(time.monotonic() - started, 3)
        self.watch(name, False, seconds)
        self.done.append(StepTime(name=name, seconds=seconds, cached=False))
        return result


def _seal(record: dict[str, object]) -> str:
    """The hash of a record's content."""
    return key_of(record["key"], record["result"], record["files"])
