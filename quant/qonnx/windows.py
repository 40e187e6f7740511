"""Windows of layers in the form that every reader of a file agrees on, and functions that PyTorch's exporter lacks."""

from typing import Any

import onnx
import torch
from onnx import helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.infer_shapes import InferShapes
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_ADAPTIVE = {getattr(functional, f"adaptive_{kind}_pool{axes}d"): axes for kind in ("avg", "max") for axes in (1, 2, 3)}


class Exportable(TorchFunctionMode):
    """Within it, functions are called in a form that PyTorch's exporter writes, or refused with a remedy.

    The exporter knows no ``channel_shuffle``, leaves ``divisor_override`` out, and has no adaptive pools whose windows
    differ. Raises ValueError for the last two.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if func is torch.channel_shuffle:
            return _shuffled(*args, **given)
        if func in (functional.avg_pool2d, functional.avg_pool3d) and (
            given.get("divisor_override") or (len(args) > 6 and args[6])
        ):
            raise ValueError("divisor_override: leave it out, and multiply by window / divisor behind the pool")
        if func in _ADAPTIVE:
            _check_adaptive(_ADAPTIVE[func], *args, **given)
        return func(*args, **given)


def _shuffled(x: torch.Tensor, groups: int) -> torch.Tensor:
    sizes = [int(each) for each in x.shape[1:]]
    apart = x.reshape(-1, groups, sizes[0] // groups, *sizes[1:])
    return apart.transpose(1, 2).reshape(-1, *sizes)


def _check_adaptive(axes: int, x: torch.Tensor, output_size: Any, *_: Any, **__: Any) -> None:
    sizes = [int(each) for each in x.shape[-axes:]]
    wanted = output_size if isinstance(output_size, tuple | list) else (output_size,) * axes
    if any(want is not None and size % int(want) for size, want in zip(sizes, wanted, strict=True)):
        have, want = (" x ".join(map(str, each)) for each in (sizes, wanted))
        raise ValueError(f"its windows of {have} to {want} differ in size: ask for sizes that divide the input's")


def with_explicit_windows(wrapper: ModelWrapper) -> ModelWrapper:
    """The file with pads as numbers, and shapes in which no window of ``ceil_mode`` begins in the padding.

    torch's ``padding="same"`` becomes ``auto_pad``, which ONNX Runtime refuses with dilations; and up to operator set
    21 ONNX's shapes count windows that torch and ONNX Runtime leave out.
    """
    while any(_pads_same(node) or _starts_inside(node, wrapper) for node in wrapper.graph.node):
        del wrapper.graph.value_info[:]
        wrapper = wrapper.transform(InferShapes())
    return wrapper


def _pads_same(node: onnx.NodeProto) -> bool:
    """Replaces ``auto_pad`` of a convolution, of stride 1 as torch has it; returns whether there was one."""
    given = _attributes(node)
    if node.op_type != "Conv" or given.get("auto_pad") != b"SAME_UPPER":
        return False
    taps = given["kernel_shape"]
    steps = given.get("dilations", [1] * len(taps))
    totals = [step * (count - 1) for step, count in zip(steps, taps, strict=True)]
    _replace(node, "auto_pad", pads=[*(total // 2 for total in totals), *(total - total // 2 for total in totals)])
    return True


def _starts_inside(node: onnx.NodeProto, wrapper: ModelWrapper) -> bool:
    """Replaces ``ceil_mode`` by pads where a last window would begin in the padding; returns whether one would."""
    given = _attributes(node)
    if node.op_type not in ("MaxPool", "AveragePool") or not given.get("ceil_mode"):
        return False
    taps = given["kernel_shape"]
    ones = [1] * len(taps)
    sizes = wrapper.get_tensor_shape(node.input[0])[2:]
    pads = given.get("pads", [0] * 2 * len(taps))
    inside, ends = True, []
    for axis, size in enumerate(sizes):
        stride, before, end = given.get("strides", ones)[axis], pads[axis], pads[len(taps) + axis]
        reach = given.get("dilations", ones)[axis] * (taps[axis] - 1) + 1
        count = -(-(size + before + end - reach) // stride) + 1
        if (count - 1) * stride >= size + before:
            inside, count = False, count - 1
        ends.append(max(0, (count - 1) * stride + reach - size - before))
    if inside:
        return False
    _replace(node, "ceil_mode", pads=[*pads[: len(taps)], *ends])
    return True


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def _replace(node: onnx.NodeProto, name: str, pads: list[int]) -> None:
    """Replaces the attribute ``name``, and pads, by these pads."""
    kept = [each for each in node.attribute if each.name not in (name, "pads")]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute("pads", pads)])
