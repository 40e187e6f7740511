"""The host's share of a network: the floating-point steps before and after the integer dataflow graph.

Needs nothing but NumPy: the driver that a build leaves has a copy of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .operators import OPERATORS


@dataclass(frozen=True, eq=False)
class HostStep:
    """One element-wise or shape step on a batch, computed as the model's own reference computes it.

    ``op`` names the ONNX or QONNX operator (``hw.host.operators``); ``operands`` are its constant inputs,
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
