"""Tensors of the model as sums of elements of another tensor, each times a constant, plus a constant.

The address of a lookup table is such a sum of bits, however a model spells it: a product with 1, 2, 4, ..., or a Mul
and a ReduceSum; integers or floating point; with any moves of elements before, between and after. So is the count of
the bits of a class. A form is found by a walk from its tensor towards the inputs, which ends at the *root*: the nearest
tensor that is computed in another way.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod

import numpy as np
import onnx
from onnx import numpy_helper
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper

from hw.host.errors import BitfabricError
from hw.host.steps import run
from hw.lowering.call import Call, Steps
from hw.lowering.constant_folding import evaluate
from hw.lowering.constant_operators.casts import cast_name
from hw.lowering.constants import Constant
from hw.lowering.domains import operator_key
from hw.lowering.linear_form import LinearForm
from hw.lowering.moves import MOVES
from hw.lowering.node_attributes import attribute
from hw.lowering.node_steps import TRANSLATIONS

EXACT: Mapping[str, int] = {"float16": 1 << 11, "float32": 1 << 24, "float64": 1 << 53}
"""Floating-point types -> the magnitude up to which they hold all integers."""
RESHAPES = frozenset({"Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators that only give the elements another shape or order."""
IN_ORDER = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})
"""Operators that keep the order of the elements."""
COMPARISONS = frozenset({"Greater", "GreaterOrEqual", "Less", "LessOrEqual"})
MOST_TERMS = 1 << 26
"""Terms of all sums of a form."""


