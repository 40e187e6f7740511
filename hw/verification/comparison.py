"""Comparison of the integer graph with the float32 reference, layer by layer; it identifies effects of rounding."""

from math import prod

import numpy as np

from hw.host.errors import BitfabricError
from hw.host.operators import QUANTIZERS
from hw.host.steps import HostStep, every, run
from hw.ir.graph import Graph
from hw.kernels.sparse_window.kernel import SparseWindow
from hw.lowering.affine import floats
from hw.lowering.integer_tensor import IntegerTensor, Steps
from hw.lowering.layout_ops import inverse
from hw.lowering.lower import LoweredModel
from hw.lowering.monotone import jumps
from hw.lowering.rounding import Interval, interval, through
from hw.verification.counts import Comparison
from hw.verification.difference import same
from hw.verification.exact_layers import ExactLayers

Tensors = dict[str, np.ndarray]
SCALING = frozenset({"Quant", "QuantizeLinear", "Trunc", "Mul", "Div", "BatchNormalization"})
"""Steps whose constants scale values."""
GRID_ULP = 2.0**-20
"""Relative error below which a float32 value counts as one of the values that a quantizer can return."""


def check_correspondence(graph: Graph, lowering: LoweredModel) -> None:
    """Raise BitfabricError unless ``graph`` has every edge of the model's lowering, and its ports.

    The graph may have more nodes (FIFOs, width converters) and other foldings and implementations. A sparse window
    stands for the whole one.
    """
    given = lowering.graph
    whole = {
        node.outputs[0]: prod(node.kernel.out_spatial) * node.kernel.window
        for node in graph
        if isinstance(node.kernel, SparseWindow)
    }
    for edge, stream in given.edges.items():
        have = graph.edges.get(edge)
        if have is None:
            raise BitfabricError(
                f"the graph is not one of this model: it has no edge {edge}; compare the graph that was made of it"
            )
        if whole.get(edge, have.elements) != stream.elements or have.dtype != stream.dtype:
            raise BitfabricError(
                f"the graph is not one of this model: edge {edge} carries {have.elements} {have.dtype.name} instead of "
                f"{stream.elements} {stream.dtype.name}; compare the graph that was made of it"
            )
    for ports, others in ((given.inputs, graph.inputs), (given.outputs, graph.outputs)):
        names, have_names = ([port.name for port in each] for each in (ports, others))
        if names != have_names:
            raise BitfabricError(
                f"the graph is not one of this model: its ports are {', '.join(have_names)} instead of "
                f"{', '.join(names)}; compare the graph that was made of it"
            )


def check_scales(lowering: LoweredModel) -> None:
    """Raise BitfabricError, with the layer's name, if a constant that scales values is not finite."""
    chains: dict[str, Steps] = {port.name: port.steps for port in (*lowering.graph.inputs, *lowering.graph.outputs)}
    chains |= {edge: decision.steps for edge, decision in lowering.decisions.items()}
    for layer, steps in chains.items():
        for each in every(steps):
            if each.op in SCALING and not all(np.all(np.isfinite(operand)) for operand in each.operands):
                raise BitfabricError(f"{layer}: a scale of its {each.op} is not finite; train or export it again")


