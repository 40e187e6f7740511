"""Pools: maxima and averages over windows, and over whole images."""

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import onnx

from hw.host.operators import MONOTONE
from hw.host.steps import run, step
from hw.ir.stream import smallest_dtype
from hw.kernels.accumulate_pool.kernel import AccumulatePool
from hw.kernels.max_pool.kernel import MaxPool
from hw.kernels.requant.kernel import Requant
from hw.lowering.convolution import refuse_padding, windowed
from hw.lowering.geometry import Geometry, geometry
from hw.lowering.handlers import behind, handles, line_by_channel, scaling, with_axis_last
from hw.lowering.moves import Moves, channel_first
from hw.lowering.refusal import refuse
from hw.lowering.rounding import Interval, Product, summed
from hw.lowering.wires import Steps, Wire

if TYPE_CHECKING:
    from hw.lowering.lower import Lowering


@handles("MaxPool", "GlobalMaxPool", spatial=True)
def _max_pool(lowering: "Lowering", node: onnx.NodeProto) -> None:
    """The greatest value of a window is that of its greatest integer, where values rise with integers."""
    call = lowering.call(node)
    if len(node.output) > 1 and node.output[1]:
        raise refuse(node, "it gives indices, too", "use only its values")
    wire = with_axis_last(node, lowering.codes(node.input[0], node))
    windows = _whole(wire) if node.op_type == "GlobalMaxPool" else geometry(call)
    if windows.single:
        lowering.values[node.output[0]] = wire
        return
    name = lowering.name("pool")
    given = _rising(lowering, node, name, wire, windows.padded)
    if windows.positions > 1:
        edge = _pool(lowering, name, MaxPool, given, windows)
    else:
        edge, _ = windowed(lowering, name, given, windows)

    def bounds(sources: list[Interval], value: np.ndarray) -> Interval:
        low, high = (windows.windows(side, -np.inf).max(axis=-1) for side in sources[0])
        return low, high

    kernel = lowering.nodes[-1].kernel
    lowering.products[edge] = Product((wire,), bounds, len(given.steps))
    stream = kernel.outputs()[0]
    lowering.values[node.output[0]] = Wire(
        stream.shape, given.steps, given.origins, (channel_first(len(stream.shape)),),
        edge=edge, dtype=stream.dtype, low=given.low, high=given.high,
    )  # fmt: skip


def _pool(
    lowering: "Lowering", name: str, kind: type[MaxPool] | type[AccumulatePool], wire: Wire, windows: Geometry
) -> str:
    """The edge of a new pool: on the wire itself where windows lie side by side, else on a stream of windows."""
    if windows.tiled or windows.whole:
        return lowering.append(name, kind(wire.shape, windows.kernel, wire.dtype), wire.edge)
    edge, dtype = windowed(lowering, name, wire, windows)
    kernel = kind((*windows.out, wire.channels), windows.kernel, dtype, windows=True)
    return lowering.append(name, kernel, edge)


def _rising(lowering: "Lowering", node: onnx.NodeProto, name: str, wire: Wire, padded: bool) -> Wire:
    """The wire with values that rise with its integers and, if ``padded``, no integer below the padding's 0.

    A Requant turns and shifts the integers of channels for which that is not so (BatchNorm with a negative factor).
    """
    if any(each.op not in MONOTONE for each in wire.steps):
        raise refuse(
            node,
            f"its input passes {', '.join(each.op for each in wire.steps if each.op not in MONOTONE)}, which turns, "
            "after the last quantizer",
            "put a quantizer before it",
        )
    first, last = (run(wire.steps, bound[None].astype(np.float64)) for bound in wire.bounds)
    falling = np.broadcast_to((first > last).ravel(), wire.low.shape)
    if not falling.any() and not (padded and wire.low.min() < 0):
        return wire
    sign = np.where(falling, -1, 1)
    low, high = np.where(falling, -wire.high, wire.low), np.where(falling, -wire.low, wire.high)
    shift = -low if padded else np.zeros_like(low)
    low, high = low + shift, high + shift
    least, most = int(low.min()), int(high.max())
    dtype = smallest_dtype(least, most)
    kernel = Requant(sign, shift, 0, "FLOOR", wire.dtype, dtype, least, most, wire.shape[:-1])
    edge = lowering.append(f"{name}_turn", kernel, wire.edge)
    back: Steps = (step("Sub", wire.by_channel(shift)),) if shift.any() else ()
    back += (step("Mul", wire.by_channel(sign)),) if falling.any() else ()
    return Wire(
        wire.shape, (*back, *wire.steps), (node.name,) * len(back) + wire.origins, wire.moves,
        edge=edge, dtype=dtype, low=low, high=high,
    )  # fmt: skip


