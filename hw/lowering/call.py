"""A node of the model with what its conversion to host steps needs: its constant inputs, shapes, version and type."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from hw.host.errors import BitfabricError
from hw.host.steps import HostStep
from hw.lowering.constants import Constant
from hw.lowering.domains import channel_axis
from hw.lowering.node_attributes import attribute
from hw.lowering.refusal import lowering_error

FLOATS = ("float16", "float32", "float64")
"""The types in which a chain can compute."""
Shape = tuple[int, ...]
Steps = tuple[HostStep, ...]


@dataclass(frozen=True)
class Call:
    """A node to convert.

    ``inputs`` has None for the data input and for absent inputs. ``shape`` is that of the data, with a batch of one.
    ``version`` is the version of the operator set, ``number`` the type of the data (see ``Chain.number``); None if that
    is not known, and the constants have the data's type.
    """

    node: onnx.NodeProto
    inputs: tuple[Constant | None, ...]
    shape: Shape
    output_shape: Shape
    version: int
    number: str | None = None

    def operand(self, index: int) -> np.ndarray | None:
        """The value of a constant input; None if the node leaves it out. Raises BitfabricError for data and for NaN."""
        if index >= len(self.node.input) or not self.node.input[index]:
            return None
        constant = self.inputs[index]
        if constant is None:
            raise self.lowering_error(
                f"its input {self.node.input[index]} is computed while running",
                "keep one data input for each such node",
            )
        if constant.value.dtype.kind == "f" and np.isnan(constant.value).any():
            raise self.lowering_error(f"its constant {self.node.input[index]} holds NaN", "check the training")
        return constant.value

    def required(self, index: int) -> np.ndarray:
        """The value of a constant input. Raises BitfabricError as ``operand`` does, and for an absent input."""
        value = self.operand(index)
        if value is None:
            raise self.lowering_error(f"it lacks its input {index}", "export the model again")
        return value

    def alike(self, index: int) -> np.ndarray | None:
        """The value of a constant input of the data's type. Raises BitfabricError as ``operand``, and for other types.

        The data must be floating point, of a type in which the host can compute.
        """
        self.check_number(*FLOATS)
        value = self.operand(index)
        if value is not None and self.number is not None and value.dtype.name != self.number:
            raise self.lowering_error(
                f"its constant {self.node.input[index]} is {value.dtype}, its data {self.number}",
                "store both as float32",
            )
        return value

    def required_alike(self, index: int) -> np.ndarray:
        """The same for an input that the node must have."""
        value = self.alike(index)
        if value is None:
            raise self.lowering_error(f"it lacks its input {index}", "export the model again")
        return value

    def check_number(self, *accepted: str) -> None:
        """Raise BitfabricError unless the data is of an ``accepted`` type."""
        if self.number is not None and self.number not in accepted:
            raise self.lowering_error(f"it computes in {self.number}", "cast its input to float32 before it")

    def get(self, name: str, default: Any) -> Any:
        """An attribute of the node."""
        return attribute(self.node, name, default)

    def lowering_error(self, why: str, remedy: str) -> BitfabricError:
        """The error that the node cannot be lowered."""
        return lowering_error(self.node, why, remedy)

    @property
    def channel_axis(self) -> int:
        """The axis of the channels, counted with the batch."""
        return channel_axis(self.node, len(self.shape))

    def spatial(self, shape: Shape) -> Shape:
        """The sizes of the spatial axes of a ``shape`` of the rank of the data's, which includes the batch."""
        return tuple(size for axis, size in enumerate(shape) if axis not in (0, self.channel_axis))

    def along(self, axis: int, lead: int = 1) -> Shape:
        """The shape in which values along ``axis`` broadcast against the data; ``lead`` is the first axis' size."""
        return lead, *(-1 if i == axis else 1 for i in range(1, len(self.shape)))

    def axis(self, default: int) -> int:
        """The attribute ``axis`` as a non-negative number. Raises BitfabricError for the batch axis."""
        axis = int(self.get("axis", default))
        axis += len(self.shape) if axis < 0 else 0
        if axis == 0:
            raise self.lowering_error("it works along the batch", "use another axis")
        return axis


def data_index(inputs: tuple[Constant | None, ...], names: tuple[str, ...]) -> int:
    """The index of the data input: the first that is not constant."""
    return next(i for i, (constant, name) in enumerate(zip(inputs, names, strict=True)) if name and constant is None)


def broadcast(call: Call, value: np.ndarray) -> np.ndarray:
    """A constant operand. Raises BitfabricError if broadcasting it would change the shape of the data."""
    try:
        result = np.broadcast_shapes(call.shape, value.shape)
    except ValueError:
        result = ()
    if result != call.shape:
        raise call.lowering_error(
            f"its constant of shape {value.shape} does not broadcast to the data's {call.shape}",
            "give it one value for the tensor or one for each channel",
        )
    return value


def float_of(call: Call) -> str:
    """The type in which a chain holds a node's data: integers are exact in float32, in which a chain starts."""
    return call.number if call.number in FLOATS else "float32"
