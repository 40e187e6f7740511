"""ONNX and QONNX nodes as host steps: of one data input, with constants as the others, or combining several chains."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from hw.host import operators
from hw.host.errors import BitfabricError
from hw.host.steps import HostStep, combined, step
from hw.lowering.constant_operators.casts import cast_name
from hw.lowering.constant_operators.elementwise import numbers
from hw.lowering.constants import Constant, quant_parameters
from hw.lowering.domains import (
    QONNX_DOMAIN,
    OperatorKey,
    channel_axis,
    channels_last_keys,
    linear_keys,
    onnx_keys,
    qonnx_keys,
)
from hw.lowering.gate.tensors import type_name
from hw.lowering.linear_quantizers import CODES, NAMES, LinearParameters, code_type, linear_parameters
from hw.lowering.node_attributes import attribute
from hw.lowering.refusal import lowering_error

FLOATS = ("float16", "float32", "float64")
"""The types in which a chain can compute."""
BOOL = "bool"
"""The type of a condition."""
COMPARISONS = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
LOGIC = ("And", "Or", "Xor")
CONDITIONS = frozenset({*COMPARISONS, *LOGIC, "Not", "IsNaN", "IsInf"})
"""Operators whose result is a condition."""
ORDERED = frozenset({"Div", "PRelu"})
"""Operators of two operands, of which the data usually is the first."""
INTEGERS = tuple(type_name(kind) for kind in CODES)
"""The types of codes between QuantizeLinear and DequantizeLinear."""
WIDE_CODES = 255
"""The range of codes that a Threshold computes; for more, a Requant is needed."""
Shape = tuple[int, ...]
Steps = tuple[HostStep, ...]


@dataclass(frozen=True)
class Call:
    """A node to convert.

    ``inputs`` has None for the data input and for absent inputs. ``shape`` is that of the data, with a batch of one.
    ``version`` is the version of the operator set, ``number`` the type of the data (see ``Chain.number``); None if that
    is not known, and the constants have the data's type.
    """

    node: onnx.NodeProto
    inputs: tuple[Constant | None, ...]
    shape: Shape
    output_shape: Shape
    version: int
    number: str | None = None

    def operand(self, index: int) -> np.ndarray | None:
        """The value of a constant input; None if the node leaves it out. Raises BitfabricError for data and for NaN."""
        if index >= len(self.node.input) or not self.node.input[index]:
            return None
        constant = self.inputs[index]
        if constant is None:
            raise self.lowering_error(
                f"its input {self.node.input[index]} is computed while running",
                "keep one data input for each such node",
            )
        if constant.value.dtype.kind == "f" and np.isnan(constant.value).any():
            raise self.lowering_error(f"its constant {self.node.input[index]} holds NaN", "check the training")
        return constant.value

    def required(self, index: int) -> np.ndarray:
        """The value of a constant input. Raises BitfabricError as ``operand`` does, and for an absent input."""
        value = self.operand(index)
        if value is None:
            raise self.lowering_error(f"it lacks its input {index}", "export the model again")
        return value

    def alike(self, index: int) -> np.ndarray | None:
        """The value of a constant input of the data's type. Raises BitfabricError as ``operand``, and for other types.

        The data must be floating point, of a type in which the host can compute.
        """
        self.check_number(*FLOATS)
        value = self.operand(index)
        if value is not None and self.number is not None and value.dtype.name != self.number:
            raise self.lowering_error(
                f"its constant {self.node.input[index]} is {value.dtype}, its data {self.number}",
                "store both as float32",
            )
        return value

    def required_alike(self, index: int) -> np.ndarray:
        """The same for an input that the node must have."""
        value = self.alike(index)
        if value is None:
            raise self.lowering_error(f"it lacks its input {index}", "export the model again")
        return value

    def check_number(self, *accepted: str) -> None:
        """Raise BitfabricError unless the data is of an ``accepted`` type."""
        if self.number is not None and self.number not in accepted:
            raise self.lowering_error(f"it computes in {self.number}", "cast its input to float32 before it")

    def get(self, name: str, default: Any) -> Any:
        """An attribute of the node."""
        return attribute(self.node, name, default)

    def lowering_error(self, why: str, remedy: str) -> BitfabricError:
        """The error that the node cannot be lowered."""
        return lowering_error(self.node, why, remedy)

    @property
    def channel_axis(self) -> int:
        """The axis of the channels, counted with the batch."""
        return channel_axis(self.node, len(self.shape))

    def spatial(self, shape: Shape) -> Shape:
        """The sizes of the spatial axes of a ``shape`` of the rank of the data's, which includes the batch."""
        return tuple(size for axis, size in enumerate(shape) if axis not in (0, self.channel_axis))

    def along(self, axis: int, lead: int = 1) -> Shape:
        """The shape in which values along ``axis`` broadcast against the data; ``lead`` is the first axis' size."""
        return lead, *(-1 if i == axis else 1 for i in range(1, len(self.shape)))

    def axis(self, default: int) -> int:
        """The attribute ``axis`` as a non-negative number. Raises BitfabricError for the batch axis."""
        axis = int(self.get("axis", default))
        axis += len(self.shape) if axis < 0 else 0
        if axis == 0:
            raise self.lowering_error("it works along the batch", "use another axis")
        return axis


