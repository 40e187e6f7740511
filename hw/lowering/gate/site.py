"""A node with what is known of its inputs, as the rules of operators see it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto

from hw.host.errors import BitfabricError
from hw.lowering.gate.tensors import Constant
from hw.lowering.refusal import lowering_error

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Tensor:
    """What is known of a tensor: its shape, its ONNX element type, and its value if it is constant and computed.

    ``data`` says that it depends on an input of the model. ``quantizer`` is the name of the quantizer that a constant
    passed, and ``bits`` its width.
    """

    shape: Shape
    elem_type: int
    constant: Constant | np.ndarray | None = None
    data: bool = False
    quantizer: str = ""
    bits: int = 0

    @property
    def value(self) -> np.ndarray | None:
        return self.constant.value if isinstance(self.constant, Constant) else self.constant


@dataclass(frozen=True, eq=False)
class Site:
    """A node to check. ``inputs`` has None for absent inputs; ``version`` is that of its operator set."""

    node: onnx.NodeProto
    inputs: tuple[Tensor | None, ...]
    version: int

    def error(self, why: str, remedy: str = "export the model again") -> BitfabricError:
        return lowering_error(self.node, why, remedy)

    # --- inputs ---

    def input(self, index: int) -> Tensor:
        """An input that the node must have."""
        tensor = self.inputs[index] if index < len(self.inputs) else None
        if tensor is None:
            raise self.error(f"it lacks its input {index}")
        return tensor

    def optional(self, index: int) -> Tensor | None:
        return self.inputs[index] if index < len(self.inputs) else None

    def shape(self, index: int = 0) -> Shape:
        return self.input(index).shape

    def integers(self, index: int, what: str) -> tuple[int, ...] | None:
        """A constant list of integers, as an input; None if the node leaves it out."""
        tensor = self.optional(index)
        if tensor is None:
            return None
        if tensor.value is None:
            raise self.error(
                f"its {what} ({self.node.input[index]}) is computed while running", "export it with a constant"
            )
        if tensor.value.dtype.kind not in "iu" or tensor.value.ndim > 1:
            raise self.error(f"its {what} ({self.node.input[index]}) is no list of integers")
        return tuple(int(value) for value in tensor.value.ravel())

    # --- attributes ---

    def get(self, name: str, kind: int) -> Any:
        """The value of an attribute; None if the node leaves it out. Raises for another type than ``kind``."""
        for attribute in self.node.attribute:
            if attribute.name == name:
                if attribute.type != kind:
                    have, want = (AttributeProto.AttributeType.Name(each) for each in (attribute.type, kind))
                    raise self.error(f"its attribute {name} is of type {have}, not {want}")
                return onnx.helper.get_attribute_value(attribute)
        return None

    def integer(self, name: str, default: int) -> int:
        value = self.get(name, AttributeProto.INT)
        return default if value is None else int(value)

    def flag(self, name: str, default: int = 0) -> bool:
        value = self.integer(name, default)
        if value not in (0, 1):
            raise self.error(f"its attribute {name} is {value}; it is 0 or 1")
        return bool(value)

    def ints(self, name: str) -> tuple[int, ...] | None:
        value = self.get(name, AttributeProto.INTS)
        return None if value is None else tuple(int(each) for each in value)

    def floating(self, name: str, default: float) -> float:
        value = self.get(name, AttributeProto.FLOAT)
        return default if value is None else float(value)

    def word(self, name: str, default: str, allowed: Sequence[str]) -> str:
        """A string attribute that is one of ``allowed``."""
        value = self.get(name, AttributeProto.STRING)
        text = default if value is None else value.decode(errors="replace")
        if text not in allowed:
            raise self.error(f"its attribute {name} is {text!a}; it is one of {', '.join(filter(None, allowed))}")
        return text

    # --- ranges ---

    def axis(self, axis: int, rank: int, what: str = "axis") -> int:
        """An axis as a number from 0 on."""
        if not -rank <= axis < rank:
            raise self.error(f"its {what} {axis} is none of the {rank} axes of its input")
        return axis + rank if axis < 0 else axis

    def axes(self, axes: Sequence[int], rank: int) -> tuple[int, ...]:
        """Different axes as numbers from 0 on."""
        result = tuple(self.axis(each, rank) for each in axes)
        if len(set(result)) < len(result):
            raise self.error(f"its axes {list(axes)} name one axis twice")
        return result

    def broadcast(self, *shapes: Shape) -> Shape:
        try:
            return np.broadcast_shapes(*shapes)
        except ValueError:
            listed = " and ".join(str(list(shape)) for shape in shapes)
            raise self.error(f"its inputs of shapes {listed} do not broadcast") from None


Rule = Callable[[Site], list[tuple[Shape, int]]]
"""From a node to the shape and the element type of each of its outputs, checking its attributes and operands."""
