"""The Python batches of CIFAR-10 and CIFAR-100."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from quant.data.dataset import Parts


class _ArrayUnpickler(pickle.Unpickler):
    """Loads dictionaries of arrays only: an unrestricted pickle could execute arbitrary code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module.replace("numpy._core", "numpy.core"), name) in {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        }:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no data set needs")


def is_cifar_folder(folder: Path) -> bool:
    """Whether a folder holds the batches."""
    return (folder / "data_batch_1").exists() or ((folder / "train").is_file() and (folder / "meta").is_file())


def read_cifar(folder: Path) -> Parts:
    """Reads ``data_batch_1`` to ``5`` and ``test_batch`` (CIFAR-10), or ``train`` and ``test`` (CIFAR-100).

    Images (N, 3, 32, 32) uint8. The names of the classes are those of ``batches.meta`` or ``meta``, where it is there.
    """
    small = (folder / "data_batch_1").exists()
    label = b"labels" if small else b"fine_labels"
    train = [f"data_batch_{i}" for i in range(1, 6)] if small else ["train"]
    batches = [_batch(folder / name, label) for name in (*train, "test_batch" if small else "test")]
    x = np.concatenate([images for images, _ in batches[:-1]])
    y = np.concatenate([labels for _, labels in batches[:-1]])
    meta = folder / ("batches.meta" if small else "meta")
    names = None
    if meta.is_file():
        stored = _load(meta)[b"label_names" if small else b"fine_label_names"]
        names = tuple(name.decode() for name in stored)
    return Parts(x, y, *batches[-1], class_names=names, numbered=True)


def _load(path: Path) -> Any:
    return _ArrayUnpickler(io.BytesIO(path.read_bytes()), encoding="bytes").load()


def _batch(path: Path, label: bytes) -> tuple[np.ndarray, np.ndarray]:
    content = _load(path)
    return np.asarray(content[b"data"], np.uint8).reshape(-1, 3, 32, 32), np.asarray(content[label])
