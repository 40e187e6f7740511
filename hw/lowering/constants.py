"""Constant tensors of a model: their values as the reference computes them, and the integers of quantized ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx
from qonnx.custom_op.general.bipolar_quant import binary_quant
from qonnx.custom_op.general.quant import quant as int_quant

from hw.host import operators
from hw.host.errors import BitfabricError
from hw.lowering.constant_folding import evaluate
from hw.lowering.domains import LINEAR_OPS
from hw.lowering.linear_quantizers import SMALLEST_SCALE, LinearParameters, code_type, linear_parameters
from hw.lowering.node_attributes import attribute
from hw.lowering.refusal import lowering_error


@dataclass(frozen=True, eq=False)
class Constant:
    """A constant tensor: its ``value`` in the model and, if it is quantized, ``integers`` and ``scale``.

    ``integers * scale`` is the value before rounding to float32. The zero point is already subtracted from
    ``integers`` (int64); ``scale`` (float64) broadcasts against them. ``low`` and ``high`` are the range of the
    quantizer; ``bipolar`` says that its only codes are -1 and +1.
    """

    value: np.ndarray
    integers: np.ndarray | None = None
    scale: np.ndarray | None = None
    low: int = 0
    high: int = 0
    bipolar: bool = False


REARRANGING = frozenset({"Transpose", "Flatten", "Reshape", "Squeeze", "Unsqueeze"})
"""Operators that only rearrange the elements of a constant."""
UNCHANGED = frozenset({"Identity", "Dropout", "Cast"})
"""Operators that keep a constant's integers, if they do not change its values."""


@dataclass(frozen=True)
class QuantParameters:
    """The checked parameters of a Quant node; ``scale`` and ``zero_point`` keep the node's shapes."""

    scale: np.ndarray
    zero_point: np.ndarray
    bits: int
    signed: bool
    narrow: bool
    rounding_mode: str

    @property
    def low(self) -> int:
        return operators.code_range(self.bits, self.signed, self.narrow)[0]

    @property
    def high(self) -> int:
        return operators.code_range(self.bits, self.signed, self.narrow)[1]


def quant_parameters(node: onnx.NodeProto, operands: list[np.ndarray | None]) -> QuantParameters:
    """The parameters of a Quant or IntQuant node; ``operands`` are its scale, zero point and bit width.

    Raises BitfabricError if one of them is not constant, or is out of range.
    """
    names = ("scale", "zero point", "bit width")
    for name, value in zip(names, operands, strict=True):
        if value is None:
            raise BitfabricError(
                f"{node.name}: the {name} of this {node.op_type} is computed while running; freeze it before the export"
            )
    scale, zero_point, bit_width = (np.asarray(value) for value in operands)
    bits = np.unique(bit_width)
    if len(bits) != 1 or bits[0] != int(bits[0]) or not 1 <= bits[0] <= 32:
        raise BitfabricError(
            f"{node.name}: {node.op_type} with bit width {bits.tolist()}; use one whole width of 1 to 32 for the tensor"
        )
    if not np.all(np.isfinite(scale)) or np.any(scale <= 0):
        raise BitfabricError(f"{node.name}: {node.op_type} with a scale that is not positive; check the training")
    if np.any(scale < SMALLEST_SCALE):
        raise BitfabricError(
            f"{node.name}: {node.op_type} with a scale below {SMALLEST_SCALE:.3g}, where float32 has fewer bits; check "
            "the training"
        )
    if not np.all(np.isfinite(zero_point)):
        raise BitfabricError(f"{node.name}: {node.op_type} with a zero point that is not finite; check the training")
    mode = str(attribute(node, "rounding_mode", "ROUND"))
    if mode.upper() not in operators.ROUNDING_MODES:
        raise BitfabricError(
            f"{node.name}: QONNX has no rounding mode {mode}; train with one of "
            f"{', '.join(sorted(operators.ROUNDING_MODES))}"
        )
    signed, narrow = bool(attribute(node, "signed", 1)), bool(attribute(node, "narrow", 0))
    if narrow and not signed and int(bits[0]) == 1:
        raise BitfabricError(
            f"{node.name}: an unsigned narrow 1-bit {node.op_type} can only give zero; use bipolar or 2 bits"
        )
    return QuantParameters(scale, zero_point, int(bits[0]), signed, narrow, mode)


def quantized(value: np.ndarray, p: QuantParameters) -> Constant:
    """The output of a Quant node for the constant ``value``, computed by qonnx's own code."""
    bits = np.float32(p.bits)
    result = int_quant(value, p.scale, p.zero_point, bits, p.signed, p.narrow, p.rounding_mode)
    codes = operators.quant(
        value, p.scale, p.zero_point, bits=p.bits, signed=p.signed, narrow=p.narrow, rounding_mode=p.rounding_mode
    )
    integers = codes.astype(np.int64) - p.zero_point.astype(np.int64)
    zeros = p.zero_point.astype(np.int64)
    low, high = p.low - int(zeros.max()), p.high - int(zeros.min())
    bipolar = p.bits == 1 and p.signed and not zeros.any()
    return Constant(np.asarray(result, np.float32), integers, p.scale.astype(np.float64), low, high, bipolar)


