"""The foldings of the nodes of a graph with their resources, as a folding search takes them.

``FoldingTables`` keeps them by kernel. Searches over graphs that have kernels in common (networks that differ in some
layers only) then compute what is equal once.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.families import spec_of
from hw.folding.program import KEPT, PROHIBITIVE, Edge
from hw.ir.graph import Graph
from hw.ir.kernel import Folding, Kernel
from hw.ir.stream import Stream
from hw.kernels.sliding_window.kernel import SlidingWindow
from hw.passes import columns
from hw.passes.lanes import converters

FORM = 32
"""Number of the bit of the form of a stream, above its lanes."""
CLOCK_MHZ = 50.0
"""The clock for which a search chooses settings where none is stated."""


def vector(used: Resources) -> np.ndarray:
    """LUT, FF, BRAM and DSP as an array."""
    return np.array([used.lut, used.ff, used.bram, used.dsp])


@dataclass(frozen=True, eq=False)
class Foldings:
    """The foldings of a node.

    By folding: ``intervals`` (cycles per frame), ``used`` (foldings, resources) and ``group`` (its row in ``lanes``).
    ``lanes`` (rows, ports): the distinct combinations of lanes at the ports, with the form of the stream. ``reads``: by
    input, the stream of each such number. ``bounded``: the kernels whose ``used`` is a lower bound so far, by number of
    folding.
    """

    foldings: tuple[Folding, ...]
    intervals: np.ndarray
    used: np.ndarray
    group: np.ndarray
    lanes: np.ndarray
    reads: tuple[dict[int, Stream], ...]
    bounded: dict[int, Kernel]
    _cheapest: dict[tuple[int, bytes, bool, int], tuple[np.ndarray, np.ndarray]] = field(
        default_factory=dict, init=False, repr=False
    )

    def eligible(self, cycles: int, known: bool = False) -> np.ndarray:
        """By folding: whether it has at most ``cycles`` cycles, and, if so asked, ``known`` resources."""
        within = self.intervals <= cycles
        if known:
            within[list(self.bounded)] = False
        return within

    def cheapest(self, cycles: int, weights: np.ndarray, known: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """By row of ``lanes``: the minimum cost of an ``eligible`` folding (inf if there is none), and that folding.
        The last answers are kept; with every bound that is replaced they are others."""
        key = cycles, weights.tobytes(), known, len(self.bounded)
        if key not in self._cheapest:
            if len(self._cheapest) >= KEPT:
                self._cheapest.clear()
            costs = np.where(self.eligible(cycles, known), self.used @ weights, np.inf)
            order = np.lexsort((costs, self.group))
            first = order[np.searchsorted(self.group[order], np.arange(len(self.lanes)))]
            self._cheapest[key] = costs[first], first
        return self._cheapest[key]

    def replaced(self, number: int, used: np.ndarray) -> None:
        """Replaces the lower bound of a folding by its resources."""
        self.used[number] = used
        del self.bounded[number]

    @cached_property
    def ports(self) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """By port, the outputs behind the inputs: the distinct lanes, and by row of ``lanes`` their number."""
        found = (np.unique(column, return_inverse=True) for column in self.lanes.T)
        return tuple((lanes, inverse.ravel()) for lanes, inverse in found)


@dataclass(frozen=True, eq=False)
class Converting:
    """The resources of the width converters between two nodes, as an ``Edge`` has them, and what they cost."""

    used: np.ndarray
    costs: dict[bytes, np.ndarray] = field(default_factory=dict)


def choices(
    kernel: Kernel, family: Family, clock_mhz: float = CLOCK_MHZ, plain: bool = False, low_rates: bool = True,
    saving_dsps: bool = True,
) -> dict[Folding, Kernel]:  # fmt: skip
    """The kernel in all foldings of all its implementations, with the settings for a family and a clock. ``plain``: of
    its own only. Without ``low_rates`` those for low rates are left out, without ``saving_dsps`` those that save DSP
    blocks."""
    among = (kernel,) if plain else kernel.implementations()
    return {
        replace(folding, implementation=tuned.op if number else ""): tuned.fold(folding)
        for number, each in enumerate(among)
        if (low_rates or not each.for_low_rates) and (saving_dsps or not each.saves_dsps)
        for tuned in (each.tuned(family, clock_mhz),)
        for folding in tuned.foldings()
    }


def may_save_dsps(kernel: Kernel) -> bool:
    """Whether an implementation of the kernel saves DSP blocks."""
    return any(each.saves_dsps for each in kernel.implementations())


class FoldingTables:
    """The foldings of kernels on a family, for the settings of ``Search``; each is computed once.

    ``cells``: logic cells are one more resource (where a search limits them and the family has a packer).
    ``saving_dsps``: whether they have the implementations that save DSP blocks; for a family that has none.
    """

    def __init__(
        self,
        family: Family,
        clock_mhz: float = CLOCK_MHZ,
        plain: bool = False,
        low_rates: bool = True,
        cells: bool = False,
    ) -> None:
        self.family = family
        self.clock_mhz, self.plain, self.low_rates = clock_mhz, plain, low_rates
        self.saving_dsps = family.dsp_bits is None
        self._usual: FoldingTables | None = None
        packing = spec_of(family).packing if cells else None
        self.per_cell: np.ndarray | None = None
        if packing is not None:
            # Logic cells are one more resource, without a cost of their own.
            self.per_cell = np.array([1 + packing.extra, packing.lone_ff, 0, 0])
        self._foldings: dict[tuple[Kernel, ...], Foldings] = {}
        self._forms: dict[tuple[Kernel, Kernel], dict[int, columns.Pair]] = {}
        self._edges: dict[tuple[Foldings, int, Foldings, int], Converting] = {}
        self._converting: dict[tuple[int, Stream], np.ndarray] = {}

    def __len__(self) -> int:
        """The nodes whose foldings are known."""
        return len(self._foldings)

    @cached_property
    def with_saving_dsps(self) -> "FoldingTables":
        """Tables that have the implementations that save DSP blocks as well; what needs none is in both."""
        made = copy(self)
        made.saving_dsps, made._foldings, made._usual = True, {}, self
        return made

    def nodes(self, graph: Graph) -> list[Foldings]:
        """The foldings of the graph's nodes."""
        forms = {} if self.plain else self._forms_by_node(graph)
        return [self.of(node.kernel, *forms.get(node.name, ())) for node in graph]

    def of(self, kernel: Kernel, pair: tuple[Kernel, ...] = (), forms: Mapping[int, Kernel] | None = None) -> Foldings:
        """The foldings of a kernel; of one that has several ``forms``, with the ``pair`` that they depend on."""
        key = (kernel, *pair)
        if key not in self._foldings:
            by_form = {0: kernel, **(forms or {})}
            if self._usual is not None and not any(may_save_dsps(each) for each in by_form.values()):
                self._foldings[key] = self._usual.of(kernel, pair, forms)
                return self._foldings[key]
            made = {
                form: choices(each, self.family, self.clock_mhz, self.plain, self.low_rates, self.saving_dsps)
                for form, each in by_form.items()
            }
            found = _foldings(made, self.family)
            self._foldings[key] = replace(found, used=self.with_cells(found.used))
        return self._foldings[key]

    def _forms_by_node(self, graph: Graph) -> dict[str, tuple[tuple[Kernel, ...], dict[int, Kernel]]]:
        """By node of a convolution that has several forms (``hw.passes.columns``): both of its kernels, and its own
        kernel in each form."""
        found: dict[str, tuple[tuple[Kernel, ...], dict[int, Kernel]]] = {}
        for nodes, window, product in columns.convolutions(graph):
            if type(window) is not SlidingWindow:
                continue
            pair = window, product
            if pair not in self._forms:
                self._forms[pair] = columns.forms(window, product)
            if known := self._forms[pair]:
                for i, node in enumerate(nodes):
                    found[node.name] = pair, {simd: each[i] for simd, each in known.items()}
        return found

    def with_cells(self, used: np.ndarray) -> np.ndarray:
        """Resources (..., 4), with their logic cells as a fifth column where these are limited."""
        if self.per_cell is None:
            return used
        return np.concatenate([used, (used @ self.per_cell)[..., None]], axis=-1)

    def edges(self, graph: Graph, nodes: Sequence[Foldings]) -> list[Edge]:
        """The resources of the width converters, for every edge between two nodes."""
        writers = {
            edge: (i, len(node.inputs) + port) for i, node in enumerate(graph) for port, edge in enumerate(node.outputs)
        }
        result = []
        for reader, node in enumerate(graph):
            for port, edge in enumerate(node.inputs):
                if edge in writers:
                    writer, out = writers[edge]
                    used = self._between(nodes[writer], out, nodes[reader], port)
                    produced, consumed = nodes[writer].ports[out][1], nodes[reader].ports[port][1]
                    result.append(Edge(writer, reader, produced, consumed, used.used, used.costs))
        return result

    def _between(self, writer: Foldings, out: int, reader: Foldings, port: int) -> "Converting":
        key = writer, out, reader, port
        if key not in self._edges:
            reads = reader.reads[port]
            used = np.array(
                [
                    [self._cost(int(a), int(b), reads[int(b)]) for b in reader.ports[port][0]]
                    for a in writer.ports[out][0]
                ]
            )
            self._edges[key] = Converting(self.with_cells(used))
        return self._edges[key]

    def _cost(self, have: int, need: int, want: Stream) -> np.ndarray:
        """The resources of the converters from these lanes to those of ``want``, with their forms above them."""
        if have >> FORM != need >> FORM:
            return vector(Resources()) + PROHIBITIVE
        lanes = have & (1 << FORM) - 1
        if (lanes, want) not in self._converting:
            steps = converters(Stream((want.elements,), want.dtype, lanes), want)
            made = sum((step.resources(self.family) for step in steps), Resources())
            self._converting[lanes, want] = vector(made)
        return self._converting[lanes, want]


