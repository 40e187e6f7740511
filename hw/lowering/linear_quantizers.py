"""ONNX's own quantizers, QuantizeLinear and DequantizeLinear: their parameters, checked, from a node's attributes.

Source: the ONNX operator specification, operator sets 10 to 25, and ONNX Runtime's operators of the same names in its
domain ``com.microsoft``, which take 4 and 16 bits in every operator set. QuantizeLinear rounds ``x / scale`` to even
and adds the zero point after that; DequantizeLinear is ``(x - zero_point) * scale``.
"""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto

from hw.lowering.gate.tensors import type_name
from hw.lowering.node_attributes import attribute
from hw.lowering.refusal import lowering_error

CODES: dict[int, tuple[int, int]] = {
    TensorProto.INT4: (-8, 7),
    TensorProto.UINT4: (0, 15),
    TensorProto.INT8: (-128, 127),
    TensorProto.UINT8: (0, 255),
    TensorProto.INT16: (-(1 << 15), (1 << 15) - 1),
    TensorProto.UINT16: (0, (1 << 16) - 1),
}
"""The element types of codes -> their minimum and maximum."""
ADDENDS: dict[int, tuple[int, int]] = {**CODES, TensorProto.INT32: (-(1 << 31), (1 << 31) - 1)}
"""The same with the type of constants that are only added: biases."""
NAMES: dict[str, int] = {type_name(kind): kind for kind in ADDENDS}
"""NumPy's names of these types."""

SMALLEST_SCALE = float(np.finfo(np.float32).tiny)
"""The smallest number that float32 holds with all of its bits. Below it quotients by a scale have few, and runtimes may
take such a scale for 0."""


@dataclass(frozen=True)
class LinearParameters:
    """The parameters of one node. ``scale`` (float32) and ``zero_point`` (int64) broadcast against its input.

    ``elem_type`` is the ONNX type of the codes; ``low`` and ``high`` are its minimum and maximum.
    """

    scale: np.ndarray
    zero_point: np.ndarray
    elem_type: int

    @property
    def low(self) -> int:
        return ADDENDS[self.elem_type][0]

    @property
    def high(self) -> int:
        return ADDENDS[self.elem_type][1]


def code_type(node: onnx.NodeProto, data: np.dtype | str, zero_point: np.ndarray | None) -> int:
    """The ONNX type of a node's codes; ``data`` is the type of its input.

    The codes of QuantizeLinear have the type of its zero point; that of ``output_dtype``, or uint8, where it has none.
    """
    if node.op_type == "DequantizeLinear":
        return NAMES[str(data)]
    if zero_point is not None:
        return NAMES[str(zero_point.dtype)]
    return int(attribute(node, "output_dtype", 0)) or TensorProto.UINT8


def linear_parameters(
    node: onnx.NodeProto, scale: np.ndarray | None, zero_point: np.ndarray | None, rank: int, elem_type: int
) -> LinearParameters:
    """The parameters of a QuantizeLinear or DequantizeLinear node that the gate has passed.

    ``rank`` is the number of axes of its input, ``elem_type`` the ONNX type of the codes. Raises BitfabricError for a
    scale or zero point that is not constant.
    """
    if scale is None:
        raise lowering_error(
            node, "its scale is computed while running", "use QuantFormat.QDQ with static quantization"
        )
    along = [1] * rank
    if scale.size > 1 and rank:
        along[int(attribute(node, "axis", 1)) % rank] = -1
    zeros = np.zeros(scale.shape, np.int64) if zero_point is None else zero_point.astype(np.int64)
    shape = tuple(along) if scale.size > 1 else ()
    return LinearParameters(scale.reshape(shape), zeros.reshape(shape if zeros.size > 1 else ()), elem_type)
