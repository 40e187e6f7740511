"""The widths of quantizers: 16 bits for streams and weights, 32 for constants that are only added."""

from math import prod

import numpy as np
from onnx import TensorProto

from hw.ir.stream import smallest_dtype
from hw.lowering.domains import LINEAR_OPS
from hw.lowering.gate.limits import MAX_ADDEND_BITS, MAX_BITS
from hw.lowering.gate.site import Site
from hw.lowering.linear_quantizers import ADDENDS, CODES

Width = tuple[str, int]
"""A quantizer's name and its bits; an empty name for what no quantizer of constants has written."""
NONE: Width = ("", 0)
WEIGHTS = {"MatMul": (0, 1), "Gemm": (0, 1), "Conv": (1,), "ConvTranspose": (1,)}
"""Operator -> the inputs that are weights if they are constant."""


def check(site: Site, data: bool) -> Width:
    """The quantizer and its bits that a constant output of the node carries.

    Raises BitfabricError, naming the quantizer, for a stream or weights that are too wide.
    """
    for index in WEIGHTS.get(site.node.op_type, ()):
        _check_weights(site, index)
    bits = _bits(site)
    if data:
        if bits > MAX_BITS:
            raise site.error(
                f"it gives a stream of {bits} bits; streams have up to {MAX_BITS}",
                f"quantize to {MAX_BITS} bits at most",
            )
        return NONE
    if bits > MAX_ADDEND_BITS:
        raise site.error(
            f"it gives constants of {bits} bits; biases have up to {MAX_ADDEND_BITS} and weights up to {MAX_BITS}",
            "quantize to fewer bits",
        )
    if bits:
        return site.node.name, bits
    carried = [(tensor.bits, tensor.quantizer) for tensor in site.inputs if tensor is not None]
    widest = max(carried, default=(0, ""))
    return widest[1], widest[0]


def _bits(site: Site) -> int:
    """The bits of a quantizer; 0 for other operators, and where the number is not constant or no whole one."""
    if site.node.op_type in LINEAR_OPS:
        return _linear_bits(site)
    if site.node.op_type not in ("Quant", "IntQuant"):
        return 0
    value = site.input(3).value
    bits = 0.0 if value is None or not value.size else float(np.max(value))
    return int(bits) if bits == np.floor(bits) and abs(bits) < 1 << 20 else 0


def _linear_bits(site: Site) -> int:
    """The bits of the codes, or, after DequantizeLinear, of the codes without their zero points."""
    zero_point = site.optional(2)
    zeros = np.zeros(1, np.int64) if zero_point is None or zero_point.value is None else zero_point.value
    low, high = int(zeros.astype(np.int64).min()), int(zeros.astype(np.int64).max())
    if site.node.op_type == LINEAR_OPS[0]:
        kind = zero_point.elem_type if zero_point is not None else site.integer("output_dtype", 0) or TensorProto.UINT8
        return smallest_dtype(*CODES[kind]).bitwidth()
    known = site.input(0)
    if site.input(0).data:
        return smallest_dtype(*CODES[known.elem_type]).bitwidth()
    value = None if known.value is None or not known.value.size else known.value.astype(np.int64)
    ends = ADDENDS[known.elem_type] if value is None else (int(value.min()), int(value.max()))
    return smallest_dtype(min(0, ends[0] - high), max(0, ends[1] - low)).bitwidth()


def _check_weights(site: Site, index: int) -> None:
    tensor = site.optional(index)
    if tensor is None or tensor.data:
        return
    if tensor.bits > MAX_BITS:
        raise site.error(
            f"its weights have {tensor.bits} bits ({tensor.quantizer}); weights have up to {MAX_BITS}",
            f"quantize them to {MAX_BITS} bits at most",
        )
    value = tensor.value
    if value is None or not prod(value.shape) or not np.all(value == np.round(value)):
        return
    low, high = float(value.min()), float(value.max())
    if low < -(1 << MAX_BITS - 1) or high >= (1 << MAX_BITS - (low < 0)):
        raise site.error(
            f"its weights {site.node.input[index]} are integers from {low:g} to {high:g}; weights have up to "
            f"{MAX_BITS} bits",
            f"quantize them to {MAX_BITS} bits at most",
        )