def data_index(inputs: tuple[Constant | None, ...], names: tuple[str, ...]) -> int:
    """The index of the data input: the first that is not constant."""
    return next(i for i, (constant, name) in enumerate(zip(inputs, names, strict=True)) if name and constant is None)


def _identity(call: Call) -> Steps:
    return ()


def _dropout(call: Call) -> Steps:
    training = call.operand(2) if call.version >= 12 else None
    if (training is not None and np.any(training)) or (call.version < 7 and not call.get("is_test", 0)):
        raise call.lowering_error("it is in training mode and random", "call model.eval() before the export")
    return ()


def _cast(call: Call) -> Steps:
    """A Cast rounds to its type, and the operators after it compute in that type; a condition is 1 or 0."""
    to = cast_name(int(call.get("to", 1)))
    if to is None or to not in (*FLOATS, BOOL):
        raise call.lowering_error("it rounds values to integers", "use a Quant instead")
    if to == BOOL:
        call.check_number(*FLOATS, BOOL)
        zero = step("Constant", np.zeros((), call.number))
        return () if call.number == BOOL else (combined("Equal", ((), (zero,))), step("Not"))
    if call.number == BOOL:
        return (combined("Where", ((), *((step("Constant", np.array(value, to)),) for value in (1, 0)))),)
    return () if to == _float_of(call) else (step("Cast", to=to),)


def number_after(call: Call) -> str:
    """The type of a node's output (see ``Chain.number``); it has passed the function in TRANSLATIONS."""
    match call.node.op_type:
        case "Cast":
            return cast_name(int(call.get("to", 1))) or "float32"
        case "Quant" | "IntQuant" | "DequantizeLinear":
            return "float32"
        case "QuantizeLinear":
            return type_name(code_type(call.node, "", call.operand(2)))
        case "ArgMax":
            return "int64"
        case op if op in CONDITIONS:
            return BOOL
        case "Where":
            return _value_type(call)
        case _:
            return call.number or "float32"


def _reshape(call: Call) -> Steps:
    if not call.output_shape or call.output_shape[0] != 1 or not call.shape or call.shape[0] != 1:
        raise call.lowering_error(
            f"it moves the batch out of the first axis ({call.shape} to {call.output_shape})", "keep the batch first"
        )
    if call.output_shape == call.shape:
        return ()
    return (step("Reshape", shape=call.output_shape[1:]),)


def _transpose(call: Call) -> Steps:
    perm = tuple(int(axis) for axis in call.get("perm", tuple(reversed(range(len(call.shape))))))
    if perm == tuple(range(len(perm))):
        return ()
    if perm[0] != 0:
        raise call.lowering_error("it moves the batch out of the first axis", "keep the batch first")
    return (step("Transpose", perm=perm),)


