"""The versions of operators that are read: whoever adds an operator, or a version of one, adds it to ``VERSIONS``.

A version is the operator set since which an operator has a definition (ONNX: *since version*). A node's version follows
from the operator set that the model imports. A version that is not listed here, a later one for example, is refused by
name: it is never computed as another one.
"""

from collections.abc import Mapping

import onnx
from qonnx.custom_op.registry import get_supported_versions

from hw.lowering.domains import CHANNELS_LAST_DOMAIN, ORT_DOMAIN, QONNX_DOMAIN, OperatorKey
from hw.lowering.refusal import lowering_error

OLDEST_OPSET = 7
"""From this operator set of ONNX's on operands broadcast as in NumPy, and ONNX Runtime computes the reference."""
NEWEST_OPSET = onnx.defs.onnx_opset_version()

ONNX: Mapping[str, tuple[int, ...]] = {
    "Abs": (6, 13),
    "Acos": (7, 22),
    "Acosh": (9, 22),
    "Add": (7, 13, 14),
    "And": (7,),
    "ArgMax": (1, 11, 12, 13),
    "ArgMin": (1, 11, 12, 13),
    "Asin": (7, 22),
    "Asinh": (9, 22),
    "Atan": (7, 22),
    "Atanh": (9, 22),
    "AveragePool": (7, 10, 11, 19, 22),
    "BatchNormalization": (7, 9, 14, 15),
    "Cast": (6, 9, 13, 19, 21, 23, 24, 25),
    "Ceil": (6, 13),
    "Celu": (12,),
    "Clip": (6, 11, 12, 13),
    "Concat": (4, 11, 13),
    "Constant": (1, 9, 11, 12, 13, 19, 21, 23, 24, 25),
    "ConstantOfShape": (9, 20, 21, 23, 24, 25),
    "Conv": (1, 11, 22),
    "ConvTranspose": (1, 11, 22),
    "Cos": (7, 22),
    "Cosh": (9, 22),
    "DequantizeLinear": (10, 13, 19, 21, 23, 24, 25),
    "DepthToSpace": (1, 11, 13),
    "Div": (7, 13, 14),
    "Dropout": (7, 10, 12, 13, 22),
    "Elu": (6, 22),
    "Equal": (7, 11, 13, 19),
    "Erf": (9, 13),
    "Exp": (6, 13),
    "Expand": (8, 13),
    "Flatten": (1, 9, 11, 13, 21, 23, 24, 25),
    "Floor": (6, 13),
    "Gather": (1, 11, 13),
    "GatherElements": (11, 13),
    "GatherND": (11, 12, 13),
    "Gelu": (20,),
    "Gemm": (7, 9, 11, 13),
    "GlobalAveragePool": (1, 22),
    "GlobalMaxPool": (1, 22),
    "Greater": (7, 9, 13),
    "GreaterOrEqual": (12, 16),
    "HardSigmoid": (6, 22),
    "HardSwish": (14, 22),
    "Identity": (1, 13, 14, 16, 19, 21, 23, 24, 25),
    "IsInf": (10, 20),
    "IsNaN": (9, 13, 20),
    "LeakyRelu": (6, 16),
    "Less": (7, 9, 13),
    "LessOrEqual": (12, 16),
    "Log": (6, 13),
    "LogSoftmax": (1, 11, 13),
    "MatMul": (1, 9, 13),
    "Max": (6, 8, 12, 13),
    "MaxPool": (1, 8, 10, 11, 12, 22),
    "Mean": (6, 8, 13),
    "Min": (6, 8, 12, 13),
    "Mish": (18, 22),
    "Mod": (10, 13),
    "Mul": (7, 13, 14),
    "Neg": (6, 13),
    "Not": (1,),
    "Or": (7,),
    "PRelu": (7, 9, 16),
    "Pad": (2, 11, 13, 18, 19, 21, 23, 24, 25),
    "Pow": (7, 12, 13, 15),
    "QuantizeLinear": (10, 13, 19, 21, 23, 24, 25),
    "Range": (11,),
    "Reciprocal": (6, 13),
    "ReduceL1": (1, 11, 13, 18),
    "ReduceL2": (1, 11, 13, 18),
    "ReduceMax": (1, 11, 12, 13, 18, 20),
    "ReduceMean": (1, 11, 13, 18),
    "ReduceMin": (1, 11, 12, 13, 18, 20),
    "ReduceProd": (1, 11, 13, 18),
    "ReduceSum": (1, 11, 13),
    "ReduceSumSquare": (1, 11, 13, 18),
    "Relu": (6, 13, 14),
    "Reshape": (5, 13, 14, 19, 21, 23, 24, 25),
    "Resize": (10, 11, 13, 18, 19),
    "Round": (11, 22),
    "Selu": (6, 22),
    "Shape": (1, 13, 15, 19, 21, 23, 24, 25),
    "Shrink": (9,),
    "Sigmoid": (6, 13),
    "Sign": (9, 13),
    "Sin": (7, 22),
    "Sinh": (9, 22),
    "Size": (1, 13, 19, 21, 23, 24, 25),
    "Slice": (1, 10, 11, 13),
    "Softmax": (1, 11, 13),
    "Softplus": (1, 22),
    "Softsign": (1, 22),
    "SpaceToDepth": (1, 13),
    "Split": (2, 11, 13, 18),
    "Sqrt": (6, 13),
    "Squeeze": (1, 11, 13, 21, 23, 24, 25),
    "Sub": (7, 13, 14),
    "Sum": (6, 8, 13),
    "Swish": (24,),
    "Tan": (7, 22),
    "Tanh": (6, 13),
    "ThresholdedRelu": (10, 22),
    "Tile": (6, 13),
    "TopK": (1, 10, 11, 24),
    "Transpose": (1, 13, 21, 23, 24, 25),
    "Unsqueeze": (1, 11, 13, 21, 23, 24, 25),
    "Upsample": (7, 9),
    "Where": (9, 16),
    "Xor": (7,),
}
"""ONNX's operators, as data or among constants -> the versions that are read."""