@handles("AveragePool", "GlobalAveragePool", spatial=True)
def _average_pool(lowering: "Lowering", node: onnx.NodeProto) -> None:
    call = lowering.call(node)
    wire = with_axis_last(node, lowering.stream(node.input[0], node))
    windows = _whole(wire) if node.op_type == "GlobalAveragePool" else geometry(call)
    if windows.padded and not call.get("count_include_pad", 0):
        raise refuse(
            node,
            "it pads without counting the padding, so that it divides by less at the border",
            "set count_include_pad or leave the padding out",
        )
    if call.get("ceil_mode", 0) and windows.padded:
        raise refuse(node, "its last windows reach over the border (ceil_mode)", "leave ceil_mode out")
    refuse_padding(node, wire, windows)
    moves = (channel_first(len(wire.shape)),)
    lowering.values[node.output[0]] = _average(lowering, node, wire, windows, moves)


@handles("ReduceMean", spatial=True)
def _reduce_mean(lowering: "Lowering", node: onnx.NodeProto) -> None:
    """The mean over all axes but the batch and one, which is the channels'."""
    call = lowering.call(node)
    rank = len(call.shape)
    given = call.operand(1) if lowering.version(node) >= 18 else call.get("axes", None)
    axes = {int(axis) % rank for axis in (range(rank) if given is None else np.ravel(given))}
    kept = sorted(set(range(rank)) - axes)
    if len(kept) != 2 or kept[0] != 0:
        raise refuse(
            node, f"it averages over the axes {sorted(axes)} of {call.shape}", "average over all spatial axes at once"
        )
    wire = with_axis_last(node, lowering.stream(node.input[0], node), kept[1] - 1)
    out = call.output_shape[1:]
    moves = (step("Reshape", shape=out),) if out != (*(1,) * (rank - 2), wire.channels) else ()
    lowering.values[node.output[0]] = _average(lowering, node, wire, _whole(wire), moves)


def _whole(wire: Wire) -> Geometry:
    """One window over the whole frame."""
    spatial = wire.shape[:-1]
    return Geometry(spatial, spatial, spatial, (1,) * len(spatial), ((0, 0),) * len(spatial))


def _average(lowering: "Lowering", node: onnx.NodeProto, wire: Wire, windows: Geometry, moves: Moves) -> Wire:
    """Sums in hardware, divided behind it."""
    name, count = lowering.name("pool"), windows.positions
    edge = _pool(lowering, name, AccumulatePool, wire, windows)
    kernel = lowering.nodes[-1].kernel
    slope, offset = line_by_channel(wire)
    rank = len(wire.shape)
    steps = (*scaling(rank, slope, offset * Fraction(count)), step("Div", float(count)))
    magnitudes = np.full(count, 1 / count)
    lowering.products[edge] = Product(
        (wire,), summed(lambda values: windows.windows(values[0]), magnitudes, shared=False), len(steps)
    )
    low, high = (np.minimum(wire.low, 0), np.maximum(wire.high, 0)) if windows.padded else (wire.low, wire.high)
    return behind(node, edge, kernel, (low * count, high * count), steps, moves)