def bipolar(value: np.ndarray, scale: np.ndarray) -> Constant:
    """The output of a BipolarQuant node for the constant ``value``, computed by qonnx's own code."""
    result = np.asarray(binary_quant(value, scale), np.float32)
    integers = operators.sign(value).astype(np.int64)
    return Constant(result, integers, np.asarray(scale, np.float64), -1, 1, True)


def quantized_linear(value: np.ndarray, p: LinearParameters) -> Constant:
    """The output of a QuantizeLinear node for the constant ``value``: integers of the type of its codes."""
    zeros = p.zero_point.astype(value.dtype)
    codes = operators.quantize_linear(value, p.scale.astype(value.dtype), zeros, low=p.low, high=p.high)
    return Constant(codes.astype(np.int64).astype(onnx.helper.tensor_dtype_to_np_dtype(p.elem_type)))


def dequantized_linear(value: np.ndarray, p: LinearParameters) -> Constant:
    """The output of a DequantizeLinear node for constant integers: the difference from the zero point is exact, and
    rounded to float32 before it is multiplied."""
    integers = value.astype(np.int64) - p.zero_point
    result = np.asarray(integers.astype(np.float32) * p.scale, np.float32)
    low, high = p.low - int(p.zero_point.max()), p.high - int(p.zero_point.min())
    return Constant(result, integers, p.scale.astype(np.float64), low, high)


def rearranged(constant: Constant, rearrange: Callable[[np.ndarray], np.ndarray]) -> Constant:
    """The result of a function that only rearranges elements (Transpose, Reshape) on a constant."""
    if constant.integers is None or constant.scale is None:
        return Constant(rearrange(constant.value))
    scale = np.broadcast_to(constant.scale, constant.value.shape)
    return Constant(
        rearrange(constant.value),
        rearrange(constant.integers),
        rearrange(scale),
        constant.low,
        constant.high,
        constant.bipolar,
    )


def scaled(constant: Constant, factor: np.ndarray, value: np.ndarray) -> Constant:
    """The constant multiplied by ``factor``; ``value`` is the product as the model computes it."""
    if (
        constant.integers is None
        or constant.scale is None
        or np.broadcast_shapes(constant.integers.shape, factor.shape) != constant.integers.shape
    ):
        return Constant(value)
    scale = constant.scale * factor.astype(np.float64)
    return Constant(value, constant.integers, scale, constant.low, constant.high, constant.bipolar)


def folded(node: onnx.NodeProto, given: Mapping[str, Constant], version: int) -> dict[str, Constant]:
    """The outputs, by name, of a node that has only constant inputs (``given``, by name).

    ``version`` is the version of the node's operator set. Raises BitfabricError, with the node's name, for an operator
    that cannot be folded.
    """
    inputs = [given.get(name) for name in node.input]
    values = [None if each is None else each.value for each in inputs]
    first, out = inputs[0] if inputs else None, node.output[0]
    if node.op_type in ("Quant", "IntQuant", "BipolarQuant"):
        needed = 2 if node.op_type == "BipolarQuant" else 4
        if len(values) < needed or first is None or any(value is None for value in values[:needed]):
            raise lowering_error(node, f"it lacks one of its {needed} inputs", "export the model again")
        if needed == 4:
            chosen = quant_parameters(node, values[1:4])
            if np.any(chosen.zero_point != np.round(chosen.zero_point)):
                raise BitfabricError(
                    f"{node.name}: {node.op_type} of constants with a fractional zero point; train with an integer one"
                )
            return {out: quantized(first.value, chosen)}
        return {out: bipolar(first.value, np.asarray(values[1]))}
    if node.op_type in LINEAR_OPS and first is not None:
        zero_point = values[2] if len(values) > 2 else None
        kind = code_type(node, first.value.dtype, zero_point)
        p = linear_parameters(node, values[1], zero_point, first.value.ndim, kind)
        return {out: (quantized_linear if node.op_type == LINEAR_OPS[0] else dequantized_linear)(first.value, p)}
    results = {name: Constant(value) for name, value in zip(node.output, evaluate(node, values, version), strict=False)}
    if first is not None and first.integers is not None and node.op_type in REARRANGING:
        others = values[1:]
        results[out] = rearranged(first, lambda array: evaluate(node, [array, *others], version)[0])
    elif first is not None and node.op_type in UNCHANGED and np.array_equal(first.value, results[out].value):
        results[out] = replace(first, value=results[out].value)
    elif node.op_type == "Mul":
        known, factor = inputs if first is not None and first.integers is not None else inputs[::-1]
        if known is not None and factor is not None:
            results[out] = scaled(known, factor.value, results[out].value)
    return {name: value for name, value in results.items() if name}