def _broadcast(call: Call, value: np.ndarray) -> np.ndarray:
    """A constant operand. Raises BitfabricError if broadcasting it would change the shape of the data."""
    try:
        result = np.broadcast_shapes(call.shape, value.shape)
    except ValueError:
        result = ()
    if result != call.shape:
        raise call.lowering_error(
            f"its constant of shape {value.shape} does not broadcast to the data's {call.shape}",
            "give it one value for the tensor or one for each channel",
        )
    return value


def _arithmetic(call: Call) -> Steps:
    op, data = call.node.op_type, data_index(call.inputs, tuple(call.node.input))
    value = _broadcast(call, call.required_alike(1 - data))
    if not np.all(np.isfinite(value)):
        raise call.lowering_error("its constant is not finite", "check the training")
    if op == "Div" and data == 0 and np.any(value == 0):
        raise call.lowering_error("it divides by zero", "check the model")
    if op == "Sub" and data == 1:
        return step("Neg"), step("Add", value)
    return _combined(call) if op in ORDERED and data == 1 else (step(op, value),)


def _combined(call: Call) -> Steps:
    """A function of several tensors, all but one of which are constant."""
    call.check_number(*FLOATS, BOOL)
    return (combination(call, [() if constant is None else None for constant in call.inputs]),)


def combination(call: Call, branches: Sequence[Steps | None]) -> HostStep:
    """The step of a node that computes a function of several tensors, element by element.

    ``branches`` are the steps to its data inputs, None for constant ones, whose values become branches, too. Raises
    BitfabricError for a function that is not computed here, and for constants that do not fit it.
    """
    op = call.node.op_type
    if op == "Mod" and not call.get("fmod", 0):
        raise call.lowering_error("it has fmod = 0, which is for integers", "set fmod to 1")
    whole: list[Steps] = []
    for index, branch in enumerate(branches):
        if branch is not None:
            whole.append(branch)
            continue
        value = _broadcast(call, call.required(index))
        if op == "Pow" and value.dtype.kind != "f":
            if index == 0:
                raise call.lowering_error(f"its base is {value.dtype}", "store it as float32")
            value = value.astype(call.number or np.float32)
        whole.append((step("Constant", value),))
    return combined(op, whole)


def _several(call: Call) -> Steps:
    """Sum and Mean, which may have one input only."""
    return _combined(call) if len(call.node.input) > 1 else ()


def _value_type(call: Call) -> str:
    """The type of the values among which a Where chooses."""
    value = next((each.value.dtype.name for each in call.inputs[1:] if each is not None), None)
    return value or call.number or "float32"


def _plain(call: Call) -> Steps:
    call.check_number(*FLOATS)
    return (step(call.node.op_type),)


def _parametrised(call: Call) -> Steps:
    call.check_number(*FLOATS)
    op = call.node.op_type
    values = numbers(op, call.get)
    if op == "Celu" and values["alpha"] == 0:
        raise call.lowering_error("it divides by its alpha of 0", "check the model")
    return (step(op, **values),)


def _gelu(call: Call) -> Steps:
    call.check_number(*FLOATS)
    return (step("Gelu", approximate=str(call.get("approximate", "none"))),)


def _is_inf(call: Call) -> Steps:
    call.check_number(*FLOATS)
    signs = {name: bool(call.get(f"detect_{name}", 1)) for name in ("negative", "positive")}
    return (step("IsInf", **signs),)


def _not(call: Call) -> Steps:
    return (step("Not"),)


