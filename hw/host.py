"""The host's share of a network: the floating-point steps before and after the integer dataflow graph."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from qonnx.core.datatype import DataType

from hw.errors import BitfabricError
from hw.operators import OPERATORS
from hw.stream import container


@dataclass(frozen=True, eq=False)
class HostStep:
    """One element-wise or shape step on a batch, computed as the model's own reference computes it.

    ``op`` names the ONNX or QONNX operator (``hw.operators``); ``operands`` are its constant inputs,
    ``attributes`` its attributes. Plain data: arrays, strings, numbers and tuples of them. Axes count the
    batch; the shape of a Reshape is without it.
    """

    op: str
    operands: tuple[np.ndarray, ...] = ()
    attributes: tuple[tuple[str, Any], ...] = ()

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The step's result on a batch, in the floating-point type of ``x`` unless the step is a Cast."""
        operands = self.operands
        if x.dtype.kind == "f":
            operands = tuple(value.astype(x.dtype, copy=False) for value in operands)
        return OPERATORS[self.op](x, *operands, **dict(self.attributes))


def step(op: str, *operands: np.ndarray | float, **attributes: Any) -> HostStep:
    """A HostStep; numbers among the operands become float64 arrays."""
    return HostStep(op, tuple(np.asarray(value) for value in operands), tuple(attributes.items()))


def run(steps: Iterable[HostStep], x: np.ndarray) -> np.ndarray:
    """The steps in order on a batch."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        for each in steps:
            x = each(x)
    return x


def checked(frames: np.ndarray, what: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """A user's frames ``(N, *shape)`` as ``dtype``, a NumPy name (float32) or a QONNX one (UINT8).

    Floating point is taken in any precision; an integer type takes integers, and floats that are whole. Raises
    BitfabricError (status 2) for another shape or type, for numbers that are not finite and for integers out
    of range.
    """
    frames = np.asarray(frames)
    expected = f"frames of shape (N, {', '.join(map(str, shape))})"
    if frames.ndim != 1 + len(shape) or frames.shape[1:] != shape or not len(frames):
        hint = ", a batch of one" if frames.shape == shape else ""
        raise BitfabricError(
            f"{what} takes {expected}, not {frames.shape}{hint and f'; give {(1, *shape)}{hint}'}", status=2
        )
    floating = dtype.startswith("float")
    if frames.dtype.kind not in ("f" if floating else "fiu"):
        hint = " (convert them with .astype(np.float32))" if floating and frames.dtype.kind in "iu" else ""
        raise BitfabricError(f"{what} takes {dtype} numbers, not {frames.dtype}{hint}", status=2)
    if frames.dtype.kind == "f" and not np.all(np.isfinite(frames)):
        raise BitfabricError(f"{what} holds NaN or infinity in frame {_first(~np.isfinite(frames))}", status=2)
    if floating:
        return frames.astype(dtype, copy=False)
    kind = DataType[dtype]
    allowed = (frames >= kind.min()) & (frames <= kind.max()) & (frames == np.round(frames))
    if dtype == "BIPOLAR":
        allowed &= frames != 0
    if not np.all(allowed):
        at = np.unravel_index(int(np.argmin(allowed)), allowed.shape)
        raise BitfabricError(f"{what} takes {dtype} integers; frame {at[0]} holds {frames[at]}", status=2)
    return frames.astype(container(kind))


def _first(flags: np.ndarray) -> int:
    """The first frame with a flag."""
    return int(np.argmax(flags.reshape(len(flags), -1).any(axis=1)))
