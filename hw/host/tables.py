"""Frames of features from a table: a CSV file with a sample a row."""

import csv
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

import numpy as np

from .arrays import load_array, load_arrays
from .errors import UsageError
from .files import read_text

SUFFIXES = (".csv", ".tsv")
_LARGEST = 1 << 30


def load_frames(path: Path, shape: tuple[int, ...] | None, names: Sequence[str] = ()) -> np.ndarray:
    """Frames ``(N, *shape)`` from a ``.npy`` file, or from a table with the numbers of a frame in each row.

    Without ``shape``, the frames of a table are ``(N, numbers)``.

    A table has a header with the columns ``names``, among others and in any order; or as many columns as a frame has
    numbers, with or without a header. Raises UsageError with line and column for a cell that is no number.
    """
    if path.suffix.lower() not in SUFFIXES:
        return load_array(path)
    text = read_text(path, _LARGEST, "table")
    first = next((line for line in text.splitlines() if line.strip()), "")
    reader = csv.reader(text.splitlines(keepends=True), delimiter=max((",", ";", "\t"), key=first.count), strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        for row in reader:
            if row and not (len(row) == 1 and not row[0].strip()):
                rows.append(row)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise UsageError(f"{path} line {reader.line_num}: {error}; save it as CSV again") from None
    header = [cell.strip() for cell in rows[0]] if rows and not any(map(_is_number, rows[0])) else []
    body, lines = (rows[1:], lines[1:]) if header else (rows, lines)
    if not body:
        raise UsageError(f"{path} has no rows; give one for each frame")
    count = len(names or body[0]) if shape is None else prod(shape)
    if names and set(names) <= set(header):
        chosen = [header.index(name) for name in names]
    elif len(body[0]) == count:
        chosen = list(range(count))
    else:
        missing = next((name for name in names if name not in header), None)
        hint = f"; it has no column {missing!r}" if header and missing is not None else ""
        raise UsageError(f"{path} has {len(body[0])} columns, and a frame {count} numbers{hint}")
    frames = np.empty((len(body), count))
    for index, (row, line) in enumerate(zip(body, lines, strict=True)):
        if len(row) != len(body[0]):
            raise UsageError(f"{path} line {line} has {len(row)} columns, not {len(body[0])}; mend it")
        try:
            frames[index] = [row[column] for column in chosen]
        except ValueError:
            column = next(each for each in chosen if not _is_number(row[each]))
            name = header[column] if header else str(column + 1)
            raise UsageError(f"{path} line {line}, column {name!r}: {row[column]!r} is no number; mend it") from None
    if not np.isfinite(frames).all():
        bad, place = (int(i) for i in np.argwhere(~np.isfinite(frames))[0])
        raise UsageError(f"{path} line {lines[bad]}: number {place + 1} of the frame is not finite; mend it")
    if (frames == np.rint(frames)).all() and np.abs(frames).max() < 2**53:
        frames = frames.astype(np.int64)
    return frames if shape is None else frames.reshape(-1, *shape)


def load_batch(
    path: Path, shapes: Mapping[str, tuple[int, ...]], names: Sequence[str] = ()
) -> np.ndarray | dict[str, np.ndarray]:
    """Frames of a model with inputs of these ``shapes``: as ``load_frames``, or of several inputs by name from a
    ``.npz`` file with an array for each. Raises UsageError for another kind of file."""
    if len(shapes) == 1:
        return load_frames(path, next(iter(shapes.values())), names)
    if path.suffix.lower() != ".npz":
        inputs = ", ".join(shapes)
        raise UsageError(
            f"{path}: the model has the inputs {inputs}; give a .npz file with an array for each (numpy.savez)"
        )
    return load_arrays(path)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
