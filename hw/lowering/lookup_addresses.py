"""The addresses of lookup tables, as sums of elements of one tensor."""

from operator import itemgetter

import numpy as np
import onnx

from hw.lowering.domains import operator_key
from hw.lowering.form_search import MOVERS, Forms
from hw.lowering.linear_form import LinearForm
from hw.lowering.node_attributes import attribute
from hw.lowering.refusal import lowering_error


def address(forms: Forms, node: onnx.NodeProto) -> LinearForm:
    """The form of the addresses of a table in its entries, of which the row-major order counts.

    Raises BitfabricError where it ends at integers that are no bits, or at a move of elements from frame to frame: what
    is behind them would be refused for what it is without the table. Also for indices of a GatherND that may leave an
    axis.
    """
    if node.op_type == "Gather":
        return _followed(forms, node, node.input[1])
    tables = node.input[0]
    sizes = tuple(forms.constants[tables].dims) if tables in forms.constants else forms.shapes[tables]
    total: LinearForm | None = None
    start = np.zeros(())
    for axis, (size, index) in enumerate(zip(sizes, _indices(forms, node), strict=True)):
        low, high = (index, index) if isinstance(index, np.ndarray) else (index.low, index.high)
        from_end = np.where(high < 0, size, 0)
        if (low + from_end).min() < 0 or high.max() >= size:
            raise lowering_error(
                node,
                f"its indices along axis {axis} of the tables ({tables}) go from {low.min():g} to {high.max():g}, of "
                f"{size:,} entries",
                "let the indices of a table be within its entries",
            )
        stride = np.prod(sizes[axis + 1 :], initial=1.0)
        start = start + from_end * stride
        if isinstance(index, np.ndarray):
            start = start + index * stride
            continue
        part = index.scaled(stride)
        if total is not None and total.root != part.root:
            raise lowering_error(
                node, f"its indices are made of {total.root} and {part.root}", "make an address of bits of one tensor"
            )
        total = part if total is None else total.plus(part)
    assert total is not None  # Some index is computed.
    return total.shifted(start)


def _indices(forms: Forms, node: onnx.NodeProto) -> list[LinearForm | np.ndarray]:
    """What a GatherND reads along each axis of its data, which its indices hold along their last axis."""
    name = node.input[1]
    rank, writer = len(forms.shapes[name]), forms.producers.get(name)
    names = [name]
    if writer is not None and operator_key(writer) == ("", "Concat") and attribute(writer, "axis", 0) in (-1, rank - 1):
        names = list(writer.input)
    found: list[LinearForm | np.ndarray] = []
    for each in names:
        value = forms.constant(each)
        if value is not None:
            found.extend(np.moveaxis(value, -1, 0).astype(np.float64))
            continue
        form = _followed(forms, node, each)
        found.extend(form.each(itemgetter((..., at))) for at in range(form.shape[-1]))
    return found


def _followed(forms: Forms, node: onnx.NodeProto, name: str) -> LinearForm:
    """The form of indices of a table. Raises BitfabricError as ``address`` does."""
    form = forms.of(name)
    writer = forms.producers.get(form.root)
    if writer is None or form.root in (*forms.bits, node.input[1]) or writer.op_type in ("Concat", "QuantizeLinear"):
        return form
    why = f"its address ({node.input[1]}) is made of {form.root}, the result of {writer.name}, which "
    if writer.op_type in MOVERS and not operator_key(writer)[0]:
        raise lowering_error(
            node, f"{why}works along the batch or at computed places", "keep the batch as the first axis"
        )
    if np.dtype(forms.types[form.root]).kind in "iu":
        raise lowering_error(
            node, f"{why}is no sum of bits", "add products of bits with 1, 2, 4, ..., and the start of the row"
        )
    return form
