"""The cost of single layers on a device, from the kernels, the folding search and the resource model of ``hw``.

``HardwareCost`` implements ``quant.CostModel``: training, pruning and architecture search get the cost of a layer
without a network, an export or a build.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.fabric.devices import Device
from hw.families import find_device
from hw.folding import choose
from hw.host.errors import UsageError
from hw.ir.graph import Graph, Node, Port
from hw.ir.kernel import Kernel, Memory
from hw.ir.stream import smallest_dtype
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.sliding_window.kernel import SlidingWindow
from hw.passes.fold import FoldingTable, apply_folding
from hw.passes.lanes import insert_width_converters
from quant.cost import LayerBits, LayerCost, LayerShape, Structure

LAYER, WINDOW = "layer", "window"
"""Names of a layer's nodes in ``HardwareCost.folding``."""


@dataclass(frozen=True)
class HardwareCost:
    """The cost of layers on ``device``, a device's name.

    A layer is a MatrixVector kernel, after a SlidingWindow if it is a convolution, or a Depthwise kernel after one.
    ``cycles`` is a budget of cycles per frame, for which the folding search finds the cheapest folding. ``folding``
    states one instead, by the names "layer" and "window". With neither, the layer has one processing element with one
    input per cycle.

    The weights are random, with the same seed for every layer: uniform in the symmetric range of their width, with the
    fraction of zeros according to ``density`` and ``structure`` (1-bit weights with zeros are ternary). The kernels
    compute all products, so zeros only make accumulators narrower. The cost of a layer of a trained network differs in
    the parts that depend on the values of weights: accumulator width, and memories of few words, in which synthesis
    shares equal columns.

    Raises UsageError for an unknown device, for ``cycles`` together with ``folding``, a budget that no folding reaches,
    an illegal folding, and a density outside 0 to 1.
    """

    device: str
    cycles: int | None = None
    folding: FoldingTable = field(default_factory=dict)

    def __post_init__(self) -> None:
        find_device(self.device)
        if self.cycles is not None and self.folding:
            raise UsageError("a cost model takes a budget of cycles or a folding, not both")

    def __call__(
        self, shape: LayerShape, bits: LayerBits, density: float = 1.0, structure: Structure = "unstructured"
    ) -> LayerCost:
        """The estimated resources, cycles per frame and bits of weight memories of one layer."""
        device: Device = find_device(self.device)
        graph = layer_graph(shape, bits, density, structure)
        folding = self.folding
        if self.cycles is not None:
            folding = choose.for_cycles(graph, self.cycles, device.family, device.capacity)
        hardware = insert_width_converters(apply_folding(graph, folding))
        used = choose.estimate_resources(hardware, device.family)
        memories = hardware.node(LAYER).kernel.rtl(device.family).memories.values()
        return LayerCost(
            used.lut,
            used.ff,
            used.bram,
            used.dsp,
            cycles=max(node.kernel.interval for node in hardware),
            rom_bits=sum(len(memory.words) * memory.width for memory in _flat(memories)),
        )


def layer_graph(
    shape: LayerShape, bits: LayerBits, density: float = 1.0, structure: Structure = "unstructured"
) -> Graph:
    """The unfolded kernels of a layer with drawn weights (see ``HardwareCost``)."""
    weights, weight_dtype = _weights(shape, bits, density, structure)
    nodes: list[Node] = []
    edge, dtype, prefix = "x", _input_dtype(bits), shape.image
    entered: tuple[int, ...] = (*shape.image, shape.inputs)
    if shape.kernel:
        window = SlidingWindow(
            entered, shape.kernel, dtype, shape.stride, shape.dilation, tuple((p, p) for p in shape.padding or ())
        )
        nodes.append(Node(WINDOW, window, (edge,), (WINDOW,)))
        [stream] = window.outputs()
        edge, dtype, prefix = WINDOW, stream.dtype, stream.shape[:-1]
    flat = weights.reshape(shape.outputs, -1) if shape.depthwise else np.moveaxis(weights, 1, -1)
    kernel: Kernel
    if shape.depthwise:
        kernel = Depthwise(flat, weight_dtype, dtype, prefix)
    else:  # windows are in the order (ky, kx, c)
        kernel = MatrixVector(flat.reshape(shape.outputs, -1), weight_dtype, dtype, prefix)
    nodes.append(Node(LAYER, kernel, (edge,), ("y",)))
    [made] = kernel.outputs()
    given = nodes[0].kernel.inputs()[0]
    return Graph(
        tuple(nodes), (Port("x", "x", entered, given.dtype.name),), (Port("y", "y", made.shape, made.dtype.name),)
    )


def _input_dtype(bits: LayerBits) -> BaseDataType:
    if not bits.signed_inputs:
        return smallest_dtype(0, 2**bits.inputs - 1)
    return DataType["BIPOLAR"] if bits.inputs == 1 else smallest_dtype(-(2 ** (bits.inputs - 1)), 0)


def _weights(
    shape: LayerShape, bits: LayerBits, density: float, structure: Structure
) -> tuple[np.ndarray, BaseDataType]:
    """Drawn weights (outputs, inputs / groups, *kernel) and their type."""
    if not 0 <= density <= 1:
        raise UsageError(f"density={density} is not from 0 to 1")
    random = np.random.default_rng(0)
    high = 1 if bits.weights in (1, "ternary") else 2 ** (int(bits.weights) - 1) - 1
    weights = random.integers(-high, high, shape.weights, endpoint=True)
    if bits.weights == 1:
        weights = random.choice([-1, 1], shape.weights)
    if density < 1:
        over = (shape.outputs,) if structure == "outputs" else shape.weights
        zero = np.zeros(int(np.prod(over)), dtype=bool)
        zero[: round((1 - density) * zero.size)] = True
        mask = random.permutation(zero).reshape(over)
        weights[mask] = 0
    if bits.weights in (1, "ternary"):
        return weights, DataType["BIPOLAR" if bits.weights == 1 and density == 1 else "TERNARY"]
    return weights, DataType[f"INT{bits.weights}"]


def _flat(memories: Any) -> Iterator[Memory]:
    """All memories; those in a tuple one by one."""
    for each in memories:
        yield from each if isinstance(each, tuple) else (each,)
