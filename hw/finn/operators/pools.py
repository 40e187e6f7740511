"""FINN's Pool and GlobalAccPool: maxima and sums over windows."""

from math import prod

import numpy as np
import onnx
from qonnx.core.datatype import DataType

from hw.finn.dialect import Attributes, first_range, image, stream_shape, tensor_shape
from hw.finn.operators.windows import generator_attributes
from hw.finn.reader import Reader
from hw.finn.table import FinnOperators
from hw.finn.values import HardwareValue, prefix_of
from hw.finn.writer import Writer
from hw.host.errors import BitfabricError
from hw.ir.graph import Node
from hw.ir.stream import Stream
from hw.kernels.accumulate_pool.kernel import AccumulatePool
from hw.kernels.max_pool.kernel import MaxPool
from hw.kernels.requant.kernel import Requant


def _read(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
    kernel, channels, function = a["KernelSize"], a["Channels"], a["Function"]
    given = stream_shape((1, *a["OutImgDims"], prod(kernel) * channels))
    value = r.value(node, Stream(given, DataType[a["InputDataType"]], a["PE"]))
    tiles = r.tiles.get(node.input[0])
    windows = tiles is None
    shape = (*prefix_of(value, given), channels) if tiles is None else value.stream.shape
    sizes = tiles or tuple(kernel[-len(shape[:-1]) :])
    if function == "MaxPool":
        made = MaxPool(shape, sizes, value.stream.dtype, a["PE"], windows)
        r.append(node, made, value, factor=value.factor, offset=value.offset)
        return
    if function not in ("AccPool", "QuantAvgPool") or not value.plain:
        raise BitfabricError(f"its function is {function}; there are MaxPool, AccPool and QuantAvgPool, of integers")
    total = AccumulatePool(shape, sizes, value.stream.dtype, a["PE"], windows, first_range(node))
    if function == "AccPool":
        r.append(node, total, value)
        return
    sums = f"{node.output[0]}_sums"
    r.append(node, total, value, name=f"{node.name}_sum", edges=(sums,))
    # FINN shifts by the bits of the largest unsigned sum less those of the output.
    out, bits = DataType[a["OutputDataType"]], DataType[a["InputDataType"]].bitwidth()
    shift = max(0, (((1 << bits) - 1) * prod(kernel)).bit_length() - out.bitwidth())
    ones, zeros = np.ones(channels, np.int64), np.zeros(channels, np.int64)
    between = r.values[sums]
    assert isinstance(between, HardwareValue)
    lead = between.stream.shape[:-1]
    bounds = int(out.min()), int(out.max())
    r.append(node, Requant(ones, zeros, shift, "FLOOR", between.stream.dtype, out, *bounds, lead, a["PE"]), between)


def _read_global(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
    given = stream_shape((*a["numInputVectors"], a["NumChannels"]))
    value = r.integers(node, Stream(given, DataType[a["inputDataType"]], a["PE"]))
    shape = value.stream.shape
    r.append(node, AccumulatePool(shape, shape[:-1], value.stream.dtype, a["PE"]), value)


def _write(w: Writer, node: Node) -> None:
    kernel = node.kernel
    assert isinstance(kernel, MaxPool | AccumulatePool)
    average = isinstance(kernel, AccumulatePool)
    given_range = kernel.input_range if isinstance(kernel, AccumulatePool) else None
    if average:
        w.require_sums(node)
    counts = w.pass_popcounts(node)
    dtype = counts or kernel.output_dtype
    source, spatial = node.inputs[0], kernel.shape[:-1]
    if average and not kernel.windows and kernel.kernel == spatial and given_range is None:
        w.add_layer(
            node,
            "GlobalAccPool",
            {
                "NumChannels": kernel.channels,
                "PE": kernel.pe,
                "inputDataType": kernel.dtype.name,
                "numInputVectors": list(tensor_shape(kernel.shape)[:-1]),
            },
        )
        return
    if not kernel.windows:
        window = f"{node.name}_window"
        out = kernel.out_shape[:-1]
        given = counts or kernel.dtype
        ones = (1,) * len(spatial)
        w.add_node(
            window, "ConvolutionInputGenerator", (source,), (window,),
            generator_attributes(
                kernel.shape, kernel.kernel, kernel.kernel, ones, out, kernel.pe, given, depthwise=True
            ),
        )  # fmt: skip
        w.edge(window, Stream((*out, prod(kernel.kernel) * kernel.channels), given))
        source = window
    if len(kernel.kernel) not in (1, 2):
        raise BitfabricError(f"{node.name}: FINN's pools have one or two axes, not {len(kernel.kernel)}")
    w.add_node(
        node.name, "Pool", (source,), node.outputs,
        {
            "Channels": kernel.channels,
            "PE": kernel.pe,
            "KernelSize": image(kernel.kernel),
            "Function": "AccPool" if average else "MaxPool",
            "OutImgDims": image(kernel.out_shape[:-1]),
            "InputDataType": (counts or kernel.dtype).name,
            "OutputDataType": dtype.name,
            "AccumBits": dtype.bitwidth() if average else 0,
        },
    )  # fmt: skip
    if given_range is not None:
        w.record_ranges(given_range)
    w.edge(node.outputs[0], kernel.outputs()[0], dtype)


OPERATORS = FinnOperators(
    reads={
        "Pool": _read,
        "GlobalAccPool": _read_global,
    },
    writes={
        MaxPool: _write,
        AccumulatePool: _write,
    },
)
