"""Why the nodes of a graph wait for each other for ever, and what frees them."""

from dataclasses import replace

from hw.ir.graph import Graph
from hw.kernels.fifo.kernel import Fifo
from hw.passes.fifos import insert_fifos
from hw.timing import trace


def explain(graph: Graph, waits: dict[str, str]) -> str:
    """One line for nodes that wait for ever, ``waits``: name -> edge, each a beat of an input or a place of an output.

    It names a FIFO in the loop that is full, or an edge without one, and the least depth that frees the nodes.
    """
    loop = _loop(graph, waits)
    waiting = "; ".join(f"{name} waits for {waits[name]}" for name in loop)
    before = {node.inputs[0] for node in graph if isinstance(node.kernel, Fifo)}  # full as the FIFO itself is
    full = [waits[name] for name in loop if waits[name] in graph.node(name).outputs and waits[name] not in before]
    for edge in full:
        if depth := _freeing(graph, edge):
            return f"deadlock: {_place(graph, edge)}, and {waiting}; {_remedy(graph, edge, depth)}"
    names = " and ".join(_place(graph, edge) for edge in full)
    remedy = "one FIFO is not enough to free them: take the depths of hw.timing.fifo_sizing.size_fifos"
    return f"deadlock: {names}, and {waiting}; {remedy}"


def _loop(graph: Graph, waits: dict[str, str]) -> list[str]:
    """Nodes of which each waits for the next, and the last for the first."""
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
    """The FIFO that writes the edge, if one does."""
    kernel = next(node.kernel for node in graph if edge in node.outputs)
    return kernel if isinstance(kernel, Fifo) else None


def _place(graph: Graph, edge: str) -> str:
    held = _writer(graph, edge)
    return f"FIFO {edge} of depth {held.depth} is full" if held else f"edge {edge}, without a FIFO, is full"


def _remedy(graph: Graph, edge: str, depth: int) -> str:
    return f"depth {depth} frees them" if _writer(graph, edge) else f"a FIFO of depth {depth} there frees them"


def _deeper(graph: Graph, edge: str, depth: int) -> Graph:
    """The graph with the FIFO at the edge, there already or not, of this depth."""
    held = _writer(graph, edge)
    return (
        insert_fifos(graph, {edge: depth}) if held is None else graph.with_kernels({edge: replace(held, depth=depth)})
    )


def _freeing(graph: Graph, edge: str) -> int | None:
    """The least depth at the edge with which the nodes do not wait for ever; None where none does.

    One frame is enough to know: a frame that comes through leaves everything as it was before, and one that is not
    the first finds no fewer places than its turn.
    """
    held = _writer(graph, edge)
    low, high = (held.depth if held else 1), max(2, graph.edges[edge].beats)
    if trace.attempt(_deeper(graph, edge, high), 1)[1]:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if trace.attempt(_deeper(graph, edge, middle), 1)[1] else (low, middle)
    return high
