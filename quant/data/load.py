"""``load_data``: any source as a data set."""

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quant.data import tables
from quant.data.arrays import is_npy_folder, read_npy, read_npz
from quant.data.choices import Normalization, Task
from quant.data.cifar import is_cifar_folder, read_cifar
from quant.data.dataset import DataSet, Parts, check_lengths
from quant.data.digits import digits
from quant.data.idx import is_idx_folder, read_idx_folder
from quant.data.images import is_image_folder, read_images
from quant.data.named import NAMED, NAMES, read_named
from quant.data.normalization import normalized
from quant.data.splits import with_test_set
from quant.data.targets import check_task, target_scale, with_anomalies, with_targets
from quant.errors import QuantError

FORMS = (
    "a folder of images by class, a .csv, .tsv or .parquet table, a .npz file, a pair x.npy and y.npy, or a folder "
    "with the IDX files of MNIST or CIFAR's batches"
)
"""What a path may be."""


def load_data(
    source: str | os.PathLike[str] = "digits",
    seed: int = 0,
    *,
    task: Task = "classification",
    test_share: float | None = None,
    target: str | Sequence[str] | None = None,
    drop: str | Sequence[str] = (),
    normalize: Normalization = "auto",
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    download: bool = False,
) -> DataSet:
    """Loads a data set by name, or from a folder or file.

    ``digits`` needs no file: 1,797 scans of 8 x 8 pixels. The other names (``quant.data.NAMES``) are searched in the
    folder ``$BITFABRIC_DATA``, into which ``download`` fetches those of them that are missing and can be had.
    A path is one of these (docs/data.md describes them):

    - a folder of images by class, ``photos/cat/1.png``, or ``photos/train/cat/...`` and ``photos/test/cat/...``.
      ``image_size`` (height, width) scales them, ``channels`` makes them grey (1) or colored (3);
    - a table of features, ``.csv``, ``.tsv`` or ``.parquet``, or a folder with ``train.csv`` and ``test.csv``.
      ``target`` names the column of the label (default: label, class, target, y, or the last one), ``drop`` columns
      to leave out;
    - a ``.npz`` file with ``x_train``, ``y_train``, ``x_test``, ``y_test``, or ``x`` and ``y``; or a folder with these
      as ``.npy`` files, or one of them, ``x.npy``. Images (N, H, W), (N, H, W, channels) or (N, C, H, W) or features
      (N, F), of any type of numbers; labels (N,) whole numbers or strings, or one-hot (N, classes);
    - a ``.npz`` of JPEG files: ``jpeg`` (uint8, all files concatenated), ``offset`` (N + 1), ``label``, ``is_train``;
    - a folder with the four IDX files of MNIST (plain or .gz), or with CIFAR's Python batches.

    ``task`` says what a network learns: the class, one number or several (``target`` names the columns of a table,
    ``y`` has the shape (N,) or (N, K)), or the sample itself (``quant.data.Task``).

    ``test_share`` of the samples, a fifth by default, are the test set where the source has none of its own; ``seed``
    draws them, the same share of each class. Whole numbers 0..255 of images and whole numbers of features are the
    network's inputs as they are. Others are normalized within the network (``normalize``,
    ``quant.data.Normalization``), which takes the source's own values.

    Raises QuantError for an unknown name, missing or damaged files, and options that the source does not have. What is
    wrong with a value names the file, its line or array, and the column.
    """
    check_task(task)
    name = os.fspath(source)
    given = {"test_share": test_share, "target": target, "drop": drop or None, "image_size": image_size,
             "channels": channels, "normalize": None if normalize == "auto" else normalize}  # fmt: skip
    if name == "digits" and task == "classification":
        _refuse(given, "the digits", {"test_share"})
        return digits(seed, test_share)
    path = Path(name)
    if name not in NAMES and not path.exists():
        near = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}?" if near else f"give one of {', '.join(NAMES)}, or {FORMS}"
        raise QuantError(f"no data set {name!r}: {hint}", status=2)
    try:
        if name == "digits":
            whole = digits(seed, test_share)
            parts = Parts(whole.x_train, whole.y_train, whole.x_test, whole.y_test, numbered=True)
        elif name in NAMED:
            _refuse(given, name, {"normalize", "test_share"})
            parts, path = read_named(name, download)
        else:
            parts = _read(path, given, task)
    except QuantError:
        raise
    except Exception as error:  # NumPy, zipfile, zlib and pickle raise many types for damaged files
        reason = str(error) or type(error).__name__
        raise QuantError(f"{path} is damaged or no data set: {reason}") from error
    check_lengths(parts, path)
    parts, classes = with_targets(parts, task, path)
    own = test_share if name != "digits" else None
    parts = with_test_set(parts, own, seed, path, by_class=task == "classification")
    if task == "reconstruction":
        parts = with_anomalies(parts, path)
    assert parts.y_test is not None
    x_train, x_test, low, high, scale, offset = normalized(parts, normalize, path)
    numbers = None if task == "classification" else _outputs(task, parts, x_train, low, high, scale, offset)
    return DataSet(
        name if name in NAMES else path.stem, x_train, parts.y_train, x_test, parts.y_test,
        classes or x_train[0].size, low, high, scale, offset, parts.class_names, parts.feature_names,
        task, *(numbers or (None, None)),
    )  # fmt: skip


