"""Operators of other kinds of quantized models, each refused with the reason and with what to do instead."""

import onnx

from hw.lowering.domains import ORT_DOMAIN

QDQ = "quantize it with onnxruntime.quantization.quantize_static and QuantFormat.QDQ"
INTEGER = (
    "ONNX Runtime computes it in integers whose sums depend on the processor: products of uint8 and int8 saturate in "
    "16 bits where it lacks VNNI"
)
"""Source: ONNX Runtime's documentation of quantization (``reduce_range``), and its results on such processors."""
OPERATORS = {
    "FloatQuant": ("it holds minifloat quantizers", "train with integer quantizers (brevitas.export.export_qonnx)"),
    "DynamicQuantizeLinear": ("its scale depends on the frame", QDQ),
    **dict.fromkeys(("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"), (INTEGER, QDQ)),
}
"""Operator -> why it is not read, and the remedy."""
RUNTIME_OPERATORS = {
    "DynamicQuantizeMatMul": ("its scale depends on the frame", QDQ),
    "DynamicQuantizeLSTM": ("its scale depends on the frame", QDQ),
    "MatMulNBits": ("its scales are those of blocks", QDQ),
    **dict.fromkeys(("QGemm", "MatMulIntegerToFloat", "QAttention"), (INTEGER, QDQ)),
}
"""The same for operators of ONNX Runtime's domain, besides those whose names start with QLinear."""


def refusal(node: onnx.NodeProto) -> tuple[str, str] | None:
    """Why a node belongs to a kind of quantized model that is not read, and the remedy; None for other nodes."""
    if node.domain == ORT_DOMAIN and node.op_type.startswith("QLinear"):
        return INTEGER, QDQ
    return (RUNTIME_OPERATORS if node.domain == ORT_DOMAIN else OPERATORS).get(node.op_type)
