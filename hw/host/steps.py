"""The steps that the host computes before and after the integer dataflow graph."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
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
    of a Reshape does not. ``branches`` are the steps to the inputs of a function of several tensors (``combined``);
    each branch starts from the same batch.
    """

    op: str
    operands: tuple[np.ndarray, ...] = ()
    attributes: tuple[tuple[str, Any], ...] = ()
    branches: tuple[tuple["HostStep", ...], ...] = ()

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The step's result on a batch, in the floating-point type of ``x`` unless the operator is a Cast.

        As in ONNX Runtime, float16 operators compute in float32 and round their result once.
        """
        operands = self.operands
        if x.dtype.kind == "f":
            operands = tuple(value if value.dtype == bool else value.astype(x.dtype, copy=False) for value in operands)
        given = tuple(run(branch, x) for branch in self.branches) if self.branches else (x, *operands)
        half = any(value.dtype == np.float16 for value in given) and self.op not in EXACT_IN_FLOAT16
        if half:
            given = tuple(value.astype(np.float32) if value.dtype == np.float16 else value for value in given)
        result = OPERATORS[self.op](*given, **dict(self.attributes))
        return result.astype(np.float16) if half and result.dtype == np.float32 else result

    @property
    def constants(self) -> Iterator[np.ndarray]:
        """The constant operands of the step and of its branches."""
        for each in every((self,)):
            yield from each.operands

    def with_constants(self, change: Callable[[np.ndarray], np.ndarray]) -> "HostStep":
        """The step with every constant operand changed, those of its branches too."""
        branches = tuple(tuple(each.with_constants(change) for each in branch) for branch in self.branches)
        return replace(self, operands=tuple(map(change, self.operands)), branches=branches)


def step(op: str, *operands: np.ndarray | float, **attributes: Any) -> HostStep:
    """Make a HostStep; numbers among the operands become arrays."""
    return HostStep(op, tuple(np.asarray(value) for value in operands), tuple(attributes.items()))


def combined(by: str, branches: Iterable[Iterable[HostStep]]) -> HostStep:
    """The step that computes the function ``by`` of the results of ``branches`` (``hw.host.elementwise.COMBINERS``)."""
    return HostStep("Combine", (), (("by", by),), tuple(map(tuple, branches)))


def every(steps: Iterable[HostStep]) -> Iterator[HostStep]:
    """The steps, and those of all branches."""
    for each in steps:
        yield each
        for branch in each.branches:
            yield from every(branch)


def run(steps: Iterable[HostStep], x: np.ndarray) -> np.ndarray:
    """The result of all steps, in order, on a batch."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        for each in steps:
            x = each(x)
    return x
