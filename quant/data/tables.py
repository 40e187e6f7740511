"""Tables of features: CSV and Parquet files with one sample a row."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from quant.data.dataset import Parts
from quant.errors import QuantError
from quant.files import check_memory

SUFFIXES = (".csv", ".tsv", ".parquet")
_TARGETS = ("label", "class", "target", "y")
_CELL = 64
"""Bytes of memory for a cell of text while a table is read."""


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of a file: text, or numbers. ``lines`` (N,) are the lines of the file that rows are from, from 1 on."""

    path: Path
    names: tuple[str, ...]
    columns: tuple[np.ndarray, ...]
    lines: np.ndarray
    header: bool


def read_tables(place: Path, target: Sequence[str] | None, drop: Sequence[str], targets: bool = True) -> Parts:
    """Reads a table, or a folder with ``train`` and ``test`` as tables.

    ``target`` names the columns of the label, or of the numbers to predict. None: the column named label, class,
    target or y, else the last one. ``targets=False``: there is none, and labels are 0, unless ``target`` names one.
    ``drop`` names columns that are no features. A column without a name has its number, from 1 on. The other columns
    are the features: finite numbers.

    Raises QuantError (status 2) for a cell that is missing or no number, with its line and column.
    """
    if place.is_dir():
        train, test = (_in_folder(place, part) for part in ("train", "test"))
        assert train is not None
        whole = read_tables(train, target, drop, targets)
        if test is None:
            return whole
        other = read_tables(test, target, drop, targets)
        if whole.feature_names != other.feature_names:
            raise QuantError(f"{train} and {test} have different columns", status=2)
        return replace(whole, x_test=other.x_train, y_test=other.y_train)
    table = _read_parquet(place) if place.suffix.lower() == ".parquet" else _read_csv(place)
    dropped = {_column(table, name) for name in drop}
    labels = _target(table, target, dropped) if targets or target else []
    features = [index for index in range(len(table.names)) if index not in (*labels, *dropped)]
    if not features:
        raise QuantError(f"{place} has no column of features beside the label", status=2)
    x = np.stack([_numbers(table, index) for index in features], axis=1)
    rounded = np.rint(x)
    if (x == rounded).all() and np.abs(x).max() < 2**53:
        x = x.astype(np.int64)
    if len(labels) == 1:
        y = _labels(table, labels[0])
    else:
        y = np.stack([_numbers(table, index) for index in labels], axis=1) if labels else np.zeros(len(x), int)
    names = tuple(table.names[index] for index in features) if table.header else None
    target_names = tuple(table.names[index] for index in labels) if table.header and labels else None
    return Parts(x, y, feature_names=names, whole=False, target_names=target_names)


def is_table_folder(folder: Path) -> bool:
    """Whether a folder holds a table named ``train``."""
    return _in_folder(folder, "train") is not None


def _in_folder(folder: Path, part: str) -> Path | None:
    return next((folder / f"{part}{suffix}" for suffix in SUFFIXES if (folder / f"{part}{suffix}").is_file()), None)


def _read_csv(path: Path) -> Table:
    size = path.stat().st_size
    check_memory(path, 4 * size)
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise QuantError(f"{path} line {line} is not UTF-8: save it as UTF-8", status=2) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise QuantError(f"{path} line {line} holds a zero byte: it is no text", status=2)
    start = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max((",", ";", "\t"), key=start.count)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        for row in reader:
            if not row or (len(row) == 1 and not row[0].strip()):
                continue
            if rows and len(row) != len(rows[0]):
                raise QuantError(
                    f"{path} line {reader.line_num} has {len(row)} columns, and line {lines[0]} {len(rows[0])}: "
                    "every row needs the same",
                    status=2,
                )
            rows.append(row)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise QuantError(f"{path} line {reader.line_num}: {error}", status=2) from error
    if not rows:
        raise QuantError(f"{path} is empty: give a row for each sample", status=2)
    header = not any(_is_number(cell) for cell in rows[0])
    names = [cell.strip() for cell in rows[0]] if header else [str(i + 1) for i in range(len(rows[0]))]
    names = [name or str(index + 1) for index, name in enumerate(names)]
    if header and (len(rows) == 1 or len(set(names)) < len(names)):
        twice = next((name for index, name in enumerate(names) if name in names[:index]), None)
        reason = f"has the column {twice!r} twice" if twice is not None else "has a header and no rows"
        raise QuantError(f"{path} {reason}: mend it", status=2)
    body = rows[1:] if header else rows
    columns = tuple(np.array(column) for column in zip(*body, strict=True))
    return Table(path, tuple(names), columns, np.array(lines[1:] if header else lines), header)