def _foldings(forms: Mapping[int, Mapping[Folding, Kernel]], family: Family) -> Foldings:
    """The foldings of a node in all its forms, by number (see ``columns.forms_by_node``); 0 is its own."""
    options = [
        (form, replace(folding, implementation=kernel.op) if form and window else folding, kernel)
        for form, foldings in forms.items()
        for folding, kernel in foldings.items()
        for window in [isinstance(kernel, SlidingWindow)]
        if not (form and window) or folding.simd == form
    ]
    kernels = [kernel for *_, kernel in options]
    least = [each.least_resources(family) if each.bounded else each.resources(family) for each in kernels]
    reads: tuple[dict[int, Stream], ...] = tuple({} for _ in kernels[0].inputs())
    lanes = []
    for form, _, kernel in options:
        inside, outside = (form << FORM, 0) if not isinstance(kernel, SlidingWindow) else (0, form << FORM)
        for known, stream in zip(reads, kernel.inputs(), strict=True):
            known[stream.lanes + inside] = stream
        lanes.append([s.lanes + inside for s in kernel.inputs()] + [s.lanes + outside for s in kernel.outputs()])
    rows, group = np.unique(np.array(lanes), axis=0, return_inverse=True)
    return Foldings(
        tuple(folding for _, folding, _ in options),
        np.array([each.interval for each in kernels]),
        np.array([vector(each) for each in least]),
        group.ravel(),
        rows,
        reads,
        {i: each for i, each in enumerate(kernels) if each.bounded},
    )
