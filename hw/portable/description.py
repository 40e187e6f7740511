"""A graph as a list of operations on flat arrays of integers: numbers and arrays that need no kernel class to be read.

Edges are flat: the elements of a frame in the order of its stream. ``hw/portable/run_network.py`` computes the
operations in NumPy, ``hw.portable.c_source`` writes them in C.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np
from qonnx.core.datatype import DataType

from hw.host.errors import BitfabricError
from hw.ir.graph import Graph
from hw.ir.kernel import Kernel
from hw.ir.stream import Stream, container
from hw.kernels.accumulate_pool.kernel import AccumulatePool
from hw.kernels.add.kernel import Add
from hw.kernels.arg_max.kernel import ArgMax
from hw.kernels.concat.kernel import Concat
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.exit.kernel import Exit
from hw.kernels.expert_matrix_vector.kernel import ExpertMatrixVector
from hw.kernels.lookup_layer.kernel import LookupLayer
from hw.kernels.margin.kernel import Margin
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.max_pool.kernel import MaxPool
from hw.kernels.merge.kernel import Merge
from hw.kernels.popcount_class.kernel import PopcountClass
from hw.kernels.reorder.kernel import Reorder
from hw.kernels.requant.kernel import Requant
from hw.kernels.select.kernel import Select
from hw.kernels.sliding_window.kernel import SlidingWindow
from hw.kernels.table.kernel import Table
from hw.kernels.thermometer.kernel import Thermometer
from hw.kernels.threshold.kernel import Threshold
from hw.kernels.upsample.kernel import Upsample

BIPOLAR = DataType["BIPOLAR"]
Numbers = dict[str, Any]
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Operation:
    """One operation: what it is, the edges that it reads and writes, its numbers, and its arrays of constants."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    numbers: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]

    def to_json(self) -> dict[str, Any]:
        """The operation without its arrays, which are ``<name>.<array>`` of the ``.npz``."""
        return {
            "name": self.name,
            "op": self.op,
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "arrays": sorted(self.arrays),
            **self.numbers,
        }


def operations(graph: Graph) -> list[Operation]:
    """The operations of a graph, in order. Raises BitfabricError for a kernel that has none, with its layer."""
    found = []
    for node in graph:
        kernel = node.kernel.plain()
        write = _WRITERS.get(kernel.op)
        if write is None:
            raise BitfabricError(
                f"{node.title} is computed by {kernel.op}, which export-c does not write, as it writes no "
                "kernels of other packages; export the core (bitfabric export-ip)"
            )
        numbers, arrays = write(kernel)
        found.append(Operation(node.name, _NAMES.get(kernel.op, kernel.op), node.inputs, node.outputs, numbers, arrays))
    return found


def constants(found: list[Operation]) -> dict[str, np.ndarray]:
    """All arrays of constants, in the narrowest types, by ``<operation>.<array>``."""
    return {f"{each.name}.{key}": narrow(value) for each in found for key, value in each.arrays.items()}


