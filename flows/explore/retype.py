"""Dataflow graphs with other widths of weights and activations, without a lowering.

A network is exported and lowered once. Which kernels there are, and how they are connected, does not depend on the
widths of its weights and activations; the kernels' types, weights and thresholds do. ``Retyping`` makes these kernels
for other widths. What a lowering gives has equal types, weights and numbers of thresholds, and other values of
thresholds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
from qonnx.core.datatype import BaseDataType, DataType

from hw.host.errors import BitfabricError
from hw.ir.graph import Graph, Node
from hw.ir.kernel import Kernel
from hw.kernels.accumulate_pool.kernel import AccumulatePool
from hw.kernels.add.kernel import Add
from hw.kernels.concat.kernel import Concat
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.fork.kernel import Fork
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.max_pool.kernel import MaxPool
from hw.kernels.reorder.kernel import Reorder
from hw.kernels.select.kernel import Select
from hw.kernels.sliding_window.kernel import SlidingWindow
from hw.kernels.threshold.kernel import Threshold
from hw.kernels.upsample.kernel import Upsample
from hw.lowering.quantize import THRESHOLD_LEVELS
from hw.lowering.weights import weight_dtype

MOVING = SlidingWindow, MaxPool, Fork, Reorder, Select, Upsample
"""Kernels that pass values on as they are."""


class RetypingError(BitfabricError):
    """A graph whose kernels for other widths are known only from a lowering."""


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """The integers (outputs, inputs / groups, *kernel) of a layer's weights."""

    integers: np.ndarray


@dataclass(frozen=True)
class Values:
    """What an edge carries: the type, and the least and greatest value."""

    dtype: BaseDataType
    low: int
    high: int

    @classmethod
    def of(cls, dtype: BaseDataType) -> "Values":
        """All values of a type."""
        return cls(dtype, int(dtype.min()), int(dtype.max()))


def leaving(kernel: Kernel, entering: tuple[Values, ...]) -> tuple[Values, ...]:
    """What leaves a kernel: all values of its types, but for sums of a part of them, and what only moves values."""
    dtypes = [stream.dtype for stream in kernel.outputs()]
    if type(kernel) is AccumulatePool:
        count = prod(kernel.kernel)
        return (Values(dtypes[0], count * entering[0].low, count * entering[0].high),)
    if type(kernel) in MOVING and type(kernel) is not SlidingWindow:
        return entering * len(dtypes)
    return tuple(Values.of(dtype) for dtype in dtypes)


def activation_dtype(bits: int) -> BaseDataType:
    """The type of a hidden activation."""
    return DataType["BIPOLAR"] if bits == 1 else DataType[f"UINT{bits}"]


def levels(bits: int) -> int:
    """The thresholds of a hidden activation."""
    return (1 << bits) - 1


