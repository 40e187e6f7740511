"""Functions of one integer that several nodes of the model compute: a tensor branches, and the branches meet again.

``x * Sigmoid(x)`` has two inputs in ONNX, and is one function of each element of ``x``. The node where the branches
meet extends the chain of ``x`` by one step (``hw.host.steps.combined``), whose branches are what each input has after
the common beginning.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import onnx

from hw.host.steps import HostStep
from hw.lowering.call import FLOATS
from hw.lowering.context import Lowering
from hw.lowering.gate.limits import MAX_CHAIN
from hw.lowering.integer_tensor import HostTensor, IntegerTensor, Steps, content, last_quantizer
from hw.lowering.layout_ops import element_order
from hw.lowering.node_steps import BOOL, combination, number_after
from hw.lowering.refusal import lowering_error

MAX_DEPTH = 48
"""Branches within branches."""
Tensor = HostTensor | IntegerTensor


def one_integer(context: Lowering, node: onnx.NodeProto) -> Tensor | None:
    """The chain of a node whose data inputs are all functions of the same integers; None if they are not.

    Raises BitfabricError for a node that has no exact form.
    """
    inputs = [context.values.get(name) if name else None for name in node.input]
    data = [value for value in inputs if isinstance(value, Tensor)]
    chains = _of_one_tensor(_lifted(context, data), context.shape(node.output[0])[1:])
    if chains is None:
        return None
    if wrong := next((each.number for each in chains if each.number not in (*FLOATS, BOOL)), None):
        raise lowering_error(node, f"it computes in {wrong}", "cast its inputs to float32 before it")
    call = replace(context.call(node), number=chains[-1].number)
    first, count = chains[0], _common([each.steps for each in chains])
    rest = iter(chains)
    branches = [next(rest).steps[count:] if isinstance(value, Tensor) else None for value in inputs]
    meet = combination(call, branches)
    # Only constants are in the order of the model's tensor; the branches are in that of the stream.
    ordered = (
        branch if given is not None else tuple(map(first.in_order, branch))
        for branch, given in zip(meet.branches, branches, strict=True)
    )
    meet = replace(meet, branches=tuple(ordered))
    size, depth = _size((meet,))
    if size > MAX_CHAIN or depth > MAX_DEPTH:
        raise lowering_error(
            node, "too many element-wise operators of one tensor meet in it", "put a quantizer between them"
        )
    chain = replace(first, steps=first.steps[:count], origins=first.origins[:count])
    return replace(chain.extended((meet,), (node.name,)), number=number_after(call))


def are_joinable(tensors: Sequence[Tensor]) -> bool:
    """Whether tensors can be the operands of a kernel: after its last quantizer, the steps of each are affine.

    The host quantizes an input in one way only.
    """
    ends = [last_quantizer(each.steps) for each in tensors]
    for each, at in zip(tensors, ends, strict=True):
        if each.host_steps or (isinstance(each, HostTensor) and at is None and each.dtype is None):
            return False
        if (
            isinstance(each, IntegerTensor)
            and replace(each, steps=each.steps[0 if at is None else at + 1 :]).affine is None
        ):
            return False
    heads = {
        tuple(map(content, each.steps[: at + 1]))
        for each, at in zip(tensors, ends, strict=True)
        if isinstance(each, HostTensor) and at is not None
    }
    return len(heads) <= 1


def is_affine(tensor: Tensor) -> bool:
    """Whether a tensor is an affine function of its integers that depends on them everywhere."""
    return isinstance(tensor, IntegerTensor) and tensor.affine is not None and bool(np.all(tensor.affine[0] != 0))


def _lifted(context: Lowering, data: Sequence[Tensor]) -> list[Tensor]:
    """The tensors as functions of one edge, if a kernel between them computes such a function, too."""
    chains = list(data)
    places = {node.name: number for number, node in enumerate(context.nodes)}
    while len({_source(each) for each in chains}) > 1:
        at = max(range(len(chains)), key=lambda i: places.get(_source(chains[i])[1], -1))
        last = chains[at]
        if not isinstance(last, IntegerTensor) or last.edge not in context.functions:
            break
        count, function = context.functions[last.edge]
        if last.host_steps or not _same_elements(function, last):
            break
        function = function.reshaped(last.shape).extended(last.steps[count:], last.origins[count:])
        chains[at] = replace(function, layout_ops=last.layout_ops, restore_ops=last.restore_ops, number=last.number)
    return chains


def _same_elements(one: Tensor, other: Tensor) -> bool:
    """Whether two streams have the same elements of a tensor in the same order: some kernels take them flat."""
    if one.shape == other.shape:
        return True
    mine, its = (element_order(each.layout_ops, each.shape).ravel() for each in (one, other))
    return np.array_equal(mine, its)


def _of_one_tensor(data: Sequence[Tensor], shape: tuple[int, ...]) -> list[Tensor] | None:
    """The tensors as chains of one stream; None if they are not, or have other shapes than ``shape``."""
    first = data[0]
    chains = []
    for each in data:
        if each.host_steps or _source(each) != _source(first) or each.tensor_shape != shape:
            return None
        if each.layout_ops is not first.layout_ops and not np.array_equal(
            element_order(each.layout_ops, each.shape), element_order(first.layout_ops, first.shape)
        ):
            return None
        if isinstance(each, IntegerTensor):
            each = each.reshaped(first.shape)
        chains.append(each)
    return chains if all(each.shape == first.shape for each in chains) else None


def _source(tensor: Tensor) -> tuple[str, str]:
    """The edge or the input port whose integers or values a tensor is computed from."""
    return ("port", tensor.port) if isinstance(tensor, HostTensor) else ("edge", tensor.edge)


def _common(chains: Sequence[Steps]) -> int:
    """The number of steps with which all chains begin."""
    count = 0
    for steps in zip(*chains, strict=False):
        if any(each is not steps[0] and content(each) != content(steps[0]) for each in steps[1:]):
            break
        count += 1
    return count


def _size(steps: Steps) -> tuple[int, int]:
    """The number of steps, those of branches included, and the number of branches within branches."""
    sizes = [(1, 0)]
    for each in _branches(steps):
        size, depth = _size(each)
        sizes.append((size, depth + 1))
    return len(steps) - 1 + sum(size for size, _ in sizes), max(depth for _, depth in sizes)


def _branches(steps: Steps) -> Iterator[tuple[HostStep, ...]]:
    for each in steps:
        yield from each.branches
