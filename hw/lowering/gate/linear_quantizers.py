"""The rules of ONNX's own quantizers: QuantizeLinear and DequantizeLinear, of ONNX and of ONNX Runtime."""

import numpy as np
from onnx import AttributeProto, TensorProto

from hw.lowering.domains import LINEAR_OPS, ORT_DOMAIN
from hw.lowering.gate.site import Rule, Shape, Site, Tensor
from hw.lowering.gate.tensors import type_name
from hw.lowering.linear_quantizers import ADDENDS, CODES, SMALLEST_SCALE

Outputs = list[tuple[Shape, int]]
PER_TENSOR_ONLY = 13
"""The operator set of ONNX from which on scales can differ along an axis."""


def quantize_linear(site: Site) -> Outputs:
    """Codes of the type of the zero point; of ``output_dtype``, or uint8, where there is none."""
    if site.input(0).elem_type != TensorProto.FLOAT:
        raise site.error(
            f"it quantizes {type_name(site.input(0).elem_type)}, which ONNX Runtime does not round as the operator's "
            "definition says",
            "export the model in float32",
        )
    given = site.integer("output_dtype", 0)
    precision = site.integer("precision", 0)
    if precision not in (0, TensorProto.FLOAT):
        raise site.error(f"it divides in {type_name(precision)}", "leave the attribute precision out")
    zero_point = site.optional(2)
    codes = zero_point.elem_type if zero_point is not None else given or TensorProto.UINT8
    if zero_point is not None and given not in (0, codes):
        raise site.error(f"its output_dtype is {type_name(given)}, but its zero point is {type_name(codes)}")
    if codes not in CODES:
        raise site.error(f"it quantizes to {type_name(codes)}", _codes_remedy())
    _check_parameters(site, codes)
    return [(site.shape(), codes)]


def dequantize_linear(site: Site) -> Outputs:
    """Values of the type of the scale. Constants may have 32 bits; those are for biases."""
    x, zero_point = site.input(0), site.optional(2)
    known = CODES if x.data else ADDENDS
    if x.elem_type not in known:
        raise site.error(f"it takes {type_name(x.elem_type)}", _codes_remedy())
    if zero_point is not None and zero_point.elem_type != x.elem_type:
        raise site.error(f"its zero point is {type_name(zero_point.elem_type)}, its input {type_name(x.elem_type)}")
    given = site.integer("output_dtype", 0)
    if given not in (0, TensorProto.FLOAT):
        raise site.error(f"its output_dtype is {type_name(given)}", "export the model in float32")
    _check_parameters(site, x.elem_type)
    return [(site.shape(), TensorProto.FLOAT)]


def _codes_remedy() -> str:
    return f"quantize to {', '.join(type_name(kind) for kind in CODES)}"


def _check_parameters(site: Site, codes: int) -> None:
    """Raise BitfabricError for a scale and zero point that do not fit the input, or are out of range."""
    shape, scale, zero_point = site.shape(), site.input(1), site.optional(2)
    site.integer("saturate", 1)  # It concerns codes in floating point only.
    if site.integer("block_size", 0):
        raise site.error("its scales are those of blocks (block_size)", "use one scale for the tensor or each channel")
    if scale.elem_type != TensorProto.FLOAT:
        raise site.error(f"its scale is {type_name(scale.elem_type)}", "export the model in float32")
    for index, tensor in ((1, scale), (2, zero_point)):
        if tensor is not None and tensor.value is None:
            raise site.error(
                f"its input {site.node.input[index]} is computed while running",
                "quantize statically (onnxruntime.quantization.quantize_static with QuantFormat.QDQ)",
            )
    if zero_point is not None and zero_point.shape not in (scale.shape, (), (1,)):
        raise site.error(f"its zero point {list(zero_point.shape)} does not fit its scale {list(scale.shape)}")
    if scale.shape not in ((), (1,)):
        _check_axis(site, shape, scale)
    values = scale.value
    assert values is not None
    positive = site.node.op_type == LINEAR_OPS[0] or site.input(0).data
    if not np.all(np.isfinite(values)):
        raise site.error("its scale is not finite", "check the calibration")
    if positive and np.any(values <= 0):
        raise site.error("its scale is not positive", "check the calibration")
    if positive and np.any(values < SMALLEST_SCALE):
        raise site.error(
            f"its scale is below {SMALLEST_SCALE:.3g}, where float32 has fewer bits", "check the calibration"
        )


def _check_axis(site: Site, shape: Shape, scale: Tensor) -> None:
    """Raise BitfabricError for scales that are not one for each element along an axis."""
    given = site.get("axis", AttributeProto.INT)
    axis = site.axis(1 if given is None else int(given), len(shape))
    if site.node.domain != ORT_DOMAIN and site.version < PER_TENSOR_ONLY:
        raise site.error(
            f"it has {scale.shape[0]} scales; before opset {PER_TENSOR_ONLY} there is one for the tensor",
            f"export it in opset {PER_TENSOR_ONLY} or later",
        )
    if scale.shape != (shape[axis],):
        raise site.error(f"its scales {list(scale.shape)} do not fit axis {axis} of its input {list(shape)}")


RULES: dict[str, Rule] = dict(zip(LINEAR_OPS, (quantize_linear, dequantize_linear), strict=True))
