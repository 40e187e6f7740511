"""Operators on constants, computed with NumPy: deterministic, and bounded in memory and work.

A float32 result is the one of IEEE 754 arithmetic, as ONNX Runtime computes it too: additions, products, quotients and
roots are rounded once. Sums of several terms and functions such as ``exp`` are computed in float64 and rounded once;
a library that adds in another order may differ from that in the last bit. Source of the operators: the ONNX operator
specification, up to operator set 21.

An operator that is not among ``OPERATORS`` is refused by name, random ones among them. So a model has the same
constants in every process.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from hw.host.errors import BitfabricError
from hw.lowering.constant_operators import casts, elementwise, shapes, sums
from hw.lowering.constant_operators.node import SHORT, Array, ConstantNode, Operator
from hw.lowering.domains import operator_key
from hw.lowering.gate.boundary import one_line
from hw.lowering.refusal import lowering_error

RANDOM = frozenset({
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
})  # fmt: skip
"""Operators whose result is another one each time."""


def evaluate(node: onnx.NodeProto, inputs: Sequence[Array | None], version: int) -> tuple[Array, ...]:
    """The outputs of a node whose inputs are all constant; ``inputs`` has None for those that it leaves out.

    ``version`` is the version of the node's operator set. Only the shape of an input of Shape and Size matters. Raises
    BitfabricError, with the node's name, for an operator that is not known here, for operands that do not fit it, and
    for results of more than MAX_ELEMENTS elements.
    """
    domain, op = operator_key(node)
    if op in RANDOM and not domain:
        raise lowering_error(node, "its values are random", "store the values in the model as constants")
    if domain or op not in OPERATORS:
        raise lowering_error(
            node,
            "its inputs are constant, and constants are not computed with this operator",
            "store its result in the model (onnxsim does so, for example)",
        )
    call = ConstantNode(node, tuple(inputs), version)
    try:
        with np.errstate(all="ignore"):
            made = OPERATORS[op](call)
    except BitfabricError:
        raise
    except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError, MemoryError) as error:
        raise call.refused(
            f"its constants do not fit it ({one_line(error, SHORT)})", "export the model again"
        ) from None
    results = (made,) if isinstance(made, np.ndarray | np.generic) else made
    return tuple(np.asarray(value) for value in results)


FUNCTIONS = (
    "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Celu", "Cos", "Cosh", "Elu", "Erf", "Exp", "Gelu",
    "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Mish", "Selu", "Shrink", "Sigmoid", "Sin", "Sinh", "Softplus",
    "Softsign", "Swish", "Tan", "Tanh", "ThresholdedRelu",
)  # fmt: skip
"""Functions of one tensor of floating-point numbers."""
OPERATORS: Mapping[str, Operator] = {
    **{op: elementwise.of_one(op) for op in FUNCTIONS},
    "Abs": elementwise.unary(np.abs),
    "Add": elementwise.binary(np.add),
    "And": elementwise.binary(np.logical_and),
    "ArgMax": sums.arg(np.argmax),
    "ArgMin": sums.arg(np.argmin),
    "BatchNormalization": sums.batch_normalization,
    "Cast": casts.cast,
    "Ceil": elementwise.unary(np.ceil),
    "Clip": elementwise.clip,
    "Concat": shapes.concat,
    "Constant": shapes.constant,
    "ConstantOfShape": shapes.constant_of_shape,
    "Div": elementwise.binary(elementwise.divide),
    "Dropout": shapes.dropout,
    "Equal": elementwise.binary(np.equal),
    "Expand": shapes.expand,
    "Flatten": shapes.flatten,
    "Floor": elementwise.unary(np.floor),
    "Gather": shapes.gather,
    "GatherElements": shapes.gather_elements,
    "Greater": elementwise.binary(np.greater),
    "GreaterOrEqual": elementwise.binary(np.greater_equal),
    "Identity": shapes.identity,
    "IsInf": elementwise.is_inf,
    "IsNaN": elementwise.unary(np.isnan),
    "Less": elementwise.binary(np.less),
    "LessOrEqual": elementwise.binary(np.less_equal),
    "MatMul": sums.product,
    "Max": elementwise.several(np.maximum),
    "Mean": elementwise.mean,
    "Min": elementwise.several(np.minimum),
    "Mod": elementwise.modulo,
    "Mul": elementwise.binary(np.multiply),
    "Neg": elementwise.unary(np.negative),
    "Not": elementwise.unary(np.logical_not),
    "Or": elementwise.binary(np.logical_or),
    "PRelu": elementwise.p_relu,
    "Pad": shapes.pad,
    "Pow": elementwise.power,
    "Range": shapes.arange,
    "Reciprocal": elementwise.unary(lambda x: x.dtype.type(1) / x),
    "ReduceL1": sums.reduced(lambda x, **how: np.abs(x).sum(**how), 18),
    "ReduceL2": sums.reduced(lambda x, **how: (x * x).sum(**how), 18, np.sqrt),
    "ReduceMax": sums.reduced(np.max, 18),
    "ReduceMean": sums.reduced(sums.mean, 18),
    "ReduceMin": sums.reduced(np.min, 18),
    "ReduceProd": sums.reduced(np.prod, 18),
    "ReduceSum": sums.reduced(np.sum, 13),
    "ReduceSumSquare": sums.reduced(lambda x, **how: (x * x).sum(**how), 18),
    "Relu": elementwise.unary(lambda x: np.maximum(x, x.dtype.type(0))),
    "Reshape": shapes.reshape,
    "Round": elementwise.unary(np.round),
    "Shape": shapes.shape,
    "Sign": elementwise.unary(np.sign),
    "Size": lambda call: np.asarray(call[0].size, np.int64),
    "Slice": shapes.sliced,
    "Split": shapes.split,
    "Sqrt": elementwise.unary(np.sqrt),
    "Squeeze": shapes.squeeze,
    "Sub": elementwise.binary(np.subtract),
    "Sum": elementwise.several(np.add),
    "Tile": shapes.tile,
    "Transpose": shapes.transpose,
    "Unsqueeze": shapes.unsqueeze,
    "Where": elementwise.where,
    "Xor": elementwise.binary(np.logical_xor),
}
"""By ONNX operator, the function that computes it on constants."""
