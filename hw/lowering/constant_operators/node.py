"""A node whose inputs are all constant, as the operators on constants see it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
import onnx

from hw.host.errors import BitfabricError
from hw.host.text import one_line
from hw.lowering.gate.limits import MAX_ELEMENTS, MAX_RANK
from hw.lowering.node_attributes import attribute
from hw.lowering.refusal import lowering_error

Array: TypeAlias = np.ndarray
SHORT = 80
"""Characters of a shape, or of another library's text, in an error."""


@dataclass(frozen=True)
class ConstantNode:
    """A node whose inputs are all constant; ``operands`` has None for inputs that it leaves out."""

    node: onnx.NodeProto
    operands: tuple[Array | None, ...]
    version: int

    def __getitem__(self, index: int) -> Array:
        """An input. Raises BitfabricError where the node leaves it out."""
        value = self.optional(index)
        if value is None:
            raise self.refused(f"it lacks its input {index}", "export the model again")
        return value

    def optional(self, index: int) -> Array | None:
        """An input, or None where the node leaves it out."""
        return self.operands[index] if index < len(self.operands) else None

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute, or its default."""
        return attribute(self.node, name, default)

    def integers(self, index: int, name: str, since: int) -> tuple[int, ...] | None:
        """Integers that are the input ``index`` from operator set ``since`` on, and the attribute ``name`` before.

        None where the node leaves them out.
        """
        given = self.optional(index) if self.version >= since else self.get(name)
        return None if given is None else tuple(int(value) for value in np.ravel(given))

    def refused(self, why: str, remedy: str) -> BitfabricError:
        return lowering_error(self.node, why, remedy)

    def limited(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of a result. Raises BitfabricError for one that is too large, before anything is computed."""
        sizes = tuple(int(size) for size in shape)
        if len(sizes) > MAX_RANK or any(size < 0 for size in sizes) or prod(sizes) > MAX_ELEMENTS:
            raise self.refused(
                f"its constant result would have the shape {one_line(sizes, SHORT)}",
                f"a constant has at most {MAX_ELEMENTS} elements",
            )
        return sizes


Operator: TypeAlias = Callable[[ConstantNode], Array | Sequence[Array]]
"""From a node to its result, or to its results where it has several."""


def same_type(a: Array, b: Array) -> None:
    if a.dtype != b.dtype:
        raise TypeError(f"{a.dtype} and {b.dtype}")
