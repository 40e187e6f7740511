"""The handlers of lookup layers, and of popcounts by class.

A table's address may be any sum of bits that counts from the start of a row; here it becomes wires, of which the first
is the lowest bit. An inverted bit inverts an input of the tables.
"""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import onnx
from qonnx.core.datatype import DataType

from hw.host.steps import step
from hw.kernels.lookup_layer.kernel import MOST_INPUTS, LookupLayer
from hw.kernels.popcount_class.kernel import PopcountClass
from hw.kernels.sliding_window.kernel import SlidingWindow
from hw.kernels.thermometer.kernel import Thermometer
from hw.lowering.affine import affine_steps, floats
from hw.lowering.constants import Constant
from hw.lowering.context import Lowering
from hw.lowering.handlers import Handler, Handlers
from hw.lowering.integer_tensor import AS_FLOAT32, IntegerTensor
from hw.lowering.layout_ops import element_order
from hw.lowering.linear_form import LinearForm
from hw.lowering.lookup_encoders import BINARY, binary_tensor
from hw.lowering.lookup_sites import COUNT, DOMAIN, TABLE
from hw.lowering.refusal import lowering_error
from hw.lowering.shared_tables import SharedTables, shared_tables

LEAST_INPUTS = 2
"""Minimum number of inputs of a table."""
SHOWN = 8
"""Numbers of a list that an error shows."""


@dataclass(frozen=True, eq=False)
class _Bits:
    """A tensor of two values as a stream of bits, ``edge`` of ``count`` elements and of ``shape``.

    For each element of the model's tensor, row-major: ``places`` is its position in the stream, and ``values`` (2, n)
    are its values where the bit is 0 and 1.
    """

    edge: str
    count: int
    shape: tuple[int, ...]
    places: np.ndarray
    values: np.ndarray


def _bits(context: Lowering, form: LinearForm, node: onnx.NodeProto) -> _Bits:
    """The root of the form of a table's address, or of a count. Raises BitfabricError unless it has two values."""
    name, allowed = form.root, form.ends
    tensor = context.integers(name, node)
    if tensor.affine is None:
        raise lowering_error(
            node,
            f"its bits ({name}) are computed in floating point by {tensor.not_affine} after the last quantizer",
            "compare with levels (GreaterOrEqual, Greater, LessOrEqual, Less), or quantize to one bit",
        )
    places = element_order(tensor.layout_ops, tensor.shape).ravel()
    ends = [np.broadcast_to(bound, tensor.shape).ravel() for bound in (tensor.low, tensor.high)]
    if tensor.span > 2 and tensor.dtype != DataType["BIPOLAR"]:
        raise lowering_error(
            node,
            f"its bits ({name}) have up to {tensor.span:,} values",
            "a table reads bits: compare with levels (GreaterOrEqual), or quantize to one bit",
        )
    if tensor.dtype == BINARY:
        edge, shape, ends = tensor.edge, tensor.shape, [np.zeros_like(ends[0]), np.ones_like(ends[0])]
    else:
        shape = (len(places),)
        kernel = Thermometer(np.arange(len(places)), ends[1], len(places), tensor.dtype)
        edge = context.append(context.name("bits"), kernel, tensor.edge)
    slope, offset = (floats(np.broadcast_to(part, tensor.shape)).ravel() for part in tensor.affine)
    values = np.stack([end * slope + offset for end in ends])[:, places]
    if not np.isin(values, allowed).all():
        raise lowering_error(
            node,
            f"its bits ({name}) have the values {_listed(np.unique(values))}",
            f"use {allowed[0]:g} and {allowed[1]:g}",
        )
    return _Bits(edge, len(places), shape, places, values)


