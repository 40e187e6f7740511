"""The rules of element-wise operators, of quantizers, and of those along one axis."""

import numpy as np
from onnx import AttributeProto, TensorProto

from hw.lowering.gate.limits import MAX_BITS, MAX_TRUNCATED, MAX_ZERO_POINT
from hw.lowering.gate.site import Rule, Shape, Site
from hw.lowering.gate.tensors import check_annotation, check_type

Outputs = list[tuple[Shape, int]]


def same(site: Site) -> Outputs:
    """One output like the first input."""
    return [(site.shape(), site.input(0).elem_type)]


def broadcast(site: Site) -> Outputs:
    """All inputs broadcast against each other."""
    shapes = [site.shape(index) for index in range(len(site.inputs))]
    return [(site.broadcast(*shapes), site.input(0).elem_type)]


def condition(site: Site) -> Outputs:
    """A condition for each element of all inputs together."""
    return [(shape, TensorProto.BOOL) for shape, _ in broadcast(site)]


def where(site: Site) -> Outputs:
    return [(broadcast(site)[0][0], site.input(1).elem_type)]


def gelu(site: Site) -> Outputs:
    site.word("approximate", "none", ("none", "tanh"))
    return same(site)


def modulo(site: Site) -> Outputs:
    site.flag("fmod")
    return broadcast(site)


def is_inf(site: Site) -> Outputs:
    site.flag("detect_negative", 1)
    site.flag("detect_positive", 1)
    return condition(site)


def prelu(site: Site) -> Outputs:
    if site.broadcast(site.shape(), site.shape(1)) != site.shape():
        raise site.error(f"its slopes of shape {list(site.shape(1))} do not fit its input {list(site.shape())}")
    return same(site)


def cast(site: Site) -> Outputs:
    to = site.integer("to", 0)
    check_type(to, f"{site.node.name}: the result of {site.node.op_type}")
    return [(site.shape(), to)]


def dropout(site: Site) -> Outputs:
    mode = site.optional(2)
    if mode is not None and (mode.value is None or np.any(mode.value)):
        raise site.error("it is in training mode and random", "call model.eval() before the export")
    ratio = site.optional(1)
    if ratio is not None and ratio.shape:
        raise site.error(f"its ratio of shape {list(ratio.shape)} is no single number")
    return [*same(site), (site.shape(), TensorProto.BOOL)]


def clip(site: Site) -> Outputs:
    for index in (1, 2):
        bound = site.optional(index)
        if bound is not None and bound.shape not in ((), (1,)):
            raise site.error(f"its bound of shape {list(bound.shape)} is no single number")
    return same(site)


def batch_normalization(site: Site) -> Outputs:
    shape = site.shape()
    if len(shape) < 2:
        raise site.error(f"its input of shape {list(shape)} has no channels")
    for index, what in enumerate(("scale", "bias", "mean", "variance"), 1):
        if site.shape(index) != (shape[1],):
            raise site.error(
                f"its {what} has the shape {list(site.shape(index))}; its input {list(shape)} has {shape[1]} channels"
            )
    kind = site.input(0).elem_type
    return [(shape, kind), *[((shape[1],), kind)] * (len(site.node.output) - 1)]


def softmax(site: Site) -> Outputs:
    shape = site.shape()
    axis = site.axis(site.integer("axis", -1 if site.version >= 13 else 1), len(shape))
    if site.version < 13 and any(size > 1 for size in shape[axis + 1 :]):
        raise site.error(
            f"before opset 13 it normalises over all axes from {axis} on of {list(shape)} together",
            "export it in opset 13 or later, along one axis",
        )
    return same(site)


def arg_max(site: Site) -> Outputs:
    shape = site.shape()
    axis = site.axis(site.integer("axis", 0), len(shape))
    kept = (1,) if site.flag("keepdims", 1) else ()
    site.flag("select_last_index")
    return [((*shape[:axis], *kept, *shape[axis + 1 :]), TensorProto.INT64)]


def top_k(site: Site) -> Outputs:
    shape = site.shape()
    axis = site.axis(site.integer("axis", -1), len(shape))
    given = (site.integer("k", 0),) if site.version < 10 else site.integers(1, "number of elements")
    if given is None or len(given) != 1 or not 1 <= given[0] <= shape[axis]:
        number = given[0] if given else "no"
        raise site.error(f"it takes {number} of {shape[axis]} elements")
    site.flag("largest", 1)
    site.flag("sorted", 1)
    out = (*shape[:axis], given[0], *shape[axis + 1 :])
    return [(out, site.input(0).elem_type), (out, TensorProto.INT64)]