def compare_layers(
    graph: Graph,
    lowering: LoweredModel,
    frames: Tensors,
    expected: Tensors,
    exact: ExactLayers,
    result: Comparison,
    start: int = 0,
) -> tuple[Tensors, np.ndarray]:
    """Run every node of ``graph`` on the reference's integers, and count the elements that differ from the reference.

    ``graph`` has the edges of ``lowering.graph``. ``frames`` are by input, the first of them is number ``start``.
    ``expected`` are the reference's tensors by name: those in ``lowering.tensors``, and the outputs. Where ``exact``
    has values, these decide instead. The counts are added to ``result``. Returns the outputs by name, as computed from
    the reference's integers, and which frames have a mismatch.
    """
    integers = graph.encode(frames)
    touched, lost = (np.zeros(len(next(iter(integers.values()))), bool) for _ in range(2))

    def add(
        layer: str,
        got: np.ndarray,
        want: np.ndarray,
        differs: np.ndarray,
        near: np.ndarray,
        allowed: np.ndarray | None = None,
    ) -> None:
        """Count elements; those of ``near`` are explained where they are ``allowed``."""
        differs = differs & ~lost.reshape(-1, *[1] * (differs.ndim - 1))
        explained = near if allowed is None else near & allowed
        result.add(layer, got, want, differs, explained, start, near & ~explained)
        touched[differs.reshape(len(differs), -1).any(axis=1)] = True
        lost[(differs & near & ~explained).reshape(len(differs), -1).any(axis=1)] = True

    for port in graph.inputs:
        if port.edge in lowering.tensors:
            name, tensor = lowering.tensors[port.edge]
            got = integers[port.edge]
            codes, valid = (each.reshape(got.shape) for each in decoded(tensor, expected[name]))
            given = port.check(frames[port.name])
            ends = (given.astype(np.float64),) * 2
            low, high = (side.reshape(codes.shape) for side in through(port.steps, ends))
            near, allowed = valid & (low <= codes) & (codes <= high), _adjacent(port.steps, given, got, codes)
            add(port.edge, got, expected[name].reshape(got.shape), (got != codes) | ~valid, near, allowed)
            integers[port.edge] = np.where(valid, codes, got).astype(got.dtype)
    for node in graph:
        integers.update(graph.step(node, integers))
        for edge in node.outputs:
            if edge in lowering.decisions:
                name, tensor = lowering.tensors[edge]
                got = integers[edge]
                codes, valid = (each.reshape(got.shape) for each in decoded(tensor, expected[name]))
                differs, steps = (got != codes) | ~valid, lowering.decisions[edge].steps
                source = lowering.decisions[edge].source
                sums = integers[source.edge].reshape(-1, *source.shape).astype(np.float64)
                bounds = exact.codes(edge)
                if bounds is None:
                    near = valid & _explained(lowering, edge, integers, codes, differs)
                    add(edge, got, codes, differs, near, _adjacent(steps, sums, got, codes) & _reachable(tensor, codes))
                else:
                    want, wrong = _outside(got, bounds)
                    near = _explained(lowering, edge, integers, want, wrong, exact=True)
                    add(edge, got, want, wrong, near, _adjacent(steps, sums, got, want))
                    touched[differs.reshape(len(differs), -1).any(axis=1)] = True
                    result.decided += differs.size
                    result.inexact += int(differs.sum())
                integers[edge] = np.where(valid, codes, got).astype(got.dtype)
    outputs = {}
    for port in graph.outputs:
        tensor, host_steps = lowering.ends[port.name]
        low, high = interval(tensor, integers, lowering.products)
        got, want = port.decode(integers[port.edge]), expected[port.name]
        sums = integers[tensor.edge].reshape(-1, *tensor.shape).astype(np.float64)
        own = run(tensor.layout_ops, run(tensor.steps, sums))
        bounds = run(tensor.layout_ops, low), run(tensor.layout_ops, high)
        differs, near, rounded = _output(own, bounds, tensor.steps, host_steps, got, want)
        result.rounded += int(rounded.sum())
        decided = exact.output(port.name)
        if decided is not None:
            sums = integers[tensor.edge]
            add(port.name, sums, *_outside(sums, decided[1]), np.zeros(sums.shape, bool))
            result.decided += want.size
            result.inexact += int(np.sum(decided[0].astype(want.dtype) != want))
        else:
            add(port.name, got, want, differs, near)
        outputs[port.name] = got
    result.mismatched_frames += int(touched.sum())
    return outputs, touched