def _listed(values: np.ndarray) -> str:
    """Numbers for a message."""
    shown = ", ".join(f"{value:g}" for value in values.ravel()[:SHOWN].tolist())
    return f"[{shown}{', ...' if values.size > SHOWN else ''}]"


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums of bits: for each sum, ``sources`` (n, T) are positions in the stream of bits, or -1 for a padding of 0;
    ``factors`` (n, T) and ``constant`` (n,)."""

    sources: np.ndarray
    factors: np.ndarray
    constant: np.ndarray


def _sums(form: LinearForm, bits: _Bits) -> _Sums:
    """A form as sums of the bits of a stream."""
    terms = form.factors.shape[-1]
    sources, factors = form.sources.reshape(-1, terms), form.factors.reshape(-1, terms)
    padding = sources < 0
    least, most = (np.where(padding, end, side[sources]) for end, side in zip(form.ends, bits.values, strict=True))
    constant = form.constant.ravel() + (factors * least).sum(axis=1)
    return _Sums(np.where(padding, -1, bits.places[sources]), factors * (most - least), constant)


# --- tables ---


def _table(context: Lowering, node: onnx.NodeProto) -> None:
    """A Gather of constant tables at computed addresses."""
    site = context.sites[node.output[0]]
    node, form = site.node, site.form
    contents = _contents(context, node)
    if form.shape[0] != 1:
        raise lowering_error(
            node,
            f"its indices ({node.input[1]}) have the batch and {form.shape[0]} addresses of a frame in one axis",
            "keep the batch as the first axis",
        )
    if form.root == node.input[1] and form.moves:
        writer = context.writer(form.root)
        raise lowering_error(
            node,
            f"its indices ({form.root}) are {f'the result of {writer}' if writer else 'an input'}, no sums of bits",
            "a table's address is a product of bits with 1, 2, 4, ..., plus the start of its row",
        )
    bits = _bits(context, form, node)
    sums, name = _sums(form, bits), context.name("lookup")
    shared, edge = _shared(sums, bits), bits.edge
    if shared is None:
        order, (wires, tables) = np.arange(len(sums.constant)), _rows(node, sums, contents)
        kernel = LookupLayer(wires, tables, bits.count)
    else:
        first, order = shared.order[0], np.argsort(shared.order.ravel())
        wires, tables = _rows(node, _Sums(shared.places, sums.factors[first], sums.constant[first]), contents)
        windows = SlidingWindow(bits.shape, shared.kernel, BINARY, shared.stride, pad=shared.pads)
        if windows.window > bits.shape[-1] or windows.out_spatial != bits.shape[:-1]:
            edge = context.append(f"{name}_window", windows, edge)
        kernel = LookupLayer(wires, tables, windows.window, shared.positions)
    edge, low, high = context.append(name, kernel, edge), tables.min(axis=1), tables.max(axis=1)
    context.values[node.output[0]] = binary_tensor(context, node, edge, kernel, order, (low, high), contents.dtype.name)


def _shared(sums: _Sums, bits: _Bits) -> SharedTables | None:
    """How the windows of an image of bits share the tables; None where they do not, or where there is no image."""
    upright = np.array_equal(bits.values, np.broadcast_to([[0], [1]], bits.values.shape))
    if len(bits.shape) != 3 or (np.any(sums.sources < 0) and not upright):
        return None
    height, width, channels = bits.shape
    return shared_tables(sums.sources, sums.factors, sums.constant, (height, width, channels))


def _contents(context: Lowering, node: onnx.NodeProto) -> np.ndarray:
    """The tables, flat. Raises BitfabricError for other than zeros and ones, which a Gather needs in one row."""
    known = context.values[node.input[0]]
    assert isinstance(known, Constant)
    if node.op_type == "Gather" and known.value.ndim != 1:
        raise lowering_error(
            node,
            f"its tables ({node.input[0]}) have the shape {list(known.value.shape)}",
            "gather from one flat row of all tables, at the address plus the start of the table",
        )
    wrong = known.value[(known.value != 0) & (known.value != 1)]
    if wrong.size:
        raise lowering_error(
            node, f"its tables ({node.input[0]}) hold {_listed(np.unique(wrong))}", "a table of bits holds 0 and 1"
        )
    return known.value.ravel()


def _rows(node: onnx.NodeProto, sums: _Sums, contents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wires (O, K) and tables (O, 2^K) of the addresses, whose lowest bit is wire 0."""
    used = sums.factors != 0
    counts = used.sum(axis=1)
    for outside in counts[(counts < LEAST_INPUTS) | (counts > MOST_INPUTS)][:1]:
        raise lowering_error(
            node,
            f"a table has {outside} inputs",
            f"tables have {LEAST_INPUTS} to {MOST_INPUTS}: divide a larger one, or repeat an input of a smaller one",
        )
    most = int(counts.max())
    # Terms in the order of their factors, those without any last.
    order = np.argsort(np.where(used, np.abs(sums.factors), np.inf), axis=1, kind="stable")[:, :most]
    wires, factors = (np.take_along_axis(part, order, axis=1) for part in (sums.sources, sums.factors))
    inside = np.arange(most) < counts[:, None]
    powers = np.where(inside, 2.0 ** np.arange(most), 0)
    wrong = np.flatnonzero((np.abs(factors) != powers).any(axis=1))
    if wrong.size:
        first = wrong[0]
        raise lowering_error(
            node,
            f"the address of table {first} is a sum of bits times {_listed(sums.factors[first][used[first]])}",
            "the factors are 1, 2, 4, ..., one for each input of the table",
        )
    # A bit that counts downwards is an inverted one.
    start = sums.constant + np.minimum(factors, 0).sum(axis=1)
    size = 2.0**counts
    wrong = np.flatnonzero((start % size != 0) | (start < 0) | (start + size > len(contents)))
    if wrong.size:
        first = wrong[0]
        raise lowering_error(
            node,
            f"table {first} starts at {start[first]:g} of {len(contents):,} entries",
            f"a table of {counts[first]} inputs starts at a multiple of {size[first]:g}, and ends within the entries",
        )
    flips = (((factors < 0) & inside) << np.arange(most)).sum(axis=1)
    address = np.arange(1 << most) & (size.astype(np.int64)[:, None] - 1)
    fixed = (((wires < 0) & inside) << np.arange(most)).sum(axis=1)  # Paddings; an input in their place has no effect.
    address = address & ~fixed[:, None]
    tables = contents[start.astype(np.int64)[:, None] + (address ^ flips[:, None])]
    return np.where(inside & (wires >= 0), wires, wires.max(axis=1, keepdims=True).clip(0)), tables.astype(np.int64)


