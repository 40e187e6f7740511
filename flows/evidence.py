"""The chain of evidence in a build folder: what binds ``build.json``, the records of the steps and their products.

- A step's *record* (``.steps/NAME.json``) holds its key, the hashes of the products of earlier steps that it read, its
  result, and the hash of each of its own products. Its *seal* is the hash of all this.
- ``build.json`` holds the seal of every record, and a digest of its own content.

So a build folder is accepted as a whole or not at all: an edited file, a file of another build, or one that leaves the
folder is found. The hashes are not secret: whoever edits a product, all records after it and ``build.json`` alike, with
new hashes in each, forges a build that is consistent. What lies beside the products (reports, the driver's folder, the
user's files) is not part of the evidence.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from flows.build_report import FILE, BuildReport, Evidence
from flows.facts.fact import Facts
from hw.host.errors import UsageError
from hw.host.files import digest, read_json, sha256, write_json

RECORDS, DRIVER = ".steps", "driver"
"""Folders of the records, and of the host driver."""


class Record(Facts):
    """What a step did. ``files``: hash of every product, by its path in the step's folder. ``reads``: hash of every
    product of earlier steps that it read, by path in the build folder; a step's name stands for all its products."""

    step: str
    key: str
    reads: dict[str, str]
    result: dict[str, Any]
    files: dict[str, str]
    seconds: float

    @property
    def seal(self) -> str:
        """The hash of the record."""
        return digest(self.to_json())

    def sealed(self) -> dict[str, Any]:
        """The content of the record's file: the record and its seal."""
        return self.to_json() | {"seal": self.seal}

    @property
    def products(self) -> dict[str, str]:
        """Hash of every product, by its path in the build folder."""
        return {f"{self.step}/{name}": each for name, each in self.files.items()}

    @classmethod
    def read(cls, folder: Path, step: str) -> "Record":
        """The record of a step in a build folder. Raises FileNotFoundError, and ValueError for a damaged one."""
        path = folder / RECORDS / f"{step}.json"
        if not path.exists():
            raise FileNotFoundError(path)
        try:
            if not path.is_file():
                raise ValueError("it is no file")
            content = read_json(path)
            record = cls.model_validate(content)
        except (OSError, ValueError, RecursionError) as error:
            raise ValueError(f"the record of step {step} cannot be read ({error})") from None
        if content.get("seal") != record.seal:
            raise ValueError(f"the record of step {step} was changed")
        return record


def hash_of(products: Mapping[str, str], path: str) -> str:
    """The hash of a product, or of all products of the step of this name. Raises KeyError where there is none."""
    if path in products:
        return products[path]
    found = {name: each for name, each in products.items() if name.startswith(f"{path}/")}
    if not found:
        raise KeyError(path)
    return digest(found)


class BrokenError(Exception):
    """Why a folder is not as its build left it; ``missing``: only because something was deleted."""

    def __init__(self, why: str, missing: bool = False) -> None:
        super().__init__(why)
        self.missing = missing


def check_files(folder: Path, products: Mapping[str, str]) -> None:
    """Compare files in ``folder`` with their hashes. Raises BrokenError for the first that is missing or different, and
    for a path that leaves the folder."""
    root = folder.resolve()
    for name, expected in products.items():
        parts = PurePosixPath(name).parts
        path = folder / name
        if not parts or parts[0] == "/" or ".." in parts or path.resolve() != root.joinpath(*parts):
            raise BrokenError(f"{name} leads out of it")
        if not path.exists():
            raise BrokenError(f"{name} is missing", missing=True)
        if not path.is_file():
            raise BrokenError(f"{name} is no file any more")
        try:
            found = sha256(path)
        except OSError as error:
            raise BrokenError(f"{name} cannot be read ({error.strerror})") from None
        if found != expected:
            raise BrokenError(f"{name} was changed")