QONNX: Mapping[str, tuple[int, ...]] = {
    "BipolarQuant": (1,),
    "IntQuant": (1,),
    "MultiThreshold": (1,),
    "Quant": (1,),
    "Trunc": (1, 2),
}
"""QONNX's quantizers -> the versions that are read."""
QONNX_NEWEST = max(version for versions in QONNX.values() for version in versions)
"""The newest operator set of QONNX whose operators are known."""

CHANNELS_LAST: Mapping[str, tuple[int, ...]] = {"BatchNormalization": (9, 14), "Conv": (1,), "MaxPool": (1, 10)}
"""QONNX's operators with channels last -> the versions that are read; a version is that of ONNX's operator that QONNX
executes. (ONNX Runtime has no BatchNormalization of version 1.)"""

ORT: Mapping[str, tuple[int, ...]] = {"DequantizeLinear": (1,), "QuantizeLinear": (1,)}
"""ONNX Runtime's own operators -> the versions that are read."""

VERSIONS: Mapping[OperatorKey, tuple[int, ...]] = {
    (domain, op): versions
    for domain, table in (("", ONNX), (QONNX_DOMAIN, QONNX), (CHANNELS_LAST_DOMAIN, CHANNELS_LAST), (ORT_DOMAIN, ORT))
    for op, versions in table.items()
}


def since_version(key: OperatorKey, opset: int) -> int | None:
    """The version of an operator in an operator set of its domain; None where that has no such operator (any more)."""
    domain, op = key
    if not domain:
        try:
            schema = onnx.defs.get_schema(op, opset, "")
        except onnx.defs.SchemaError:
            return None
        return None if schema.deprecated else schema.since_version
    if domain == ORT_DOMAIN:
        return 1  # Its operators have no other versions.
    return max((version for version in get_supported_versions(domain, op) if version <= opset), default=None)


def check_version(node: onnx.NodeProto, key: OperatorKey, opset: int) -> None:
    """Raise BitfabricError for a version of an operator that is not among VERSIONS. Other operators are not judged."""
    known = VERSIONS.get(key)
    version = None if known is None else since_version(key, opset)
    if known is None or version is None or version in known:
        return
    others = [each for each in range(1, NEWEST_OPSET + 1) if since_version(key, each) in known]
    nearest = min(others, key=lambda each: abs(each - opset), default=opset)
    of = f" of {key[0]}" if key[0] else ""
    read = ", ".join(map(str, known))
    raise lowering_error(
        node,
        f"its version {version} (opset {opset}{of}) is not read, only version{'s' if len(known) > 1 else ''} {read}",
        f"export it in opset {nearest}{of}",
    )
