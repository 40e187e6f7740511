"""The handler of thermometer encoders, and the tensors of bits of lookup networks.

What a model compares is any function of one integer for each element that does not turn; each comparison becomes a
level of that integer, at which the model's own arithmetic decides it.
"""

from dataclasses import replace
from math import prod

import numpy as np
import onnx
from qonnx.core.datatype import DataType

from hw.host.steps import HostStep, combined, run, step
from hw.ir.kernel import Kernel
from hw.kernels.thermometer.kernel import Thermometer
from hw.lowering.constants import Constant
from hw.lowering.context import Decision, Lowering
from hw.lowering.decision_points import StepFunction, step_function
from hw.lowering.handlers import Handler, Handlers
from hw.lowering.integer_tensor import AS_FLOAT32, IntegerTensor, Steps
from hw.lowering.layout_ops import element_order, layout_of
from hw.lowering.lookup_sites import DOMAIN, ENCODER, Comparisons
from hw.lowering.monotone import monotone
from hw.lowering.quantize import Quantizer
from hw.lowering.refusal import lowering_error

BINARY = DataType["BINARY"]
"""The type of a bit."""


def binary_tensor(
    context: Lowering,
    node: onnx.NodeProto,
    edge: str,
    kernel: Kernel,
    order: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
    number: str,
) -> IntegerTensor:
    """The bits of ``edge``, which ``kernel`` writes, as the output of ``node``.

    ``order`` (n,) is, for each element of the model's tensor, its place in the stream; ``bounds`` are the minimum and
    the maximum of each channel.
    """
    stream = kernel.outputs()[0].shape
    layout_ops = layout_of(order.reshape(context.shape(node.output[0])[1:]), stream)
    low, high = (each.astype(np.int64) for each in bounds)
    return IntegerTensor(
        stream, (AS_FLOAT32,), (node.name,), layout_ops, number=number, edge=edge, dtype=BINARY, low=low, high=high
    )


