"""The steps that the host computes before and after the integer dataflow graph."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .operators import OPERATORS, RESHAPING

EXACT_IN_FLOAT16 = RESHAPING | {"Cast"}
"""Operators that do not round in float16."""


@dataclass(frozen=True, eq=False)
class HostStep:
    """One operator on a batch of frames, computed in the same precision as the model's reference.

    ``op`` names the ONNX or QONNX operator (``hw.host.operators``), ``operands`` are its constant inputs and
    ``attributes`` its attributes: arrays, strings, numbers, and tuples of them. Axes include the batch axis; the shape
    of a Reshape does not.
    """

    op: str
    operands: tuple[np.ndarray, ...] = ()
    attributes: tuple[tuple[str, Any], ...] = ()

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The step's result on a batch, in the floating-point type of ``x`` unless the operator is a Cast.

        As in ONNX Runtime, float16 operators compute in float32 and round their result once.
        """
        operands = self.operands
        if x.dtype.kind == "f":
            operands = tuple(value.astype(x.dtype, copy=False) for value in operands)
        if x.dtype == np.float16 and self.op not in EXACT_IN_FLOAT16:
            wide = tuple(value.astype(np.float32) for value in operands)
            result = OPERATORS[self.op](x.astype(np.float32), *wide, **dict(self.attributes))
            return result.astype(np.float16) if result.dtype == np.float32 else result
        return OPERATORS[self.op](x, *operands, **dict(self.attributes))


def step(op: str, *operands: np.ndarray | float, **attributes: Any) -> HostStep:
    """Make a HostStep; numbers among the operands become arrays."""
    return HostStep(op, tuple(np.asarray(value) for value in operands), tuple(attributes.items()))


def run(steps: Iterable[HostStep], x: np.ndarray) -> np.ndarray:
    """The result of all steps, in order, on a batch."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        for each in steps:
            x = each(x)
    return x