def _clip(call: Call) -> Steps:
    if call.number in INTEGERS:
        return _clip_codes(call)
    data = data_index(call.inputs, tuple(call.node.input))
    low, high = np.full((), -np.inf, np.float32), np.full((), np.inf, np.float32)
    if call.node.op_type == "Clip" and call.version < 11:
        low, high = np.maximum(low, call.get("min", low)), np.minimum(high, call.get("max", high))
    elif call.node.op_type == "Clip":
        least, most = call.alike(1), call.alike(2)
        low, high = low if least is None else least, high if most is None else most
    else:
        others = [_broadcast(call, call.required_alike(i)) for i in range(len(call.node.input)) if i != data]
        for value in others:
            low, high = (low, np.minimum(high, value)) if call.node.op_type == "Min" else (np.maximum(low, value), high)
    return (step("Clip", low, high),)


def _batch_normalization(call: Call) -> Steps:
    if call.get("training_mode", 0):
        raise call.lowering_error("it is in training mode", "call model.eval() before the export")
    values = [call.required_alike(i) for i in range(1, 5)]
    epsilon = float(np.float32(call.get("epsilon", 1e-5)))
    if not all(np.all(np.isfinite(value)) for value in values) or np.any(values[3] + epsilon <= 0):
        raise call.lowering_error("its statistics are not finite or its variance is not positive", "check the training")
    along = call.along(call.channel_axis)
    return (step("BatchNormalization", *(value.reshape(along) for value in values), epsilon=epsilon),)


def _quant(call: Call) -> Steps:
    """QONNX computes ``x / scale + zero_point`` in NumPy, in the wider type of the operands; the result is float32."""
    p = quant_parameters(call.node, [call.operand(i) for i in range(1, 4)])
    scale, zero_point = _broadcast(call, p.scale), _broadcast(call, p.zero_point)
    codes = step(
        "Quant", scale, zero_point, bits=p.bits, signed=p.signed, narrow=p.narrow, rounding_mode=p.rounding_mode.upper()
    )
    values = _rescaled(scale, zero_point)
    if call.number is None:
        return codes, *values
    quotient = np.true_divide(np.ones(1, call.number), np.ones(1, scale.dtype)).dtype
    number = np.result_type(quotient, zero_point.dtype)
    if quotient != number or number.name not in ("float32", "float64"):
        raise call.lowering_error(
            f"it quantizes {call.number} with a scale of {scale.dtype} and a zero point of {zero_point.dtype}",
            "store both as float32",
        )
    if number == np.float64:
        # The codes may become integers of an edge, from which a chain starts in float32.
        values = (step("Cast", to="float64"), *values, step("Cast", to="float32"))
    return (codes, *values) if number.name == _float_of(call) else (step("Cast", to=number.name), codes, *values)


def _quantize_linear(call: Call) -> Steps:
    """Codes, which stay integers until DequantizeLinear. Odd zero points of wide codes are added after the rounding.

    A Requant rounds ties to even; the code of a tie is odd if the zero point is. So such codes are computed without it.
    """
    p = _linear(call)
    if p.high - p.low > WIDE_CODES and np.any(p.zero_point & 1):
        if p.zero_point.size > 1:
            raise call.lowering_error("its channels have different zero points", "use one zero point, or 8 bits")
        zero = int(p.zero_point)
        centred = step("QuantizeLinear", p.scale, np.zeros((), np.float32), low=p.low - zero, high=p.high - zero)
        return centred, step("Add", np.array(zero, np.float32))
    return (step("QuantizeLinear", p.scale, p.zero_point.astype(np.float32), low=p.low, high=p.high),)


def _dequantize_linear(call: Call) -> Steps:
    p = _linear(call)
    return _rescaled(p.scale, p.zero_point.astype(np.float32))


def _linear(call: Call) -> LinearParameters:
    """The parameters of QuantizeLinear or DequantizeLinear on data of a known type."""
    wanted = ("float32",) if call.node.op_type == "QuantizeLinear" else INTEGERS
    call.check_number(*wanted)
    scale, zero_point = call.required(1), call.operand(2)
    kind = code_type(call.node, call.number or "", zero_point)
    return linear_parameters(call.node, scale, zero_point, len(call.shape), kind)


