"""The integer graph against the float32 reference, layer by layer: what differs, and whether rounding explains it."""

from dataclasses import dataclass, field

import numpy as np

from hw.host.steps import run
from hw.lowering.affine import floats
from hw.lowering.lower import Lowering
from hw.lowering.moves import undone
from hw.lowering.rounding import Interval, interval, through
from hw.lowering.wires import Steps, Wire

Tensors = dict[str, np.ndarray]
CHOICES = frozenset({"ArgMax", "TopK"})


@dataclass
class Comparison:
    """How the integer graph stands to the reference: layer by layer, and from end to end.

    ``mismatches`` counts elements at the quantizers and outputs where a layer, fed the reference's own inputs,
    gives something else than the reference (restored floats: something outside of rounding); ``explained``
    those of them that float32 rounding accounts for, the value lying so close to a decision point. ``layers``:
    both counts by edge or output. ``arg_max_changes``: frames that get another class from end to end.
    """

    frames: int = 0
    mismatches: int = 0
    explained: int = 0
    arg_max_changes: int = 0
    layers: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, layer: str, differs: np.ndarray, explained: np.ndarray) -> None:
        """Count one layer's elements."""
        counts = int(differs.sum()), int((differs & explained).sum())
        before = self.layers.get(layer, (0, 0))
        self.layers[layer] = before[0] + counts[0], before[1] + counts[1]
        self.mismatches += counts[0]
        self.explained += counts[1]

    def add_classes(self, got: np.ndarray, expected: np.ndarray) -> None:
        """Count the frames whose class (greatest element, or the index itself) is another."""
        flat = [output.reshape(len(output), -1) for output in (got, expected)]
        classes = [output.argmax(axis=1) if output.dtype.kind == "f" else output[:, 0] for output in flat]
        self.arg_max_changes += int(np.sum(classes[0] != classes[1]))

    def describe(self) -> str:
        """One line of words."""
        if not self.mismatches:
            return f"{self.frames} frames, no element differs from the reference"
        where = ", ".join(f"{name}: {count} ({why} explained)" for name, (count, why) in self.layers.items() if count)
        return (
            f"{self.frames} frames, {self.mismatches} elements differ from the reference, {self.explained} of them "
            f"within float32 rounding of a decision point ({where}); arg-max changes in {self.arg_max_changes} frames"
        )


def compare_layers(lowering: Lowering, frames: Tensors, expected: Tensors, result: Comparison) -> None:
    """Run every node on the integers that the reference has there, and count where the next ones differ.

    ``frames`` by input, ``expected`` the reference's tensors by name: those of ``lowering.tensors`` and the outputs.
    """
    graph = lowering.graph
    integers = graph.encode(frames)
    for port in graph.inputs:
        if port.edge in lowering.tensors:
            tensor, wire = lowering.tensors[port.edge]
            codes = _codes(wire, expected[tensor]).reshape(integers[port.edge].shape)
            given = port.check(frames[port.name]).astype(np.float64)
            low, high = (side.reshape(codes.shape) for side in through(port.steps, (given, given)))
            result.add(port.edge, integers[port.edge] != codes, (low <= codes) & (codes <= high))
            integers[port.edge] = codes.astype(integers[port.edge].dtype)
    for node in graph:
        integers.update(graph.step(node, integers))
        edge = node.outputs[0]
        if edge in lowering.decisions:
            tensor, wire = lowering.tensors[edge]
            codes = _codes(wire, expected[tensor])
            differs = integers[edge] != codes
            result.add(edge, differs, _explained(lowering, edge, integers, codes, differs))
            integers[edge] = codes.astype(integers[edge].dtype)
    for port in graph.outputs:
        wire, tail = lowering.ends[port.name]
        low, high = interval(wire, integers, lowering.products)
        got, want = port.decode(integers[port.edge]), expected[port.name]
        values = integers[wire.edge].reshape(-1, *wire.shape).astype(np.float64)
        exact = run(wire.moves, run(wire.steps, values))
        result.add(port.name, *_output(exact, (run(wire.moves, low), run(wire.moves, high)), tail, got, want))


def _codes(wire: Wire, values: np.ndarray) -> np.ndarray:
    """The integers that the reference's values stand for, on the wire's edge."""
    assert wire.line is not None
    slope, offset = (floats(part) for part in wire.line)
    ordered = run(undone(wire.moves, wire.shape), values.astype(np.float64))
    return np.rint((ordered - offset) / slope).astype(np.int64)


def _explained(lowering: Lowering, edge: str, integers: Tensors, codes: np.ndarray, differs: np.ndarray) -> np.ndarray:
    """Where both the kernel's codes and ``codes`` are what float32 may make of the exact values, among ``differs``."""
    result = np.zeros(differs.shape, bool)
    rows = np.flatnonzero(differs.reshape(len(differs), -1).any(axis=1))
    if len(rows):
        few = {name: values[rows] for name, values in integers.items()}
        low, high = interval(lowering.decisions[edge].source, few, lowering.products)
        result[rows] = np.logical_and.reduce([(low <= got) & (got <= high) for got in (few[edge], codes[rows])])
    return result


def _output(
    exact: np.ndarray, bounds: Interval, tail: Steps, got: np.ndarray, want: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which elements of an output differ (by more than rounding, if they are floats), and which rounding explains.

    ``exact`` and ``bounds`` are the values before ``tail``. An index is explained where ours is the exact one, and
    the value that the reference has chosen instead may have become as large in float32.
    """
    choice = next((i for i, each in enumerate(tail) if each.op in CHOICES and got.dtype.kind in "iu"), None)
    if choice is None:
        low, high = through(tail, bounds)
        room = np.maximum(np.abs(low), np.abs(high)) * 2.0**-23
        outside = (want < low - room) | (want > high + room)
        return outside & (got != want), np.zeros(got.shape, bool)
    low, high = through(tail[:choice], bounds)
    attributes = dict(tail[choice].attributes)
    axis = attributes["axis"]
    ours = run(tail[: choice + 1], exact)
    if not attributes.get("keepdims", True):
        got, want, ours = (np.expand_dims(index, axis) for index in (got, want, ours))
    if attributes.get("largest", True):
        near = np.take_along_axis(high, want, axis) >= np.take_along_axis(low, got, axis)
    else:
        near = np.take_along_axis(low, want, axis) <= np.take_along_axis(high, got, axis)
    return got != want, (got == ours) & near
