"""FINN's windows and pools as kernels, and what else works on images."""

from math import prod
from typing import Any

import numpy as np
import onnx
from qonnx.core.datatype import DataType

from hw.finn.dialect import stream_shape
from hw.finn.layers import input_range, prefix_of
from hw.finn.reader import BIPOLAR, Reader, Value, reads
from hw.host.errors import BitfabricError
from hw.ir.stream import Stream
from hw.kernels.accumulate_pool.kernel import AccumulatePool
from hw.kernels.max_pool.kernel import MaxPool
from hw.kernels.requant.kernel import Requant
from hw.kernels.sliding_window.kernel import SlidingWindow
from hw.kernels.upsample.kernel import Upsample

Attributes = dict[str, Any]


@reads("FMPadding")
def _padding(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
    shape = (*a["ImgDim"], a["NumChannels"])
    value = r.plain(node, Stream(stream_shape((1, *shape)), DataType[a["inputDataType"]], a.get("SIMD", 1)))
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


@reads("ConvolutionInputGenerator")
def _windows(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
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


@reads("Pool")
def _pool(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
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
    total = AccumulatePool(shape, sizes, value.stream.dtype, a["PE"], windows, input_range(node))
    if function == "AccPool":
        r.append(node, total, value)
        return
    sums = f"{node.output[0]}_sums"
    r.append(node, total, value, name=f"{node.name}_sum", edges=(sums,))
    # As FINN has it: the bits of the largest unsigned sum, but for those that are left.
    out, bits = DataType[a["OutputDataType"]], DataType[a["InputDataType"]].bitwidth()
    shift = max(0, (((1 << bits) - 1) * prod(kernel)).bit_length() - out.bitwidth())
    ones, zeros = np.ones(channels, np.int64), np.zeros(channels, np.int64)
    between = r.values[sums]
    assert isinstance(between, Value)
    lead = between.stream.shape[:-1]
    bounds = int(out.min()), int(out.max())
    r.append(node, Requant(ones, zeros, shift, "FLOOR", between.stream.dtype, out, *bounds, lead, a["PE"]), between)


@reads("GlobalAccPool")
def _global_pool(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
    given = stream_shape((*a["numInputVectors"], a["NumChannels"]))
    value = r.plain(node, Stream(given, DataType[a["inputDataType"]], a["PE"]))
    shape = value.stream.shape
    r.append(node, AccumulatePool(shape, shape[:-1], value.stream.dtype, a["PE"]), value)


@reads("UpsampleNearestNeighbour")
def _upsample(r: Reader, node: onnx.NodeProto, a: Attributes) -> None:
    before, after = (a["HI"], a["WI"]), (a["HO"], a["WO"])
    given = stream_shape((1, *before, a["NumChannels"]))
    value = r.plain(node, Stream(given, DataType[a["inputDataType"]], a["SIMD"]))
    if any(new % old for old, new in zip(before, after, strict=True)):
        raise BitfabricError(f"it enlarges {before} to {after}; only whole factors are possible")
    factors = tuple(new // old for old, new in zip(before, after, strict=True))
    axes = len(value.stream.shape) - 1
    r.append(node, Upsample(value.stream.shape, factors[-axes:], value.stream.dtype, a["SIMD"]), value)
