"""ONNX and QONNX nodes as host steps: of one data input, with constants as the others, or combining several chains."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from hw.host.steps import HostStep, combined, step
from hw.lowering import quantizer_steps as quantizers
from hw.lowering.call import FLOATS, Call, Steps, broadcast, data_index, float_of
from hw.lowering.constant_operators.casts import cast_name
from hw.lowering.constant_operators.elementwise import numbers
from hw.lowering.domains import QONNX_DOMAIN, OperatorKey, channels_last_keys, linear_keys, onnx_keys, qonnx_keys
from hw.lowering.gate.tensors import type_name
from hw.lowering.linear_quantizers import code_type

BOOL = "bool"
"""The type of a condition."""
COMPARISONS = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
LOGIC = ("And", "Or", "Xor")
CONDITIONS = frozenset({*COMPARISONS, *LOGIC, "Not", "IsNaN", "IsInf"})
"""Operators whose result is a condition."""
ORDERED = frozenset({"Div", "PRelu"})
"""Operators of two operands, of which the data usually is the first."""


def _identity(call: Call) -> Steps:
    return ()


def _dropout(call: Call) -> Steps:
    training = call.operand(2) if call.version >= 12 else None
    if (training is not None and np.any(training)) or (call.version < 7 and not call.get("is_test", 0)):
        raise call.lowering_error("it is in training mode and random", "call model.eval() before the export")
    return ()


INDICES = ("int32", "int64")
"""The types of what ArgMax and TopK choose."""


def _cast(call: Call) -> Steps:
    """A Cast rounds to its type, and the operators after it compute in that type; a condition is 1 or 0. Between the
    types of an index nothing is rounded: it is small, and the port has the last one."""
    to = cast_name(int(call.get("to", 1)))
    if to in INDICES and call.number in INDICES:
        return ()
    if to in INDICES and call.number == BOOL:
        to = "float32"
    if to is None or to not in (*FLOATS, BOOL):
        raise call.lowering_error("it rounds values to integers", "use a Quant instead")
    if to == BOOL:
        call.check_number(*FLOATS, BOOL)
        zero = step("Constant", np.zeros((), call.number))
        return () if call.number == BOOL else (combined("Equal", ((), (zero,))), step("Not"))
    if call.number == BOOL:
        return (combined("Where", ((), *((step("Constant", np.array(value, to)),) for value in (1, 0)))),)
    return () if to == float_of(call) else (step("Cast", to=to),)


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


def _arithmetic(call: Call) -> Steps:
    op, data = call.node.op_type, data_index(call.inputs, tuple(call.node.input))
    value = broadcast(call, call.required_alike(1 - data))
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
        value = broadcast(call, call.required(index))
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
    if call.number in quantizers.INTEGERS:
        return quantizers.clip_codes(call)
    data = data_index(call.inputs, tuple(call.node.input))
    low, high = np.full((), -np.inf, np.float32), np.full((), np.inf, np.float32)
    if call.node.op_type == "Clip" and call.version < 11:
        low, high = np.maximum(low, call.get("min", low)), np.minimum(high, call.get("max", high))
    elif call.node.op_type == "Clip":
        least, most = call.alike(1), call.alike(2)
        low, high = low if least is None else least, high if most is None else most
    else:
        others = [broadcast(call, call.required_alike(i)) for i in range(len(call.node.input)) if i != data]
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
    **dict.fromkeys(qonnx_keys("Quant", "IntQuant"), quantizers.quant),
    **dict.fromkeys(linear_keys("QuantizeLinear"), quantizers.quantize_linear),
    **dict.fromkeys(linear_keys("DequantizeLinear"), quantizers.dequantize_linear),
    (QONNX_DOMAIN, "BipolarQuant"): quantizers.bipolar,
    (QONNX_DOMAIN, "MultiThreshold"): quantizers.multi_threshold,
    (QONNX_DOMAIN, "Trunc"): quantizers.trunc,
    **dict.fromkeys(onnx_keys("Softmax", "LogSoftmax"), _softmax),
    ("", "ArgMax"): _arg_max,
}
"""Operator -> function that converts a node with one data input to host steps.

The function raises BitfabricError for a node that has no such steps.
"""
