"""The cost of single layers on a device, from the kernels, the folding search and the resource model of ``hw``.

``HardwareCost`` implements ``quant.CostModel``: training, pruning and architecture search get the cost of a layer
without a network, an export or a build.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import gcd
from typing import Any

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from flows.cycle_budget import cycle_budget
from hw.boards.targets import find_target
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
from hw.passes.lanes import connected
from quant.cost import LayerBits, LayerCost, LayerShape
from quant.structure import Structure
from quant.structure import structure as read_structure

LAYER, WINDOW = "layer", "window"
"""Names of a layer's nodes in ``HardwareCost.folding``."""


@dataclass(frozen=True)
class HardwareCost:
    """The cost of layers on ``device``, a device's name.

    A layer is a MatrixVector kernel, after a SlidingWindow if it is a convolution, or a Depthwise kernel after one.
    ``cycles`` is a budget of cycles per frame, for which the folding search finds the cheapest folding among those of
    all implementations of the product. ``folding`` states one instead, by the names "layer" and "window". With neither,
    the layer has the PE and SIMD of the structure of its zeros (one processing element with one input per cycle for
    "unstructured"), and of the implementations with these the one with the fewest cycles.

    Where the weights' ``integers`` are not given they are random, with the same seed for every layer: uniform in the
    symmetric range of their width, with the fraction of zeros according to ``density`` and ``structure`` (1-bit weights
    with zeros are ternary). The cost of a layer of a trained network differs in the parts that depend on the values of
    weights: what repeats in them, accumulator width, the adders of constant matrices, and memories of few words, in
    which synthesis shares equal columns.

    Costs without integers are kept: an equal call is answered at once.

    Raises UsageError for an unknown device, for ``cycles`` together with ``folding``, a budget that no folding reaches,
    an illegal folding, and a density outside 0 to 1.
    """

    device: str
    cycles: int | None = None
    folding: FoldingTable = field(default_factory=dict)
    _known: dict[tuple[LayerShape, LayerBits, float, Structure], LayerCost] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        find_device(self.device)
        if self.cycles is not None and self.folding:
            raise UsageError("a cost model takes a budget of cycles or a folding, not both")

    def __call__(
        self,
        shape: LayerShape,
        bits: LayerBits,
        density: float = 1.0,
        structure: Structure | str = "unstructured",
        integers: np.ndarray | None = None,
    ) -> LayerCost:
        """The estimated resources, cycles per frame and bits of weight memories of one layer."""
        request = shape, bits, density, read_structure(structure)
        if integers is not None:
            return self._cost(shape, layer_graph(*request, integers), request[-1])
        if request not in self._known:
            self._known[request] = self._cost(shape, layer_graph(*request), request[-1])
        return self._known[request]

    def _cost(self, shape: LayerShape, graph: Graph, structure: Structure) -> LayerCost:
        device: Device = find_device(self.device)
        if self.cycles is not None:
            try:
                folding = choose.for_cycles(graph, self.cycles, device.family, device.capacity, device.clock_mhz)
            except UsageError as error:
                raise UsageError(f"{shape}: {error}") from None
        else:
            folding = self.folding or _of_structure(graph, structure)
        hardware = connected(apply_folding(graph, folding))
        used = choose.estimate_resources(hardware, device.family)
        memories = hardware.node(LAYER).kernel.rtl(device.family).memories.values()
        return LayerCost(
            used.lut,
            used.ff,
            used.bram,
            used.dsp,
            cycles=max(node.kernel.interval for node in hardware),
            rom_bits=sum(len(memory.words) * memory.width for memory in _flat(memories)),
            share=choose.cost(used, device.capacity),
        )


def _of_structure(graph: Graph, structure: Structure) -> FoldingTable:
    """The folding with the PE and SIMD of a structure, of the implementation with the fewest cycles. The window has as
    many lanes as the layer reads, if they divide its channels, else the next number below that does."""
    product = graph.node(LAYER).kernel
    among = product.implementations()
    pe, simd = gcd(structure.pe, product.outputs()[0].shape[-1]), gcd(structure.simd, product.inputs()[0].shape[-1])
    found = {
        replace(folding, implementation=each.op if len(among) > 1 else ""): each.fold(folding).interval
        for each in among
        for folding in each.foldings()
        if (folding.pe, folding.simd, folding.pixels) == (pe, simd, 1)
    }
    table = {LAYER: min(found, key=lambda folding: found[folding])} if found else {}
    for node in graph:
        if node.name == WINDOW:
            narrow = (folding for folding in node.kernel.foldings() if folding.simd <= simd and folding.pixels == 1)
            table[WINDOW] = max(narrow, key=lambda folding: folding.simd)
    return table


