"""Every layer of a graph against the model's own nodes, each at its own input stream.

A whole frame reaches an inner layer only with the codes that the layers before it happen to give. Here a layer's input
is chosen freely (``hw.verification.stimuli``): at and beside every decision point, at the ends of every sum, and so
that every weight counts.
"""

from dataclasses import dataclass, field

import numpy as np

from hw.host.errors import BitfabricError
from hw.host.steps import run
from hw.ir.graph import Graph
from hw.lowering.affine import floats
from hw.lowering.layout_ops import inverse
from hw.lowering.lower import LoweredModel
from hw.lowering.rounding import Interval
from hw.verification.agreement import Directed
from hw.verification.comparison import decoded
from hw.verification.difference import first_difference
from hw.verification.directed import directed_frames
from hw.verification.driven import Stimuli
from hw.verification.exact_layers import ExactLayers, inexact_layers
from hw.verification.reference import Reference, compare_with
from hw.verification.segments import ModelPart, Segment, Tensors, segments
from hw.verification.stimuli import stimuli

CHUNK = 1 << 21
"""Integers of a segment's widest edge that are computed at once, which bounds the memory."""
CLEARLY = 2.0**-6
"""A sum of the reference that is this close to an integer is that integer, rounded."""


@dataclass
class Driven:
    """The result of driving every layer at its own input.

    - ``layers``: the layers driven; ``left_out``: those that cannot be, because the model has no tensor that belongs to
      their input;
    - ``inputs``: the frames of all layers;
    - ``decision_points``: those of all quantizers, counted by channel; ``covered`` are driven from both sides;
    - ``sums``: sums that are driven to their minimum and maximum;
    - ``explained``: elements that differ from the reference within float32 rounding of a decision point;
    - ``wrong``: by layer, the first difference that rounding does not explain.
    """

    layers: int = 0
    inputs: int = 0
    decision_points: int = 0
    covered: int = 0
    sums: int = 0
    explained: int = 0
    left_out: list[str] = field(default_factory=list)
    wrong: dict[str, str] = field(default_factory=dict)

    def add(self, segment: Segment, given: Stimuli, explained: int, difference: str | None) -> None:
        """Count one layer."""
        self.layers += 1
        self.inputs += given.count
        self.decision_points += given.points
        self.covered += given.covered
        self.sums += given.sums
        self.explained += explained
        if difference is not None:
            self.wrong[segment.name] = difference