def _clip_codes(call: Call) -> Steps:
    """Bounds between QuantizeLinear and DequantizeLinear, as Brevitas writes them for codes of few bits."""
    op, (least, most) = call.node.op_type, CODES[NAMES[str(call.number)]]
    data = data_index(call.inputs, tuple(call.node.input))
    others = {i: call.operand(i) for i in range(len(call.node.input)) if i != data}
    given = {i: value for i, value in others.items() if value is not None}
    if any(value.size != 1 for value in given.values()):
        raise call.lowering_error("its bounds differ by element", "use one number")
    ends = {i: int(value.ravel()[0]) for i, value in given.items()}
    low = max([least, *(end for i, end in ends.items() if op == "Max" or (op == "Clip" and i == 1))])
    high = min([most, *(end for i, end in ends.items() if op == "Min" or (op == "Clip" and i == 2))])
    # Where no code is left, the upper bound is the result.
    return (step("QuantizeLinear", np.ones((), np.float32), np.zeros((), np.float32), low=min(low, high), high=high),)


def _float_of(call: Call) -> str:
    """The type in which a chain holds a node's data: integers are exact in float32, in which a chain starts."""
    return call.number if call.number in FLOATS else "float32"


def _rescaled(scale: np.ndarray, zero_point: np.ndarray | float = 0.0) -> Steps:
    """The steps from codes to values: subtract the zero point, multiply by the scale; neutral steps are left out."""
    shift = (step("Sub", zero_point),) if np.any(zero_point) else ()
    return (*shift, step("Mul", scale)) if np.any(scale != 1) else shift


def _bipolar(call: Call) -> Steps:
    call.check_number("float32")
    scale = _broadcast(call, call.required(1))
    if not np.all(np.isfinite(scale)) or np.any(scale == 0):
        raise call.lowering_error("its scale is zero or not finite", "check the training")
    return step("BipolarQuant"), *_rescaled(scale)


def _multi_threshold(call: Call) -> Steps:
    call.check_number("float32")
    layout = str(call.get("data_layout", "")) or {2: "NC", 3: "NWC", 4: "NCHW"}.get(len(call.shape), "NC")
    axis = layout.index("C") if "C" in layout else 1
    thresholds = call.required(1)
    if thresholds.ndim != 2 or thresholds.shape[0] not in (1, call.shape[axis]) or not thresholds.shape[1]:
        raise call.lowering_error(
            f"its thresholds of shape {thresholds.shape} do not fit {call.shape[axis]} channels",
            "give one row of thresholds, or one for each channel",
        )
    scale, bias = (np.asarray(call.get(*value), np.float32) for value in (("out_scale", 1.0), ("out_bias", 0.0)))
    if not np.isfinite(scale) or scale == 0 or not np.isfinite(bias):
        raise call.lowering_error("its out_scale is zero or not finite", "check the model")
    steps = thresholds.T.reshape(call.along(axis, thresholds.shape[1]))
    least = float(bias) / float(scale)
    if len(steps) == 1 and least == -0.5:  # Two values, one the other's negative: bipolar.
        return step("MultiThreshold", steps, least=-1, unit=2), *_rescaled(scale / 2)
    if least == int(least):
        return step("MultiThreshold", steps, least=int(least), unit=1), *_rescaled(scale)
    return step("MultiThreshold", steps, least=0, unit=1), *_rescaled(scale), step("Add", bias)


def _trunc(call: Call) -> Steps:
    call.check_number("float32")
    scale, zero_point = call.required(1), call.required(2)
    in_bits, out_bits = (call.required(i).ravel()[0] for i in (3, len(call.node.input) - 1))
    mode = str(call.get("rounding_mode", "FLOOR")).upper()
    if mode not in operators.ROUNDING_MODES:
        raise call.lowering_error(f"QONNX has no rounding mode {mode}", "train with another one")
    clip: tuple[int, int] | None = None
    if len(call.node.input) >= 6:
        out_scale = call.required(4)
        divisor = np.float32(2) ** np.round(np.log2(out_scale / scale))
        clip = operators.code_range(int(out_bits), bool(call.get("signed", 1)), bool(call.get("narrow", 0)))
        back = zero_point / divisor
    else:
        divisor = np.float32(2.0 ** float(in_bits - out_bits))
        out_scale, back = scale, zero_point
    codes = step("Trunc", scale, zero_point, divisor, clip=clip, rounding_mode=mode)
    return codes, *_rescaled(out_scale, back)