def verify(folder: Path, report: BuildReport) -> dict[str, Record]:
    """The records of the build in ``folder`` by step, after a comparison of all products with their hashes.

    Raises BrokenError for the first difference.
    """
    content = read_json(folder / FILE)
    if report.evidence is None or content["evidence"].pop("digest") != digest(content):
        raise BrokenError(f"{FILE} was changed")
    records: dict[str, Record] = {}
    made: dict[str, str] = {}
    for step, seal in report.evidence.records.items():
        if "/" in step or (folder / RECORDS / f"{step}.json").resolve() != folder.resolve() / RECORDS / f"{step}.json":
            raise BrokenError(f"the record of step {step} leads out of it")
        try:
            record = Record.read(folder, step)
        except FileNotFoundError:
            raise BrokenError(f"the record of step {step} is missing", missing=True) from None
        except ValueError:
            raise BrokenError(f"the record of step {step} was changed") from None
        if record.seal != seal or record.step != step:
            raise BrokenError(f"the record of step {step} was changed, or is that of another build")
        for path, expected in record.reads.items():
            try:
                found = hash_of(made, path)
            except KeyError:
                raise BrokenError(f"step {step} has read {path}, which no step has made") from None
            if found != expected:
                raise BrokenError(f"step {step} has read another {path}")
        records[step] = record
        made |= record.products
    check_files(folder, made)
    return records


def write_report(folder: Path, report: BuildReport, records: Mapping[str, Record], files: Mapping[str, str]) -> None:
    """Write ``build.json`` with its evidence. ``files``: hash of every other file that the build uses, by path."""
    seals = {step: record.seal for step, record in records.items()}
    content = report.model_copy(update={"evidence": Evidence(records=seals, files=dict(files), digest="")}).to_json()
    del content["evidence"]["digest"]
    content["evidence"]["digest"] = digest(content)
    write_json(folder / FILE, content)


def opened(folder: Path) -> tuple[BuildReport, dict[str, Record]]:
    """The report of a finished build and the records of its steps. Raises UsageError where ``folder`` holds none, or is
    not as the build left it."""
    report = BuildReport.read(folder)
    try:
        records = verify(folder, report)
        check_files(folder, report.evidence.files if report.evidence else {})
    except BrokenError as error:
        raise refused(folder, error) from None
    return report, records


def compare(folder: Path, products: Mapping[str, str]) -> None:
    """Raise UsageError where a product is no longer the one of its hash, or leads out of the folder."""
    try:
        check_files(folder, products)
    except BrokenError as error:
        raise refused(folder, error) from None


def check_before_build(folder: Path, steps: Iterable[str]) -> None:
    """Raise UsageError where a folder is not one for a new build.

    It may hold an earlier build, finished or not, of any version. A finished one must be as it was left, but products
    that were deleted are made again. Names that the build needs (folders of ``steps``, ``driver``, ``build.json``) must
    not be files of the user: no earlier build has a record of them, and a build would remove them.
    """
    try:
        report = BuildReport.read(folder)
    except UsageError:
        report = None
    ours = {path.stem for path in (folder / RECORDS).glob("*.json")}
    ours |= set(report.evidence.records) if report and report.evidence else set()
    ours |= {DRIVER} if (folder / DRIVER / "model.json").exists() else set()
    ours |= {FILE} if report or (folder / RECORDS).exists() else set()
    for name in (*steps, DRIVER, FILE):
        path = folder / name
        if name not in ours and path.exists() and (path.is_file() or any(path.iterdir())):
            raise UsageError(
                f"{folder} holds {name}, which no build has made and a build would replace; choose another folder (-o)"
            )
    if report is None:
        return
    try:
        verify(folder, report)
    except BrokenError as error:
        if not error.missing:
            raise refused(folder, error) from None


def refused(folder: Path, why: object) -> UsageError:
    """The error for a folder that is not as its build left it."""
    return UsageError(f"{folder} is not as its build left it: {why}; delete the folder, or build in another one (-o)")


def products(records: Mapping[str, Record]) -> dict[str, str]:
    """Hash of every product of the steps, by its path in the build folder."""
    return {path: each for record in records.values() for path, each in record.products.items()}
