"""FINN's FMPadding and ConvolutionInputGenerator: sliding windows."""

from math import prod
from typing import Any

import numpy as np
import onnx
from qonnx.core.datatype import BaseDataType, DataType

from hw.finn.dialect import BIPOLAR, Attributes, image, stream_shape
from hw.finn.reader import Reader
from hw.finn.table import FinnOperators
from hw.finn.writer import Writer
from hw.host.errors import BitfabricError
from hw.ir.graph import Node
from hw.ir.stream import Stream
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.shared.pool import Pool
from hw.kernels.sliding_window.kernel import SlidingWindow


def _read_padding(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
    shape = (*a["ImgDim"], a["NumChannels"])
    value = r.integers(node, Stream(stream_shape((1, *shape)), DataType[a["inputDataType"]], a.get("SIMD", 1)))
    if value.stream.dtype == BIPOLAR:
        raise BitfabricError("FINN pads no 1-bit (BIPOLAR) values, and this model does; build from the QONNX file")
    top, left, bottom, right = a["Padding"]
    pads = ((top, bottom), (left, right))
    reader = r.one_reader(node.output[0])
    windows = reader is not None and reader.op_type.startswith("ConvolutionInputGenerator")
    if reader is not None and windows and (
        node.name == f"{reader.name}_pad" or node.name.startswith(node.op_type)
    ):  # fmt: skip
        r.padded[node.output[0]] = pads
        r.values[node.output[0]] = value
        return
    axes = len(value.stream.shape) - 1
    kernel = SlidingWindow(value.stream.shape, (1,) * axes, value.stream.dtype, pad=pads[-axes:], simd=a.get("SIMD", 1))
    r.append(node, kernel, value)


def _read_windows(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
    shape = (*a["IFMDim"], a["IFMChannels"])
    value = r.value(node, Stream(stream_shape((1, *shape)), DataType[a["inputDataType"]], a["SIMD"]))
    pads = r.padded.get(node.input[0])
    image = value.stream.shape
    axes = len(image) - 1
    if axes not in (1, 2) or (axes == 1 and a["ConvKernelDim"][0] != 1):
        raise BitfabricError(f"its windows {a['ConvKernelDim']} do not lie on an image {image}")
    kernel, stride, dilation = (tuple(a[name][-axes:]) for name in ("ConvKernelDim", "Stride", "Dilation"))
    simd = a["SIMD"]
    if a.get("parallel_window", 0):
        simd *= prod(kernel)
        if simd != image[-1] * prod(kernel):
            raise BitfabricError(
                f"it gives whole windows of {a['SIMD']} of {image[-1]} channels at a time; set its SIMD to "
                f"{image[-1]}, or parallel_window to 0"
            )
    reader = r.one_reader(node.output[0])
    tiled = set(dilation) == {1} and (stride == kernel or kernel == image[:-1])
    if tiled and pads is None and reader is not None and reader.op_type.removesuffix("_hls") == "Pool":
        r.tiles[node.output[0]] = kernel
        r.values[node.output[0]] = value
        return
    made = SlidingWindow(image, kernel, value.stream.dtype, stride, dilation, pads and pads[-axes:], simd)
    if isinstance(value.offset, np.ndarray):
        raise BitfabricError("its input is popcounts, each with another offset; build from the QONNX file")
    r.append(node, made, value, factor=value.factor, offset=value.offset)


def _write(w: Writer, node: Node) -> None:
    kernel = node.kernel
    assert isinstance(kernel, SlidingWindow)
    w.require_sums(node)
    source, shape = node.inputs[0], kernel.shape
    if kernel.padded:
        if kernel.out_dtype != kernel.dtype == BIPOLAR:
            raise BitfabricError(
                f"{node.name}: it pads 1-bit (BIPOLAR) values with zeros, which FINN has no form for; use no padding, "
                "2-bit activations, or the open back end"
            )
        if kernel.pad_value != 0:
            raise BitfabricError(
                f"{node.name}: it pads with {', '.join(map(str, kernel.pad_values))}, and FINN's FMPadding with the "
                "integer 0; use quantizers without a zero point, or the open back end"
            )
        before, after = (image(tuple(pair[side] for pair in kernel.pads), 0) for side in (0, 1))
        padding = {
            "ImgDim": image(kernel.shape[:-1]),
            "Padding": [*before, *after],
            "NumChannels": kernel.channels,
            "SIMD": min(kernel.simd, kernel.channels),
            "inputDataType": kernel.dtype.name,
        }
        shape = (*(n + sum(p) for n, p in zip(kernel.shape[:-1], kernel.pads, strict=True)), kernel.channels)
        alone = prod(kernel.kernel) == 1 and set(kernel.steps) == {1}
        if alone:
            w.add_layer(node, "FMPadding", padding)
            return
        padded = f"{node.name}_pad"
        w.add_node(padded, "FMPadding", (source,), (padded,), padding)
        w.edge(padded, Stream(shape, kernel.dtype))
        source = padded
    whole = kernel.channels * prod(kernel.kernel)
    if kernel.simd > kernel.channels and kernel.simd != whole:
        raise BitfabricError(
            f"{node.name}: FINN takes 1 to {kernel.channels} elements of a window at a time, or a whole window of "
            f"{whole}, not {kernel.simd}; choose another SIMD"
        )
    reader = w.readers.get(node.outputs[0])
    w.add_node(
        node.name, "ConvolutionInputGenerator", (source,), node.outputs,
        generator_attributes(
            shape, kernel.kernel, kernel.steps, kernel.spread, kernel.out_spatial, min(kernel.simd, kernel.channels),
            kernel.dtype, depthwise=reader is not None and isinstance(reader.kernel, Depthwise | Pool),
            parallel=kernel.simd > kernel.channels,
        ),
    )  # fmt: skip
    w.edge(node.outputs[0], kernel.outputs()[0])


def generator_attributes(
    shape: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    out: tuple[int, ...],
    simd: int,
    dtype: BaseDataType,
    depthwise: bool,
    parallel: bool = False,
) -> dict[str, Any]:
    """The attributes of a ConvolutionInputGenerator for frames of ``shape`` (*spatial, C)."""
    return {
        "ConvKernelDim": image(kernel),
        "IFMChannels": shape[-1],
        "IFMDim": image(shape[:-1]),
        "OFMDim": image(out),
        "SIMD": simd,
        "Stride": image(stride),
        "Dilation": image(dilation),
        "inputDataType": dtype.name,
        "outputDataType": dtype.name,
        "depthwise": int(depthwise),
        "is1D": int(len(kernel) == 1),
        "parallel_window": int(parallel),
    }


OPERATORS = FinnOperators(
    reads={
        "FMPadding": _read_padding,
        "ConvolutionInputGenerator": _read_windows,
    },
    writes={
        SlidingWindow: _write,
    },
)
