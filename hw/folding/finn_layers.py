"""The layers that entries of FINN's folding files mean.

FINN names layers by operator and number, ``MVAU_hls_0``, in the order of its graph, where each of ``_hls`` and ``_rtl``
counts for itself. Its files list the layers in that order, too. An entry is matched with the layer of the same place
among those that the operator stands for.

FINN's graph differs from ours: its MVAU can contain the thresholds behind it, its windows do not pad, a pool can have a
sliding window that ours does not need, and the quantizer of the input can be in hardware.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from hw.folding.branch_order import ancestors, find_order, first_doubt
from hw.host.errors import UsageError
from hw.ir.graph import Graph, Node
from hw.ir.kernel import Kernel
from hw.kernels.accumulate_pool.kernel import AccumulatePool
from hw.kernels.add.kernel import Add
from hw.kernels.arg_max.kernel import ArgMax
from hw.kernels.concat.kernel import Concat
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.fork.kernel import Fork
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.max_pool.kernel import MaxPool
from hw.kernels.requant.kernel import Requant
from hw.kernels.sliding_window.kernel import SlidingWindow
from hw.kernels.threshold.kernel import Threshold
from hw.kernels.upsample.kernel import Upsample


@dataclass(frozen=True)
class Kind:
    """What some of FINN's operators stand for: ``what`` in words, and the kernels."""

    what: str
    operators: tuple[str, ...]
    kernels: tuple[type[Kernel], ...]


WINDOW = Kind("sliding windows", ("ConvolutionInputGenerator", "ConvolutionInputGenerator1D"), (SlidingWindow,))
QUANTIZER = Kind("quantizers", ("Thresholding", "Thresholding_Batch", "Requant"), (Threshold, Requant))
KINDS = (
    Kind("layers of weights", ("MVAU", "MatrixVectorActivation", "StreamingFCLayer_Batch"), (MatrixVector,)),
    Kind("depthwise layers", ("VVAU", "VectorVectorActivation", "Vector_Vector_Activate_Batch"), (Depthwise,)),
    WINDOW,
    QUANTIZER,
    Kind(
        "pools",
        ("Pool", "Pool_Batch", "StreamingMaxPool", "StreamingMaxPool_Batch", "GlobalAccPool", "GlobalAccPool_Batch"),
        (MaxPool, AccumulatePool),
    ),
    Kind("additions", ("AddStreams", "AddStreams_Batch", "ElementwiseAdd", "ElementwiseSub"), (Add,)),
    Kind("forks", ("DuplicateStreams", "DuplicateStreams_Batch"), (Fork,)),
    Kind("concatenations", ("StreamingConcat", "Concat"), (Concat,)),
    Kind("selections of the largest value", ("LabelSelect", "LabelSelect_Batch"), (ArgMax,)),
    Kind("upsamplings", ("UpsampleNearestNeighbour", "UpsampleNearestNeighbour_Batch"), (Upsample,)),
)
WITHOUT_LAYER = frozenset({
    "CheckSum", "FMPadding", "FMPadding_Batch", "FMPadding_Pixel", "IODMA", "StreamingDataWidthConverter",
    "StreamingDataWidthConverter_Batch", "StreamingDataflowPartition", "StreamingFIFO", "TLastMarker",
})  # fmt: skip
"""FINN's operators without a layer of ours: padding is done by our windows, FIFOs and converters follow from the
folding."""
_KIND_OF = {operator: kind for kind in KINDS for operator in kind.operators}
_ENTRY = re.compile(r"(?P<operator>[A-Za-z]\w*?)(?P<style>_hls|_rtl)?_(?P<number>[0-9]{1,6})")


@dataclass(frozen=True)
class Entry:
    """The name of an entry: FINN's operator, ``style`` (``_hls``, ``_rtl`` or ""), and the number."""

    name: str
    operator: str
    style: str
    number: int


@dataclass
class Matched:
    """The layers of FINN's entries: ``layers`` by entry, and why the ``others`` have none. ``doubts`` are sentences
    about entries that could as well mean another layer."""

    layers: dict[str, Node] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)


