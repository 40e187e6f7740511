"""The layers that limit the frame rate, and the resources that doubling the rate would cost."""

from dataclasses import dataclass

from hw.fabric.devices import Device
from hw.fabric.resources import Resources
from hw.folding import choose
from hw.host.errors import BitfabricError
from hw.ir.graph import Graph, Node
from hw.ir.kernel import Folding
from hw.passes.fold import apply_folding, current_folding
from hw.passes.lanes import connected


@dataclass(frozen=True)
class FasterFolding:
    """A folding of one layer with at most half its cycles.

    ``now`` and ``then`` are the present and the faster folding, ``cycles`` the cycles per frame of the latter, and
    ``more`` the additional resources, as estimated.
    """

    layer: str
    now: Folding
    then: Folding
    cycles: int
    more: dict[str, int]


@dataclass(frozen=True)
class Bottlenecks:
    """The layers that limit the rate, and the cost of faster foldings.

    Attributes:
        layers: the slowest layers, which need ``cycles`` cycles per frame.
        fixed: those of ``layers`` without a folding of twice the rate (without width converters and FIFOs, whose rate
            follows from their neighbours).
        next_layer: the slowest of the other layers, which needs ``next_cycles``; None where there is none.
        steps: foldings that double the rate of one of ``layers``.
        doubled: cycles and additional resources of the whole design at twice the rate, including width converters but
            not FIFOs; None where there is no such design, and ``refused`` states why.
    """

    layers: tuple[str, ...]
    cycles: int
    fixed: tuple[str, ...]
    next_layer: str | None
    next_cycles: int | None
    steps: tuple[FasterFolding, ...]
    doubled: tuple[int, dict[str, int]] | None
    refused: str | None


def find(graph: Graph, hardware: Graph, interval: int, device: Device) -> Bottlenecks:
    """The bottlenecks of ``hardware`` (with width converters and FIFOs), a folding of ``graph`` with ``interval``."""
    cycles = {node.name: node.kernel.schedule().interval for node in hardware}
    slowest = max(cycles.values())
    limiting = [node for node in hardware if cycles[node.name] == slowest]
    others = {name: n for name, n in cycles.items() if n < slowest}
    after = max(others, key=lambda name: others[name], default=None)
    steps = [step for node in limiting if (step := _doubled(node, device))]
    named = {step.layer for step in steps}
    doubled, refused = None, None
    layers = current_folding(graph)
    table = {name: folding for name, folding in current_folding(hardware).items() if name in layers}
    try:
        faster = choose.for_cycles(graph, interval // 2, device.family, device.capacity, device.clock_mhz)
        new = connected(apply_folding(graph, faster))
        old = connected(apply_folding(graph, table))
        more = _difference(choose.estimate_resources(new, device.family), choose.estimate_resources(old, device.family))
        doubled = max(node.kernel.schedule().interval for node in new), more
    except BitfabricError as error:
        refused = str(error)
    return Bottlenecks(
        tuple(node.name for node in limiting), slowest,
        tuple(node.name for node in limiting if node.name not in named and node.name in table),
        after, others[after] if after else None, tuple(steps), doubled, refused,
    )  # fmt: skip


def _doubled(node: Node, device: Device) -> FasterFolding | None:
    """The cheapest folding of a layer with at most half its cycles; None where there is none."""
    kernel = node.kernel
    now, interval = kernel.folding, kernel.schedule().interval
    best: tuple[float, FasterFolding] | None = None
    for choice in kernel.foldings():
        if not 1 < _product(choice) / _product(now) <= 4:
            continue
        faster = kernel.fold(choice)
        cycles = faster.schedule().interval
        if 2 * cycles > interval + 1:
            continue
        more = _difference(faster.resources(device.family), kernel.resources(device.family))
        have = vars(device.capacity)
        cost = sum(n / have[name] for name, n in more.items() if have[name])
        if best is None or cost < best[0]:
            best = cost, FasterFolding(node.name, now, choice, cycles, more)
    return best[1] if best else None


def _product(fold: Folding) -> int:
    return fold.pe * fold.simd * fold.pixels


def _difference(new: Resources, old: Resources) -> dict[str, int]:
    return {name: n - vars(old)[name] for name, n in vars(new).items()}
