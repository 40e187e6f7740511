"""Element-wise operators: functions of one tensor, arithmetic with constants, and of a tensor with itself."""

import numpy as np
from onnx import TensorProto

from tests.builders.qonnx_builder import Builder
from tests.lowering.operators.row import ROUNDED, Build, Row


def _plain(op: str, **attributes) -> Build:
    return lambda b, x, opset: b.node(op, x, **attributes)


def _with(op: str, constant, first: bool = False, **attributes) -> Build:
    """The operator with one constant operand, after or before the data."""

    def build(b: Builder, x: str, opset: int) -> str:
        operand = b.constant(constant)
        return b.node(op, *((operand, x) if first else (x, operand)), **attributes)

    return build


def _inside(op: str, scale: float, shift: float = 0.0) -> Build:
    """The operator on values that are brought into its domain."""
    return lambda b, x, opset: b.node(op, b.node("Add", b.node("Mul", x, scale), shift))


def _clip(b: Builder, x: str, opset: int) -> str:
    return b.node("Clip", x, min=-1.0, max=2.0) if opset < 11 else b.node("Clip", x, -1.0, 2.0)


def _compared(op: str, operand: str | None = None) -> Build:
    """A comparison with a constant that chooses between two branches."""

    def build(b: Builder, x: str, opset: int) -> str:
        condition = b.node(op, x, b.constant(0.5)) if operand is None else b.node(op, x)
        return b.node("Where", condition, x, b.node("Mul", x, -0.5))

    return build


def _logic(op: str) -> Build:
    def build(b: Builder, x: str, opset: int) -> str:
        low, high = b.node("Less", x, b.constant(-1.0)), b.node("Greater", x, b.constant(1.0))
        condition = b.node("Not", low) if op == "Not" else b.node(op, low, high)
        return b.node("Where", condition, x, b.constant(0.25))

    return build


def _dropout(b: Builder, x: str, opset: int) -> str:
    return b.node("Dropout", x)


def _cast(b: Builder, x: str, opset: int) -> str:
    return b.node("Cast", b.node("Cast", x, to=TensorProto.FLOAT16), to=TensorProto.FLOAT)


def _batch_normalization(b: Builder, x: str, opset: int) -> str:
    statistics = (np.array(v, np.float32) for v in ([1, 2, 0.5, -1], [0, 0.5, 1, -0.25], [0, 1, -1, 0.5], [1, 1, 4, 1]))
    return b.node("BatchNormalization", x, *statistics, epsilon=0.0)


def _product(b: Builder, x: str, opset: int) -> str:
    """The integers of a layer, not yet quantized."""
    return b.node("MatMul", x, b.quant(np.arange(-8, 8).reshape(4, 4) / 4, 0.25, 5))


def _itself(op: str) -> Build:
    """The operator of a tensor and a function of it."""
    return lambda b, x, opset: b.node(op, (y := _product(b, x, opset)), b.node("Add", b.node("Abs", y), 1.0))


def _swish(b: Builder, x: str, opset: int) -> str:
    return b.node("Swish", x, alpha=1.0)


def _nan(op: str) -> Build:
    """No value here is one of these, so that the first branch is taken."""
    return lambda b, x, opset: b.node("Where", b.node(op, x), b.constant(0.25), x)


_TRIGONOMETRIC = {
    "Sin": (1.0, 0.0), "Cos": (1.0, 0.0), "Tan": (0.25, 0.0), "Asin": (0.25, 0.0), "Acos": (0.25, 0.0),
    "Atan": (1.0, 0.0), "Sinh": (0.5, 0.0), "Cosh": (0.5, 0.0), "Asinh": (1.0, 0.0), "Acosh": (1.0, 6.0),
    "Atanh": (0.2, 0.0),
}  # fmt: skip