class Forms:
    """The forms of a loaded model's tensors. ``bits`` are tensors of 0 and 1, at which every walk ends."""

    def __init__(self, model: ModelWrapper, bits: frozenset[str]) -> None:
        self.model, graph = model, model.graph
        self.producers = {name: node for node in graph.node for name in node.output if name}
        self.constants = {each.name: each for each in graph.initializer}
        self.versions = {opset.domain: opset.version for opset in model.model.opset_import}
        values = (*graph.input, *graph.output, *graph.value_info)
        self.shapes = {each.name: tuple(d.dim_value for d in each.type.tensor_type.shape.dim) for each in values}
        self.types = {
            each.name: np.dtype(onnx.helper.tensor_dtype_to_np_dtype(each.type.tensor_type.elem_type)).name
            for each in values
        }
        self.bits = bits
        self._values: dict[str, np.ndarray] = {}
        self._known: dict[tuple[str, bool], LinearForm] = {}

    def constant(self, name: str) -> np.ndarray | None:
        """The value of a constant; None for computed tensors, quantized constants among them."""
        if name not in self._values and name in self.constants:
            self._values[name] = numpy_helper.to_array(self.constants[name])
        return self._values.get(name)

    def data(self, node: onnx.NodeProto) -> list[str]:
        """The inputs of a node that are not constant."""
        return [name for name in node.input if name and name not in self.constants]

    def of(self, name: str, only_moves: bool = False) -> LinearForm:
        """The form of a tensor that is not constant; its own elements where nothing else is known.

        ``only_moves``: the walk passes nothing but moves.
        """
        key = name, only_moves
        pending = [name]
        while pending:
            current = pending[-1]
            if (current, only_moves) in self._known:
                pending.pop()
                continue
            missing = [each for each in self._before(current, only_moves) if (each, only_moves) not in self._known]
            if missing:
                pending += missing
                continue
            self._known[current, only_moves] = self._form(current, only_moves)
        return self._known[key]

    def _before(self, name: str, only_moves: bool) -> list[str]:
        """The tensors whose forms that of ``name`` is made of."""
        node = self.producers.get(name)
        if node is None or name in self.bits or operator_key(node)[0]:
            return []
        if node.op_type not in (MOVERS | {"Concat"} if only_moves else MOVERS | OPERATORS.keys()):
            return []
        data = self.data(node)
        if all(self.shapes[each][:1] == (1,) for each in (name, *data)):
            return data
        return data if not only_moves and self._keeps_frames_apart(node, data) else []

    def _keeps_frames_apart(self, node: onnx.NodeProto, data: list[str]) -> bool:
        """Whether a node of one operand, with the batch and other axes in one, does the same to every frame of it."""
        if data != [node.input[0]]:
            return False
        if node.op_type == "Reshape":
            [shape] = (self.constant(each) for each in node.input[1:])
            return shape is not None and not np.any(shape[1:] == -1)
        if node.op_type in ("Add", "Mul", "Sub"):
            value = self.constant(node.input[1])
            rank = len(self.shapes[data[0]])
            return value is not None and (value.ndim < rank or (value.ndim == rank and value.shape[0] == 1))
        return node.op_type in IN_ORDER | {"Cast", "Div", "Dropout", "Identity", "MatMul", "Neg", "ReduceSum"}

    def _form(self, name: str, only_moves: bool) -> LinearForm:
        given = [self._known[each, only_moves] for each in self._before(name, only_moves)]
        made = None
        if given and all(each.root == given[0].root for each in given):
            node = self.producers[name]
            if node.op_type in MOVERS:
                made = self._moved(node, name, given[0]) if len(given) == 1 else None
            else:
                made = OPERATORS[node.op_type](self, node, given)
            if made is not None and made.shape != self.shapes[name]:
                made = None
            if made is not None and not (node.op_type in MOVERS or self._exact(made, name)):
                made = None
        if made is None or made.factors.size > MOST_TERMS:
            shape = self.shapes[name]
            places = np.arange(prod(shape)).reshape(*shape, 1)
            made = LinearForm(name, places, np.ones(places.shape), np.zeros(shape), self._ends(name))
        return made

    def _ends(self, name: str) -> tuple[float, float]:
        """The values of a tensor's elements if it has two."""
        node = self.producers.get(name)
        if node is None:
            signs = self.model.get_tensor_datatype(name) == DataType["BIPOLAR"]
        elif node.op_type in ("Quant", "IntQuant"):
            bits = self.constant(node.input[3])
            signs = bits is not None and bool(np.all(bits == 1)) and bool(attribute(node, "signed", 1))
        else:
            signs = node.op_type == "BipolarQuant"
        return (-1.0, 1.0) if signs else (0.0, 1.0)

    def _exact(self, form: LinearForm, name: str) -> bool:
        """Whether the type of a tensor holds its values exactly."""
        kind = self.types[name]
        if kind in EXACT:
            return form.magnitude <= EXACT[kind]
        if kind == "bool":
            return True
        limits = np.iinfo(kind)
        return form.whole and limits.min <= form.low.min() and form.high.max() <= limits.max

    def _moved(self, node: onnx.NodeProto, name: str, given: LinearForm) -> LinearForm | None:
        """The form after a node that moves elements; None where it works along the batch."""
        if node.op_type in IN_ORDER and self.shapes[name][:1] != given.shape[:1]:
            return given.each(lambda places: places.reshape(self.shapes[name]))
        steps = self.moves(node, name)
        return None if steps is None else given.each(lambda places: run(steps, places))

    def moves(self, node: onnx.NodeProto, name: str) -> Steps | None:
        """The layout operators of a node that moves elements; None where it works along the batch, or depends on
        data."""
        constants = tuple(None if (value := self.constant(each)) is None else Constant(value) for each in node.input)
        call = Call(node, constants, self.shapes[self.data(node)[0]], self.shapes[name], self.versions.get("", 1))
        if self.data(node) != [node.input[0]]:
            return None
        try:
            if node.op_type in RESHAPES:
                return TRANSLATIONS[operator_key(node)](call)
            return MOVES[node.op_type](call, list(node.output).index(name))
        except BitfabricError:
            return None


def _identity(forms: Forms, node: onnx.NodeProto, given: list[LinearForm]) -> LinearForm | None:
    return given[0] if len(given) == 1 else None


