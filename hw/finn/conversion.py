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
    """The graph of a model in FINN's dialect, with FINN's folding; what is floating point at its ends is the host's.

    Raises UsageError for a file that holds no such graph, and BitfabricError, with the name of the node, for what has
    no exact form here.
    """
    proto = qonnx.read(model)
    if not is_finn(proto):
        raise UsageError("the model holds no layer of FINN's dataflow dialect")
    return Reader(proto, _read_operator).graph()


def write(graph: Graph) -> onnx.ModelProto:
    """The graph in FINN's dialect, folded as it is, with the host's steps as ONNX nodes around it.

    The graph is an ``adapted`` one. Tensors have the names of edges and of ports; an edge of popcounts (BIPOLAR times
    BIPOLAR) carries (sum + MW) / 2 in FINN, which thresholds and ports take into account. Raises BitfabricError, with
    the name of the node, for what FINN has no form for.
    """
    return Writer(graph, _write_kernel).model()


def _read_operator(op: str) -> ReadOperator | None:
    """What reads FINN's operator: built in, or of another package; None if nothing does."""
    return BUILT_IN.reads[op] if op in BUILT_IN.reads else _outside().reads.get(op)


def _write_kernel(kernel: type[Kernel]) -> WriteKernel | None:
    """What writes a kernel: built in, or of another package; None if nothing does."""
    return BUILT_IN.writes[kernel] if kernel in BUILT_IN.writes else _outside().writes.get(kernel)


def _outside() -> FinnOperators:
    """The operators of other packages. Raises BitfabricError for an entry point that is not of FinnOperators."""
    found = plugins.find_all(ENTRY_POINTS)
    for name, family in found.items():
        if not isinstance(family, FinnOperators):
            raise BitfabricError(f"{name}: the entry point of {ENTRY_POINTS} is no FinnOperators; repair that package")
    return reduce(_merged, found.values(), FinnOperators())