def cost_on(target: str, fps: float | None = None) -> HardwareCost:
    """The cost on a target (``hw.boards.targets``), at ``fps`` frames per second with its device's usual clock.

    Raises UsageError for an unknown target, and a rate that is no number from above 0 to a frame a cycle.
    """
    device = find_target(target).device
    return HardwareCost(device.name, None if fps is None else cycle_budget(fps, device.clock_mhz))


def layer_graph(
    shape: LayerShape,
    bits: LayerBits,
    density: float = 1.0,
    structure: Structure | str = "unstructured",
    integers: np.ndarray | None = None,
) -> Graph:
    """The unfolded kernels of a layer with these integers, or with drawn ones (see ``HardwareCost``)."""
    weights = _drawn_weights(shape, bits, density, read_structure(structure)) if integers is None else integers
    weight_dtype = _weight_dtype(bits, weights)
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


def _weight_dtype(bits: LayerBits, weights: np.ndarray) -> BaseDataType:
    if bits.weights in (1, "ternary"):
        return DataType["BIPOLAR" if bits.weights == 1 and weights.all() else "TERNARY"]
    return DataType[f"INT{bits.weights}"]


def _drawn_weights(shape: LayerShape, bits: LayerBits, density: float, structure: Structure) -> np.ndarray:
    """Weights (outputs, inputs / groups, *kernel)."""
    if not 0 <= density <= 1:
        raise UsageError(f"density={density} is not from 0 to 1")
    random = np.random.default_rng(0)
    high = 1 if bits.weights in (1, "ternary") else 2 ** (int(bits.weights) - 1) - 1
    weights = random.integers(-high, high, shape.weights, endpoint=True)
    if bits.weights == 1:
        weights = random.choice([-1, 1], shape.weights)
    if density < 1:
        matrix = _kept(np.moveaxis(weights, 1, -1).reshape(shape.outputs, -1).shape, density, structure, random)
        kept = np.moveaxis(matrix.reshape(shape.outputs, *shape.kernel, -1), -1, 1)
        weights = weights * kept
    return weights


def _kept(size: tuple[int, ...], density: float, structure: Structure, random: np.random.Generator) -> np.ndarray:
    """Which weights of a matrix (MH, MW) are not zero, drawn at random: (MH, MW) bool.

    The number of units is rounded; at least one of every bank of "bank-balanced" remains.
    """
    mh, mw = size
    pe, simd = gcd(structure.pe, mh), gcd(structure.simd, mw)
    if structure.kind == "unstructured":
        return _drawn((1, mh * mw), density, random).reshape(mh, mw)
    if structure.kind == "outputs":
        return np.broadcast_to(_drawn((1, mh), density, random).T, size)
    if structure.kind == "columns":
        return np.broadcast_to(_drawn((1, mw), density, random), size)
    if structure.kind == "blocks":
        blocks = _drawn((1, mh * mw // pe // simd), density, random).reshape(mh // pe, mw // simd)
        return blocks.repeat(pe, 0).repeat(simd, 1)
    if structure.kind == "n:m":
        groups = -(-mw // structure.m)
        return _drawn((mh * groups, structure.m), density, random).reshape(mh, -1)[:, :mw]
    beats = mw // simd
    banks = _drawn((mh // pe * simd, beats), max(density, 1 / beats), random).reshape(mh // pe, simd, beats)
    return banks.transpose(0, 2, 1).reshape(mh // pe, mw).repeat(pe, 0)


def _drawn(size: tuple[int, int], density: float, random: np.random.Generator) -> np.ndarray:
    """In every row the same number of ones, at random places."""
    ones = np.zeros(size, dtype=bool)
    ones[:, : size[1] - round((1 - density) * size[1])] = True
    return random.permuted(ones, axis=1)


def _flat(memories: Any) -> Iterator[Memory]:
    """All memories; those in a tuple one by one."""
    for each in memories:
        yield from each if isinstance(each, tuple) else (each,)
