"""Where paths of a model meet, or grow: sums of tensors, concatenation, nearest-neighbour resizing."""

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import onnx

from hw.kernels.add.kernel import WIDEST_COEFFICIENT, Add
from hw.kernels.concat.kernel import Concat
from hw.kernels.upsample.kernel import Upsample
from hw.lowering.handlers import behind, handles, joins, line_by_channel, scaling, with_axis_last
from hw.lowering.moves import channel_first, element_order
from hw.lowering.refusal import refuse
from hw.lowering.rounding import Interval, Product, summed
from hw.lowering.wires import Wire

if TYPE_CHECKING:
    from hw.lowering.lower import Lowering

LARGEST = (1 << WIDEST_COEFFICIENT - 1) - 1
"""The largest coefficient of a sum."""


@joins("Add", "Sub", "Sum")
def _add(lowering: "Lowering", node: onnx.NodeProto) -> None:
    """``a + b`` (or ``a - b``) of integers whose scales have a ratio of small integers."""
    if len(node.input) != 2:
        raise refuse(node, f"it sums {len(node.input)} tensors", "add two at a time")
    a, b = (lowering.stream(name, node) for name in node.input)
    if a.tensor_shape != b.tensor_shape:
        raise refuse(
            node, f"it adds {b.tensor_shape} to {a.tensor_shape}", "add tensors of equal shape: nothing broadcasts"
        )
    a, b = _alike(node, a, b)
    sign = -1 if node.op_type == "Sub" else 1
    (slope_a, offset_a), (slope_b, offset_b) = line_by_channel(a), line_by_channel(b)
    pairs = zip(slope_a, slope_b, strict=True)
    ratios = {first / second if second else Fraction(0) for first, second in pairs}
    ratio = ratios.pop()
    if ratios or ratio == 0 or max(abs(ratio.numerator), ratio.denominator) > LARGEST:
        raise refuse(
            node,
            f"the scales of its inputs ({float(slope_a[0]):.6g} and {float(slope_b[0]):.6g} in the first channel) "
            "have no ratio of small integers that all channels share",
            "quantize both inputs with one shared quantizer (QuantEltwiseAdd, or the same QuantIdentity)",
        )
    factors = ratio.numerator, sign * ratio.denominator
    kernel = Add(a.shape, (a.dtype, b.dtype), factors, input_ranges=(a.range, b.range))
    edge = lowering.append(lowering.name("add"), kernel, a.edge, b.edge)
    steps = scaling(len(a.shape), slope_a / factors[0], offset_a + sign * offset_b)
    terms = summed(lambda values: np.stack([v.reshape(-1, *a.shape) for v in values], -1), np.ones(2), False)
    lowering.products[edge] = Product((a, b), terms, len(steps))
    ends = [np.sort([factor * w.low, factor * w.high], axis=0) for factor, w in zip(factors, (a, b), strict=True)]
    bounds = ends[0][0] + ends[1][0], ends[0][1] + ends[1][1]
    lowering.values[node.output[0]] = behind(node, edge, kernel, bounds, steps, a.moves)


def _alike(node: onnx.NodeProto, a: Wire, b: Wire) -> tuple[Wire, Wire]:
    """Two wires of tensors of one shape as streams of one shape, with their elements in the same order."""
    if not np.array_equal(element_order(a.moves, a.shape), element_order(b.moves, b.shape)):
        a, b = (with_axis_last(node, each) for each in (a, b))
    b = b.viewed(a.shape)
    if a.uneven or b.uneven:
        a, b = (each.viewed((int(np.prod(each.shape)),)) for each in (a, b))
    return a, b


@handles("Concat")
def _concat(lowering: "Lowering", node: onnx.NodeProto) -> None:
    """Channels side by side, each with its own scale."""
    axis = int(next(a.i for a in node.attribute if a.name == "axis"))
    out = lowering.shape(node.output[0])
    axis += len(out) if axis < 0 else 0
    if axis == 0:
        raise refuse(node, "it works along the batch", "concatenate channels")
    wires = tuple(with_axis_last(node, lowering.stream(name, node), axis - 1) for name in node.input)
    if len(wires) == 1:
        lowering.values[node.output[0]] = wires[0]
        return
    kernel = Concat(tuple(w.shape for w in wires), tuple(w.dtype for w in wires))
    edge = lowering.append(lowering.name("concat"), kernel, *(w.edge for w in wires))
    slope, offset = (np.concatenate(parts) for parts in zip(*map(line_by_channel, wires), strict=True))
    steps = scaling(len(wires[0].shape), slope, offset)

    def bounds(sources: list[Interval], value: np.ndarray) -> Interval:
        low, high = (np.concatenate([source[side] for source in sources], -1) for side in (0, 1))
        return low, high

    lowering.products[edge] = Product(wires, bounds, len(steps))
    low, high = np.concatenate([w.low for w in wires]), np.concatenate([w.high for w in wires])
    rank = len(wires[0].shape)
    moves = (channel_first(rank, axis - 1),) if axis != rank else ()
    lowering.values[node.output[0]] = behind(node, edge, kernel, (low, high), steps, moves)


FLOORS = {
    ("asymmetric", "floor"),
    ("half_pixel", "round_prefer_floor"),
    ("half_pixel", "round_prefer_ceil"),
    ("pytorch_half_pixel", "round_prefer_floor"),
    ("pytorch_half_pixel", "round_prefer_ceil"),
}
"""Modes of Resize in which whole factors repeat every element."""


@handles("Resize", "Upsample", spatial=True)
def _upsample(lowering: "Lowering", node: onnx.NodeProto) -> None:
    """Nearest neighbours, by whole factors."""
    call = lowering.call(node)
    mode = str(call.get("mode", "nearest"))
    if mode != "nearest":
        raise refuse(node, f"it interpolates ({mode})", "use mode nearest")
    how = (
        str(call.get("coordinate_transformation_mode", "half_pixel")),
        str(call.get("nearest_mode", "round_prefer_floor")),
    )
    if node.op_type == "Resize" and lowering.version(node) >= 11 and how not in FLOORS:
        raise refuse(node, f"it takes neighbours by {' and '.join(how)}", "use asymmetric and floor, as PyTorch does")
    before, after = call.shape, call.output_shape
    whole = len(before) == len(after) and not any(new % old for old, new in zip(before, after, strict=True))
    factors = tuple(new // old for old, new in zip(before, after, strict=True)) if whole else ()
    if not whole or max(factors[:2]) > 1 or len(before) not in (3, 4):
        raise refuse(node, f"it takes {before} to {after}", "enlarge height and width by whole factors")
    wire = with_axis_last(node, lowering.codes(node.input[0], node))
    kernel = Upsample(wire.shape, factors[2:], wire.dtype)
    edge = lowering.append(lowering.name("upsample"), kernel, wire.edge)

    def bounds(sources: list[Interval], value: np.ndarray) -> Interval:
        low, high = (kernel.execute(side)[0] for side in sources[0])
        return low, high

    lowering.products[edge] = Product((wire,), bounds, len(wire.steps))
    stream = kernel.outputs()[0]
    lowering.values[node.output[0]] = Wire(
        stream.shape, wire.steps, wire.origins, (channel_first(len(stream.shape)),),
        edge=edge, dtype=stream.dtype, low=wire.low, high=wire.high,
    )  # fmt: skip