def decoded(tensor: IntegerTensor, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The integers, on the tensor's edge, that represent the reference's ``values``, and which values have one.

    A value that is not finite, or between two values that the quantizer can return, has none.
    """
    assert tensor.affine is not None
    slope, offset = (floats(part) for part in tensor.affine)
    ordered = run(inverse(tensor.layout_ops, tensor.shape), values.astype(np.float64))
    finite = np.isfinite(ordered)
    codes = np.rint((np.where(finite, ordered, offset) - offset) / slope)
    room = (np.abs(codes * slope) + np.abs(offset)) * GRID_ULP
    valid = finite & (np.abs(np.where(finite, ordered, 0.0) - (codes * slope + offset)) <= room)
    return codes.astype(np.int64), valid


def _outside(got: np.ndarray, bounds: Interval) -> tuple[np.ndarray, np.ndarray]:
    """The exact integers, or the nearest within their ``bounds``, and the elements that differ from them."""
    low, high = (side.reshape(got.shape) for side in bounds)
    want = np.clip(got, low, high)
    return want, got != want


def _adjacent(steps: Steps, given: np.ndarray, got: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Whether codes of the last quantizer among ``steps`` are at most one code apart, unless a function jumps.

    Behind a QuantizeLinear and another quantizer, as onnxruntime writes them around a Relu, it is also enough that the
    codes of the first, which ``given`` leads to, are one apart: what follows it is a function of that code, which does
    not round otherwise and whose second scale can be finer.
    """
    at = [index for index, each in enumerate(steps) if each.op in QUANTIZERS]
    if jumps(steps[: at[-1]] if at else steps):
        return np.ones(got.shape, bool)
    result = np.abs(got.astype(np.int64) - codes) <= (_code_step(steps[at[-1]]) if at else 1)
    rows = np.flatnonzero(~result.reshape(len(result), -1).all(axis=1))
    if len(at) > 1 and steps[at[0]].op == "QuantizeLinear" and len(rows):
        first = run(steps[: at[0] + 1], given[rows])
        for one in (first.dtype.type(-1), first.dtype.type(1)):
            result[rows] |= run(steps[at[0] + 1 :], first + one).reshape(codes[rows].shape) == codes[rows]
    return result


def _reachable(tensor: IntegerTensor, codes: np.ndarray) -> np.ndarray:
    """Whether codes are within the range that exact arithmetic reaches; the layers behind are made for that range."""
    ordered = codes.reshape(-1, *tensor.shape)
    return ((tensor.low <= ordered) & (ordered <= tensor.high)).reshape(codes.shape)


def _code_step(quantizer: HostStep) -> int:
    """The difference of two adjacent codes of a quantizer."""
    attributes = dict(quantizer.attributes)
    match quantizer.op:
        case "MultiThreshold":
            unit: int = attributes["unit"]
            return unit
        case "Quant":
            return 2 if attributes["bits"] == 1 and attributes["signed"] else 1
        case op:
            return 2 if op == "BipolarQuant" else 1


def _explained(
    lowering: LoweredModel,
    edge: str,
    integers: Tensors,
    codes: np.ndarray,
    differs: np.ndarray,
    exact: bool = False,
) -> np.ndarray:
    """The elements among ``differs`` in which float32 rounding can lead to both the kernel's codes and ``codes``.

    The kernel's codes must be those of the lowering's kernel. If ``codes`` are ``exact``, those of a Requant must be
    the function's that the lowering approximates: only a factor with too few bits differs from it.
    """
    result = np.zeros(differs.shape, bool)
    rows = np.flatnonzero(differs.reshape(len(differs), -1).any(axis=1))
    if len(rows):
        few = {name: values[rows] for name, values in integers.items()}
        bounds = interval(lowering.decisions[edge].source, few, lowering.products)
        low, high = (side.reshape(codes[rows].shape) for side in bounds)
        near = np.logical_and.reduce([(low <= got) & (got <= high) for got in (few[edge], codes[rows])])
        decision = lowering.decisions[edge]
        sums = few[decision.source.edge].reshape(-1, *decision.source.shape)
        near &= few[edge] == decision.quantizer.execute(sums).reshape(near.shape)
        if exact and not decision.quantizer.in_float32:
            near &= codes[rows] == decision.quantizer.function(sums).reshape(near.shape)
        result[rows] = near
    return result


def _output(
    exact: np.ndarray, bounds: Interval, steps: Steps, host_steps: Steps, got: np.ndarray, want: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The elements of an output that are mismatches, those that rounding explains, and those that are only rounded.

    ``exact`` and ``bounds`` are the values between ``steps`` and ``host_steps``. A float is a mismatch if it differs by
    more than rounding, an integer if it differs; it is explained if rounding can lead to it, one apart. An index, and
    what follows from it, is explained if ours is the exact one, and the value that the reference chose instead can be
    as large in float32. Values that are not finite are mismatches unless both are the same; no rounding explains them.
    """
    differs = ~same(got, want)
    choice = next((i for i, each in enumerate(host_steps) if _chooses(each)), None)
    if choice is not None:
        return _chosen(exact, bounds, steps, host_steps, choice, got, want)
    inside = _within(through(host_steps, bounds, steps), got, want)
    if got.dtype.kind == "f":
        return differs & ~inside, np.zeros(got.shape, bool), differs & inside
    return differs, inside & (np.abs(got.astype(np.int64) - want) <= 1), np.zeros(got.shape, bool)


def _chooses(each: HostStep) -> bool:
    """Whether a step gives the indices of elements."""
    return each.op == "ArgMax" or (each.op == "TopK" and dict(each.attributes)["output"] == 1)


def _within(bounds: Interval, *each: np.ndarray) -> np.ndarray:
    """Which elements of all arrays are between bounds, with room for the rounding of the last type."""
    low, high = bounds
    room = np.maximum(np.abs(low), np.abs(high)) * 2.0**-23
    inside = np.isfinite(low) & np.isfinite(high)
    for values in each:
        inside = inside & (low - room <= values) & (values <= high + room)
    return inside


def _chosen(
    exact: np.ndarray,
    bounds: Interval,
    steps: Steps,
    host_steps: Steps,
    choice: int,
    got: np.ndarray,
    want: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What ``_output`` returns for an output that follows from the indices that step number ``choice`` gives."""
    after = host_steps[choice + 1 :]
    differs, near, rounded = ~same(got, want), np.zeros(got.shape, bool), np.zeros(got.shape, bool)
    rows = np.flatnonzero(differs.reshape(len(differs), -1).any(axis=1))
    if not len(rows):
        return differs, near, rounded
    attributes = dict(host_steps[choice].attributes)
    axis, largest = attributes["axis"], attributes.get("largest", True)
    low, high = (side[rows] for side in through(host_steps[:choice], bounds, steps))
    larger, smaller = (high, low) if largest else (low, high)
    ours = run(host_steps[: choice + 1], exact[rows])

    def values(of: np.ndarray, index: np.ndarray) -> np.ndarray:
        return np.take_along_axis(of, index if attributes.get("keepdims", True) else np.expand_dims(index, axis), axis)

    own, right, found = values(smaller, ours), _follows(after, ours, got[rows]), np.zeros(got[rows].shape, bool)
    for each in range(low.shape[axis]):
        other = np.full(ours.shape, each)
        theirs = values(larger, other)
        possible = (theirs >= own if largest else theirs <= own) & np.isfinite(theirs) & np.isfinite(own)
        found |= possible.reshape(found.shape) & _follows(after, other, want[rows])
    near[rows] = found & right
    if got.dtype.kind == "f":
        rounded[rows] = differs[rows] & right & _follows(after, ours, want[rows])
    return differs & ~rounded, near, rounded


def _follows(after: Steps, index: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Where ``values`` are those of indices after more steps, but for the rounding of floats."""
    if values.dtype.kind != "f":
        found: np.ndarray = run(after, index).reshape(values.shape) == values
        return found
    ends = (index.astype(np.float64),) * 2
    low, high = (side.reshape(values.shape) for side in through(after, ends))
    return _within((low, high), values)