class LayerDriver:
    """Drives the layers of graphs with one lowering, against the model that ``reference`` executes."""

    def __init__(self, lowering: LoweredModel, reference: Reference) -> None:
        self.lowering = lowering
        self.reference = reference
        self._inexact = inexact_layers(lowering)
        self._parts: dict[tuple[str, int], ModelPart] = {}

    def segments(self, graph: Graph) -> tuple[list[Segment], list[str]]:
        """The segments of a graph, folded or not, and the layers that have none."""
        return segments(graph, self.lowering, self.reference.model)

    def drive(self, graph: Graph) -> Driven:
        """Compare every layer of a graph, folded or not. Raises BitfabricError for a graph that lacks a layer."""
        found, left_out = self.segments(graph)
        result = Driven(left_out=left_out)
        for segment in found:
            given = stimuli(segment)
            result.add(segment, given, *self.compare(graph, segment, given.integers))
        return result

    def compare(self, graph: Graph, segment: Segment, integers: Tensors) -> tuple[int, str | None]:
        """Compare one segment on integers of its sources by edge.

        Returns the number of elements that float32 rounding explains, and the first difference that it does not.
        """
        count = len(next(iter(integers.values())))
        most = max(1, CHUNK // segment.elements)
        size = 1 << min((count - 1).bit_length(), most.bit_length() - 1)
        explained, difference = 0, None
        for start in range(0, count, size):
            chunk = {edge: values[start : start + size] for edge, values in integers.items()}
            values, exact = segment.execute(graph, chunk), self._exact(segment, size, chunk)
            if exact is None:
                given = {cut.tensor: cut.of(chunk[cut.edge]) for cut in segment.sources}
                more, found = self._differences(segment, values, self._part(segment, size).run(given))
            else:
                more, found = self._exact_differences(segment, values, exact)
            explained, difference = explained + more, found
            if found is not None:
                break
        return explained, difference

    def _exact(self, segment: Segment, size: int, integers: Tensors) -> Interval | None:
        """Bounds on the integers of the target from exact sums, where float32 cannot hold them; otherwise None."""
        if segment.name not in self._inexact:
            return None
        part, used = self._part(segment, size), len(next(iter(integers.values())))
        given = part.filled({cut.tensor: cut.unrounded(integers[cut.edge]) for cut in segment.sources})
        layers = ExactLayers(self.lowering, self._inexact, self.reference.exact(part.model, given))
        found = layers.codes if segment.name in self.lowering.decisions else layers.sums
        bounds = found(segment.name)
        return None if bounds is None else (bounds[0][:used], bounds[1][:used])

    def _exact_differences(self, segment: Segment, values: Tensors, exact: Interval) -> tuple[int, str | None]:
        """The same as ``compare``, for the integers of all edges and bounds on those of the target."""
        got = values[segment.target.edge]
        want = np.clip(got, *(side.reshape(got.shape) for side in exact))
        if segment.name in self.lowering.decisions:
            return self._codes(segment, values, want)
        return 0, first_difference(got, want)

    def _differences(self, segment: Segment, values: Tensors, want: np.ndarray) -> tuple[int, str | None]:
        """The same as ``compare``, for the integers of all edges and the model's tensor."""
        if segment.name in self.lowering.decisions:
            codes, valid = decoded(segment.target.values, want)
            if not valid.all():
                return 0, f"{np.count_nonzero(~valid):,} values of the model are none that its quantizer can return"
            return self._codes(segment, values, codes)
        return 0, self._sums(segment, values, want)

    def _codes(self, segment: Segment, values: Tensors, codes: np.ndarray) -> tuple[int, str | None]:
        """The same for a quantizer, whose ``codes`` are those of the reference.

        A difference is explained if the value is within float32 rounding of a decision point, and the code is the one
        that the model's own steps have in float32. A requant does not compute in float32, and the integers of a sum of
        unequal scales are no values of the model; there, it is the code of the lowering's kernel.
        """
        got = values[segment.target.edge]
        codes = codes.reshape(got.shape)
        rows = np.flatnonzero((got != codes).reshape(len(got), -1).any(axis=1))
        if not len(rows):
            return 0, None
        decision = self.lowering.decisions[segment.name]
        few = {name: each[rows] for name, each in segment.named(values).items()}
        low, high = (
            side.reshape(len(rows), *got.shape[1:]) for side in segment.bounds(self.lowering, decision.source, few)
        )
        integers = few[decision.source.edge].reshape(-1, *decision.source.shape)
        if decision.quantizer.in_float32 and decision.source.edge not in self.lowering.joins:
            own = run(decision.steps, integers.astype(np.float64))
        else:
            own = decision.quantizer.execute(integers)
        near = np.logical_and.reduce([(low <= each) & (each <= high) for each in (got[rows], codes[rows])])
        explained = near & (got[rows] == own.reshape(near.shape)) & (got[rows] != codes[rows])
        changed = codes.copy()
        changed[rows] = np.where(explained, got[rows], codes[rows])
        return int(explained.sum()), first_difference(got, changed)

    def _sums(self, segment: Segment, values: Tensors, want: np.ndarray) -> str | None:
        """The first sum (or value of a pool) that differs from the reference's by more than float32 rounding."""
        tensor = segment.target.values
        got = values[segment.target.edge].reshape(-1, *tensor.shape)
        assert tensor.affine is not None
        slope, offset = (floats(part) for part in tensor.affine)
        with np.errstate(all="ignore"):
            theirs = (run(inverse(tensor.layout_ops, tensor.shape), want.astype(np.float64)) - offset) / slope
        # Bounds on the rounding are only needed where the reference's sum is not clearly this integer.
        rows = np.flatnonzero((~(np.abs(theirs - got) <= CLEARLY)).reshape(len(want), -1).any(axis=1))
        if not len(rows):
            return None
        exact = run(tensor.layout_ops, run(tensor.steps, got.astype(np.float64)))
        few = {name: each[rows] for name, each in segment.named(values).items()}
        low, high = (run(tensor.layout_ops, side) for side in segment.bounds(self.lowering, tensor, few))
        room = np.maximum(np.abs(low), np.abs(high)) * 2.0**-23
        # The bounds of a pool are those of its inputs, whatever the kernel computes.
        inside = np.logical_and.reduce(
            [(low - room <= each) & (each <= high + room) for each in (want[rows], exact[rows])]
        )
        exact[rows] = np.where(inside, want[rows], exact[rows])
        return first_difference(exact[rows], want[rows])

    def _part(self, segment: Segment, size: int) -> ModelPart:
        """The model's nodes of a segment, for batches of ``size``."""
        key = segment.name, size
        if key not in self._parts:
            proto, model = self.reference.proto, self.reference.model
            sources = [cut.tensor for cut in segment.sources]
            self._parts[key] = ModelPart(proto, model, size, sources, segment.target.tensor, self.reference.execute)
        return self._parts[key]


def drive(graph: Graph, lowering: LoweredModel, reference: Reference) -> Driven:
    """Compare every layer of ``graph`` (folded or not) with the model at the layer's own input.

    ``lowering`` is that of the model that ``reference`` executes. Raises BitfabricError for a graph that lacks a layer.
    """
    return LayerDriver(lowering, reference).drive(graph)


def check_directed(graph: Graph, lowering: LoweredModel, reference: Reference) -> Directed:
    """Compare ``graph`` (folded or not) with the model, layer by layer as ``drive`` does, and on directed frames.

    Raises BitfabricError, with the layer, for a difference that float32 rounding does not explain.
    """
    driven, titles = drive(graph, lowering, reference), graph.titles
    if driven.wrong:
        name, difference = next(iter(driven.wrong.items()))
        layer = titles.get(name, name)
        raise BitfabricError(
            f"the emulator differs from {reference.title} in layer {layer} at inputs of its own: {difference}"
        )
    compared = compare_with(graph, lowering, reference, directed_frames(graph))
    if compared.mismatches > compared.explained:
        raise BitfabricError(
            f"the emulator differs from {reference.title} in {compared.first_unexplained}, of the frames that are "
            "directed at the inputs' ends and edges"
        )
    return Directed(
        frames=compared.frames,
        layers=driven.layers,
        inputs=driven.inputs,
        decision_points=driven.decision_points,
        covered=driven.covered,
        sums=driven.sums,
        explained=driven.explained + compared.explained,
        left_out=tuple(titles.get(layer, layer) for layer in driven.left_out),
        combinations=sum(join.combinations for join in lowering.joins.values()),
        differing=sum(join.differing for join in lowering.joins.values()),
    )
