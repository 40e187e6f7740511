"""QONNX models by hand, node by node, for the tests of what starts from a QONNX file."""

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

DOMAIN = "qonnx.custom_op.general"
CUSTOM = {"Quant", "IntQuant", "BipolarQuant", "MultiThreshold", "Trunc"}


class Builder:
    """Appends nodes; every method returns the name of the tensor that it makes."""

    def __init__(self, shape: tuple[int, ...], name: str = "x", elem_type: int = TensorProto.FLOAT) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs = [helper.make_tensor_value_info(name, elem_type, shape)]
        self.annotations: list[onnx.TensorAnnotation] = []

    def constant(self, value: ArrayLike, dtype=np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def node(self, op: str, *inputs, outputs: int = 1, **attributes) -> str:
        """Inputs are tensor names, or constants as numbers and arrays."""
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        made = [f"t{len(self.nodes)}" if i == 0 else f"t{len(self.nodes)}_{i}" for i in range(outputs)]
        domain = DOMAIN if op in CUSTOM else ""
        self.nodes.append(
            helper.make_node(op, names, made, name=f"{op}_{len(self.nodes)}", domain=domain, **attributes)
        )
        return made[0]

    def quant(self, x, scale, bits, zero_point=0.0, signed=1, narrow=0, rounding_mode="ROUND", op="Quant") -> str:
        return self.node(
            op, x, scale, zero_point, float(bits), signed=signed, narrow=narrow, rounding_mode=rounding_mode
        )

    def batch_norm(self, x, scale, bias, mean, variance, epsilon=0.0) -> str:
        return self.node("BatchNormalization", x, scale, bias, mean, variance, epsilon=float(epsilon))

    def annotate(self, name: str, dtype: str) -> None:
        entry = onnx.StringStringEntryProto(key="finn_datatype", value=dtype)
        self.annotations.append(onnx.TensorAnnotation(tensor_name=name, quant_parameter_tensor_names=[entry]))

    def model(self, *outputs: tuple[str, tuple[int, ...]] | tuple[str, tuple[int, ...], int], opset: int = 13):
        """The model with these outputs: name, shape and, if not FLOAT, the ONNX type."""
        infos = [helper.make_tensor_value_info(o[0], o[2] if len(o) > 2 else TensorProto.FLOAT, o[1]) for o in outputs]
        graph = helper.make_graph(self.nodes, "test", self.inputs, infos, self.constants)
        graph.quantization_annotation.extend(self.annotations)
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid(DOMAIN, 1)], ir_version=8
        )
