"""Folding: how parallel every layer is. Chooses it for a rate or an area, applies it, reads and writes FINN's JSON.

The search is exact for a chain of layers under the resource model: dynamic programming over the legal
foldings of each layer, the width converters between neighbours counted in. FINN's SetFolding is greedy
layer by layer and does not see the device.
"""

import json
from dataclasses import replace
from functools import cache
from math import lcm
from pathlib import Path

from hw.errors import BitfabricError
from hw.graph import Graph, Node
from hw.kernels.kernel import Folding, Kernel, Resources
from hw.kernels.width_converter import WidthConverter
from hw.stream import Stream
from hw.synth.family import Family

FoldingTable = dict[str, Folding]
"""Layer name -> its parallelism."""

FINN_KEYS = frozenset({
    "PE", "SIMD", "parallel_window", "ram_style", "ram_style_thresholds", "resType", "mem_mode", "mvau_wwidth_max",
    "runtime_writeable_weights", "inFIFODepths", "outFIFODepths", "depth_trigger_uram", "depth_trigger_bram",
    "preferred_impl_style", "impl_style",
})  # fmt: skip
"""What FINN's folding files may say of a layer."""


def current(graph: Graph) -> FoldingTable:
    """The folding that the graph has now, of the layers that have a choice."""
    return {node.name: node.kernel.folding for node in graph if len(node.kernel.foldings()) > 1}


def apply(graph: Graph, table: FoldingTable) -> Graph:
    """The graph with a folding. Raises BitfabricError for an unknown layer or a folding that does not divide."""
    kernels: dict[str, Kernel] = {}
    for name, folding in table.items():
        try:
            kernels[name] = graph.node(name).kernel.fold(folding)
        except BitfabricError as error:
            text = str(error)
            raise BitfabricError(text if name in text else f"layer {name}: {text}", status=2) from None
    return graph.with_kernels(kernels)


def connect(graph: Graph) -> Graph:
    """The graph with width converters on every edge whose ends differ in lanes."""
    nodes: list[Node] = []
    given: dict[str, Stream] = {}
    for node in graph:
        inputs = []
        for edge, stream in zip(node.inputs, node.kernel.inputs(), strict=True):
            have = given.get(edge, stream)
            for lanes in _lanes_between(have.lanes, stream.lanes):
                kernel = WidthConverter(have, lanes)
                name = f"{edge}_x{lanes}"
                nodes.append(Node(name, kernel, (edge,), (name,)))
                edge, have = name, kernel.outputs()[0]
            inputs.append(edge)
        nodes.append(replace(node, inputs=tuple(inputs)))
        given.update(zip(node.outputs, node.kernel.outputs(), strict=True))
    return replace(graph, nodes=tuple(nodes))


def _lanes_between(have: int, want: int) -> list[int]:
    """Lanes after each width converter on the way: none, one, or two through the least common multiple."""
    if have == want:
        return []
    return [want] if max(have, want) % min(have, want) == 0 else [lcm(have, want), want]


def _share(cost: Resources, available: Resources) -> float:
    """Cost as a sum of shares of the device: what one layer takes, others cannot have."""
    parts = ((cost.lut, available.lut), (cost.ff, available.ff), (cost.bram, available.bram), (cost.dsp, available.dsp))
    return sum(used / have if have else used * 1e3 for used, have in parts)


def fastest(graph: Graph) -> tuple[int, str]:
    """The least interval in cycles that any folding reaches, and the layer that limits it."""
    return max((min(k.schedule().actions for k in _choices(node.kernel)), node.name) for node in graph)


def _choices(kernel: Kernel) -> list[Kernel]:
    return [kernel.fold(folding) for folding in kernel.foldings()]


def for_cycles(graph: Graph, cycles: int, family: Family, available: Resources) -> FoldingTable:
    """The cheapest folding whose every layer takes at most ``cycles`` cycles a frame.

    Cost is the sum of the shares of ``available`` that the layers and the width converters take. Raises
    BitfabricError when no folding is that fast, with the best possible interval and the layer that limits it.
    """
    least, layer = fastest(graph)
    if least > cycles:
        raise BitfabricError(
            f"no folding reaches an interval of {cycles} cycles: layer {layer} needs at least {least} cycles a frame; "
            f"ask for a lower rate or a higher clock",
            status=2,
        )
    return _Search(graph, family, available).cheapest(cycles)


