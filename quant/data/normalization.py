"""Values of a source as codes of 8 bits: kept as they are, or an offset and a scale for them."""

from typing import get_args

import numpy as np

from quant.data.choices import Normalization
from quant.data.dataset import Parts
from quant.errors import QuantError

_CODES = 32
"""Codes per standard deviation."""
_LEAST = 1e-30
"""A smaller deviation or range, which float32 hardly holds, is none."""


def normalized(
    parts: Parts, how: Normalization, source: object
) -> tuple[np.ndarray, np.ndarray, int, int, np.ndarray | None, np.ndarray | None]:
    """Returns the samples of both parts, least and greatest code, scale and offset (None: values are the codes).

    Raises QuantError (status 2) for values that are no finite numbers, or too large.
    """
    if how not in get_args(Normalization):
        raise QuantError(f"no normalization {how!r}: choose {', '.join(get_args(Normalization))}", status=2)
    train, test = parts.x_train, parts.x_test
    assert test is not None
    kind = "images" if train.ndim == 4 else "features"
    if train.shape[1:] != test.shape[1:] or any(x.dtype.kind not in "biuf" for x in (train, test)):
        wanted = "(N, C, H, W)" if kind == "images" else "(N, F)"
        raise QuantError(
            f"{source}: {kind} of {train.dtype} {train.shape} and {test.dtype} {test.shape} are no numbers of shape "
            f"{wanted}",
            status=2,
        )
    whole = all(x.dtype.kind in "biu" for x in (train, test))
    if how == "none" and not whole:
        raise QuantError(f"{source}: normalize=none is for whole numbers, and these are {train.dtype}", status=2)
    if whole and how in ("auto", "none"):
        kept = _kept(train, test, kind, bits=16 if how == "none" or (parts.whole and kind == "features") else 8)
        if kept is not None:
            return (*kept, None, None)
        if how == "none" or (parts.whole and kind == "features"):
            least, most = _ends(train, test)
            raise QuantError(
                f"{source}: {kind} reach from {least} to {most}, which 16 bits do not hold: scale them, or take "
                "normalize=standard (--normalize standard)",
                status=2,
            )
    train, test = (_float32(x, kind, source) for x in (train, test))
    wide, axes = train.astype(np.float64), (0, 2, 3) if kind == "images" else (0,)
    if how == "standard" or (how == "auto" and kind == "features"):
        deviation = wide.std(axes)
        scale, offset = np.where(deviation > _LEAST, deviation, 1.0) / _CODES, wide.mean(axes)
        low, high = -128, 127
    else:
        least, most = wide.min(axes), wide.max(axes)
        if kind == "images" and least.min() >= 0 and most.max() <= 1:
            least, most = np.zeros_like(least), np.ones_like(most)
        offset, scale = least, np.where(most - least > _LEAST, most - least, 1.0) / 255
        low, high = 0, 255
    shape = (-1, 1, 1) if kind == "images" else (-1,)
    narrow = [each.astype(np.float32).reshape(shape) for each in (scale, offset)]
    return train, test, low, high, narrow[0], narrow[1]


def _ends(*arrays: np.ndarray) -> tuple[int, int]:
    return min(int(x.min()) for x in arrays), max(int(x.max()) for x in arrays)


def _kept(train: np.ndarray, test: np.ndarray, kind: str, bits: int) -> tuple[np.ndarray, np.ndarray, int, int] | None:
    """The whole numbers in the smallest type that holds them, and its range; None where ``bits`` do not."""
    least, most = _ends(train, test)
    types = (np.uint8, np.int8, np.uint16, np.int16) if bits == 16 else (np.uint8, np.int8)
    for dtype in types if kind == "features" or bits == 16 else (np.uint8,):
        ends = np.iinfo(dtype)
        if ends.min <= least and most <= ends.max:
            stored = np.int32 if dtype == np.uint16 else dtype  # torch supports few operations on uint16
            return train.astype(stored), test.astype(stored), int(ends.min), int(ends.max)
    return None


def _float32(x: np.ndarray, kind: str, source: object) -> np.ndarray:
    with np.errstate(over="ignore"):
        narrow: np.ndarray = x.astype(np.float32)
    if not np.isfinite(narrow).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(narrow))[0])
        raise QuantError(f"{source}: {kind} are not all finite in float32: {x[place]} at {list(place)}", status=2)
    return narrow