def narrow(values: np.ndarray) -> np.ndarray:
    """Integers in the narrowest of NumPy's types."""
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    for kind in (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return values.astype(kind)
    raise BitfabricError(f"constants from {low} to {high} do not fit 64 bits; use fewer bits in that layer")


def element(stream: Stream) -> np.dtype:
    """The type of an edge's elements."""
    return container(stream.dtype)


def _rows(kernel: Kernel) -> int:
    """Positions of a frame: all axes of the first input but the last."""
    return prod(kernel.inputs()[0].shape[:-1])


def _matrix_vector(kernel: MatrixVector) -> tuple[Numbers, Arrays]:
    return {"rows": _rows(kernel)}, {"weights": np.asarray(kernel.weights, np.int64)}


def _expert_matrix_vector(kernel: ExpertMatrixVector) -> tuple[Numbers, Arrays]:
    return {}, {"weights": np.asarray(kernel.weights, np.int64)}


def _depthwise(kernel: Depthwise) -> tuple[Numbers, Arrays]:
    return {"rows": _rows(kernel)}, {"weights": np.asarray(kernel.weights, np.int64)}


def _pair(values: tuple[int, ...], first: int) -> list[int]:
    return [first, *values] if len(values) == 1 else list(values)


def _sliding_window(kernel: SlidingWindow) -> tuple[Numbers, Arrays]:
    numbers = {
        "image": _pair(kernel.shape[:-1], 1),
        "channels": kernel.channels,
        "kernel": _pair(kernel.kernel, 1),
        "stride": _pair(kernel.steps, 1),
        "dilation": _pair(kernel.spread, 1),
        "before": _pair(tuple(low for low, _ in kernel.pads), 0),
        "windows": _pair(kernel.out_spatial, 1),
    }
    return numbers, {"padding": np.broadcast_to(np.array(kernel.pad_values, np.int64), (kernel.channels,))}


def _threshold(kernel: Threshold) -> tuple[Numbers, Arrays]:
    least = int(kernel.output_dtype.min()) if kernel.output_min is None else int(kernel.output_min)
    numbers = {"rows": _rows(kernel), "least": least, "unit": 2 if kernel.output_dtype == BIPOLAR else 1}
    # A bound above the input's type is never reached; the type's maximum plus 1 would not fit its container.
    return numbers, {"thresholds": kernel.thresholds, "decreasing": kernel.decreasing.astype(np.int64)}


def _requant(kernel: Requant) -> tuple[Numbers, Arrays]:
    arithmetic = kernel.arithmetic
    if arithmetic.split is None:
        raise BitfabricError(
            "a requant needs integers of more than 64 bits; quantize the layer before it to fewer bits"
        )
    bits, times = arithmetic.split
    multipliers, addends = arithmetic.operands
    numbers = {
        "rows": _rows(kernel), "shift": arithmetic.shift, "rounding": arithmetic.rounding, "low": kernel.low,
        "high": kernel.high, "bipolar": int(kernel.input_dtype == BIPOLAR), "part_bits": bits, "parts": times,
    }  # fmt: skip
    return numbers, {"multipliers": multipliers, "addends": np.stack(addends)}


def _table(kernel: Table) -> tuple[Numbers, Arrays]:
    step = 2 if kernel.input_dtype == BIPOLAR else 1
    numbers = {"rows": _rows(kernel), "first": int(kernel.input_dtype.min()), "step": step}
    return numbers, {"values": np.asarray(kernel.values, np.int64)}


def _pool(kernel: MaxPool | AccumulatePool) -> tuple[Numbers, Arrays]:
    """A pool over windows that lie one after the other, or over those of an image."""
    numbers: Numbers = {"maximum": int(kernel.op == "max_pool"), "channels": kernel.channels}
    if kernel.windows:
        positions, size = prod(kernel.shape[:-1]), prod(kernel.kernel)
        return numbers | {"image": [positions, size], "kernel": [1, size], "windows": [positions, 1]}, {}
    image, size_of = _pair(kernel.shape[:-1], 1), _pair(kernel.kernel, 1)
    windows = [n // k for n, k in zip(image, size_of, strict=True)]
    return numbers | {"image": image, "kernel": size_of, "windows": windows}, {}


def _add(kernel: Add) -> tuple[Numbers, Arrays]:
    return {"size": prod(kernel.shape), "coefficients": list(kernel.coefficients)}, {}


def _concat(kernel: Concat) -> tuple[Numbers, Arrays]:
    return {"rows": _rows(kernel), "channels": [shape[-1] for shape in kernel.shapes]}, {}


def _same(kernel: Kernel) -> tuple[Numbers, Arrays]:
    """Each output has the elements of the input."""
    return {}, {}


def _gather(shape: tuple[int, ...], change: Callable[[np.ndarray], np.ndarray]) -> tuple[Numbers, Arrays]:
    """Elements of the input by their number."""
    return {}, {"positions": change(np.arange(prod(shape)).reshape(1, *shape)).ravel()}


def _moved(kernel: Select | Reorder | Upsample) -> tuple[Numbers, Arrays]:
    return _gather(kernel.inputs()[0].shape, lambda numbers: kernel.execute(numbers)[0])


def _arg_max(kernel: ArgMax) -> tuple[Numbers, Arrays]:
    return {"rows": _rows(kernel), "classes": kernel.classes}, {}


def _margin(kernel: Margin) -> tuple[Numbers, Arrays]:
    return {"classes": kernel.classes, "threshold": kernel.threshold}, {}


def _exit(kernel: Exit | Merge) -> tuple[Numbers, Arrays]:
    """Every layer is computed for every frame; the verdict chooses between the two results."""
    return {"size": prod(kernel.shape)}, {}


def _thermometer(kernel: Thermometer) -> tuple[Numbers, Arrays]:
    numbers = {"rows": _rows(kernel), "channels": kernel.channels}
    return numbers, {"features": np.asarray(kernel.features), "levels": np.asarray(kernel.levels)}


def _lookup_layer(kernel: LookupLayer) -> tuple[Numbers, Arrays]:
    numbers = {"rows": _rows(kernel), "channels": kernel.channels}
    return numbers, {"wires": np.asarray(kernel.wires), "tables": np.asarray(kernel.tables)}


def _popcount_class(kernel: PopcountClass) -> tuple[Numbers, Arrays]:
    arrays = {"wires": kernel.wires, "groups": kernel.groups, "offsets": kernel.offsets}
    return {"rows": _rows(kernel), "channels": kernel.channels}, {k: np.asarray(v) for k, v in arrays.items()}


_WRITERS: Mapping[str, Callable[[Any], tuple[Numbers, Arrays]]] = MappingProxyType({
    "matrix_vector": _matrix_vector, "expert_matrix_vector": _expert_matrix_vector, "depthwise": _depthwise,
    "sliding_window": _sliding_window,
    "threshold": _threshold, "requant": _requant, "table": _table, "max_pool": _pool, "accumulate_pool": _pool,
    "add": _add, "concat": _concat, "fork": _same, "fifo": _same, "width_converter": _same,
    "upsample": _moved, "select": _moved, "reorder": _moved,
    "arg_max": _arg_max, "thermometer": _thermometer, "lookup_layer": _lookup_layer,
    "popcount_class": _popcount_class, "margin": _margin, "exit": _exit, "merge": _exit,
})  # fmt: skip
_NAMES: Mapping[str, str] = MappingProxyType({
    "max_pool": "pool", "accumulate_pool": "pool", "upsample": "gather", "select": "gather", "reorder": "gather",
    "fork": "same", "fifo": "same", "width_converter": "same",
})  # fmt: skip
"""Kernel -> its operation, where that has another name."""
