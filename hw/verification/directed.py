"""Frames of the whole network that are directed at its inputs: their ends, saturation, and every code's edges."""

import numpy as np

from hw.host.errors import BitfabricError
from hw.host.operators import QUANTIZERS, RESHAPING
from hw.host.steps import HostStep, run
from hw.ir.graph import Graph, Port
from hw.ir.stream import Stream
from hw.lowering.decision_points import step_function
from hw.lowering.monotone import monotone

CODES = 1024
"""Codes of an input whose edges are tried."""
UNIFORM = 16
"""Codes that a whole frame is filled with, at both sides of the code's edge."""
FAR, FAR_IN_HALF = np.float32(2.0**64), np.float32(2.0**15)
"""A value beyond the range of every input quantizer; one that float16 can hold."""


def directed_frames(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    """Frames ``(N, *shape)`` by input; the first one is the minimum everywhere, the second one the maximum.

    For an input that the host quantizes (other floating-point inputs have zeros only): all elements far below and far
    above the quantizer's range; all elements at the smallest number that has a code, and at the number before it (where
    codes are rounded, these are the ties), for codes across the range; and frames in which each element is at such an
    edge of any code. For integers: the minimum, the maximum, and every value.
    """
    rng = np.random.default_rng(seed)
    frames = {port.name: _frames(port, graph.edges[port.edge], rng) for port in graph.inputs}
    count = max(map(len, frames.values()))
    return {name: np.resize(values, (count, *values.shape[1:])) for name, values in frames.items()}


def _frames(port: Port, stream: Stream, rng: np.random.Generator) -> np.ndarray:
    """The frames of one input."""
    if not port.dtype.startswith("float"):
        low, high = int(stream.dtype.min()), int(stream.dtype.max())
        edges = np.unique(np.linspace(low, high, min(high - low + 1, CODES)).astype(np.int64))
        if stream.dtype.name == "BIPOLAR":
            edges = np.array([-1, 1])
        return _filled(np.array([low, high]), edges.reshape(-1, *[1] * len(port.shape)), port, rng)
    far = _far(port) if any(each.op in QUANTIZERS for each in port.steps) else np.float32(0)
    return _filled(np.array([-far, far]), _edges(port), port, rng).astype(port.dtype)


def _far(port: Port) -> np.float32:
    """The largest value of an input's frames."""
    half = any(each.op == "Cast" and dict(each.attributes)["to"] == "float16" for each in port.steps)
    return FAR_IN_HALF if half else FAR


def _filled(ends: np.ndarray, edges: np.ndarray, port: Port, rng: np.random.Generator) -> np.ndarray:
    """Frames of one value: the ``ends`` and some of the ``edges`` (n, *shape that broadcasts); and frames of all edges,
    in random order."""
    uniform = np.unique(np.linspace(0, len(edges) - 1, 2 * UNIFORM).astype(int)) if len(edges) else np.arange(0)
    whole = [np.full(port.shape, end) for end in ends] + [np.broadcast_to(edges[i], port.shape) for i in uniform]
    # Elements that share their edges take turns, so that each of these is at every edge.
    shape = edges.shape[1:]
    kinds = np.broadcast_to(np.arange(np.prod(shape, dtype=int)).reshape(shape), port.shape).ravel()
    count = -(-len(edges) // np.bincount(kinds).min())
    every = edges.reshape(len(edges), -1)
    mixed = np.empty((count, kinds.size), edges.dtype)
    for kind in range(kinds.max() + 1 if count else 0):
        places = np.flatnonzero(kinds == kind)
        turns = np.concatenate([rng.permutation(len(edges)) for _ in range(-(-count * places.size // len(edges)))])
        mixed[:, places] = every[turns[: count * places.size], kind].reshape(count, -1)
    return np.concatenate([np.reshape(whole, (-1, *port.shape)), mixed.reshape(-1, *port.shape)])


def _edges(port: Port) -> np.ndarray:
    """Numbers (n, *shape that broadcasts), float32: for codes in order, the last that does not reach one, and the first
    that does. There are none for codes that are not monotone."""
    head = _element_wise(port.steps)
    operands = [value.shape[each.op == "MultiThreshold" :] for each in head for value in each.constants]
    shape = tuple(
        max((operand[-axis] for operand in operands if len(operand) >= axis), default=1)
        for axis in range(len(port.shape), 0, -1)
    )
    if not any(each.op in QUANTIZERS for each in head) or not monotone(head):
        return np.empty((0, *shape), np.float32)
    low, high = (np.full(shape, int(_place(end))) for end in (-_far(port), _far(port)))
    try:
        function = step_function(lambda places: run(head, _number(places)), low, high, port.name)
    except BitfabricError:  # The far ends overflow.
        return np.empty((0, *shape), np.float32)
    codes = np.unique(np.linspace(function.least + 1, function.most, CODES).astype(np.int64))
    points = function.points(codes)
    return _number(np.stack([points - 1, points], axis=1).reshape(-1, *shape).clip(function.low, function.high))


def _element_wise(steps: tuple[HostStep, ...]) -> tuple[HostStep, ...]:
    """The steps before the first that rearranges elements."""
    at = next((i for i, each in enumerate(steps) if each.op in RESHAPING), len(steps))
    return steps[:at]


def _place(number: np.float32) -> np.int64:
    """The place of a finite number among all float32 numbers in order; 0 is that of 0."""
    bits = np.int64(np.asarray(number, np.float32).view(np.int32))
    return bits if bits >= 0 else np.int64(-(2**31)) - bits


def _number(places: np.ndarray) -> np.ndarray:
    """The float32 numbers at places."""
    bits = np.where(places >= 0, places, -(2**31) - places)
    return bits.astype(np.int32).view(np.float32)
