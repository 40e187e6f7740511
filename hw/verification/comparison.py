"""Comparison of the integer graph with the float32 reference, layer by layer; it identifies effects of rounding."""

from dataclasses import dataclass, field

import numpy as np

from hw.host.steps import run
from hw.lowering.affine import floats
from hw.lowering.integer_tensor import IntegerTensor, Steps
from hw.lowering.layout_ops import inverse
from hw.lowering.lower import LoweredModel
from hw.lowering.rounding import Interval, interval, through

Tensors = dict[str, np.ndarray]
CHOICES = frozenset({"ArgMax", "TopK"})
"""Host steps whose result can be an index."""


@dataclass
class Comparison:
    """The differences between the integer graph and the reference.

    - ``frames``: the number of frames compared;
    - ``mismatches``: the elements at quantizers and outputs in which a layer, fed the reference's own inputs, differs
      from the reference (a floating-point output counts if it differs by more than rounding);
    - ``explained``: the mismatches that float32 rounding explains, the value being so close to a decision point;
    - ``layers``: both counts, by edge or output;
    - ``arg_max_changes``: the frames whose class differs between the whole graph and the reference.
    """

    frames: int = 0
    mismatches: int = 0
    explained: int = 0
    arg_max_changes: int = 0
    layers: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, layer: str, differs: np.ndarray, explained: np.ndarray) -> None:
        """Count the elements of one layer: boolean arrays of those that differ, and of those that rounding explains."""
        counts = int(differs.sum()), int((differs & explained).sum())
        before = self.layers.get(layer, (0, 0))
        self.layers[layer] = before[0] + counts[0], before[1] + counts[1]
        self.mismatches += counts[0]
        self.explained += counts[1]

    def add_classes(self, got: np.ndarray, expected: np.ndarray) -> None:
        """Count the frames whose class differs: the index of the largest element, or the output if it is an index."""
        flat = [output.reshape(len(output), -1) for output in (got, expected)]
        classes = [output.argmax(axis=1) if output.dtype.kind == "f" else output[:, 0] for output in flat]
        self.arg_max_changes += int(np.sum(classes[0] != classes[1]))

    def describe(self) -> str:
        """The comparison in one line of text."""
        if not self.mismatches:
            return f"{self.frames} frames, no element differs from the reference"
        where = ", ".join(f"{name}: {count} ({why} explained)" for name, (count, why) in self.layers.items() if count)
        return (
            f"{self.frames} frames, {self.mismatches} elements differ from the reference, {self.explained} of them "
            f"within float32 rounding of a decision point ({where}); arg-max changes in {self.arg_max_changes} frames"
        )


def compare_layers(lowering: LoweredModel, frames: Tensors, expected: Tensors, result: Comparison) -> None:
    """Run every node on the reference's integers and count the elements of its output that differ from the reference.

    ``frames`` are by input. ``expected`` are the reference's tensors by name: those in ``lowering.tensors``, and the
    outputs. The counts are added to ``result``.
    """
    graph = lowering.graph
    integers = graph.encode(frames)
    for port in graph.inputs:
        if port.edge in lowering.tensors:
            name, tensor = lowering.tensors[port.edge]
            codes = _codes(tensor, expected[name]).reshape(integers[port.edge].shape)
            given = port.check(frames[port.name]).astype(np.float64)
            low, high = (side.reshape(codes.shape) for side in through(port.steps, (given, given)))
            result.add(port.edge, integers[port.edge] != codes, (low <= codes) & (codes <= high))
            integers[port.edge] = codes.astype(integers[port.edge].dtype)
    for node in graph:
        integers.update(graph.step(node, integers))
        edge = node.outputs[0]
        if edge in lowering.decisions:
            name, tensor = lowering.tensors[edge]
            codes = _codes(tensor, expected[name])
            differs = integers[edge] != codes
            result.add(edge, differs, _explained(lowering, edge, integers, codes, differs))
            integers[edge] = codes.astype(integers[edge].dtype)
    for port in graph.outputs:
        tensor, host_steps = lowering.ends[port.name]
        low, high = interval(tensor, integers, lowering.products)
        got, want = port.decode(integers[port.edge]), expected[port.name]
        values = integers[tensor.edge].reshape(-1, *tensor.shape).astype(np.float64)
        exact = run(tensor.layout_ops, run(tensor.steps, values))
        result.add(
            port.name,
            *_output(exact, (run(tensor.layout_ops, low), run(tensor.layout_ops, high)), host_steps, got, want),
        )


def _codes(tensor: IntegerTensor, values: np.ndarray) -> np.ndarray:
    """The integers, on the tensor's edge, that represent the reference's ``values``."""
    assert tensor.affine is not None
    slope, offset = (floats(part) for part in tensor.affine)
    ordered = run(inverse(tensor.layout_ops, tensor.shape), values.astype(np.float64))
    return np.rint((ordered - offset) / slope).astype(np.int64)


def _explained(
    lowering: LoweredModel, edge: str, integers: Tensors, codes: np.ndarray, differs: np.ndarray
) -> np.ndarray:
    """The elements among ``differs`` in which float32 rounding can lead to both the kernel's codes and ``codes``."""
    result = np.zeros(differs.shape, bool)
    rows = np.flatnonzero(differs.reshape(len(differs), -1).any(axis=1))
    if len(rows):
        few = {name: values[rows] for name, values in integers.items()}
        low, high = interval(lowering.decisions[edge].source, few, lowering.products)
        result[rows] = np.logical_and.reduce([(low <= got) & (got <= high) for got in (few[edge], codes[rows])])
    return result


def _output(
    exact: np.ndarray, bounds: Interval, host_steps: Steps, got: np.ndarray, want: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The elements of an output that differ (floats: by more than rounding), and those that rounding explains.

    ``exact`` and ``bounds`` are the values before ``host_steps``. An index is explained if ours is the exact one, and
    the value that the reference chose instead can be as large in float32.
    """
    choice = next((i for i, each in enumerate(host_steps) if each.op in CHOICES and got.dtype.kind in "iu"), None)
    if choice is None:
        low, high = through(host_steps, bounds)
        room = np.maximum(np.abs(low), np.abs(high)) * 2.0**-23
        outside = (want < low - room) | (want > high + room)
        return outside & (got != want), np.zeros(got.shape, bool)
    low, high = through(host_steps[:choice], bounds)
    attributes = dict(host_steps[choice].attributes)
    axis = attributes["axis"]
    ours = run(host_steps[: choice + 1], exact)
    if not attributes.get("keepdims", True):
        got, want, ours = (np.expand_dims(index, axis) for index in (got, want, ours))
    if attributes.get("largest", True):
        near = np.take_along_axis(high, want, axis) >= np.take_along_axis(low, got, axis)
    else:
        near = np.take_along_axis(low, want, axis) <= np.take_along_axis(high, got, axis)
    return got != want, (got == ours) & near