def _softmax(call: Call) -> Steps:
    call.check_number(*FLOATS)
    return (step(call.node.op_type, axis=call.axis(-1 if call.version >= 13 else 1)),)


def _arg_max(call: Call) -> Steps:
    keepdims, last = bool(call.get("keepdims", 1)), bool(call.get("select_last_index", 0))
    return (step("ArgMax", axis=call.axis(0), keepdims=keepdims, last=last),)


def top_k(call: Call, output: int) -> Steps:
    """The host step of TopK's output 0 (values) or 1 (indices)."""
    count = int(call.required(1).ravel()[0]) if call.version >= 10 else int(call.get("k", 1))
    return (step("TopK", k=count, axis=call.axis(-1), largest=bool(call.get("largest", 1)), output=output),)


TRANSLATIONS: Mapping[OperatorKey, Callable[[Call], Steps]] = {
    ("", "Identity"): _identity,
    ("", "Dropout"): _dropout,
    ("", "Cast"): _cast,
    **dict.fromkeys(onnx_keys("Flatten", "Reshape", "Squeeze", "Unsqueeze"), _reshape),
    ("", "Transpose"): _transpose,
    **dict.fromkeys(onnx_keys("Add", "Sub", "Mul", "Div", "PRelu"), _arithmetic),
    **dict.fromkeys(
        onnx_keys(
            "Neg",
            "Relu",
            "Sigmoid",
            "Tanh",
            "Softsign",
            "Softplus",
            "Exp",
            "Abs",
            "Sign",
            "Floor",
            "Ceil",
            "Round",
            "HardSwish",
            "Acos",
            "Acosh",
            "Asin",
            "Asinh",
            "Atan",
            "Atanh",
            "Cos",
            "Cosh",
            "Erf",
            "IsNaN",
            "Log",
            "Mish",
            "Reciprocal",
            "Sin",
            "Sinh",
            "Sqrt",
            "Tan",
        ),
        _plain,
    ),
    **dict.fromkeys(
        onnx_keys("LeakyRelu", "Elu", "Selu", "HardSigmoid", "Celu", "Shrink", "Swish", "ThresholdedRelu"),
        _parametrised,
    ),
    ("", "Gelu"): _gelu,
    ("", "IsInf"): _is_inf,
    ("", "Not"): _not,
    **dict.fromkeys(onnx_keys("Sum", "Mean"), _several),
    **dict.fromkeys(onnx_keys("Pow", "Mod", "Where", *COMPARISONS, *LOGIC), _combined),
    **dict.fromkeys(onnx_keys("Clip", "Min", "Max"), _clip),
    **dict.fromkeys((("", "BatchNormalization"), *channels_last_keys("BatchNormalization")), _batch_normalization),
    **dict.fromkeys(qonnx_keys("Quant", "IntQuant"), _quant),
    **dict.fromkeys(linear_keys("QuantizeLinear"), _quantize_linear),
    **dict.fromkeys(linear_keys("DequantizeLinear"), _dequantize_linear),
    (QONNX_DOMAIN, "BipolarQuant"): _bipolar,
    (QONNX_DOMAIN, "MultiThreshold"): _multi_threshold,
    (QONNX_DOMAIN, "Trunc"): _trunc,
    **dict.fromkeys(onnx_keys("Softmax", "LogSoftmax"), _softmax),
    ("", "ArgMax"): _arg_max,
}
"""Operator -> function that converts a node with one data input to host steps.

The function raises BitfabricError for a node that has no such steps.
"""