ROWS = (
    *(Row(op, _plain(op)) for op in ("Abs", "Ceil", "Floor", "Identity", "Neg", "Relu", "Round", "Sign")),
    Row("Add", _with("Add", 0.375), "of a constant, of two layers (below), or of a tensor and a function of it"),
    Row("Sub", _with("Sub", 0.375, first=True), "as Add"),
    Row("Mul", _with("Mul", -1.5), "by a constant, or of a tensor and a function of it"),
    Row("Div", _with("Div", 4.0), "by a constant, or of a tensor and a function of it"),
    Row("Mul", _itself("Mul"), "of a tensor and a function of it"),
    Row("Div", _itself("Div"), "of a tensor and a function of it"),
    Row("Max", _with("Max", [[0.25, 0, 1, -1]]), "with constants, or of a tensor and functions of it"),
    Row("Min", _with("Min", [[0.25, 0, 1, -1]]), "with constants, or of a tensor and functions of it"),
    Row("Max", _itself("Max"), "of a tensor and a function of it", output=(1.0, 6)),
    Row("Min", _itself("Min"), "of a tensor and a function of it", output=(1.0, 6)),
    Row("Sum", lambda b, x, opset: b.node("Sum", x, b.constant([[0.5, 0, 1, -1]])), "of a tensor and constants"),
    Row("Mean", lambda b, x, opset: b.node("Mean", x, b.constant([[0.5, 0, 1, -1]])), "of a tensor and constants"),
    Row("Pow", _with("Pow", 2.0), "constant exponent"),
    Row("Mod", lambda b, x, opset: b.node("Mod", x, b.constant(0.75), fmod=1), "constant divisor, fmod = 1"),
    Row("Clip", _clip, "constant bounds"),
    Row("BatchNormalization", _batch_normalization, "not in training mode"),
    Row("Cast", _cast, "to float16, float32 and float64"),
    Row("Dropout", _dropout, "not in training mode"),
    Row("LeakyRelu", _plain("LeakyRelu", alpha=0.25)),
    Row("LeakyRelu", _plain("LeakyRelu", alpha=-0.25), "also with a negative slope"),
    Row("PRelu", _with("PRelu", np.array([0.25, 0.5, 0, 1])), "constant slopes"),
    Row("PRelu", _with("PRelu", np.array([0.25, -0.5, 0, -1])), "also with negative slopes"),
    Row("ThresholdedRelu", _plain("ThresholdedRelu", alpha=0.5)),
    Row("Shrink", _plain("Shrink", lambd=0.5, bias=0.25)),
    Row("HardSigmoid", _plain("HardSigmoid", alpha=0.25, beta=0.5), output=(0.0625, 6)),
    Row("HardSwish", _plain("HardSwish")),
    Row("Reciprocal", _inside("Reciprocal", 1.0, 0.0625), output=(0.25, 8)),
    Row("Softsign", _plain("Softsign"), output=(0.0625, 6), exactness=ROUNDED),
    Row("Sqrt", lambda b, x, opset: b.node("Sqrt", b.node("Abs", x)), output=(0.0625, 6)),
    *(
        Row(op, _plain(op), exactness=ROUNDED, output=(0.03, 7))
        for op in ("Elu", "Selu", "Celu", "Sigmoid", "Mish", "Gelu", "Softplus", "Tanh", "Erf", "Exp")
    ),
    Row("Gelu", _plain("Gelu", approximate="tanh"), "both forms", exactness=ROUNDED, output=(0.03, 7)),
    Row("Swish", _swish, exactness=ROUNDED, output=(0.03, 7)),
    Row("Log", lambda b, x, opset: b.node("Log", b.node("Add", b.node("Abs", x), 0.3)), exactness=ROUNDED),
    *(Row(op, _inside(op, *where), exactness=ROUNDED, output=(0.03, 7)) for op, where in _TRIGONOMETRIC.items()),
    *(
        Row(op, _compared(op), "as the condition of Where", since=9)
        for op in ("Less", "LessOrEqual", "Greater", "GreaterOrEqual")
    ),
    Row("Equal", _compared("Equal"), "as the condition of Where", since=11),
    *(Row(op, _logic(op), "of conditions, for Where", since=9) for op in ("And", "Or", "Xor", "Not")),
    Row("Where", _compared("Greater"), "condition and branches are constants or functions of one tensor", since=9),
    Row("IsNaN", _nan("IsNaN"), "as the condition of Where", since=9),
    Row("IsInf", _nan("IsInf"), "as the condition of Where", since=10),
)  # fmt: skip
