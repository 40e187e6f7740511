"""FINN's UpsampleNearestNeighbour."""

import onnx
from qonnx.core.datatype import DataType

from hw.finn.dialect import Attributes, image, stream_shape
from hw.finn.reader import Reader
from hw.finn.table import FinnOperators
from hw.finn.writer import Writer
from hw.host.errors import BitfabricError
from hw.ir.graph import Node
from hw.ir.stream import Stream
from hw.kernels.upsample.kernel import Upsample


def _read(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
    before, after = (a["HI"], a["WI"]), (a["HO"], a["WO"])
    given = stream_shape((1, *before, a["NumChannels"]))
    value = r.integers(node, Stream(given, DataType[a["inputDataType"]], a["SIMD"]))
    if any(new % old for old, new in zip(before, after, strict=True)):
        raise BitfabricError(f"it enlarges {before} to {after}; only whole factors are possible")
    factors = tuple(new // old for old, new in zip(before, after, strict=True))
    axes = len(value.stream.shape) - 1
    r.append(node, Upsample(value.stream.shape, factors[-axes:], value.stream.dtype, a["SIMD"]), value)


def _write(w: Writer, node: Node) -> None:
    kernel = node.kernel
    assert isinstance(kernel, Upsample)
    w.require_sums(node)
    rows, columns = image(kernel.shape[:-1])
    down, right = image(kernel.factors)
    w.add_layer(
        node,
        "UpsampleNearestNeighbour",
        {
            "SIMD": kernel.pe,
            "HI": rows,
            "WI": columns,
            "HO": rows * down,
            "WO": columns * right,
            "NumChannels": kernel.channels,
            "inputDataType": kernel.dtype.name,
        },
    )


OPERATORS = FinnOperators(
    reads={
        "UpsampleNearestNeighbour": _read,
    },
    writes={
        Upsample: _write,
    },
)