class _Search:
    """Dynamic programming over a chain of layers; costs are computed once for all rates."""

    def __init__(self, graph: Graph, family: Family, available: Resources) -> None:
        for node in graph:
            if len(node.inputs) != 1 or len(node.outputs) != 1:
                raise BitfabricError(f"{node.name}: automatic folding knows chains of layers; give --folding FILE")
        self.nodes = list(graph)
        self.choices = [
            [(k, k.schedule().actions, _share(k.resources(family), available)) for k in _choices(node.kernel)]
            for node in self.nodes
        ]

        @cache
        def converter(stream: Stream, lanes: int) -> float:
            cost = 0.0
            for step in _lanes_between(stream.lanes, lanes):
                kernel = WidthConverter(stream, step)
                cost += _share(kernel.resources(family), available)
                stream = kernel.outputs()[0]
            return cost

        self.converter = converter

    def cheapest(self, cycles: int) -> FoldingTable:
        # For each number of lanes that a layer may give: the least cost up to it, and how it came about.
        best: dict[int, tuple[float, tuple[Kernel, ...]]] = {}
        for i, options in enumerate(self.choices):
            ahead: dict[int, tuple[float, tuple[Kernel, ...]]] = {}
            for kernel, actions, cost in options:
                if actions > cycles:
                    continue
                takes, gives = kernel.inputs()[0], kernel.outputs()[0].lanes
                if i == 0:
                    total = cost
                    path: tuple[Kernel, ...] = (kernel,)
                else:
                    have = min(
                        best, key=lambda lanes: best[lanes][0] + self.converter(takes.with_lanes(lanes), takes.lanes)
                    )
                    total = best[have][0] + self.converter(takes.with_lanes(have), takes.lanes) + cost
                    path = (*best[have][1], kernel)
                if gives not in ahead or total < ahead[gives][0]:
                    ahead[gives] = (total, path)
            best = ahead
        path = min(best.values(), key=lambda entry: entry[0])[1]
        return {n.name: k.folding for n, k in zip(self.nodes, path, strict=True) if len(k.foldings()) > 1}


def for_area(graph: Graph, share: float, family: Family, available: Resources) -> FoldingTable:
    """The fastest folding that is estimated to take at most ``share`` of every resource of ``available``.

    Where even the smallest folding takes more, it is returned: whether it fits is the caller's check.
    """
    search = _Search(graph, family, available)
    least = fastest(graph)[0]
    intervals = sorted({max(least, actions) for options in search.choices for _, actions, _ in options})

    def fits(table: FoldingTable) -> bool:
        used = vars(estimate(connect(apply(graph, table)), family))
        return all(used[name] <= share * have for name, have in vars(available).items())

    low, high = 0, len(intervals) - 1
    while low < high:
        middle = (low + high) // 2
        if fits(search.cheapest(intervals[middle])):
            high = middle
        else:
            low = middle + 1
    return search.cheapest(intervals[low])


def estimate(graph: Graph, family: Family) -> Resources:
    """The resource model's sum over all kernels."""
    return sum((node.kernel.resources(family) for node in graph), Resources())


def save(table: FoldingTable, path: Path) -> None:
    """Write FINN's folding JSON."""
    layers = {name: {"PE": folding.pe, "SIMD": folding.simd} for name, folding in table.items()}
    path.write_text(json.dumps({"Defaults": {}, **layers}, indent=2) + "\n")


def load(path: Path, graph: Graph) -> FoldingTable:
    """Read FINN's folding JSON: layer -> {"PE": n, "SIMD": n}; "Defaults" may hold {"PE": [n, ["all"]]}.

    FINN's keys without a meaning here (memory styles, FIFO depths) are read and left aside. Raises
    BitfabricError for a file that is missing or no JSON, for unknown layers and unknown keys, by name.
    """
    try:
        table = json.loads(path.read_text())
    except FileNotFoundError:
        raise BitfabricError(f"no folding file {path}", status=2) from None
    except (OSError, ValueError) as error:
        raise BitfabricError(f"{path} is not a folding JSON: {error}", status=2) from None
    if not isinstance(table, dict) or not all(isinstance(entry, dict) for entry in table.values()):
        raise BitfabricError(f'{path}: a folding file is {{"layer": {{"PE": n, "SIMD": n}}, ...}}', status=2)
    defaults = table.pop("Defaults", {})
    result = {}
    for name, entry in table.items():
        if unknown := sorted(set(entry) - FINN_KEYS):
            raise BitfabricError(f"{path}: layer {name}: unknown key {', '.join(unknown)}; use PE and SIMD", status=2)
        now = graph.node(name).kernel.folding
        values = {"PE": _default(defaults, "PE", now.pe), "SIMD": _default(defaults, "SIMD", now.simd)} | entry
        for key in ("PE", "SIMD"):
            if not isinstance(values[key], int) or isinstance(values[key], bool) or values[key] < 1:
                raise BitfabricError(
                    f"{path}: layer {name}: {key} must be a positive integer, not {values[key]!r}", status=2
                )
        result[name] = Folding(values["PE"], values["SIMD"])
    return result


def _default(defaults: dict, key: str, otherwise: int) -> int:
    """FINN's form of a default is [value, ["all"]]."""
    value = defaults.get(key, otherwise)
    return value[0] if isinstance(value, list) and value else value
