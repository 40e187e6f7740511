"""The IDX files of MNIST and Fashion-MNIST."""

import gzip
from math import prod
from pathlib import Path

import numpy as np

from quant.data.dataset import Parts
from quant.errors import QuantError
from quant.files import check_memory


def read_idx_folder(folder: Path) -> Parts:
    """Reads the four files of a folder, plain or ``.gz``: images (N, 1, H, W) uint8 and labels (N,)."""
    x_train, y_train, x_test, y_test = (
        _read_idx(folder, f"{part}-{kind}")
        for part in ("train", "t10k")
        for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
    )
    return Parts(x_train[:, None], y_train, x_test[:, None], y_test, numbered=True)


def is_idx_folder(folder: Path) -> bool:
    """Whether a folder holds any of the files."""
    return any(folder.glob("t*-images*ubyte*"))


def _read_idx(folder: Path, name: str) -> np.ndarray:
    for path in (folder / name, folder / f"{name}.gz", folder / name.replace("-idx", ".idx")):
        if path.is_file():
            break
    else:
        raise QuantError(f"{folder} has no {name} (or {name}.gz): copy the four IDX files there", status=2)
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        start = file.read(4)
        if len(start) < 4 or start[:3] != b"\0\0\x08":
            raise ValueError(f"{path.name} is no IDX file of bytes")
        shape = [int(size) for size in np.frombuffer(file.read(4 * start[3]), ">u4", count=start[3])]
        check_memory(path, prod(shape))
        data = file.read(prod(shape) + 1)
    return np.frombuffer(data, np.uint8).reshape(shape)
