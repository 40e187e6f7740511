"""Arrays of samples and labels in ``.npz`` files and in pairs of ``.npy`` files."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from quant.data.dataset import Parts
from quant.errors import QuantError
from quant.files import check_archive

_SPLIT = ("x_train", "y_train", "x_test", "y_test")
_NAMES = ("classes", "class_names")


def read_npz(path: Path, labelled: bool = True) -> Parts:
    """Reads ``x_train``, ``y_train`` and, if there are any, ``x_test``, ``y_test``; or ``x`` and ``y``; or JPEG files.

    Without ``labelled``, each ``y`` may be missing, and is 0 then.

    The case of the names does not matter. ``classes`` or ``class_names`` are strings, one for each class.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError("it is no .npz file")
    check_archive(path)
    with np.load(path, allow_pickle=False) as file:
        stored = {name.lower(): name for name in file.files}
        if "jpeg" in stored:
            return _jpegs(file)
        wanted = {name for name in (*_SPLIT, "x", "y", *_NAMES) if name in stored}
        arrays = {name: _array(file, stored[name], path) for name in wanted}
    return _parts(arrays, path, labelled)


def read_npy(place: Path, labelled: bool = True) -> Parts:
    """Reads a folder with ``x_train.npy`` and so on, or ``x.npy`` and ``y.npy``; or the pair of a file ``x*.npy``."""
    if place.is_dir():
        stored = {path.stem.lower(): path for path in sorted(place.glob("*.npy"))}
        return _parts(
            {name: _npy(stored[name]) for name in (*_SPLIT, "x", "y", *_NAMES) if name in stored}, place, labelled
        )
    partner = place.with_name(f"{'y' if place.name[:1] == 'x' else 'Y'}{place.name[1:]}")
    if not labelled and not partner.is_file():
        return _parts({"x": _npy(place)}, place, labelled)
    if place.name[:1] not in ("x", "X") or not partner.is_file():
        raise QuantError(
            f"{place} has no labels beside it: name the samples x.npy and the labels y.npy, in the same folder",
            status=2,
        )
    return _parts({"x": _npy(place), "y": _npy(partner)}, place, labelled)


def is_npy_folder(folder: Path) -> bool:
    """Whether a folder holds arrays that ``read_npy`` reads."""
    return any(path.stem.lower() in ("x_train", "x") for path in folder.glob("*.npy"))


def _parts(arrays: Mapping[str, np.ndarray], source: Path, labelled: bool) -> Parts:
    if not labelled:
        normal = {f"y{name[1:]}": np.zeros(len(x), int) for name, x in arrays.items() if name.startswith("x")}
        arrays = {**normal, **arrays}
    names = next((arrays[name] for name in _NAMES if name in arrays), None)
    if names is not None and (names.dtype.kind not in "US" or names.ndim != 1):
        raise QuantError(f"{source}: the names of classes are {names.dtype} {names.shape}, not strings (N,)", status=2)
    whole = ("x_train", "y_train") if set(_SPLIT) & set(arrays) else ("x", "y")
    wanted = _SPLIT if {"x_test", "y_test"} & set(arrays) else whole
    missing = [name for name in wanted if name not in arrays]
    if missing:
        raise QuantError(
            f"{source} has no array {', '.join(missing)}: it must hold {', '.join(_SPLIT)}, or x and y", status=2
        )
    samples = {name: _samples(arrays[name], name, source) for name in wanted if name.startswith("x")}
    x_train, y_train, *rest = (samples.get(name, arrays[name]) for name in wanted)
    x_test, y_test = rest or (None, None)
    return Parts(x_train, y_train, x_test, y_test, None if names is None else tuple(names.astype(str).tolist()))


def _samples(x: np.ndarray, name: str, source: Path) -> np.ndarray:
    """Images (N, C, H, W), or features (N, F)."""
    if x.dtype.kind not in "biuf" or x.ndim not in (2, 3, 4):
        raise QuantError(
            f"{source}: {name} is {x.dtype} of shape {x.shape}: give images (N, H, W), (N, H, W, channels) or "
            "(N, C, H, W), or features (N, F), as numbers",
            status=2,
        )
    if x.ndim == 3:
        return x[:, None]
    last = (
        x.ndim == 4 and x.shape[1] not in (1, 3) and (x.shape[3] in (1, 3) or (x.shape[3] in (2, 4) and x.shape[1] > 4))
    )
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if last else x


def _array(file: Any, name: str, path: Path) -> np.ndarray:
    try:
        return np.asarray(file[name])
    except ValueError as error:
        if "pickle" not in str(error):
            raise
        raise QuantError(f"{path}: {name} holds Python objects: save it as numbers or strings", status=2) from error


def _npy(path: Path) -> np.ndarray:
    try:
        # Mapped first: a header that claims more than the file holds allocates nothing then.
        return np.array(np.load(path, mmap_mode="r", allow_pickle=False))
    except ValueError as error:
        reason = "it holds Python objects" if "object" in str(error).lower() else f"damaged: {error}"
        raise QuantError(f"{path} is no array of numbers or strings ({reason}): save it with numpy.save") from error


def _jpegs(file: Any) -> Parts:
    image = pillow("a .npz of JPEG files")
    packed, offset, labels, train = (file[name] for name in ("jpeg", "offset", "label", "is_train"))
    images = np.stack(
        [
            np.asarray(image.open(io.BytesIO(packed[first:end].tobytes())))
            for first, end in zip(offset[:-1].tolist(), offset[1:].tolist(), strict=True)
        ]
    )
    images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    train = train.astype(bool)
    return Parts(images[train], labels[train], images[~train], labels[~train])


def pillow(what: str) -> Any:
    """Returns the module ``PIL.Image``. Raises QuantError where Pillow is not installed; ``what`` needs it."""
    try:
        from PIL import Image
    except ImportError:
        raise QuantError(
            f"{what} needs Pillow, which is not installed: run pip install pillow, or pip install 'bitfabric[train]'"
        ) from None
    return Image
