"""The reference with exact sums: the model's own nodes, in float64 with proven bounds, where float32 sums are inexact.

Float32 holds integers up to 2**24. Sums of 16-bit codes go beyond that, so the float32 reference rounds inside its
sums, and its codes are off by one now and then. Here the model's nodes between quantizers are executed again, on the
values that the quantizers of the float32 reference returned. Sums, pools and products are exact; where float64 has to
round, bounds hold the exact value. The arithmetic after the sums is that which the lowering promises
(``hw.lowering.lower``): a Requant computes it without rounding, a Threshold in float32, from the exact sum rounded
once. Nothing of the lowering is used: neither its weights nor its chains.
"""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_node

from hw.host.operators import code_range, quantize_linear, round_to_integer
from hw.lowering.domains import (
    CHANNELS_LAST_DOMAIN,
    LINEAR_OPS,
    ORT_DOMAIN,
    QONNX_DOMAIN,
    channel_axis,
    operator_key,
)
from hw.lowering.linear_quantizers import LinearParameters, linear_parameters
from hw.lowering.node_steps import TRANSLATIONS
from hw.lowering.rounding import lowest_bit
from hw.lowering.versions import since_version
from hw.verification.execution import quiet
from hw.verification.float64_bounds import Bounds
from hw.verification.transposed import transposed_convolution

DOMAINS = frozenset({"", QONNX_DOMAIN, CHANNELS_LAST_DOMAIN, ORT_DOMAIN})
"""The domains of the operators whose exact values are computed here."""
MONOTONE = frozenset({
    "Relu", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Concat", "MaxPool", "GlobalMaxPool", "Identity",
    "Upsample", "Resize", "Slice", "Pad", "Gather", "GatherND", "DepthToSpace", "SpaceToDepth", "Split",
    "Tile", "Expand",
})  # fmt: skip
"""Operators that do not round and do not decrease: they are applied to both bounds."""
JOINS = frozenset({"Add", "Sub"})
"""Operators that sum two tensors, unless one of them is constant."""
WINDOW_ELEMENTS = 1 << 22
"""Elements of a convolution's windows that are computed at once, which bounds the memory."""
Tensors = dict[str, np.ndarray]


def constant_tensors(model: ModelWrapper) -> list[str]:
    """The tensors that nodes compute from constants alone."""
    known = {tensor.name for tensor in model.graph.initializer} | {""}
    found: list[str] = []
    for node in model.graph.node:
        if known.issuperset(node.input):
            known.update(node.output)
            found.extend(name for name in node.output if name)
    return found


class NoExactValueError(Exception):
    """An operator whose exact value is not computed here."""


