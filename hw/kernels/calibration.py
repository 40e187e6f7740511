"""Calibration of the resource and clock models: the kernels of all grids, and the graphs that are synthesised."""

from collections.abc import Iterator

from qonnx.core.datatype import DataType

from hw import kernels
from hw.ir.graph import Graph, Node, Port
from hw.ir.kernel import Kernel
from hw.ir.stream import Stream
from hw.kernels.fifo.kernel import Fifo

COMPANION = Fifo(Stream((1,), DataType["BIPOLAR"], 1), 32)
"""Each kernel is synthesised together with this FIFO, whose cost is then subtracted.

Technology mapping optimises the deepest paths of a design for delay and all other paths for area. In a design of one
kernel with shallow logic, the kernel's own paths are the deepest, and the mapper uses up to three times the lookup
tables that the kernel needs in a network (Gowin: 296 instead of 107 for a fork to four, in wide multiplexers). The
control logic of this FIFO is as deep as that of most kernels.
"""


def grid() -> Iterator[tuple[str, Kernel]]:
    """The kernels of all grids as pairs (name, kernel). Names state parameters, and are the keys of measurements."""
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
        nodes.append(Node(f"kernel{n}", kernel, edges[0], edges[1]))
    return Graph(tuple(nodes), tuple(inputs), tuple(outputs))
