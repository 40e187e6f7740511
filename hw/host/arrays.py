"""Arrays of numbers in ``.npy`` and ``.npz`` files (NumPy's formats, described in ``numpy.lib.format``).

A header is not trusted: before anything is allocated, what it claims is compared with the size of the file.
"""

import zipfile
import zlib
from collections.abc import Mapping
from io import BytesIO
from math import prod
from os import fstat
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO

import numpy as np

from .errors import UsageError
from .files import opened, replacing

_REMEDY = "save it with numpy.save"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
"""Readers of a header by version of the format. Version 3 is for field names only, which numbers do not have."""
_MAGIC = {b"PK": "a .npz archive", b"\x80": "a pickle"}


def load_array(path: Path) -> np.ndarray:
    """The numbers in a ``.npy`` file, in C order and in this machine's byte order.

    Raises UsageError for a file that is missing, damaged or no array of numbers, and one that is larger than the
    memory. Nothing of a pickle is read.
    """
    with opened(path, "give fewer frames, or check the disk") as file:
        shape, fortran, dtype = _header(file, path)
        size, left = prod(shape) * dtype.itemsize, fstat(file.fileno()).st_size - file.tell()
        if size > left:
            raise UsageError(f"{path} is not a whole .npy file (its header claims {dtype} numbers of shape {shape}, "
                             f"{size:,} bytes, and {left:,} follow); {_REMEDY}")  # fmt: skip
        flat = np.fromfile(file, dtype, prod(shape))
        try:
            array = flat.reshape(shape, order="F" if fortran else "C")
        except ValueError as error:
            raise _damaged(path, error) from None
        return np.ascontiguousarray(array, dtype.newbyteorder("="))


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of numbers in a ``.npz`` file, by name. Raises UsageError as ``load_array`` does."""
    found = {}
    with opened(path, "give fewer frames, or check the disk") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                members = {each.filename.removesuffix(".npy"): archive.read(each) for each in archive.infolist()}
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise UsageError(f"{path} is not a whole .npz file ({error}); save it with numpy.savez") from None
    for name, octets in members.items():
        content = BytesIO(octets)
        shape, fortran, dtype = _header(content, path)
        size, left = prod(shape) * dtype.itemsize, len(octets) - content.tell()
        if size > left:
            said = f"array {name} claims {size:,} bytes, and {left:,} follow"
            raise UsageError(f"{path} is not a whole .npz file ({said}); save it with numpy.savez")
        flat = np.frombuffer(octets, dtype, prod(shape), content.tell())
        array = flat.reshape(shape, order="F" if fortran else "C")
        found[name] = np.ascontiguousarray(array, dtype.newbyteorder("="))
    return found


def _header(file: BinaryIO, path: Path) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether the array is in Fortran order, and type of an array."""
    start = file.read(len(np.lib.format.MAGIC_PREFIX))
    for magic, kind in _MAGIC.items():
        if start.startswith(magic):
            raise UsageError(f"{path} is not a .npy file but {kind}; save one array with numpy.save")
    if start != np.lib.format.MAGIC_PREFIX:
        raise _damaged(path, ValueError("it does not begin like one" if start else "it is empty"))
    file.seek(0)
    try:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"version {version} of the format")
        shape, fortran, dtype = _HEADERS[version](file)
        if not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError(f"shape {shape}")
    except Exception as error:  # NumPy's parser of the header raises many types
        raise _damaged(path, error) from None
    if dtype.hasobject or dtype.kind not in "biuf":
        kind = "Python objects" if dtype.hasobject else f"{dtype}"
        raise UsageError(f"{path} holds {kind}, not numbers; save an array of numbers with numpy.save")
    return shape, fortran, dtype


def _damaged(path: Path, error: BaseException) -> UsageError:
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return UsageError(f"{path} is not a whole .npy file ({reason}); {_REMEDY}")


def integers_as(frames: np.ndarray, dtype: str, what: str) -> np.ndarray:
    """Integers as numbers of the floating-point type ``dtype``. Raises UsageError where it does not hold them exactly;
    ``what`` takes them."""
    exact = 2 ** (np.finfo(dtype).nmant + 1)
    if int(frames.min()) < -exact or int(frames.max()) > exact:
        span = f"{frames.dtype} ones reach from {frames.min()} to {frames.max()}"
        raise UsageError(f"{what} takes {dtype} numbers; these {span}, which {dtype} does not hold exactly; scale them")
    return frames.astype(dtype)


def save_array(path: Path, array: np.ndarray) -> None:
    """Write a ``.npy`` file (``hw.host.files.replacing``)."""
    with replacing(path) as part, part.open("wb") as file:
        # Not the file itself: for a file NumPy calls C, and the error of a full disk has no reason then.
        np.lib.format.write_array(SimpleNamespace(write=file.write), np.asanyarray(array), allow_pickle=False)


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a ``.npz`` file (``hw.host.files.replacing``)."""
    with replacing(path) as part, part.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
