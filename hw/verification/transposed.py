"""ConvTranspose by its definition: every input adds the weights, times itself, to the outputs that it reaches.

ONNX's reference implementation loops over elements, and reads no groups of several outputs.
"""

from typing import Any

import numpy as np
import onnx

from hw.lowering.geometry import transposed_pads
from hw.lowering.node_attributes import attribute

Index = tuple[Any, ...]


def transposed_convolution(node: onnx.NodeProto, x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The sums of a node without its bias, for x (N, C, *spatial) and weights (C, M / groups, *kernel), in x's type."""
    spatial, kernel = x.shape[2:], weights.shape[2:]
    rank, groups = len(spatial), int(attribute(node, "group", 1))
    strides, dilations = (attribute(node, name, [1] * rank) for name in ("strides", "dilations"))
    reach = [
        stride * (size - 1) + (taps - 1) * dilation + 1
        for size, taps, stride, dilation in zip(spatial, kernel, strides, dilations, strict=True)
    ]
    more, stated = attribute(node, "output_padding", [0] * rank), attribute(node, "output_shape", ())
    whole = [size + added for size, added in zip(reach, more, strict=True)]
    mode = attribute(node, "auto_pad", "NOTSET")
    if mode.startswith("SAME") and not stated:
        stated = [size * stride for size, stride in zip(spatial, strides, strict=True)]
    pads = attribute(node, "pads", [0] * 2 * rank) if mode == "NOTSET" else [0] * 2 * rank
    out = tuple(stated) or tuple(size - pads[i] - pads[i + rank] for i, size in enumerate(whole))
    parts = []
    for data, own in zip(np.split(x, groups, axis=1), np.split(weights, groups), strict=True):
        sums = np.zeros((len(x), own.shape[1], *whole), x.dtype)
        for taps in np.ndindex(*kernel):
            at: Index = (..., *taps)
            starts = [tap * dilation for tap, dilation in zip(taps, dilations, strict=True)]
            ends = [start + stride * (n - 1) + 1 for start, stride, n in zip(starts, strides, spatial, strict=True)]
            reached: Index = (..., *map(slice, starts, ends, strides))
            sums[reached] += np.einsum("nc...,cm->nm...", data, own[at])
        parts.append(sums)
    before = transposed_pads(node, spatial, kernel, out)
    inside: Index = (..., *(slice(start, start + size) for start, size in zip(before, out, strict=True)))
    result: np.ndarray = np.concatenate(parts, axis=1)[inside]
    return result
