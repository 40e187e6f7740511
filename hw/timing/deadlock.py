"""Diagnosis of a deadlock: the nodes of a graph that wait for each other, and the FIFO depth that resolves it."""

from dataclasses import replace

from hw.ir.graph import Graph
from hw.kernels.fifo.kernel import Fifo
from hw.passes.fifos import insert_fifos
from hw.timing import trace


def explain(graph: Graph, waits: dict[str, str]) -> str:
    """The error line of a deadlock. ``waits``: the nodes that wait -> an input edge (for a beat) or an output edge (for
    a credit).

    It names a FIFO in the loop that is full, or an edge without a FIFO, and the smallest depth that resolves the
    deadlock.
    """
    loop = _loop(graph, waits)
    titles = graph.titles
    waiting = "; ".join(f"{titles[name]} waits for {waits[name]}" for name in loop)
    before = {node.inputs[0] for node in graph if isinstance(node.kernel, Fifo)}  # blocked because the FIFO is full
    full = [waits[name] for name in loop if waits[name] in graph.node(name).outputs and waits[name] not in before]
    for edge in full:
        if depth := _freeing(graph, edge):
            return f"deadlock: {_place(graph, edge)}, and {waiting}; {_remedy(graph, edge, depth)}"
    names = " and ".join(_place(graph, edge) for edge in full)
    remedy = "one FIFO is not enough to free them: take the depths of hw.timing.fifo_sizing.size_fifos"
    return f"deadlock: {names}, and {waiting}; {remedy}"


def _loop(graph: Graph, waits: dict[str, str]) -> list[str]:
    """A loop of nodes, each of which waits for the next."""
    writers = {edge: node.name for node in graph for edge in node.outputs}
    readers = {edge: node.name for node in graph for edge in node.inputs}
    path = [next(iter(waits))]
    while True:
        edge = waits[path[-1]]
        after = readers[edge] if edge in graph.node(path[-1]).outputs else writers[edge]
        if after in path:
            return path[path.index(after) :]
        path.append(after)


def _writer(graph: Graph, edge: str) -> Fifo | None:
    """The FIFO that writes the edge; None if another kernel writes it."""
    kernel = next(node.kernel for node in graph if edge in node.outputs)
    return kernel if isinstance(kernel, Fifo) else None


def _place(graph: Graph, edge: str) -> str:
    fifo = _writer(graph, edge)
    return f"FIFO {edge} of depth {fifo.depth} is full" if fifo else f"edge {edge}, without a FIFO, is full"


def _remedy(graph: Graph, edge: str, depth: int) -> str:
    return f"depth {depth} frees them" if _writer(graph, edge) else f"a FIFO of depth {depth} there frees them"


def _deeper(graph: Graph, edge: str, depth: int) -> Graph:
    """The graph with a FIFO of this depth at the edge, inserted if there is none."""
    fifo = _writer(graph, edge)
    return (
        insert_fifos(graph, {edge: depth}) if fifo is None else graph.with_kernels({edge: replace(fifo, depth=depth)})
    )


def _freeing(graph: Graph, edge: str) -> int | None:
    """The smallest depth at the edge without a deadlock; None if there is none.

    Simulating one frame is sufficient: a complete frame leaves all buffers in their initial state, so a later frame has
    at least as many places as the first one.
    """
    fifo = _writer(graph, edge)
    low, high = (fifo.depth if fifo else 1), max(2, graph.edges[edge].beats)
    if trace.attempt(_deeper(graph, edge, high), 1)[1]:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if trace.attempt(_deeper(graph, edge, middle), 1)[1] else (low, middle)
    return high
