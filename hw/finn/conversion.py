"""Conversion between dataflow graphs and models in FINN's dialect, by the tables of all operators."""

import os
from functools import reduce

import onnx
from qonnx.core.modelwrapper import ModelWrapper

from hw import plugins
from hw.finn.dialect import is_finn
from hw.finn.operators import (
    elementwise,
    label_select,
    pools,
    requant,
    streams,
    thresholds,
    upsample,
    weights,
    windows,
)
from hw.finn.reader import Reader, ReadOperator
from hw.finn.table import FinnOperators
from hw.finn.writer import WriteKernel, Writer
from hw.host.errors import BitfabricError, UsageError
from hw.ir.graph import Graph
from hw.ir.kernel import Kernel
from hw.lowering import qonnx

ENTRY_POINTS = "bitfabric.finn"
"""The entry point group in which other packages provide FinnOperators."""


def _merged(first: FinnOperators, second: FinnOperators) -> FinnOperators:
    return FinnOperators({**first.reads, **second.reads}, {**first.writes, **second.writes})


BUILT_IN = reduce(
    _merged,
    (
        weights.OPERATORS,
        thresholds.OPERATORS,
        requant.OPERATORS,
        windows.OPERATORS,
        pools.OPERATORS,
        elementwise.OPERATORS,
        streams.OPERATORS,
        upsample.OPERATORS,
        label_select.OPERATORS,
    ),
)
"""The operators that this package reads and writes."""


def read(model: str | os.PathLike[str] | onnx.ModelProto | ModelWrapper) -> Graph:
    """The graph of a model in FINN's dialect, with FINN's folding. Floating-point nodes at its ends become host steps.

    Raises UsageError for a file without nodes of FINN's, and BitfabricError, with the name of the node, for a node that
    has no exact equivalent here.
    """
    proto = qonnx.read(model)
    if not is_finn(proto):
        raise UsageError("the model holds no layer of FINN's dataflow dialect")
    return Reader(proto, _read_operator).graph()


def write(graph: Graph) -> onnx.ModelProto:
    """The graph in FINN's dialect, with its present folding, and with the host's steps as ONNX nodes around it.

    The graph must be an ``adapted`` one. Tensors have the names of edges and of ports. An edge that carries popcounts
    in FINN (BIPOLAR times BIPOLAR) has the values (sum + MW) / 2; thresholds and ports are converted accordingly.
    Raises BitfabricError, with the name of the node, for a node that FINN has no operator for.
    """
    return Writer(graph, _write_kernel).model()


def _read_operator(op: str) -> ReadOperator | None:
    """The function that reads an operator of FINN's, built in or of another package; None if there is none."""
    return BUILT_IN.reads[op] if op in BUILT_IN.reads else _outside().reads.get(op)


def _write_kernel(kernel: type[Kernel]) -> WriteKernel | None:
    """The function that writes a kernel, built in or of another package; None if there is none."""
    return BUILT_IN.writes[kernel] if kernel in BUILT_IN.writes else _outside().writes.get(kernel)


def _outside() -> FinnOperators:
    """The operators of other packages. Raises BitfabricError for an entry point that is not a FinnOperators."""
    found = plugins.find_all(ENTRY_POINTS)
    for name, family in found.items():
        if not isinstance(family, FinnOperators):
            raise BitfabricError(f"{name}: the entry point of {ENTRY_POINTS} is no FinnOperators; repair that package")
    return reduce(_merged, found.values(), FinnOperators())