# --- counts ---


def _count(context: Lowering, node: onnx.NodeProto) -> None:
    """The numbers of ones among the bits of each class."""
    site = context.sites[node.output[0]]
    node, form = site.node, site.form
    bits = _bits(context, form, node)
    sums = _sums(form, bits)
    used = sums.factors != 0
    if len(np.unique(np.sign(sums.factors[used]))) > 1:
        bits, sums = _upright(context, bits, sums)
        used = sums.factors != 0
    factors = np.unique(sums.factors[used])
    if len(factors) != 1:
        raise lowering_error(
            node,
            f"it adds bits times {_listed(factors)}" if len(factors) else "it adds nothing that depends on an input",
            "count all bits of a class alike",
        )
    groups = np.repeat(np.arange(len(used)), used.sum(axis=1))
    offsets = sums.constant / factors[0]
    whole = bool(np.all(offsets == np.rint(offsets)))
    inside = offsets.astype(np.int64) if whole else np.zeros(len(used), np.int64)
    kernel = PopcountClass(sums.sources[used], groups, inside, bits.count)
    edge = context.append(context.name("popcount"), kernel, bits.edge)
    count = len(used)
    shape = context.shape(node.output[0])[1:]
    layout_ops = (step("Reshape", shape=shape),) if shape != (count,) else ()
    rest = np.array([Fraction(0 if whole else value) for value in sums.constant.tolist()], object)
    steps = (*affine_steps(1, np.full(count, Fraction(float(factors[0])), object), rest), AS_FLOAT32)
    context.values[node.output[0]] = IntegerTensor(
        (count,), steps, (node.name,) * len(steps), layout_ops,
        number=context.element_type(node.output[0]), edge=edge, dtype=kernel.outputs()[0].dtype,
        low=inside, high=inside + used.sum(axis=1),
    )  # fmt: skip


def _upright(context: Lowering, bits: _Bits, sums: _Sums) -> tuple[_Bits, _Sums]:
    """The same sums, of a stream in which the bits that count downwards are inverted."""
    used, falling = sums.factors != 0, sums.factors < 0
    wires = sums.sources[used]
    tables = np.where(falling[used][:, None], [1, 0], [0, 1])
    edge = context.append(context.name("bits"), LookupLayer(wires[:, None], tables, bits.count), bits.edge)
    sources = np.zeros_like(sums.sources)
    sources[used] = np.arange(len(wires))
    constant = sums.constant + np.where(falling, sums.factors, 0).sum(axis=1)
    return replace(bits, edge=edge, count=len(wires)), _Sums(sources, np.abs(sums.factors), constant)


HANDLERS: Handlers = {
    (DOMAIN, TABLE): Handler(_table),
    (DOMAIN, COUNT): Handler(_count),
}
"""The handlers of the nodes that ``hw.lowering.lookup_networks`` puts into a model."""