def _cast(forms: Forms, node: onnx.NodeProto, given: list[LinearForm]) -> LinearForm | None:
    """Integers stay what they are, and bits that are cast to a condition."""
    [form] = given
    if cast_name(int(attribute(node, "to", 1))) == "bool":
        known = form.root in forms.bits or forms.types[form.root] == "bool"
        return form if known and _are_bits(form) else None
    return form if form.whole else None


def _are_bits(form: LinearForm) -> bool:
    """Whether the values are 0 and 1."""
    return form.whole and bool(np.all(form.low == 0) and np.all(form.high == 1))


def _split_constant(forms: Forms, node: onnx.NodeProto) -> np.ndarray | None:
    """The constant operand of a node of two inputs, in float64; None if there is none, or NaN."""
    values = [value for name in node.input if (value := forms.constant(name)) is not None]
    if len(values) != 1 or values[0].dtype.kind not in "iuf" or not np.all(np.isfinite(values[0])):
        return None
    return values[0].astype(np.float64)


def _add(forms: Forms, node: onnx.NodeProto, given: list[LinearForm]) -> LinearForm | None:
    """Sums of forms of one root, and of a constant."""
    values = [value for name in node.input if (value := forms.constant(name)) is not None]
    if any(value.dtype.kind not in "iuf" or not np.all(np.isfinite(value)) for value in values):
        return None
    total = given[0]
    for each in given[1:]:
        total = total.plus(each)
    for value in values:
        total = total.shifted(value.astype(np.float64))
    return total


def _subtract(forms: Forms, node: onnx.NodeProto, given: list[LinearForm]) -> LinearForm | None:
    minus = np.full((), -1.0)
    if len(given) == 2:
        return given[0].plus(given[1].scaled(minus))
    value = _split_constant(forms, node)
    if value is None:
        return None
    return given[0].shifted(-value) if forms.data(node) == [node.input[0]] else given[0].scaled(minus).shifted(value)


def _multiply(forms: Forms, node: onnx.NodeProto, given: list[LinearForm]) -> LinearForm | None:
    value = _split_constant(forms, node)
    return None if value is None or len(given) > 1 else given[0].scaled(value)


def _divide(forms: Forms, node: onnx.NodeProto, given: list[LinearForm]) -> LinearForm | None:
    """Integers over an integer that divides them."""
    value = _split_constant(forms, node)
    if value is None or forms.data(node) != [node.input[0]] or np.any(value != np.rint(value)) or np.any(value == 0):
        return None
    [form] = given
    whole = form.broadcast(np.broadcast_shapes(form.shape, value.shape))
    divisors = np.broadcast_to(value, whole.shape)
    if np.any(np.mod(whole.factors, divisors[..., None])) or np.any(np.mod(whole.constant, divisors)):
        return None
    return replace(whole, factors=whole.factors / divisors[..., None], constant=whole.constant / divisors)


def _concat(forms: Forms, node: onnx.NodeProto, given: list[LinearForm]) -> LinearForm | None:
    """Forms of one root, one after another."""
    axis = int(attribute(node, "axis", 1)) % len(given[0].shape)
    whole = len(given) == len([name for name in node.input if name])
    return given[0].joined(given[1:], axis) if axis and whole else None


def _affine_product(forms: Forms, node: onnx.NodeProto, given: list[LinearForm]) -> LinearForm | None:
    """A Gemm of computed rows with a constant matrix."""
    if forms.data(node) != [node.input[0]] or int(attribute(node, "transA", 0)):
        return None
    values = [forms.constant(name) for name in node.input[1:] if name]
    known = [value.astype(np.float64) for value in values if value is not None and np.all(np.isfinite(value))]
    if len(known) != len(values):
        return None
    matrix = known[0].T if int(attribute(node, "transB", 0)) else known[0]
    form = given[0].times(matrix * float(attribute(node, "alpha", 1.0)))
    return form.shifted(known[1] * float(attribute(node, "beta", 1.0))) if len(known) > 1 else form