class ExactReference:
    """Executes parts of a model on one batch of values.

    ``model`` is prepared for the batch size. ``known`` are the values of tensors at which parts start: quantized
    activations, integer inputs, and everything that only constants lead to, as float32 execution has them. A float64
    value is exact.
    """

    def __init__(self, model: ModelWrapper, known: Tensors) -> None:
        self.model = model
        self.known = known
        self.producers = {name: node for node in model.graph.node for name in node.output}
        self.opsets = {opset.domain: opset.version for opset in model.model.opset_import}
        self._constants = {each.name for each in model.graph.initializer}.union(constant_tensors(model))
        self._values: dict[str, Bounds] = {}
        self._starts: dict[str, Bounds] = {}
        self._rounded: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def value(self, name: str) -> Bounds:
        """The exact value of a tensor that a node computes, even if it is known.

        Raises NoExactValueError for an operator that is not computed here.
        """
        if name not in self._values:
            node = self._producer(name)
            handler = OPERATORS.get(node.op_type)
            if handler is None:
                raise NoExactValueError(f"{node.name}: {node.op_type}")
            self._values[name] = _monotone(self, node, name) if len(node.output) > 1 else handler(self, node)
        return self._values[name]

    def given(self, name: str) -> Bounds:
        """The exact value of a node's input."""
        if name not in self.known:
            return self.value(name)
        if name not in self._starts:
            self._starts[name] = self._known(name)
        return self._starts[name]

    def addend(self, name: str) -> Bounds:
        """The exact value of a summand: a constant one is the float32 number that is added, also where it is a code
        times a scale."""
        return Bounds.exactly(self.known[name].astype(np.float64)) if name in self._constants else self.given(name)

    def rounded(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Bounds on a tensor that a node computes, of which sums are rounded to float32 once, and all else is float32.

        Raises NoExactValueError as ``value`` does.
        """
        if name not in self._rounded:
            node = self._producer(name)
            if node.op_type in SUMS or (node.op_type in JOINS and not self.known.keys() & set(node.input)):
                total = {**OPERATORS, **SUMS}[node.op_type](self, node)
                low, high = (side.astype(np.float32) for side in (total.low, total.high))
                bias = self._bias(node)
                self._rounded[name] = (low, high) if bias is None else (low + bias, high + bias)
            elif node.op_type in LINEAR_OPS:
                self._rounded[name] = self._rounded_linear(node)
            elif (node.domain, node.op_type) not in TRANSLATIONS and node.op_type not in MONOTONE:
                raise NoExactValueError(f"{node.name}: {node.op_type}")
            else:
                given = [self._rounded_input(each) if each else (None, None) for each in node.input]
                sides = [self._execute(node, [each[side] for each in given], name) for side in (0, 1)]
                self._rounded[name] = sides[0], sides[1]  # Not in order: branches that meet must be of the same side.
        return self._rounded[name]

    def linear_parameters(self, node: onnx.NodeProto) -> LinearParameters:
        """The parameters of a node of ONNX's own quantizers."""
        zero_point = self.known[node.input[2]] if len(node.input) > 2 and node.input[2] else None
        rank = len(self.model.get_tensor_shape(node.output[0]))
        typed = node.output[0] if node.op_type == LINEAR_OPS[0] else node.input[0]
        return linear_parameters(node, self.known[node.input[1]], zero_point, rank, self._elem_type(typed))

    def _elem_type(self, name: str) -> int:
        """The ONNX type of a tensor."""
        graph = self.model.graph
        values = (*graph.input, *graph.output, *graph.value_info)
        found = {each.name: each.data_type for each in graph.initializer}
        found |= {value.name: value.type.tensor_type.elem_type for value in values}
        return found[name]

    def _rounded_linear(self, node: onnx.NodeProto) -> tuple[np.ndarray, np.ndarray]:
        """A node of ONNX's own quantizers in float32."""
        p = self.linear_parameters(node)
        zeros = p.zero_point.astype(np.float32)
        sides = (side.astype(np.float32) for side in self._rounded_input(node.input[0]))
        if node.op_type == LINEAR_OPS[0]:
            kind = helper.tensor_dtype_to_np_dtype(p.elem_type)
            low, high = (quantize_linear(side, p.scale, zeros, low=p.low, high=p.high).astype(kind) for side in sides)
        else:
            low, high = ((side - zeros) * p.scale for side in sides)
        return low, high

    def _producer(self, name: str) -> onnx.NodeProto:
        """The node that computes a tensor, if it is one of ONNX's or QONNX's and has one output, or is a Split."""
        node = self.producers.get(name)
        several = node is not None and list(node.output) != [name] and node.op_type != "Split"
        if node is None or several or node.domain not in DOMAINS:
            raise NoExactValueError(f"{name} is no result of an operator of ONNX, ONNX Runtime or QONNX")
        return node

    def constant(self, name: str) -> np.ndarray:
        """A constant input of a node, in float64."""
        if name not in self.known:
            raise NoExactValueError(f"{name} is not constant")
        return self.known[name].astype(np.float64)

    def _rounded_input(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        if name not in self.known:
            return self.rounded(name)
        value = self.known[name]
        value = value.astype(np.float32) if value.dtype == np.float64 else value
        return value, value

    def _execute(self, node: onnx.NodeProto, given: list[np.ndarray | None], name: str) -> np.ndarray:
        """One node in float32, as the reference executes it."""
        values = {each: value for each, value in zip(node.input, given, strict=True) if value is not None}
        context = {
            **values,
            **{each: np.empty(self.model.get_tensor_shape(each), np.float32) for each in node.output if each},
        }
        with quiet():
            execute_node(node, context, self.model.graph, self.opsets.get(node.domain, 1))
        result: np.ndarray = context[name]
        return result

    def _known(self, name: str) -> Bounds:
        """The exact value that a known tensor stands for: a code of its quantizer times the scale, unrounded."""
        values, node = self.known[name].astype(np.float64), self.producers.get(name)
        if node is None or node.op_type not in ("Quant", "IntQuant", "BipolarQuant", "DequantizeLinear"):
            return Bounds.exactly(values)
        if node.op_type == "DequantizeLinear":
            return _dequantize_linear(self, node)
        scale = self.constant(node.input[1])
        zero = self.constant(node.input[2]) if node.op_type != "BipolarQuant" else np.float64(0)
        return Bounds.exactly(np.rint(values / scale + zero) - zero) * Bounds.exactly(scale)

    def attributes(self, node: onnx.NodeProto) -> dict[str, Any]:
        """The attributes of a node."""
        return {each.name: helper.get_attribute_value(each) for each in node.attribute}

    def linear(self, node: onnx.NodeProto, factors: int, terms: float, rounds: bool = False) -> Bounds:
        """A node that sums ``terms`` products of its first ``factors`` inputs, without its bias.

        Float64 sums are exact if their terms are multiples of one power of two and stay below 2**53 of them, in any
        order, unless the node itself ``rounds``. Otherwise their rounding is bounded by that of all terms.
        """
        given = [self.given(name) for name in node.input[:factors]]
        rest = [self.known[name] for name in node.input[factors:] if name and node.op_type not in BIASED]
        middle = _evaluate(node, self.opsets, *(each.middle for each in given), *rest)
        magnitude = _evaluate(node, self.opsets, *(np.abs(each.middle) for each in given), *rest)
        if all(each.exact for each in given):
            grid = np.prod([float(lowest_bit(each.low.ravel(), 0)) for each in given])
            if not rounds and (np.isinf(grid) or magnitude.max(initial=0) * max(1.0, terms) < grid * 2.0**53):
                return Bounds.exactly(middle)
            spread = np.zeros_like(magnitude)
        else:
            outer = [np.abs(each.middle) + each.radius for each in given]
            spread = _evaluate(node, self.opsets, *outer, *rest) - magnitude
        return Bounds.exactly(middle).widened(spread * (1 + 2.0**-40) + (terms + 8) * 2.0**-52 * (magnitude + spread))

    def _bias(self, node: onnx.NodeProto) -> np.ndarray | None:
        """The bias of a node that sums products; None where it has none."""
        if node.op_type not in BIASED or len(node.input) < 3 or not node.input[2]:
            return None
        bias = self.constant(node.input[2]).astype(np.float32)
        rank = len(self.model.get_tensor_shape(node.output[0]))
        return bias.reshape(_by_channel(node, rank)) if node.op_type in CONVOLUTIONS else bias

    def biased(self, node: onnx.NodeProto) -> Bounds:
        """A node that sums products, and adds its bias."""
        total, name = SUMS[node.op_type](self, node), node.input[2] if len(node.input) > 2 else ""
        if not name:
            return total
        bias = self.addend(name)
        if node.op_type in CONVOLUTIONS:
            shape = _by_channel(node, total.low.ndim)
            bias = Bounds(bias.low.reshape(shape), bias.high.reshape(shape))
        return total + bias


def _by_channel(node: onnx.NodeProto, rank: int) -> tuple[int, ...]:
    """The shape in which values by channel broadcast against a node's tensors of ``rank`` axes."""
    return tuple(-1 if axis == channel_axis(node, rank) else 1 for axis in range(rank))


def _evaluate(node: onnx.NodeProto, opsets: dict[str, int], *values: np.ndarray, output: int = 0) -> np.ndarray:
    """One output of a node of ONNX's on float64 values, executed by ONNX's own reference implementation.

    Data and weights of a node with channels last are transposed, as its definition says.
    """
    if node.op_type == "ConvTranspose":
        return transposed_convolution(node, *values)
    version = opsets.get(node.domain, 13)
    last = node.domain == CHANNELS_LAST_DOMAIN
    if last:
        version = since_version(operator_key(node), version) or version
        values = tuple(np.moveaxis(value, -1, 1) for value in values)
    names, results = [f"x{i}" for i in range(len(values))], [f"y{i}" for i in range(len(node.output))]
    only = helper.make_node(node.op_type, names, results)
    only.attribute.extend(each for each in node.attribute if each.name not in ("alpha", "beta"))
    double = onnx.TensorProto.DOUBLE
    infos = [helper.make_tensor_value_info(name, double, None) for name in (*names, results[output])]
    graph = helper.make_graph([only], "node", infos[:-1], infos[-1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)])
    evaluator: Any = ReferenceEvaluator(model)
    size = len(values[0])
    if node.op_type == "Conv":  # It lays out every window.
        size = max(1, WINDOW_ELEMENTS // (values[0][:1].size * int(np.prod(values[1].shape[2:]))))
    parts: list[Any] = []
    for start in range(0, len(values[0]), size):
        given = dict(zip(names, (values[0][start : start + size], *values[1:]), strict=True))
        try:
            with np.errstate(all="ignore"):
                parts.append(evaluator.run(None, given)[0])
        except Exception as error:  # It has no common class of errors.
            raise NoExactValueError(f"{node.name}: {type(error).__name__}") from None
    result = np.asarray(parts[0] if len(parts) == 1 else np.concatenate(parts), np.float64)
    return np.moveaxis(result, 1, -1) if last else result


def _matmul(exact: ExactReference, node: onnx.NodeProto) -> Bounds:
    return exact.linear(node, 2, exact.given(node.input[0]).low.shape[-1])


def _gemm(exact: ExactReference, node: onnx.NodeProto) -> Bounds:
    attributes = exact.attributes(node)
    if attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0 or attributes.get("transA", 0):
        raise NoExactValueError(f"{node.name}: Gemm with alpha, beta or transA")
    return _matmul(exact, node)


def _conv(exact: ExactReference, node: onnx.NodeProto) -> Bounds:
    return exact.linear(node, 2, float(np.prod(exact.given(node.input[1]).low.shape[1:])))


def _conv_transpose(exact: ExactReference, node: onnx.NodeProto) -> Bounds:
    weights = exact.given(node.input[1]).low.shape
    groups = exact.attributes(node).get("group", 1)
    return exact.linear(node, 2, float(weights[0] // groups * np.prod(weights[2:])))


def _pool(exact: ExactReference, node: onnx.NodeProto) -> Bounds:
    """Mean values: a division by other than a power of two rounds."""
    sizes = [float(np.prod(exact.model.get_tensor_shape(name))) for name in (node.input[0], node.output[0])]
    attributes = exact.attributes(node)
    terms = float(np.prod(attributes["kernel_shape"])) if "kernel_shape" in attributes else sizes[0] / sizes[1]
    rounds = terms != 2.0 ** round(np.log2(terms)) or any(attributes.get("pads", ()))
    return exact.linear(node, 1, terms, rounds or bool(attributes.get("ceil_mode", 0)))


def _sum(exact: ExactReference, node: onnx.NodeProto) -> Bounds:
    sizes = [float(np.prod(exact.model.get_tensor_shape(name))) for name in (node.input[0], node.output[0])]
    return exact.linear(node, 1, sizes[0] / sizes[1])


def _quant(exact: ExactReference, node: onnx.NodeProto) -> Bounds:
    attributes = exact.attributes(node)
    scale, zero, bits = (exact.constant(name) for name in node.input[1:4])
    if bits.size != 1:
        raise NoExactValueError(f"{node.name}: Quant with several widths")
    mode, width, signed = attributes.get("rounding_mode", b"ROUND"), int(bits.ravel()[0]), bool(attributes["signed"])
    mode = mode.decode() if isinstance(mode, bytes) else str(mode)
    low, high = code_range(width, signed, bool(attributes["narrow"]))
    value = exact.given(node.input[0]) / Bounds.exactly(scale) + Bounds.exactly(zero)
    if width == 1 and signed:
        codes = [np.where(side >= 0, 1.0, -1.0) for side in (value.low, value.high)]
    else:
        codes = [round_to_integer(np.clip(side, low, high), mode) for side in (value.low, value.high)]
    return (Bounds(*codes) - Bounds.exactly(zero)) * Bounds.exactly(scale)


def _quantize_linear(exact: ExactReference, node: onnx.NodeProto) -> Bounds:
    p = exact.linear_parameters(node)
    value = exact.given(node.input[0]) / Bounds.exactly(p.scale)
    return Bounds(*(np.clip(np.round(side) + p.zero_point, p.low, p.high) for side in (value.low, value.high)))


def _dequantize_linear(exact: ExactReference, node: onnx.NodeProto) -> Bounds:
    p = exact.linear_parameters(node)
    return (exact.given(node.input[0]) - Bounds.exactly(p.zero_point)) * Bounds.exactly(p.scale)


def _bipolar(exact: ExactReference, node: onnx.NodeProto) -> Bounds:
    value = exact.given(node.input[0])
    codes = (np.where(side >= 0, 1.0, -1.0) for side in (value.low, value.high))
    return Bounds(*codes) * Bounds.exactly(exact.constant(node.input[1]))


def _batch_norm(exact: ExactReference, node: onnx.NodeProto) -> Bounds:
    x = exact.given(node.input[0])
    shape = _by_channel(node, x.low.ndim)
    scale, bias, mean, variance = (exact.constant(name).reshape(shape) for name in node.input[1:5])
    epsilon = exact.attributes(node).get("epsilon", np.float32(1e-5))
    factor = scale / np.sqrt(variance + float(epsilon))
    # The factor has three roundings.
    known = Bounds.exactly(factor).widened(np.abs(factor) * 2.0**-51)
    return (x - Bounds.exactly(mean)) * known + Bounds.exactly(bias)


def _clip(exact: ExactReference, node: onnx.NodeProto) -> Bounds:
    x, attributes = exact.given(node.input[0]), exact.attributes(node)
    ends = [float(exact.constant(name)) if name else None for name in node.input[1:3]]
    ends += [None] * (2 - len(ends))
    low = ends[0] if ends[0] is not None else attributes.get("min", -np.inf)
    high = ends[1] if ends[1] is not None else attributes.get("max", np.inf)
    return Bounds(*(np.clip(side, low, high) for side in (x.low, x.high)))


def _monotone(exact: ExactReference, node: onnx.NodeProto, name: str = "") -> Bounds:
    """The output ``name`` of a node, by default the only one."""
    name = name or node.output[0]
    data = [each for each in node.input if (each and each not in exact.known) or each in node.input[:1]]
    if node.op_type == "Concat":
        data = list(node.input)
    given = [exact.given(name) for name in data]
    rest = [exact.known[each] for each in node.input if each not in data]
    if not all(node.input):
        raise NoExactValueError(f"{node.name}: {node.op_type} with an omitted input")
    index = list(node.output).index(name)
    low = _evaluate(node, exact.opsets, *(each.low for each in given), *rest, output=index)
    if all(each.exact for each in given):
        return Bounds.exactly(low)
    return Bounds(low, _evaluate(node, exact.opsets, *(each.high for each in given), *rest, output=index))


def _binary(combine: Callable[[Bounds, Bounds], Bounds]) -> "Operator":
    return lambda exact, node: combine(exact.given(node.input[0]), exact.given(node.input[1]))


def _joined(combine: Callable[[Bounds, Bounds], Bounds]) -> "Operator":
    return lambda exact, node: combine(exact.addend(node.input[0]), exact.addend(node.input[1]))


Operator = Callable[[ExactReference, onnx.NodeProto], Bounds]

CONVOLUTIONS = ("Conv", "ConvTranspose")
BIASED = frozenset({"Gemm", *CONVOLUTIONS})
SUMS: dict[str, Operator] = {
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "AveragePool": _pool,
    "GlobalAveragePool": _pool,
    "ReduceMean": _pool,
    "ReduceSum": _sum,
}
"""Operators that sum: float32 rounds inside them."""
OPERATORS: dict[str, Operator] = {
    **SUMS,
    **dict.fromkeys(BIASED, ExactReference.biased),
    **dict.fromkeys(MONOTONE, _monotone),
    "Add": _joined(operator.add),
    "Sub": _joined(operator.sub),
    "Mul": _binary(operator.mul),
    "Div": _binary(operator.truediv),
    "Neg": lambda exact, node: -exact.given(node.input[0]),
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Quant": _quant,
    "IntQuant": _quant,
    "BipolarQuant": _bipolar,
    "QuantizeLinear": _quantize_linear,
    "DequantizeLinear": _dequantize_linear,
}