def _read_parquet(path: Path) -> Table:
    try:
        from pyarrow import parquet
    except ImportError:
        raise QuantError(
            f"{path} is a Parquet file, which needs pyarrow: run pip install 'bitfabric[parquet]', or save it as CSV"
        ) from None
    table = parquet.read_table(path)
    if not table.num_rows:
        raise QuantError(f"{path} is empty: give a row for each sample", status=2)
    columns = tuple(_parquet_column(path, name, table.column(i)) for i, name in enumerate(table.column_names))
    return Table(path, tuple(table.column_names), columns, np.arange(1, table.num_rows + 1), True)


def _parquet_column(path: Path, name: str, column: Any) -> np.ndarray:
    if column.null_count:
        row = next(index for index, value in enumerate(column.to_pylist()) if value is None) + 1
        raise QuantError(f"{path} row {row}, column {name!r} is missing: fill it in, or drop the row", status=2)
    values = np.asarray(column.to_numpy())
    return values.astype(str) if values.dtype.kind == "O" else values


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _column(table: Table, name: str) -> int:
    if name in table.names:
        return table.names.index(name)
    raise QuantError(
        f"{table.path} has no column {name!r}: its columns are {', '.join(table.names[:20])}"
        f"{', ...' if len(table.names) > 20 else ''}",
        status=2,
    )


def _target(table: Table, target: Sequence[str] | None, dropped: set[int]) -> list[int]:
    if target is not None:
        return [_column(table, name) for name in target]
    if table.header:
        for wanted in _TARGETS:
            found = [index for index, name in enumerate(table.names) if name.lower() == wanted]
            if len(found) == 1:
                return found
    return [max(index for index in range(len(table.names)) if index not in dropped)]


def _place(table: Table, index: int, row: int) -> str:
    kind = "row" if table.path.suffix.lower() == ".parquet" else "line"
    return f"{table.path} {kind} {table.lines[row]}, column {table.names[index]!r}"


def _numbers(table: Table, index: int) -> np.ndarray:
    """A column as finite numbers (N,) float64."""
    column = table.columns[index]
    try:
        values = column.astype(np.float64)
    except (ValueError, TypeError):
        row = next(i for i, cell in enumerate(column.tolist()) if not _is_number(cell))
        cell = str(column[row])
        remedy = (
            "leave the column out (--drop-column), or write it as numbers" if cell.strip() else "fill it in, or drop it"
        )
        said = f"{cell!r} is no number" if cell.strip() else "is missing"
        raise QuantError(f"{_place(table, index, row)}: {said}: {remedy}", status=2) from None
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise QuantError(
            f"{_place(table, index, row)}: {column[row]} is no finite number: drop the row, or fill it in", status=2
        )
    return values


def _labels(table: Table, index: int) -> np.ndarray:
    """A column as numbers (N,) float64, or else as strings."""
    column = table.columns[index]
    if column.dtype.kind not in "US":
        return _numbers(table, index)
    stripped = np.char.strip(column)
    empty = np.flatnonzero(stripped == "")
    if len(empty):
        raise QuantError(f"{_place(table, index, int(empty[0]))}: the label is missing: drop the row", status=2)
    try:
        values = stripped.astype(np.float64)
    except ValueError:
        return np.asarray(stripped)
    return values if np.isfinite(values).all() else np.asarray(stripped)