def _outputs(
    task: Task,
    parts: Parts,
    x: np.ndarray,
    low: int,
    high: int,
    scale: np.ndarray | None,
    offset: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Offset and scale of a network's numbers (K,): of the targets, or of the samples that it gives again."""
    if task == "regression":
        return target_scale(parts.y_train)
    middle, half = (low + high + 1) / 2, (high - low + 1) / (8 if low < 0 else 2)
    if scale is None or offset is None:
        scale, offset = np.ones(1, np.float32), np.zeros(1, np.float32)
    shape = x.shape[1:]
    wide = [np.broadcast_to(each, shape).reshape(-1) for each in (offset + scale * middle, scale * half)]
    return wide[0].astype(np.float32), wide[1].astype(np.float32)


def _read(path: Path, given: Mapping[str, Any], task: Task) -> Parts:
    """The arrays of a path, by what it is."""
    labelled = task != "reconstruction"
    if path.suffix.lower() in tables.SUFFIXES or (path.is_dir() and tables.is_table_folder(path)):
        _refuse(given, str(path), {"test_share", "target", "drop", "normalize"})
        return tables.read_tables(path, _columns(given["target"]), _columns(given["drop"]) or (), labelled)
    if path.is_dir() and not (is_cifar_folder(path) or is_idx_folder(path) or is_npy_folder(path)):
        if is_image_folder(path):
            _refuse(given, str(path), {"test_share", "image_size", "channels", "normalize"})
            return read_images(path, given["image_size"], given["channels"], labelled)
        raise QuantError(f"{path} holds no data set: give {FORMS}", status=2)
    _refuse(given, str(path), {"test_share", "normalize"})
    if path.is_dir():
        return read_cifar(path) if is_cifar_folder(path) else read_npy(path, labelled) if is_npy_folder(path) else (
            read_idx_folder(path)
        )  # fmt: skip
    return read_npy(path, labelled) if path.suffix.lower() == ".npy" else read_npz(path, labelled)


def _columns(names: Any) -> tuple[str, ...] | None:
    return None if names is None else (names,) if isinstance(names, str) else tuple(names)


_FOR = {
    "target": "tables",
    "drop": "tables",
    "image_size": "folders of images",
    "channels": "folders of images",
    "test_share": "sources without a test set of their own",
    "normalize": "sources that are not scaled already",
}
_FLAGS = {"target": "--target-column", "drop": "--drop-column"}


def _refuse(given: Mapping[str, Any], source: str, taken: set[str]) -> None:
    """Raises QuantError (status 2) for an option that a source does not have."""
    for option, value in given.items():
        if value is not None and option not in taken:
            flag = _FLAGS.get(option, f"--{option.replace('_', '-')}")
            raise QuantError(f"{option} ({flag}) is for {_FOR[option]}, not for {source}: leave it out", status=2)
