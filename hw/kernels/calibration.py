"""What the models of cost and clock are fitted to: the kernels of every grid, and how they are synthesised."""

from collections.abc import Iterator

from qonnx.core.datatype import DataType

from hw import kernels
from hw.ir.graph import Graph, Node, Port
from hw.ir.kernel import Kernel
from hw.ir.stream import Stream
from hw.kernels.fifo.kernel import Fifo

COMPANION = Fifo(Stream((1,), DataType["BIPOLAR"], 1), 32)
"""A kernel is synthesised beside this FIFO, whose cost is subtracted.

Logic mapping makes the deepest path of a design as short as it can, and saves lookup tables on all other paths. A
kernel of shallow logic alone has no deeper path than its own, and takes up to three times the lookup tables that it
takes in a network (Gowin: a fork to four 296 instead of 107, of wide multiplexers). The control of this FIFO is as deep
as that of most kernels.
"""


def grid() -> Iterator[tuple[str, Kernel]]:
    """The kernels of every kernel's grid. The name tells the parameters: measurements are kept under it."""
    for op in kernels.names():
        yield from kernels.cases(op).grid()


def separate(*parts: Kernel) -> Graph:
    """A graph of nodes without an edge between them: node ``kernel<n>`` reads the inputs ``s<n>_<i>`` and writes the
    outputs ``m<n>_<i>``."""
    nodes: list[Node] = []
    inputs: list[Port] = []
    outputs: list[Port] = []
    for n, kernel in enumerate(parts):
        edges = []
        for side, streams, ports in (("s", kernel.inputs(), inputs), ("m", kernel.outputs(), outputs)):
            edges.append(tuple(f"{side}{n}_{i}" for i in range(len(streams))))
            named = zip(edges[-1], streams, strict=True)
            ports.extend(Port(edge, edge, stream.shape, stream.dtype.name) for edge, stream in named)
        nodes.append(Node(f"kernel{n}", kernel, *edges))
    return Graph(tuple(nodes), tuple(inputs), tuple(outputs))