def entry_of(name: str) -> Entry | None:
    """The parts of a name of FINN's; None for any other name."""
    match = _ENTRY.fullmatch(name)
    if match is None or (match["operator"] not in _KIND_OF and match["operator"] not in WITHOUT_LAYER):
        return None
    return Entry(name, match["operator"], match["style"] or "", int(match["number"]))


def operators_of(kernel: Kernel) -> tuple[str, ...]:
    """FINN's operators that stand for a kernel."""
    return next((kind.operators for kind in KINDS if isinstance(kernel, kind.kernels)), ())


def match(graph: Graph, contents: Mapping[str, object], path: Path, fits: Callable[[str, Node], bool]) -> Matched:
    """The layers of FINN's entries.

    ``contents`` are the entries' settings by name, in the order of the file ``path``; ``fits`` says whether a layer can
    have an entry's folding. Layers on parallel branches, which FINN may list in another order, are matched by
    what fits. Raises UsageError, naming the entry, for more entries than there are layers, and where the order is lost.
    """
    entries = [entry for entry in map(entry_of, contents) if entry is not None]
    result = Matched()
    before = ancestors(graph)
    at: dict[str, float] = {node.name: number for number, node in enumerate(graph)}
    for entry in entries:
        if entry.operator in WITHOUT_LAYER:
            result.others[entry.name] = "FIFOs, width converters and padding follow from the folding"
    for kind in KINDS:
        own = [entry for entry in entries if entry.operator in kind.operators]
        if not own:
            continue
        layers: list[Node | None] = [node for node in graph if isinstance(node.kernel, kind.kernels)]
        if kind is QUANTIZER:
            layers = _quantizers(graph, own, entries, path, at)
        elif kind is WINDOW:
            layers = _windows(graph, own, path, at)
        if len(own) == len(layers):
            by_place = [own[i].name for i in _sorted_places(_places(own, layers, kind, path))]

            def fitting(place: int, node: Node, names: Sequence[str] = by_place) -> bool:
                return fits(names[place], node)

            ordered = find_order(layers, before, fitting) or layers
            moved = [node.name for node in ordered if node is not None]
            at.update(dict(zip(moved, [at[node.name] for node in layers if node is not None], strict=True)))
            layers = ordered
            doubt = first_doubt(layers, before, fitting)
            if doubt and contents[by_place[doubt[0]]] != contents[by_place[doubt[0] + 1]]:
                one, other = by_place[doubt[0]], by_place[doubt[0] + 1]
                result.doubts.append(
                    f"{path.name}: {one} and {other} are taken for {doubt[1].title} and {doubt[2].title}, which are on "
                    "parallel branches; the other order fits, too"
                )
        for entry, place in zip(own, _places(own, layers, kind, path), strict=True):
            if place >= len(layers):
                there = ", ".join(node.title for node in layers if node is not None) or "none"
                raise UsageError(
                    f"{path}: {entry.name} is number {place + 1} of the {kind.what}, and the model has {len(layers)}: "
                    f"{there}; the file is of another network"
                )
            if (node := layers[place]) is None:
                result.others[entry.name] = (
                    "the host quantizes the input" if kind is QUANTIZER else "the pool forms its windows itself"
                )
            else:
                result.layers[entry.name] = node
    return result


def _sorted_places(places: Sequence[int]) -> list[int]:
    """The indices of entries in the order of their places."""
    return sorted(range(len(places)), key=lambda i: places[i])


def _places(own: Sequence[Entry], layers: Sequence[object], kind: Kind, path: object) -> list[int]:
    """The places of entries of one kind: their numbers, or, where several operators count for themselves, the order
    of the file."""
    counted: dict[tuple[str, str], list[int]] = {}
    for entry in own:
        counted.setdefault((entry.operator, entry.style), []).append(entry.number)
    if len(counted) == 1:
        return [entry.number for entry in own]
    for (operator, style), numbers in counted.items():
        if numbers != list(range(len(numbers))):
            raise UsageError(
                f"{path}: its {operator}{style} entries are numbered {', '.join(map(str, numbers))}, so that their "
                f"order among the other {kind.what} is lost; list all layers in the order of FINN's graph"
            )
    if len(own) < len(layers):
        raise UsageError(
            f"{path}: it has {len(own)} {kind.what} of several operators, {own[0].name} the first, and the model has "
            f"{len(layers)}; list all layers in the order of FINN's graph"
        )
    return list(range(len(own)))


