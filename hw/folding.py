"""Folding: how parallel every layer is. Chooses it for a rate or an area, applies it, reads and writes FINN's JSON.

The search (``hw.folding_search``) is exact under the resource model, the width converters between neighbours
counted in. FINN's SetFolding is greedy layer by layer and does not see the device.
"""

import json
from dataclasses import replace
from pathlib import Path

from hw.errors import BitfabricError
from hw.folding_search import Choice, Search, choices, converters
from hw.graph import Graph, Node
from hw.kernels.kernel import Folding, Kernel, Resources
from hw.stream import Stream
from hw.synth.family import Family

FoldingTable = dict[str, Folding]
"""Layer name -> its parallelism."""

FINN_KEYS = frozenset({
    "PE", "SIMD", "M", "parallel_window", "ram_style", "ram_style_thresholds", "resType", "mem_mode", "mvau_wwidth_max",
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
            for kernel in converters(given.get(edge, stream), stream):
                name = f"{edge}_x{kernel.out_lanes}"
                nodes.append(Node(name, kernel, (edge,), (name,)))
                edge = name
            inputs.append(edge)
        nodes.append(replace(node, inputs=tuple(inputs)))
        given.update(zip(node.outputs, node.kernel.outputs(), strict=True))
    return replace(graph, nodes=tuple(nodes))


def fastest(graph: Graph) -> tuple[int, str]:
    """The least interval in cycles that any folding reaches, and the layer that limits it."""
    return max((min(k.interval for k in choices(node.kernel)), node.name) for node in graph)


def for_rate(search: Search, cycles: int) -> Choice:
    """The cheapest folding whose every layer takes at most ``cycles`` cycles a frame.

    A folding that fits the device is preferred to one that does not; where none fits, the cheapest is returned, and
    the check is the caller's. Raises BitfabricError when no folding is that fast, with the best possible interval and
    the layer that limits it.
    """
    if choice := search.cheapest(cycles, search.available) or search.cheapest(cycles):
        return choice
    least, layer = search.fastest
    raise BitfabricError(
        f"no folding reaches an interval of {cycles} cycles: layer {layer} needs at least {least} cycles a frame; "
        f"ask for a lower rate or a higher clock",
        status=2,
    )


def for_budget(search: Search, budget: Resources, cycles: int = 0) -> Choice:
    """The fastest folding of at least ``cycles`` cycles that is estimated to take at most ``budget``, and of those the
    cheapest.

    Where even the smallest folding takes more, it is returned: whether it fits is the caller's check.
    """
    choice = search.quickest(budget, cycles) or search.cheapest(search.intervals[-1])
    assert choice is not None, "the slowest interval has a folding"
    return choice


def for_cycles(graph: Graph, cycles: int, family: Family, available: Resources) -> FoldingTable:
    """The folding of ``for_rate`` on a device with so much ``available``."""
    return for_rate(Search(graph, family, available), cycles).folding


def for_area(graph: Graph, share: float, family: Family, available: Resources) -> FoldingTable:
    """The folding of ``for_budget`` for a share of what is ``available``."""
    budget = Resources(**{name: int(share * have) for name, have in vars(available).items()})
    return for_budget(Search(graph, family, available), budget).folding


def pareto(graph: Graph, family: Family, available: Resources) -> list[Choice]:
    """The Pareto front of interval and cost among the foldings that fit, the fastest first; empty if none fits.

    Every point is the cheapest folding of its interval, and no faster one costs as little.
    """
    return Search(graph, family, available).front(available)


def estimate(graph: Graph, family: Family) -> Resources:
    """The resource model's sum over all kernels."""
    return sum((node.kernel.resources(family) for node in graph), Resources())


def save(table: FoldingTable, path: Path) -> None:
    """Write FINN's folding JSON."""
    layers = {name: folding.attributes for name, folding in table.items()}
    path.write_text(json.dumps({"Defaults": {}, **layers}, indent=2) + "\n")


def load(path: Path, graph: Graph) -> FoldingTable:
    """Read FINN's folding JSON: layer -> {"PE": n, "SIMD": n}; "Defaults" may hold {"PE": [n, ["all"]]}.

    "M" is how many positions of an image are worked on at a time, as in FINN's ConvolutionInputGenerator; it is 1 where
    it is not said.
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
            raise BitfabricError(
                f"{path}: layer {name}: unknown key {', '.join(unknown)}; use PE, SIMD and M", status=2
            )
        now = graph.node(name).kernel.folding
        before = {"PE": now.pe, "SIMD": now.simd, "M": now.pixels}
        values = {key: _default(defaults, key, value) for key, value in before.items()} | entry
        for key in before:
            if not isinstance(values[key], int) or isinstance(values[key], bool) or values[key] < 1:
                raise BitfabricError(
                    f"{path}: layer {name}: {key} must be a positive integer, not {values[key]!r}", status=2
                )
        result[name] = Folding.of(values)
    return result


def _default(defaults: dict, key: str, otherwise: int) -> int:
    """FINN's form of a default is [value, ["all"]]."""
    value = defaults.get(key, otherwise)
    return value[0] if isinstance(value, list) and value else value