# --- quantizers: their results are float32 ---


def quant(site: Site) -> Outputs:
    site.flag("signed", 1)
    site.flag("narrow")
    shapes = [site.shape(), site.shape(1), site.shape(2)]
    if site.broadcast(*shapes) != site.shape():
        raise site.error(
            f"its scale {list(shapes[1])} and zero point {list(shapes[2])} do not fit its input {list(shapes[0])}"
        )
    site.broadcast(site.shape(), site.shape(3))
    zero_point = site.input(2).value
    if zero_point is not None and zero_point.size and np.abs(zero_point).max() > MAX_ZERO_POINT:
        raise site.error(
            f"its zero point is {np.abs(zero_point).max():g}", f"use one of a magnitude of up to {MAX_ZERO_POINT:,}"
        )
    return [(site.shape(), TensorProto.FLOAT)]


def bipolar_quant(site: Site) -> Outputs:
    if site.broadcast(site.shape(), site.shape(1)) != site.shape():
        raise site.error(f"its scale {list(site.shape(1))} does not fit its input {list(site.shape())}")
    return [(site.shape(), TensorProto.FLOAT)]


def multi_threshold(site: Site) -> Outputs:
    for name in ("out_scale", "out_bias"):
        site.floating(name, 1.0)
    site.word("data_layout", "", ("", "NC", "NCW", "NWC", "NCHW", "NHWC"))
    dtype = site.get("out_dtype", AttributeProto.STRING)
    if dtype is not None:
        check_annotation(dtype.decode(errors="replace"), f"{site.node.name}: its output")
    steps = site.input(1).value
    if steps is not None and steps.ndim == 2 and steps.shape[1] >= 1 << MAX_BITS:
        raise site.error(
            f"it has {steps.shape[1]} thresholds, for codes of more than {MAX_BITS} bits",
            f"quantize to {MAX_BITS} bits at most",
        )
    return [(site.shape(), TensorProto.FLOAT)]


def trunc(site: Site) -> Outputs:
    site.flag("signed", 1)
    site.flag("narrow")
    last = len(site.inputs) - 1
    for index in range(1, last + 1):
        shape = site.shape(index)
        if np.prod(shape) != 1 and (index in (3, last) or site.broadcast(site.shape(), shape) != site.shape()):
            raise site.error(f"its input {index} of shape {list(shape)} does not fit its input {list(site.shape())}")
    for index, what, most in ((3, "takes", MAX_TRUNCATED), (last, "gives", MAX_BITS)):
        width = site.input(index).value
        bits = None if width is None else float(width.ravel()[0])
        if bits is not None and not (1 <= bits <= most and bits == int(bits)):
            raise site.error(f"it {what} {bits:g} bits", f"truncate to a whole number of 1 to {most}")
    return [(site.shape(), TensorProto.FLOAT)]


UNARY = (
    "Identity", "Neg", "Relu", "Sigmoid", "Tanh", "Softsign", "Softplus", "Exp", "Abs", "Sign", "Floor", "Ceil",
    "Round", "HardSwish", "LeakyRelu", "Elu", "Selu", "HardSigmoid", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh",
    "Celu", "Cos", "Cosh", "Erf", "Log", "Mish", "Not", "Reciprocal", "Shrink", "Sin", "Sinh", "Sqrt", "Swish", "Tan",
    "ThresholdedRelu",
)  # fmt: skip
RULES: dict[str, Rule] = {
    **dict.fromkeys(UNARY, same),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Min", "Max", "Sum", "Mean", "Pow"), broadcast),
    **dict.fromkeys(
        ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Xor", "IsNaN"), condition
    ),
    "Gelu": gelu,
    "IsInf": is_inf,
    "Mod": modulo,
    "Where": where,
    "PRelu": prelu,
    "Cast": cast,
    "Dropout": dropout,
    "Clip": clip,
    "BatchNormalization": batch_normalization,
    **dict.fromkeys(("Softmax", "LogSoftmax"), softmax),
    "ArgMax": arg_max,
    "TopK": top_k,
}
QUANTIZERS: dict[str, Rule] = {
    **dict.fromkeys(("Quant", "IntQuant"), quant),
    "BipolarQuant": bipolar_quant,
    "MultiThreshold": multi_threshold,
    "Trunc": trunc,
}