def _windows(graph: Graph, own: Sequence[Entry], path: object, at: Mapping[str, float]) -> list[Node | None]:
    """Windows in the order of the layers that read them; None for those that a pool forms itself, if FINN has entries
    for them. ``at`` are the places of layers of weights."""
    readers = {edge: node for node in graph for edge in node.inputs}

    def place(node: Node) -> float:
        reader = readers.get(node.outputs[0])
        return at[reader.name] - 0.5 if _has_weights(reader) and reader is not None else at[node.name]

    ours: list[Node | None] = []
    every: list[Node | None] = []
    for node in sorted(graph, key=place):
        kernel = node.kernel
        if isinstance(kernel, SlidingWindow) and (prod(kernel.kernel) > 1 or max(kernel.steps) > 1):
            ours.append(node)
            every.append(node)
        elif isinstance(kernel, MaxPool | AccumulatePool) and not kernel.windows:
            every.append(None)
    if len(own) not in (len(ours), len(every)) and len(ours) < len(every):
        raise UsageError(
            f"{path}: it has {len(own)} sliding windows, {own[0].name} the first, and the model has {len(ours)}, or "
            f"{len(every)} with those of its pools; list all of them, or none"
        )
    return every if len(own) == len(every) else ours


def _quantizers(
    graph: Graph, own: Sequence[Entry], entries: Sequence[Entry], path: object, at: Mapping[str, float]
) -> list[Node | None]:
    """Quantizers that have an entry: all, or those that FINN cannot have in the layer before; None for the input's."""
    nodes = [node for node in graph if isinstance(node.kernel, Threshold | Requant)]
    writers = {edge: node for node in graph for edge in node.outputs}
    alone = [node for node in nodes if not _has_weights(writers.get(node.inputs[0]))]
    layers = [entry for entry in entries if entry.operator in _KIND_OF]
    # FINN can quantize the input in hardware; here the host does, unless the first quantizer reads the input.
    first = layers[0] is own[0] and len(own) < len(layers)
    outside: list[Node | None] = [None] if first and not (nodes and nodes[0].inputs[0] not in writers) else []
    count = len(own) - len(outside)
    if count == len(alone):
        return [*outside, *alone]
    if count != len(nodes) and len(alone) < len(nodes):
        raise UsageError(
            f"{path}: it has {count} quantizers, {own[0].name} the first, and the model has {len(nodes)}, {len(alone)} "
            "of them not behind a layer of weights; list all of them, or none"
        )
    ours = [isinstance(node.kernel, QUANTIZER.kernels) for node in graph if _listed(node)]
    index = {node.name: number for number, node in enumerate(graph)}
    if _pattern(entries)[len(outside) :] != ours or any(at[name] != number for name, number in index.items()):
        # Our graph has the quantizers of branches where the branches meet, and FINN's behind their layers.
        before = {node.name: writers.get(node.inputs[0], node) for node in nodes}
        nodes.sort(key=lambda node: (at[before[node.name].name], index[node.name]))
    return [*outside, *nodes]


def _pattern(entries: Sequence[Entry]) -> list[bool]:
    """Of the entries of layers with weights and of quantizers, in order, which are quantizers."""
    operators = {operator for kind in KINDS[:2] for operator in kind.operators}
    return [
        entry.operator in QUANTIZER.operators
        for entry in entries
        if entry.operator in operators or entry.operator in QUANTIZER.operators
    ]


def _listed(node: Node) -> bool:
    """Whether ``_pattern`` is about a layer."""
    return isinstance(node.kernel, MatrixVector | Depthwise | Threshold | Requant)


def _has_weights(node: Node | None) -> bool:
    """Whether a layer has weights. FINN can compute the quantizer behind it in the layer."""
    return node is not None and isinstance(node.kernel, MatrixVector | Depthwise)
