"""A model file as a dataflow graph, whichever of the two forms it has: QONNX, or FINN's dataflow dialect."""

import os

import onnx

from hw import finn
from hw.ir.graph import Graph
from hw.lowering import qonnx
from hw.lowering.lower import lower
from hw.passes.strip import strip

Source = str | os.PathLike[str] | onnx.ModelProto


def of_finn(model: Source) -> bool:
    """Whether a file holds FINN's dataflow graph. Raises UsageError for one that cannot be read."""
    return finn.is_finn(qonnx.read(model))


def check(model: Source) -> None:
    """Raises UsageError for a file that is missing, damaged, or of neither form."""
    if not of_finn(model):
        qonnx.load(model)


def graph(model: Source) -> Graph:
    """The dataflow graph: lowered from QONNX, not folded; or as FINN folded it, without FIFOs and width converters.

    Raises UsageError for files that cannot be read, and BitfabricError for what has no exact form here.
    """
    return strip(finn.read(model)) if of_finn(model) else lower(model)
