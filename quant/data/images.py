"""Folders of images, one folder for each class."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from quant.data.arrays import pillow
from quant.data.dataset import Parts
from quant.errors import QuantError
from quant.files import check_memory

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
_TEST = ("test", "val", "valid", "validation")
_GREY, _COLOR = ("1", "L", "LA", "La"), ("RGB", "RGBA", "RGBa", "P", "PA", "CMYK", "YCbCr", "HSV", "LAB")

Size = tuple[int, int]


def is_image_folder(folder: Path) -> bool:
    """Whether a folder holds folders with images, or ``train`` with such folders."""
    return any(_images(each) for each in _folders(folder)) or _parted(folder) is not None


def read_images(folder: Path, size: Size | None = None, channels: int | None = None, labelled: bool = True) -> Parts:
    """Reads ``folder/CLASS/*.png`` and so on, or ``folder/train/CLASS/*`` and ``folder/test/CLASS/*``.

    The classes are the folders in alphabetical order, as in torchvision's ImageFolder. Images have 1 channel if all are
    grey, else 3; transparency is dropped, and the orientation that a camera notes is applied. ``channels`` converts
    them all to 1 (grey) or 3. ``size`` (height, width) scales them all; without it they must have one size.

    Without ``labelled``, a class may have no images for the training.

    Returns images (N, C, H, W) uint8, or uint16 if all are grey with 16 bits.

    Raises QuantError (status 2) for a file that is no image, images of different sizes, and a class without images.
    """
    if channels not in (None, 1, 3):
        raise QuantError(f"channels={channels} of images must be 1 (grey) or 3 (red, green, blue)", status=2)
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise QuantError(f"image_size={size} is no height and width, as (32, 32)", status=2)
    module = pillow(f"the folder of images {folder}")
    places = _parted(folder) or (folder,)
    names = tuple(sorted({each.name for place in places for each in _folders(place)}))
    for place in places:
        for name in names:
            missing = not (place / name).is_dir()
            if (missing and (labelled or len(places) == 1)) or (not missing and not _images(place / name)):
                raise QuantError(f"{place / name} holds no images ({', '.join(SUFFIXES[:3])}, ...)", status=2)
    if channels is None:
        channels = 1 if all(_is_grey(module, path) for path in _all(places, names)) else 3
    arrays: list[np.ndarray] = []
    first: tuple[Path, tuple[int, ...]] | None = None
    for place in places:
        paths = _all((place,), names)
        read = []
        for path in paths:
            image = _read(module, path, size, channels)
            if first is None:
                first = path, image.shape
                check_memory(folder, image.nbytes * len(_all(places, names)))
            if image.shape != first[1]:
                raise QuantError(
                    f"{path} is {_sides(image.shape)}, and {first[0]} {_sides(first[1])}: scale all images to one size "
                    f"(--image-size {_sides(first[1])})",
                    status=2,
                )
            read.append(image)
        arrays.append(np.stack(read))
        arrays.append(np.array([names.index(path.parent.name) for path in paths]))
    x_train, y_train, *rest = arrays
    x_test, y_test = rest or (None, None)
    return Parts(x_train, y_train, x_test, y_test, names)


def _parted(folder: Path) -> tuple[Path, Path] | None:
    """The folders of the training and the test set, where a folder has both."""
    test = next((folder / name for name in _TEST if (folder / name).is_dir()), None)
    train = folder / "train"
    if test is None or not train.is_dir():
        return None
    return (train, test) if all(any(_images(each) for each in _folders(part)) for part in (train, test)) else None


def _folders(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))


def _images(folder: Path) -> list[Path]:
    return sorted(
        each for each in folder.iterdir() if each.suffix.lower() in SUFFIXES and not each.name.startswith(".")
    )


def _all(places: tuple[Path, ...], names: tuple[str, ...]) -> list[Path]:
    return [path for place in places for name in names if (place / name).is_dir() for path in _images(place / name)]


def _is_grey(module: Any, path: Path) -> bool:
    with _opened(module, path) as image:
        return image.mode in _GREY or image.mode.startswith("I") or image.mode == "F"


def _read(module: Any, path: Path, size: Size | None, channels: int) -> np.ndarray:
    """An image (C, H, W)."""
    from PIL import ImageOps

    with _opened(module, path) as opened:
        try:
            image = ImageOps.exif_transpose(opened)
        except Exception as error:  # Pillow raises many types for damaged files
            raise _damaged(path, error) from error
        if image.mode not in (*_GREY, *_COLOR) and not image.mode.startswith("I;16"):
            raise QuantError(f"{path} has pixels of the kind {image.mode}: save it with 8 bits a channel", status=2)
        if channels == 3 or not image.mode.startswith("I;16"):
            if image.mode.startswith("I;16"):
                raise QuantError(f"{path} has 16 bits, and others have colors: save all with 8 bits", status=2)
            image = image.convert("L" if channels == 1 else "RGB")
        if size is not None and image.size != (size[1], size[0]):
            image = image.resize((size[1], size[0]), module.Resampling.BILINEAR)
        array = np.asarray(image)
    array = array.astype(np.uint16) if array.dtype != np.uint8 else array
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def _opened(module: Any, path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", module.DecompressionBombWarning)
            return module.open(path)
    except Exception as error:  # Pillow raises many types for damaged files
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> QuantError:
    known = "cannot identify" in str(error) or not str(error)
    return QuantError(
        f"{path} is damaged or no image{'' if known else f' ({error})'}: remove it, or save it again", status=2
    )


def _sides(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[2]}"