def _encoder(context: Lowering, node: onnx.NodeProto) -> None:
    """Comparisons of a tensor's elements, repeated or not, with constant levels."""
    site = context.sites[node.output[0]]
    node, form, comparisons = site.node, site.form, site.comparisons
    assert comparisons is not None
    title = comparisons.nodes[0]
    tensor = context.integers(form.root, title)
    if max(abs(bound) for bound in tensor.range) > 1 << 24 and tensor.number not in ("float32", "float16", "float64"):
        raise lowering_error(title, f"it compares integers of {tensor.dtype.bitwidth()} bits", "use up to 24 bits")
    places = element_order(tensor.layout_ops, tensor.shape).ravel()[form.sources.ravel()]
    compare = _comparison(context, comparisons)
    function = _step_function(title, tensor, places, compare)
    levels, falling = function.points(np.array([1]))[0], function.falling
    rows = _by_position(places, levels, falling, tensor) if site.image else None
    prefix: tuple[int, ...] = () if rows is None else tensor.shape[:-1]
    taken = np.arange(len(places)) if rows is None else rows.ravel()
    channels, first = prod(tensor.shape[len(prefix) :]), taken[: len(places) // prod(prefix)]
    kept = places[first] % channels
    kernel = Thermometer(kept, levels[first], channels, tensor.dtype, prefix)
    edge = context.append(context.name("thermometer"), kernel, tensor.edge)
    least, most = ((levels <= bound)[taken].reshape(-1, len(kept)) for bound in (function.low, function.high))
    ends = least.min(axis=0), most.max(axis=0)
    number = context.element_type(node.output[0])
    result = binary_tensor(context, node, edge, kernel, np.argsort(taken), ends, number)
    read = places[taken]  # In the order of the stream.
    moved = (step("Reshape", shape=(prod(tensor.shape),)), step("Gather", axis=1, indices=tuple(read.tolist())))
    steps: Steps = (*tensor.steps, *moved, *(each.with_constants(lambda value: value[:, taken]) for each in compare))
    values: Steps = result.steps
    if falling.any():
        inverted = falling[None, first].reshape((1,) * len(result.shape) + (-1,)).astype(float)
        values = (*values, step("Mul", 1 - 2 * inverted), step("Add", inverted))
        steps = (*steps, combined("Xor", ((), (step("Constant", falling[None, taken]),))))
    if number in ("float16", "float64"):
        values = (*values, step("Cast", to=number))
    result = replace(result, steps=values, origins=(node.name,) * len(values))
    source = replace(tensor, steps=steps, origins=(*tensor.origins, *(node.name,) * (len(steps) - len(tensor.steps))))
    decided = Quantizer((kernel,), function.codes, result.low, result.high)
    context.decisions[edge] = Decision(source, steps, decided)
    context.tensors[edge] = node.output[0], result
    context.values[node.output[0]] = result


def _by_position(
    places: np.ndarray, levels: np.ndarray, falling: np.ndarray, tensor: IntegerTensor
) -> np.ndarray | None:
    """The numbers of the bits (positions, bits) by the position of what they compare; None where the positions of an
    image do not compare alike."""
    positions, rest = divmod(len(places), prod(tensor.shape[:-1]))
    if len(tensor.shape) != 3 or rest or not positions:
        return None
    position, channel = np.divmod(places, tensor.channels)
    rows = np.argsort(position, kind="stable").reshape(-1, positions)
    alike = [
        np.array_equal(each[rows], np.broadcast_to(each[rows[0]], rows.shape)) for each in (channel, levels, falling)
    ]
    return rows if all(alike) and np.array_equal(position[rows[:, 0]], position[rows[:, -1]]) else None


def _comparison(context: Lowering, comparisons: Comparisons) -> Steps:
    """The comparisons of elements (N, bits) with the level of each bit, by the operator that decides it."""
    levels = np.concatenate([_levels(context, node).ravel() for node in comparisons.nodes])
    sizes = [prod(context.shape(node.output[0])) for node in comparisons.nodes]
    starts = np.cumsum([0, *sizes[:-1]])[comparisons.numbers]
    constant = (step("Constant", levels[starts + comparisons.elements][None]),)
    ways = [(node.op_type, isinstance(context.values.get(node.input[0]), Constant)) for node in comparisons.nodes]
    decided: HostStep | None = None
    for way in dict.fromkeys(ways):
        op, constant_first = way
        this = combined(op, (constant, ()) if constant_first else ((), constant))
        chosen = np.array([each == way for each in ways])[comparisons.numbers][None]
        decided = this if decided is None else combined("Where", ((step("Constant", chosen),), (this,), (decided,)))
    assert decided is not None
    if not comparisons.inverted.any():
        return (decided,)
    return decided, combined("Xor", ((), (step("Constant", comparisons.inverted[None]),)))


def _levels(context: Lowering, node: onnx.NodeProto) -> np.ndarray:
    """The constant of a comparison, for each element of its result."""
    [levels] = [known.value for name in node.input if isinstance(known := context.values.get(name), Constant)]
    if levels.dtype.kind in "iu":  # Integers are compared as float32, in which this is beyond all of them.
        levels = np.clip(levels.astype(np.float64), -(2.0**25), 2.0**25)
    return np.broadcast_to(levels, context.shape(node.output[0]))


def _step_function(node: onnx.NodeProto, tensor: IntegerTensor, places: np.ndarray, compare: Steps) -> StepFunction:
    """The comparison as a function of the integer of each bit, 1 from a decision point on.

    Raises BitfabricError for a function that turns.
    """

    def taken(operand: np.ndarray) -> np.ndarray:
        if operand.size == 1:
            return operand.reshape(1)
        lead = operand.shape[0] if operand.ndim > len(tensor.shape) else 1
        return np.broadcast_to(operand, (lead, *tensor.shape)).reshape(lead, -1)[:, places]

    steps = (*(each.with_constants(taken) for each in tensor.steps), *compare)

    def codes(frames: np.ndarray) -> np.ndarray:
        return np.asarray(run(steps, frames.astype(np.float64))).astype(np.float64)

    low, high = (np.broadcast_to(bound, tensor.shape).ravel()[places] for bound in (tensor.low, tensor.high))
    if not monotone(tensor.steps) and tensor.dtype != DataType["BIPOLAR"]:
        raise lowering_error(
            node,
            f"its input passes {', '.join(dict.fromkeys(filter(None, tensor.origins)))}, which turns, after the last "
            "quantizer",
        )
    function = step_function(codes, low, high, f"{node.name}: {node.op_type}")
    return replace(function, least=0, most=1)


HANDLERS: Handlers = {(DOMAIN, ENCODER): Handler(_encoder)}
"""The handler of the encoders that ``hw.lowering.lookup_networks`` puts into a model."""