@dataclass(frozen=True, eq=False)
class Retyping:
    """A lowered ``graph`` with the ``weights`` that it has by module, and the bits of its ``activations`` by module.

    Of activations wider than ``widest`` bits, lowering makes other kernels than thresholds.

    Raises RetypingError where the weights of a kernel are not those of its module in a known order.
    """

    graph: Graph
    weights: Mapping[str, LayerWeights]
    activations: Mapping[str, int]
    widest: int = THRESHOLD_LEVELS.bit_length() - 1
    _orders: dict[str, str] = field(default_factory=dict, init=False)
    _kernels: dict[tuple[Any, ...], Kernel] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        shapes: dict[str, tuple[int, ...]] = {}
        modules = set()
        for node in self.graph:
            if self.is_layer(node):
                self._orders[node.name] = self._order(node, shapes.get(node.inputs[0]))
                modules.add(node.origin.module)
            for edge, stream in zip(node.outputs, node.kernel.outputs(), strict=True):
                shapes[edge] = stream.shape
        thresholds = {node.origin.module for node in self.graph if self.is_activation(node)}
        for what, missing, remedy in (
            ("layer", set(self.weights) - modules, "a network whose layers are dense or convolutions"),
            ("activation", set(self.activations) - thresholds, f"activations of at most {self.widest} bits"),
        ):
            if missing:
                raise RetypingError(
                    f"the graph has no kernel of {what} {', '.join(sorted(missing))} whose widths can be changed "
                    f"without a lowering; take {remedy}"
                )

    def __len__(self) -> int:
        """The kernels that were made."""
        return len(self._kernels)

    def is_layer(self, node: Node) -> bool:
        """Whether this is the product of a layer whose weights may have another width."""
        return type(node.kernel) in (MatrixVector, Depthwise) and node.origin.module in self.weights

    def is_activation(self, node: Node) -> bool:
        """Whether this is an activation that may have another width."""
        return type(node.kernel) is Threshold and node.origin.module in self.activations

    def retyped(
        self, weights: Mapping[str, LayerWeights] | None = None, activations: Mapping[str, int] | None = None
    ) -> Graph:
        """The graph with these weights and activations by module; those that are left out stay as they are.

        Kernels of equal types and weights are the same objects in all graphs. Raises RetypingError for kernels that
        are known only from a lowering.
        """
        weights, activations = weights or {}, activations or {}
        known = {port.edge: Values.of(self.graph.edges[port.edge].dtype) for port in self.graph.inputs}
        kernels: dict[str, Kernel] = {}
        for node in self.graph:
            module = node.origin.module
            choice: Any = None
            if self.is_layer(node):
                choice = weights.get(module)
            elif self.is_activation(node):
                choice = activations.get(module)
            entering = tuple(known[edge] for edge in node.inputs)
            kernels[node.name] = self.kernel(node, entering, choice)
            known.update(zip(node.outputs, leaving(kernels[node.name], entering), strict=True))
        return self.graph.with_kernels(kernels)

    def kernel(self, node: Node, entering: tuple[Values, ...], choice: LayerWeights | int | None) -> Kernel:
        """The kernel of a node for other types of its inputs, and for other weights or bits."""
        key = (node.name, entering, choice)
        if key not in self._kernels:
            self._kernels[key] = self._made(node, entering, choice)
        return self._kernels[key]

    def _made(self, node: Node, entering: tuple[Values, ...], choice: LayerWeights | int | None) -> Kernel:
        kernel: Any = node.kernel
        made: Kernel
        dtypes = tuple(each.dtype for each in entering)
        if choice is None and dtypes == tuple(stream.dtype for stream in kernel.inputs()):
            return node.kernel
        dtype = entering[0].dtype
        if type(kernel) in (MatrixVector, Depthwise):
            changed: dict[str, Any] = {"input_dtype": dtype, "input_range": self._range(node, entering[0])}
            if isinstance(choice, LayerWeights):
                matrix = self._arranged(node, choice.integers)
                changed |= {"weights": matrix, "weight_dtype": weight_dtype(matrix)}
            made = replace(kernel, **changed)
        elif type(kernel) is Threshold:
            bits = choice if isinstance(choice, int) else None
            if bits is not None and bits > self.widest:
                raise RetypingError(
                    f"{node.title} has thresholds up to {self.widest} bits: only a lowering makes its kernel for "
                    f"{bits}; take at most {self.widest}"
                )
            made = _with_bits(kernel, dtype, bits)
        elif type(kernel) in MOVING:
            made = replace(kernel, dtype=dtype)
        elif type(kernel) is AccumulatePool:
            made = replace(kernel, dtype=dtype, input_range=self._range(node, entering[0]))
        elif type(kernel) is Concat:
            made = replace(kernel, dtypes=dtypes)
        elif type(kernel) is Add:
            made = replace(kernel, dtypes=dtypes, input_ranges=None)
        else:
            raise RetypingError(
                f"{node.title} is computed by {kernel.op}, which only a lowering makes for other widths; train the "
                "network with other widths (--model-option weight_widths=[...])"
            )
        return made

    def _range(self, node: Node, entering: Values) -> tuple[int, int] | None:
        """The range of an input: as stated for the same type, else that of the values that enter."""
        kernel: Any = node.kernel
        stated: tuple[int, int] | None = kernel.input_range
        [stream] = kernel.inputs()
        if entering.dtype == stream.dtype or stated is None:
            return stated
        return entering.low, entering.high

    def _order(self, node: Node, shape: tuple[int, ...] | None) -> str:
        """How the weights of a kernel follow from those of its module."""
        kernel: Any = node.kernel
        held = self.weights[node.origin.module].integers
        for order in ("flattened", "channels last", "plain"):
            made = _ordered(held, order, shape, kernel.weights.shape[1])
            if made is not None and made.shape == kernel.weights.shape and np.array_equal(made, kernel.weights):
                return order
        raise RetypingError(
            f"layer {node.title} has its weights in an order that only a lowering knows, as behind a concatenation of "
            "unequal scales; concatenate what one activation has quantized, or train the network with other widths"
        )

    def _arranged(self, node: Node, integers: np.ndarray) -> np.ndarray:
        order, kernel = self._orders[node.name], node.kernel
        assert isinstance(kernel, MatrixVector | Depthwise)
        shape = None
        if order == "flattened":
            writer = next(each for each in self.graph if node.inputs[0] in each.outputs)
            shape = writer.kernel.outputs()[writer.outputs.index(node.inputs[0])].shape
        made = _ordered(integers, order, shape, kernel.weights.shape[1])
        assert made is not None, "weights have the shape of those that they replace"
        return made


