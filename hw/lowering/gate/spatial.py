"""The rules of layers and of operators on windows: products, convolutions, pools, padding, resizing, means."""

from math import floor, prod

import numpy as np
from onnx import AttributeProto, TensorProto

from hw.lowering.gate.limits import MAX_CHANNELS
from hw.lowering.gate.site import Rule, Shape, Site
from hw.lowering.node_attributes import set_attributes

Outputs = list[tuple[Shape, int]]
AUTO_PADS = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


def matmul(site: Site) -> Outputs:
    a, b = site.shape(), site.shape(1)
    if not a or not b or a[-1] != b[-2 if len(b) > 1 else 0]:
        raise site.error(f"its inputs of shapes {list(a)} and {list(b)} have no product")
    rows = a[-2:-1]
    columns = b[-1:] if len(b) > 1 else ()
    return [((*site.broadcast(a[:-2], b[:-2]), *rows, *columns), site.input(0).elem_type)]


def gemm(site: Site) -> Outputs:
    a, b = site.shape(), site.shape(1)
    if len(a) != 2 or len(b) != 2:
        raise site.error(f"its inputs of shapes {list(a)} and {list(b)} are no matrices")
    rows, inner = a[::-1] if site.flag("transA") else a
    other, columns = b[::-1] if site.flag("transB") else b
    if inner != other:
        raise site.error(f"its inputs of shapes {list(a)} and {list(b)} have no product")
    addend = site.optional(2)
    if addend is not None and site.broadcast((rows, columns), addend.shape) != (rows, columns):
        raise site.error(f"its bias of shape {list(addend.shape)} does not fit its result {[rows, columns]}")
    return [((rows, columns), site.input(0).elem_type)]


