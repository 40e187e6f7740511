"""Validation of a user's frames: frames that do not match the model raise UsageError with a one-line reason."""

import numpy as np
from qonnx.core.datatype import DataType

from hw.host.arrays import integers_as
from hw.host.errors import UsageError
from hw.ir.stream import container

Batch = np.ndarray | dict[str, np.ndarray]
"""Frames of a model, ``(N, *shape)``; by name where the model has several inputs or outputs."""


def count(batch: Batch) -> int:
    """The number of frames."""
    return len(next(iter(batch.values())) if isinstance(batch, dict) else batch)


def chosen(batch: Batch, which: slice) -> Batch:
    """Some of the frames."""
    return {name: each[which] for name, each in batch.items()} if isinstance(batch, dict) else batch[which]


def finite(frames: np.ndarray, what: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """A user's frames ``(N, *shape)``, whose values may still be out of the range of ``dtype``.

    Raises UsageError for another shape, for numbers that are not finite, and for numbers of another kind than
    ``checked`` accepts.
    """
    frames = np.asarray(frames)
    expected = f"frames of shape (N, {', '.join(map(str, shape))})"
    if frames.shape == (0, *shape):
        raise UsageError(f"{what} takes {expected} with at least one frame; these are none, {frames.shape}")
    if frames.ndim != 1 + len(shape) or frames.shape[1:] != shape:
        hint = ", a batch of one" if frames.shape == shape else ""
        raise UsageError(f"{what} takes {expected}, not {frames.shape}{hint and f'; give {(1, *shape)}{hint}'}")
    if frames.dtype.kind not in "fiu":
        raise UsageError(f"{what} takes {dtype} numbers, not {frames.dtype}")
    if dtype.startswith("float") and frames.dtype.kind in "iu":
        return integers_as(frames, dtype, what)
    if frames.dtype.kind == "f" and not np.all(np.isfinite(frames)):
        raise UsageError(f"{what} holds NaN or infinity in frame {_first(~np.isfinite(frames))}")
    return frames


def checked(frames: np.ndarray, what: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """A user's frames ``(N, *shape)`` as ``dtype``, a NumPy name (float32) or a QONNX one (UINT8).

    A floating-point type accepts any precision, and integers that it holds exactly; an integer type accepts integers,
    and floats with integer values.
    Raises UsageError for another shape or type, for numbers that are not finite, and for integers out of range.
    """
    frames = finite(frames, what, shape, dtype)
    if dtype.startswith("float"):
        with np.errstate(over="ignore"):
            cast = frames.astype(dtype, copy=False)
        if not np.all(np.isfinite(cast)):
            raise UsageError(f"{what} holds numbers beyond {dtype} in frame {_first(~np.isfinite(cast))}")
        return cast
    kind = DataType[dtype]
    allowed = (frames >= kind.min()) & (frames <= kind.max()) & (frames == np.round(frames))
    if dtype == "BIPOLAR":
        allowed &= frames != 0
    if not np.all(allowed):
        at = np.unravel_index(int(np.argmin(allowed)), allowed.shape)
        raise UsageError(f"{what} takes {dtype} integers; frame {at[0]} holds {frames[at]}")
    return frames.astype(container(kind))


def _first(flags: np.ndarray) -> int:
    """The first frame with a flag."""
    return int(np.argmax(flags.reshape(len(flags), -1).any(axis=1)))
