"""Operators of a model that become kernels of their own: the registry of their handlers, and what those share."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import onnx

from hw.host.steps import HostStep, step
from hw.ir.kernel import Kernel
from hw.lowering.affine import floats
from hw.lowering.moves import Moves, element_order
from hw.lowering.refusal import refuse
from hw.lowering.wires import AS_FLOAT32, Steps, Wire

if TYPE_CHECKING:
    from hw.lowering.lower import Lowering

Handler = Callable[["Lowering", onnx.NodeProto], None]

HANDLERS: dict[str, Handler] = {}
"""Operator -> handler: it reads ``lowering.values``, appends nodes and sets the values of the node's outputs."""
JOINS: dict[str, Handler] = {}
"""The same of operators that are element-wise steps unless they have several data inputs."""
SPATIAL: set[str] = set()
"""Operators on images (or signals), which go through the hardware with channels innermost."""
FLAT = frozenset({"MatMul", "Gemm", "Flatten", "Reshape", "Transpose"})
"""Operators before which elements may be in any order."""


def handles(*ops: str, spatial: bool = False) -> Callable[[Handler], Handler]:
    """Register the handler of these operators."""

    def register(function: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(ops, function))
        if spatial:
            SPATIAL.update(ops)
        return function

    return register


def joins(*ops: str) -> Callable[[Handler], Handler]:
    """Register the handler of these operators where they have several data inputs."""

    def register(function: Handler) -> Handler:
        JOINS.update(dict.fromkeys(ops, function))
        return function

    return register


def with_axis_last(node: onnx.NodeProto, wire: Wire, axis: int = 0) -> Wire:
    """The wire as a stream (*others, size of the tensor's ``axis``): the same elements, in the same order.

    Axes are counted without the batch. Raises BitfabricError where the elements arrive in another order, and where
    they are not scaled alike along the other axes.
    """
    shape = wire.tensor_shape
    order = np.moveaxis(element_order(wire.moves, wire.shape), axis, -1)
    if not np.array_equal(order.ravel(), np.arange(order.size)):
        raise refuse(
            node,
            "its input's elements arrive in another order than row by row with its channels innermost",
            "keep a tensor an image (or a signal) from layer to layer, and reshape or transpose it only before "
            "fully connected layers",
        )
    result = wire.viewed((*shape[:axis], *shape[axis + 1 :], shape[axis]))
    if result.uneven:
        raise refuse(
            node, "its input is scaled differently at different positions", "use one scale and bias for each channel"
        )
    return result


def line_by_channel(wire: Wire) -> tuple[np.ndarray, np.ndarray]:
    """Slope and offset, Fractions (channels,), of an affine wire that is not uneven."""
    assert wire.line is not None
    slope, offset = (np.broadcast_to(part.ravel(), wire.low.shape) for part in wire.line)
    return slope, offset


def scaling(rank: int, slope: np.ndarray, offset: np.ndarray) -> Steps:
    """The steps of ``integers * slope + offset`` (Fractions, (channels,)) on frames of so many axes, in float64."""
    steps: list[HostStep] = []
    for op, values, idle in (("Mul", slope, 1), ("Add", offset, 0)):
        if np.any(values != idle):
            steps.append(step(op, floats(values).reshape((1,) * rank + (-1,))))
    return tuple(steps)


def behind(
    node: onnx.NodeProto,
    edge: str,
    kernel: Kernel,
    bounds: tuple[np.ndarray, np.ndarray],
    steps: Steps,
    moves: Moves,
) -> Wire:
    """The wire of a kernel's integers: ``steps`` from them to float64 values, then the model's own float32."""
    stream = kernel.outputs()[0]
    whole = (*steps, AS_FLOAT32)
    return Wire(
        stream.shape,
        whole,
        (node.name,) * len(whole),
        moves,
        edge=edge,
        dtype=stream.dtype,
        low=bounds[0],
        high=bounds[1],
    )