def windows(site: Site, kernel: Shape | None) -> Shape:
    """The number of windows along each spatial axis; ``kernel`` is that of a Conv's weights.

    Writes the pads of ``auto_pad`` into the node, as numbers: ONNX Runtime leaves dilations out of them in pools, and
    refuses them in convolutions.
    """
    shape = site.shape()
    spatial = shape[2:]
    rank = len(spatial)
    if rank < 1:
        raise site.error(f"its input of shape {list(shape)} has no spatial axis", "use images or signals")
    if shape[1] > MAX_CHANNELS:
        raise site.error(f"its input of shape {list(shape)} has {shape[1]:,} channels; {MAX_CHANNELS:,} are read")
    sizes = _kernel(site, kernel)
    strides, dilations, pads = _steps(site, sizes, rank)
    reaches = tuple((size - 1) * dilation + 1 for size, dilation in zip(sizes, dilations, strict=True))
    mode = site.word("auto_pad", "NOTSET", AUTO_PADS)
    if mode != "NOTSET":
        pads = (0,) * 2 * rank if mode == "VALID" else _same(site, mode, reaches, strides)
        set_attributes(site.node, auto_pad=None, pads=pads)
    if kernel is None and any(pad >= size for pad, size in zip(pads, 2 * sizes, strict=True)):
        raise site.error(
            f"its pads {list(pads)} are not below its kernel_shape {list(sizes)}; ONNX Runtime executes no such pool",
            f"pad{' with the smallest value' * (site.node.op_type == 'MaxPool')} by a Pad before it",
        )
    ceiled = site.flag("ceil_mode") if kernel is None else False
    out = []
    for axis, (size, reach, stride) in enumerate(zip(spatial, reaches, strides, strict=True)):
        before, after = pads[axis], pads[axis + rank]
        room = size + before + after - reach
        count = (-(-room // stride) if ceiled else room // stride) + 1
        if count < 1:
            raise site.error(
                f"its window of {reach} elements is larger than its padded input of {size + before + after}",
                "use a smaller kernel or a larger image",
            )
        if ceiled and (count - 1) * stride >= size + before:
            count -= 1  # A window that would start in the padding at the end does not exist.
        out.append(count)
    return tuple(out)


def _same(site: Site, mode: str, reaches: Shape, strides: Shape) -> Shape:
    """The pads for ceil(size / stride) windows. If they are odd, the larger part is after (SAME_UPPER) or before."""
    halves = []
    for size, reach, stride in zip(site.shape()[2:], reaches, strides, strict=True):
        total = (-(-size // stride) - 1) * stride + reach - size
        if total < -1:  # An element too many is the last one for all runtimes.
            raise site.error(
                f"{mode} leaves open which {-total} elements its windows of {reach} with the stride {stride} leave out",
                "give the pads as numbers",
            )
        total = max(0, total)
        halves.append((total // 2, total - total // 2))
    before, after = zip(*halves, strict=True)
    return (*before, *after) if mode == "SAME_UPPER" else (*after, *before)


def _kernel(site: Site, kernel: Shape | None) -> Shape:
    """The size of a window along each spatial axis."""
    given = site.ints("kernel_shape")
    if kernel is None and given is None:
        raise site.error("it lacks its attribute kernel_shape")
    if kernel is not None and given is not None and given != kernel:
        raise site.error(f"its kernel_shape {list(given)} is not that of its weights, {list(kernel)}")
    return kernel if kernel is not None else given or ()


def _steps(site: Site, sizes: Shape, rank: int) -> tuple[Shape, Shape, Shape]:
    """The strides, dilations and pads."""
    strides, dilations = site.ints("strides") or (1,) * rank, site.ints("dilations") or (1,) * rank
    pads = site.ints("pads") or (0,) * 2 * rank
    for name, values, count, least in (
        ("kernel_shape", sizes, rank, 1),
        ("strides", strides, rank, 1),
        ("dilations", dilations, rank, 1),
        ("pads", pads, 2 * rank, 0),
    ):
        _check_numbers(site, name, values, count, least)
    return strides, dilations, pads


def _check_numbers(site: Site, name: str, values: Shape, count: int, least: int) -> None:
    if len(values) != count or min(values) < least:
        raise site.error(
            f"its {name} {list(values)} do not fit {len(site.shape()) - 2} spatial axes; they are {count} numbers from "
            f"{least} on"
        )


def conv(site: Site) -> Outputs:
    shape, weights = site.shape(), site.shape(1)
    groups = site.integer("group", 1)
    if len(weights) != len(shape) or len(shape) < 3:
        raise site.error(f"its weights {list(weights)} do not fit its input {list(shape)}")
    if groups < 1 or weights[0] % groups or shape[1] != groups * weights[1]:
        raise site.error(f"its weights {list(weights)} in {groups} groups do not fit its input of {shape[1]} channels")
    bias = site.optional(2)
    if bias is not None and bias.shape != weights[:1]:
        raise site.error(f"its bias of shape {list(bias.shape)} does not fit {weights[0]} outputs")
    return [((shape[0], weights[0], *windows(site, weights[2:])), site.input(0).elem_type)]


def conv_transpose(site: Site) -> Outputs:
    """Weights are (C, M / groups, *kernel)."""
    shape, weights = site.shape(), site.shape(1)
    groups, rank = site.integer("group", 1), len(site.shape()) - 2
    if len(weights) != len(shape) or rank < 1:
        raise site.error(f"its weights {list(weights)} do not fit its input {list(shape)}")
    if groups < 1 or weights[0] % groups or shape[1] != weights[0]:
        raise site.error(f"its weights {list(weights)} in {groups} groups do not fit its input of {shape[1]} channels")
    outputs = weights[1] * groups
    if max(shape[1], outputs) > MAX_CHANNELS:
        raise site.error(f"it has {max(shape[1], outputs):,} channels; {MAX_CHANNELS:,} are read")
    bias = site.optional(2)
    if bias is not None and bias.shape != (outputs,):
        raise site.error(f"its bias of shape {list(bias.shape)} does not fit {outputs} outputs")
    sizes = _kernel(site, weights[2:])
    strides, dilations, pads = _steps(site, sizes, rank)
    more, stated = site.ints("output_padding") or (0,) * rank, site.ints("output_shape")
    _check_numbers(site, "output_padding", more, rank, 0)
    if stated:
        _check_numbers(site, "output_shape", stated, rank, 1)
    mode = site.word("auto_pad", "NOTSET", AUTO_PADS)
    out = []
    for axis, size in enumerate(shape[2:]):
        if more[axis] >= strides[axis]:
            raise site.error(
                f"its output_padding {list(more)} is not below its strides {list(strides)}, where ONNX Runtime departs "
                "from the definition",
                "pad behind it",
            )
        whole = strides[axis] * (size - 1) + more[axis] + (sizes[axis] - 1) * dilations[axis] + 1
        if stated or mode.startswith("SAME"):
            wanted = stated[axis] if stated else size * strides[axis]
            if wanted > whole or (whole - wanted) % 2:
                raise site.error(
                    f"its output of {wanted} elements along axis {axis + 2} leaves open how {whole} are cut to it",
                    "give the pads as numbers",
                )
            out.append(wanted)
        else:
            out.append(whole - (0 if mode == "VALID" else pads[axis] + pads[axis + rank]))
        if out[-1] < 1:
            raise site.error(f"its pads {list(pads)} leave nothing of its {whole} outputs along axis {axis + 2}")
    return [((shape[0], outputs, *out), site.input(0).elem_type)]


def max_pool(site: Site) -> Outputs:
    out = (*site.shape()[:2], *windows(site, None))
    site.flag("storage_order")
    return [(out, site.input(0).elem_type), (out, TensorProto.INT64)]


def average_pool(site: Site) -> Outputs:
    site.flag("count_include_pad")
    return [((*site.shape()[:2], *windows(site, None)), site.input(0).elem_type)]


def global_pool(site: Site) -> Outputs:
    shape = site.shape()
    if len(shape) < 3:
        raise site.error(f"its input of shape {list(shape)} has no spatial axis", "use images or signals")
    return [((*shape[:2], *(1,) * (len(shape) - 2)), site.input(0).elem_type)]


def reduced(site: Site) -> Outputs:
    """A reduction over axes."""
    shape, given = site.shape(), _reduced_axes(site)
    axes = () if keeps_all_axes(site) else site.axes(given, len(shape)) if given else tuple(range(len(shape)))
    keep = site.flag("keepdims", 1)
    out = tuple(1 if axis in axes else size for axis, size in enumerate(shape) if keep or axis not in axes)
    return [(out, site.input(0).elem_type)]


def keeps_all_axes(site: Site) -> bool:
    """Whether a reduction is over no axis (``noop_with_empty_axes``)."""
    return not _reduced_axes(site) and _axes_are_input(site) and site.flag("noop_with_empty_axes")


def _reduced_axes(site: Site) -> tuple[int, ...] | None:
    return site.integers(1, "axes") if _axes_are_input(site) else site.ints("axes")


def _axes_are_input(site: Site) -> bool:
    """From opset 18 on (ReduceSum: 13)."""
    return site.version >= (13 if site.node.op_type == "ReduceSum" else 18)


def pad(site: Site) -> Outputs:
    shape = site.shape()
    site.word("mode", "constant", ("constant", "reflect", "edge", "wrap"))
    given = site.ints("pads") if site.version < 11 else site.integers(1, "pads")
    chosen = site.integers(3, "axes")
    axes = tuple(range(len(shape))) if chosen is None else site.axes(chosen, len(shape))
    if given is None or len(given) != 2 * len(axes):
        raise site.error(f"its pads {list(given or ())} do not fit {len(axes)} axes")
    out = list(shape)
    for number, axis in enumerate(axes):
        out[axis] += given[number] + given[number + len(axes)]
        if out[axis] < 1:
            raise site.error(f"its pads {list(given)} leave nothing of its input {list(shape)}")
    return [(tuple(out), site.input(0).elem_type)]


def resize(site: Site) -> Outputs:
    """Resize of opset 10 (scales) and later (roi, scales, sizes), and Upsample."""
    shape = site.shape()
    scales, sizes, axes = _scales(site), None, tuple(range(len(shape)))
    if site.node.op_type == "Resize" and site.version >= 11:
        sizes = site.integers(3, "sizes")
        chosen = site.ints("axes")
        axes = axes if chosen is None else site.axes(chosen, len(shape))
        policy = site.get("keep_aspect_ratio_policy", AttributeProto.STRING)
        if policy not in (None, b"stretch"):
            raise site.error("it keeps the aspect ratio", "give the scales as numbers")
    out = list(shape)
    if (scales is None) == (sizes is None):
        raise site.error("it has both scales and sizes, or neither", "give one of them")
    given = scales if scales is not None else sizes
    assert given is not None
    if len(given) != len(axes) or min(given, default=0) <= 0:
        raise site.error(f"its scales or sizes {list(given)} do not fit {len(axes)} axes; they are positive")
    for axis, value in zip(axes, given, strict=True):
        out[axis] = floor(np.float32(shape[axis]) * np.float32(value)) if scales is not None else int(value)
        if out[axis] < 1:
            raise site.error(f"its scale {value:g} leaves nothing of its input {list(shape)}")
    return [(tuple(out), site.input(0).elem_type)]


def _scales(site: Site) -> tuple[float, ...] | None:
    if site.node.op_type == "Upsample" and site.version < 9:
        values = site.get("scales", AttributeProto.FLOATS)
        return None if values is None else tuple(float(value) for value in values)
    index = 2 if site.node.op_type == "Resize" and site.version >= 11 else 1
    tensor = site.optional(index)
    if tensor is None or tensor.shape == (0,):
        return None
    if tensor.value is None:
        raise site.error("its scales are computed while running", "export it with constant scales")
    if tensor.value.dtype.kind != "f" or tensor.value.ndim != 1 or not np.all(np.isfinite(tensor.value)):
        raise site.error("its scales are no list of finite numbers")
    return tuple(float(value) for value in tensor.value)


def work(site: Site, outputs: Outputs) -> int:
    """The multiplications, or the elements that windows read, of a layer."""
    elements = prod(outputs[0][0])
    match site.node.op_type:
        case "MatMul" | "Gemm":
            shape = site.shape()
            return elements * (shape[0] if site.node.op_type == "Gemm" and site.flag("transA") else shape[-1])
        case "Conv":
            return elements * prod(site.shape(1)[1:])
        case "ConvTranspose":
            # As many blocks as inputs, of outputs that a block adds up to; the elements are those of a frame, too.
            return max(elements, prod(site.shape()) * prod(site.shape(1)[1:]))
        case "MaxPool" | "AveragePool":
            return elements * prod(site.ints("kernel_shape") or ())
    return max(elements, prod(site.shape()) if site.inputs and site.inputs[0] is not None else 0)


RULES: dict[str, Rule] = {
    "MatMul": matmul,
    "Gemm": gemm,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    **dict.fromkeys(("GlobalMaxPool", "GlobalAveragePool"), global_pool),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax"), reduced),
    "Pad": pad,
    **dict.fromkeys(("Resize", "Upsample"), resize),
}
