"""The cache of build steps. A step has a folder of output files and a record; both are valid only together.

The key of a step is the hash of its declared inputs, of the products of earlier steps that it reads, of the code that
it uses (also that of other packages, which provide kernels or handlers), and of the versions of Python, of the C++
compiler and of the Python packages that it uses. A step with the same key and unmodified files is not run again. A step
writes to ``NAME.part``, which is renamed when the step is complete; ``NAME.failed`` keeps the files of a failed step,
for its logs.

``flows.evidence`` describes the records, and what is detected in a finished build. Where a record or a product of an
unfinished build is damaged, or is none of the step's result type, the step runs again.
"""

import platform
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

from flows.build_report import StepTime
from flows.evidence import RECORDS, BrokenError, Record, check_files, hash_of
from flows.facts.fact import Facts
from flows.source_hash import code_of, code_of_packages
from flows.steps.step import PACKAGES, Step, installed
from hw.host.errors import BitfabricError
from hw.host.files import digest, sha256, using, write_json
from hw.native import compiler

Watch = Callable[[str, bool, float | None], None]
"""``watch(name, cached, seconds)`` is called before a step (``seconds`` is None) and after it."""
R = TypeVar("R", bound=Facts)


class StepCache:
    """The steps of one build folder.

    ``done`` lists the finished ones with their times, ``records`` what they did, by name, and ``products`` the hash of
    each of their files, by path in the build folder.
    """

    def __init__(self, folder: Path, watch: Watch) -> None:
        self.folder = folder
        self.watch = watch
        self.done: list[StepTime] = []
        self.records: dict[str, Record] = {}
        self.products: dict[str, str] = {}

    def _valid(self, step: Step[R], key: str) -> tuple[Record, R] | None:
        """The valid record of a step and the result in it; None where the step has to run."""
        try:
            record = Record.read(self.folder, step.name)
            if record.key != key or record.step != step.name:
                return None
            result = cast(R, step.result.model_validate(record.result))
            check_files(self.folder, record.products)
        except (OSError, ValueError, BrokenError):  # pydantic's ValidationError is a ValueError
            return None
        return record, result

    def run(self, step: Step[R]) -> R:
        """The result of a step, from its record or from running it. Raises BitfabricError where it fails."""
        name = step.name
        reads = {path: hash_of(self.products, path) for path in step.reads()}
        versions = {package: installed(package) for package in (*PACKAGES, *step.packages)}
        machine = platform.python_implementation(), platform.python_version(), platform.machine(), compiler.version()
        code = code_of((type(step).__module__,)), code_of_packages()
        key = digest([name, step.inputs(), reads, versions, machine, code])
        if known := self._valid(step, key):
            record, result = known
            self.watch(name, True, None)
            self.watch(name, True, 0.0)
            return self._finished(record, result, cached=True)
        self.watch(name, False, None)
        with using(self.folder / name, what="cannot write to", memory=False):
            record, result = self._make(step, key, reads)
        self.watch(name, False, record.seconds)
        return self._finished(record, result, cached=False)

    def _make(self, step: Step[R], key: str, reads: dict[str, str]) -> tuple[Record, R]:
        """Run a step, and keep its files and its record."""
        name, started = step.name, time.monotonic()
        place, part, failed = (self.folder / f"{name}{suffix}" for suffix in ("", ".part", ".failed"))
        self.remove(name)
        (self.folder / RECORDS).mkdir(parents=True, exist_ok=True)
        part.mkdir()
        try:
            result = step.run(part)
        except MemoryError as error:
            shutil.rmtree(part, ignore_errors=True)
            reason = str(error) or "not enough memory"
            remedy = "use fewer frames or a smaller model, or close other programs"
            raise BitfabricError(f"step {name} needs more memory than there is ({reason}); {remedy}") from error
        except BitfabricError as error:
            part.rename(failed)
            raise type(error)(str(error).replace(str(part), str(failed))) from error
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        hashes = {str(p.relative_to(part)): sha256(p) for p in sorted(part.rglob("*")) if p.is_file()}
        seconds = round(time.monotonic() - started, 3)
        record = Record(step=name, key=key, reads=reads, result=result.to_json(), files=hashes, seconds=seconds)
        # The record comes first, so that no folder is without one, even after a crash.
        write_json(self.folder / RECORDS / f"{name}.json", record.sealed())
        if hashes:
            part.rename(place)
        else:
            part.rmdir()
        return record, result

    def _finished(self, record: Record, result: R, cached: bool) -> R:
        self.records[record.step] = record
        self.products |= record.products
        self.done.append(StepTime(name=record.step, seconds=record.seconds, cached=cached))
        return result

    def remove(self, name: str) -> None:
        """Remove everything that a step of this name has left in the folder."""
        for suffix in ("", ".part", ".failed"):
            remove_folder(self.folder / f"{name}{suffix}")
        (self.folder / RECORDS / f"{name}.json").unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder with its content, if there is one; of a link to a folder only the link."""
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)
