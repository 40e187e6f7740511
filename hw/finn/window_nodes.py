"""Windows and pools as FINN's nodes, and what else works on images."""

from math import prod
from typing import Any

import onnx
from qonnx.core.datatype import BaseDataType

from hw.finn.dialect import RANGE, image, tensor_shape
from hw.finn.writer import BIPOLAR, Writer, writes
from hw.host.errors import BitfabricError
from hw.ir.graph import Node
from hw.ir.stream import Stream
from hw.kernels.accumulate_pool.kernel import AccumulatePool
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.max_pool.kernel import MaxPool
from hw.kernels.shared.pool import Pool
from hw.kernels.sliding_window.kernel import SlidingWindow
from hw.kernels.upsample.kernel import Upsample


@writes(SlidingWindow)
def _sliding_window(w: Writer, node: Node) -> None:
    kernel = node.kernel
    assert isinstance(kernel, SlidingWindow)
    w.sums(node)
    source, shape = node.inputs[0], kernel.shape
    if kernel.padded:
        if kernel.dtype == BIPOLAR:
            raise BitfabricError(
                f"{node.name}: it pads 1-bit (BIPOLAR) values with zeros, which FINN has no form for; use no padding, "
                "2-bit activations, or the open back end"
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
            w.node(node, "FMPadding", padding)
            return
        padded = f"{node.name}_pad"
        w.raw(padded, "FMPadding", (source,), (padded,), padding)
        w.edge(padded, Stream(shape, kernel.dtype))
        source = padded
    whole = kernel.channels * prod(kernel.kernel)
    if kernel.simd > kernel.channels and kernel.simd != whole:
        raise BitfabricError(
            f"{node.name}: FINN takes 1 to {kernel.channels} elements of a window at a time, or a whole window of "
            f"{whole}, not {kernel.simd}; choose another SIMD"
        )
    reader = w.readers.get(node.outputs[0])
    w.raw(
        node.name, "ConvolutionInputGenerator", (source,), node.outputs,
        _generator(
            shape, kernel.kernel, kernel.steps, kernel.spread, kernel.out_spatial, min(kernel.simd, kernel.channels),
            kernel.dtype, depthwise=reader is not None and isinstance(reader.kernel, Depthwise | Pool),
            parallel=kernel.simd > kernel.channels,
        ),
    )  # fmt: skip
    w.edge(node.outputs[0], kernel.outputs()[0])


def _generator(
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
    """The attributes of a ConvolutionInputGenerator."""
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


@writes(MaxPool, AccumulatePool)
def _pool(w: Writer, node: Node) -> None:
    kernel = node.kernel
    assert isinstance(kernel, MaxPool | AccumulatePool)
    average = isinstance(kernel, AccumulatePool)
    given_range = kernel.input_range if isinstance(kernel, AccumulatePool) else None
    if average:
        w.sums(node)
    counts = w.pass_counts(node)
    dtype = counts or kernel.output_dtype
    source, spatial = node.inputs[0], kernel.shape[:-1]
    if average and not kernel.windows and kernel.kernel == spatial and given_range is None:
        w.node(
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
        w.raw(
            window, "ConvolutionInputGenerator", (source,), (window,),
            _generator(kernel.shape, kernel.kernel, kernel.kernel, ones, out, kernel.pe, given, depthwise=True),
        )  # fmt: skip
        w.edge(window, Stream((*out, prod(kernel.kernel) * kernel.channels), given))
        source = window
    if len(kernel.kernel) not in (1, 2):
        raise BitfabricError(f"{node.name}: FINN's pools have one or two axes, not {len(kernel.kernel)}")
    w.raw(
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
        entry = onnx.StringStringEntryProto(key=RANGE, value="{} {}".format(*given_range))
        w.nodes[-1].metadata_props.append(entry)
    w.edge(node.outputs[0], kernel.outputs()[0], dtype)


@writes(Upsample)
def _upsample(w: Writer, node: Node) -> None:
    kernel = node.kernel
    assert isinstance(kernel, Upsample)
    w.sums(node)
    rows, columns = image(kernel.shape[:-1])
    down, right = image(kernel.factors)
    w.node(
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