def _negate(forms: Forms, node: onnx.NodeProto, given: list[LinearForm]) -> LinearForm | None:
    return given[0].scaled(np.full((), -1.0))


def _product(forms: Forms, node: onnx.NodeProto, given: list[LinearForm]) -> LinearForm | None:
    """A product with a constant vector or matrix, on either side."""
    value = _split_constant(forms, node)
    if value is None or len(given) > 1 or value.ndim not in (1, 2) or len(given[0].shape) < 2:
        return None
    if forms.data(node) == [node.input[0]]:
        return given[0].times(value)
    if len(given[0].shape) < 3:
        return None
    form = given[0].each(lambda places: np.swapaxes(places, -1, -2)).times(value.T if value.ndim == 2 else value)
    return form.each(lambda places: np.swapaxes(places, -1, -2)) if value.ndim == 2 else form


def _reduce(forms: Forms, node: onnx.NodeProto, given: list[LinearForm]) -> LinearForm | None:
    """Sums along axes other than the batch."""
    if len(given) > 1:
        return None
    axes = attribute(node, "axes", None)
    if len(node.input) > 1 and node.input[1]:
        axes = forms.constant(node.input[1])
    rank = len(given[0].shape)
    if axes is None or not np.size(axes):
        return None
    chosen = tuple(sorted({int(axis) % rank for axis in np.ravel(axes)}))
    return given[0].summed(chosen, bool(attribute(node, "keepdims", 1))) if 0 not in chosen else None


def _not(forms: Forms, node: onnx.NodeProto, given: list[LinearForm]) -> LinearForm | None:
    return given[0].scaled(np.full((), -1.0)).shifted(np.ones(())) if _are_bits(given[0]) else None


def _where(forms: Forms, node: onnx.NodeProto, given: list[LinearForm]) -> LinearForm | None:
    """One of two constants by a bit."""
    values = [forms.constant(name) for name in node.input[1:]]
    if values[0] is None or values[1] is None or len(given) > 1 or not _are_bits(given[0]):
        return None
    if any(value.dtype.kind not in "iuf" or not np.all(np.isfinite(value)) for value in values if value is not None):
        return None
    first, second = (value.astype(np.float64) for value in values if value is not None)
    return given[0].scaled(first - second).shifted(second)


def _pad(forms: Forms, node: onnx.NodeProto, given: list[LinearForm]) -> LinearForm | None:
    """Elements with zeros around them."""
    if forms.data(node) != [node.input[0]] or given[0].ends != (0.0, 1.0):
        return None
    value = attribute(node, "value", 0.0) if len(node.input) < 3 or not node.input[2] else forms.constant(node.input[2])
    if value is None or np.any(value):
        return None
    numbers = np.arange(1, given[0].constant.size + 1).reshape(given[0].shape)
    operands = [forms.constant(name) if name else None for name in node.input[1:]]
    if len(operands) > 1:
        operands[1] = None
    try:
        places = evaluate(node, [numbers, *operands], forms.versions.get("", 1))[0]
    except BitfabricError:  # Another mode, or pads that crop.
        return None
    return given[0].padded(places - 1)


MOVERS = RESHAPES | MOVES.keys()
"""Operators that only move elements."""
OPERATORS: Mapping[str, Callable[[Forms, onnx.NodeProto, list[LinearForm]], LinearForm | None]] = {
    "Add": _add,
    "Cast": _cast,
    "Concat": _concat,
    "Div": _divide,
    "Dropout": _identity,
    "Gemm": _affine_product,
    "Identity": _identity,
    "MatMul": _product,
    "Mul": _multiply,
    "Neg": _negate,
    "Not": _not,
    "Pad": _pad,
    "ReduceSum": _reduce,
    "Sub": _subtract,
    "Sum": _add,
    "Where": _where,
}
"""Operators whose result is a sum of elements times constants."""