def _ordered(held: np.ndarray, order: str, shape: tuple[int, ...] | None, columns: int) -> np.ndarray | None:
    """Weights (outputs, inputs / groups, *kernel) as a matrix (outputs, ``columns``); None where the order does not
    apply.

    "plain": inputs before the kernel's places; "channels last": windows in the order (ky, kx, c); "flattened": the
    inputs of a linear layer are an image (C, H, W), which the stream of ``shape`` carries as (H, W, C). Several groups
    are blocks on the diagonal.
    """
    if order == "flattened":
        if shape is None or len(shape) < 2 or held.ndim != 2 or int(np.prod(shape)) != held.shape[1]:
            return None
        image = held.reshape(len(held), shape[-1], *shape[:-1])
        return np.ascontiguousarray(np.moveaxis(image, 1, -1).reshape(len(held), -1))
    groups, apart = divmod(columns, int(np.prod(held.shape[1:])))
    if apart or not groups or len(held) % groups:
        return None
    if groups > 1:
        whole = np.zeros((len(held), groups, *held.shape[1:]), held.dtype)
        whole[np.arange(len(held)), np.arange(len(held)) * groups // len(held)] = held
        held = whole.reshape(len(held), groups * held.shape[1], *held.shape[2:])
    if order == "channels last":
        held = np.moveaxis(held, 1, -1)
    return np.ascontiguousarray(held.reshape(len(held), -1))


def _with_bits(kernel: Threshold, dtype: BaseDataType, bits: int | None) -> Threshold:
    """The thresholds for inputs of another type, and for an output of ``bits``; None: as many as they are.

    They span the same part of the input's range. The thresholds of one channel are evenly spaced, so those of other
    levels are found along the line through the first and the last one.
    """
    steps = kernel.steps
    held = kernel.thresholds.astype(np.float64) * 2.0 ** (dtype.bitwidth() - kernel.input_dtype.bitwidth())
    # The threshold of level i is at i - 1/2 on the scale of ``steps`` levels; a sign has its own at 0.
    places = np.arange(steps) + 0.5 if steps > 1 else np.zeros(1)
    slope = (held[:, -1] - held[:, 0]) / (places[-1] - places[0]) if steps > 1 else np.abs(held[:, 0]) + 1.0
    wanted = places
    if bits is not None:
        wanted = np.zeros(1) if bits == 1 else (np.arange(levels(bits)) + 0.5) * (steps / levels(bits))
    found = np.ceil(held[:, :1] + slope[:, None] * (wanted - places[0]))
    thresholds = np.clip(found, int(dtype.min()), int(dtype.max()) + 1).astype(np.int64)
    return replace(
        kernel,
        thresholds=np.sort(thresholds, axis=1),
        input_dtype=dtype,
        output_dtype=kernel.output_dtype if bits is None else activation_dtype(bits),
        output_min=kernel.output_min if bits is None else None,
    )
