"""Random small networks with ONNX's own quantizers (QuantizeLinear, DequantizeLinear), as post-training tools do.

Scales follow from the values of sample frames, as in a calibration.
"""

from dataclasses import dataclass

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

TYPES = {
    "int4": (ml_dtypes.int4, TensorProto.INT4, -8, 7),
    "uint4": (ml_dtypes.uint4, TensorProto.UINT4, 0, 15),
    "int8": (np.int8, TensorProto.INT8, -128, 127),
    "uint8": (np.uint8, TensorProto.UINT8, 0, 255),
    "int16": (np.int16, TensorProto.INT16, -(1 << 15), (1 << 15) - 1),
    "uint16": (np.uint16, TensorProto.UINT16, 0, (1 << 16) - 1),
}
"""Name -> NumPy's type, ONNX's, and the range of codes."""
PACKED_SINCE = 21
"""The operator set from which on ONNX's own operators have 4 and 16 bits; before it, ONNX Runtime's have."""


def onnxruntime_run(model: onnx.ModelProto, x: np.ndarray, batch: int | None = None) -> np.ndarray:
    """ONNX Runtime's first output for the model as it stands, without graph optimisation, frame by frame."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    (name,) = (each.name for each in session.get_inputs())
    return np.concatenate([session.run(None, {name: frame[None]})[0] for frame in x])


@dataclass(frozen=True)
class Codes:
    """A tensor of codes: its name, type, scale and zero point (arrays), and the axis of these."""

    name: str
    kind: str
    scale: np.ndarray
    zero_point: np.ndarray
    axis: int = 1


class QdqBuilder:
    """Appends nodes; methods return the names of tensors, or Codes."""

    def __init__(self, frames: np.ndarray, opset: int, elem_type: int = TensorProto.FLOAT) -> None:
        self.frames, self.opset = frames, opset
        self.rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.input = helper.make_tensor_value_info("x", elem_type, (1, *frames.shape[1:]))

    def constant(self, value, dtype=np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def node(self, op: str, *inputs, domain: str = "", **attributes) -> str:
        """Inputs are tensor names, or constants as numbers and arrays."""
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, names, [name], f"{op}_{len(self.nodes)}", domain=domain, **attributes))
        return name

    def model(self, output: str, elem_type: int = TensorProto.FLOAT) -> onnx.ModelProto:
        info = helper.make_tensor_value_info(output, elem_type, None)
        graph = helper.make_graph(self.nodes, "qdq", [self.input], [info], self.constants)
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8 if self.opset < 21 else 10)

    def values(self, name: str) -> np.ndarray:
        """The values of a tensor for the sample frames."""
        return self.frames if name == "x" else onnxruntime_run(self.model(name), self.frames)

    def domain(self, kind: str) -> str:
        return "com.microsoft" if self.opset < PACKED_SINCE and not kind.endswith("int8") else ""

    def _parameters(self, codes: Codes) -> tuple[list[str], dict]:
        scale = self.constant(codes.scale)
        zero = self.constant(codes.zero_point, TYPES[codes.kind][0])
        return [scale, zero], {"axis": codes.axis} if codes.scale.ndim and self.opset >= 13 else {}

    def quantize(self, x: str, kind: str, scale, zero_point, axis: int = 1) -> Codes:
        codes = Codes("", kind, np.asarray(scale, np.float32), np.asarray(zero_point), axis)
        names, attributes = self._parameters(codes)
        made = self.node("QuantizeLinear", x, *names, domain=self.domain(kind), **attributes)
        return Codes(made, kind, codes.scale, codes.zero_point, axis)

    def dequantize(self, codes: Codes) -> str:
        names, attributes = self._parameters(codes)
        return self.node("DequantizeLinear", codes.name, *names, domain=self.domain(codes.kind), **attributes)

    def calibrated(self, x: str, kind: str, symmetric: bool) -> Codes:
        """Codes of a tensor, with the scale that its sample values need."""
        values = self.values(x)
        wider = self.rng.uniform(0.9, 1.2)  # Equal ratios of scales would lead to ties, which float32 rounds anyhow.
        low, high = min(float(values.min()), 0.0) * wider, max(float(values.max()), 1e-3) * wider
        _, _, least, most = TYPES[kind]
        if symmetric:
            zero = (least + most + 1) // 2
            return self.quantize(x, kind, max(-low, high) / (most - zero), zero)
        scale = np.float32((high - low) / (most - least))
        return self.quantize(x, kind, scale, int(np.clip(np.rint(least - low / scale), least, most)))

    def weights(self, rng: np.random.Generator, shape, kind: str, symmetric: bool, axis: int | None, form: str) -> str:
        """Random weights behind DequantizeLinear: ``stored`` as integers, quantized in the ``float`` style of TensorRT,
        or as integers behind a Clip (Brevitas)."""
        dtype, _, least, most = TYPES[kind]
        count = 1 if axis is None else shape[axis]
        scale = rng.uniform(0.5, 1.5, count) * 2.0 / (most - least)
        zero = np.full(count, (least + most + 1) // 2) if symmetric else rng.integers(least, most, count)
        if axis is None:
            scale, zero = scale[0], zero[0]
        codes = Codes("", kind, np.asarray(scale, np.float32), np.asarray(zero), axis or 0)
        if form == "float":
            values = self.constant(rng.normal(size=shape) * 0.5)
            return self.dequantize(self.quantize(values, kind, codes.scale, codes.zero_point, codes.axis))
        integers = self.constant(rng.integers(least, most, shape, endpoint=True), dtype)
        if form == "clip" and kind.endswith("int8") and self.opset >= 12:
            bounds = [self.constant(bound, dtype) for bound in (least + 1, most - 3)]
            integers = self.node("Clip", integers, *bounds)
        return self.dequantize(Codes(integers, kind, codes.scale, codes.zero_point, codes.axis))

    def bias(self, rng: np.random.Generator, count: int, scale: float, spread: float, form: str) -> str:
        """A bias: int32 behind DequantizeLinear with the ``scale`` of the sums, or ``float``."""
        values = rng.normal(size=count) * spread
        if form == "float":
            return self.constant(values)
        integers = self.constant(np.rint(values / scale), np.int32)
        return self.node("DequantizeLinear", integers, np.float32(scale), self.constant(0, np.int32))


def qdq_models() -> tuple[bytes, ...]:
    """Small valid models, as files, for the fuzz tests."""
    drawn = [("int8", "int8", True, 13), ("uint8", "int8", False, 17), ("uint4", "int4", False, 21)]
    drawn += [("int16", "int8", True, 23), ("uint8", "uint8", False, 11)]
    return tuple(RandomQdq(seed, *given).model().SerializeToString() for seed, given in enumerate(drawn, 3))


class RandomQdq:
    """Draws one network with activations of the type ``kind``, codes with a zero point unless ``symmetric``."""

    def __init__(self, seed: int, kind: str = "int8", weight: str = "int8", symmetric: bool = True, opset: int = 13):
        self.rng = np.random.default_rng(seed)
        self.kind, self.weight, self.symmetric = kind, weight, symmetric
        self.channels = int(self.rng.integers(1, 4))
        self.size = int(self.rng.integers(5, 8))
        self.shape = self.channels, self.size, self.size
        self.frames = self.draw(8)
        self.builder = QdqBuilder(self.frames, opset)

    def draw(self, count: int) -> np.ndarray:
        return self.rng.normal(size=(count, *self.shape)).astype(np.float32)

    def model(self) -> onnx.ModelProto:
        b = self.builder
        codes = b.calibrated("x", self.kind, self.symmetric)
        for _ in range(int(self.rng.integers(1, 3))):
            codes = self.block(codes)
        return self.head(codes)

    def choose(self, *options):
        return options[int(self.rng.integers(len(options)))]

    def block(self, codes: Codes) -> Codes:
        b = self.builder
        x = b.dequantize(codes)
        match self.choose("conv", "conv", "depthwise", "pool", "average", "moved", "joined"):
            case "conv" | "depthwise" as kind:
                depthwise = kind == "depthwise" and self.channels > 1
                return self.quantizer(self.conv(x, depthwise))
            case "pool" if self.size > 2:
                self.size -= 1
                if self.choose(True, False) and self.kind.endswith("int8") and b.opset >= 12:
                    pooled = b.node("MaxPool", codes.name, kernel_shape=[2, 2])
                    return Codes(pooled, codes.kind, codes.scale, codes.zero_point)
                x = b.node("MaxPool", x, kernel_shape=[2, 2])
                return b.quantize(x, codes.kind, codes.scale, codes.zero_point)
            case "average" if self.size > 3:
                self.size //= 2
                return self.quantizer(b.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]))
            case "joined":
                other = b.quantize(b.node("Relu", x), codes.kind, codes.scale, codes.zero_point)
                return self.quantizer(b.node("Add", x, b.dequantize(other)))
            case _:
                x = b.node("Reshape", x, b.constant([1, self.channels, self.size, self.size], np.int64))
                return b.quantize(x, codes.kind, codes.scale, codes.zero_point)

    def conv(self, x: str, depthwise: bool) -> str:
        b, rng = self.builder, self.rng
        outputs = self.channels if depthwise else int(rng.integers(1, 4))
        inputs, kernel = (1 if depthwise else self.channels), min(3, self.size)
        axis = 0 if self.builder.opset >= 13 and self.choose(True, False) else None
        weights = b.weights(rng, (outputs, inputs, kernel, kernel), self.weight, *self.weight_style(axis))
        bias = [b.bias(rng, outputs, 2.0**-9 / 3, 0.5, self.choose("stored", "float"))] * self.choose(0, 1, 1)
        pad = self.choose(0, 1) if kernel == 3 else 0
        self.size -= kernel - 1 - 2 * pad
        self.channels = outputs
        groups = outputs if depthwise else 1
        return b.node("Conv", x, weights, *bias, kernel_shape=[kernel, kernel], group=groups, pads=[pad] * 4)

    def weight_style(self, axis: int | None) -> tuple[bool, int | None, str]:
        return self.choose(True, self.symmetric), axis, self.choose("stored", "float", "clip")

    def quantizer(self, x: str) -> Codes:
        b = self.builder
        match self.choose("", "", "Relu", "twice"):
            case "Relu":
                x = b.node("Relu", x)
            case "twice":
                x = b.node("Relu", b.dequantize(b.calibrated(x, self.kind, self.symmetric)))
        codes = b.calibrated(x, self.kind, self.symmetric)
        if self.kind.endswith("int8") and b.opset >= 12 and self.choose(True, False, False):
            dtype, _, least, most = TYPES[self.kind]
            bounds = [b.constant(bound, dtype) for bound in (least + 40, most - 30)]
            codes = Codes(b.node("Clip", codes.name, *bounds), codes.kind, codes.scale, codes.zero_point)
        return codes

    def head(self, codes: Codes) -> onnx.ModelProto:
        b, rng = self.builder, self.rng
        match self.choose("codes", "values", "gemm", "matmul", "pool"):
            case "codes" if self.kind not in ("int4", "uint4"):
                return b.model(codes.name, TYPES[self.kind][1])
            case "codes" | "values":
                return b.model(b.dequantize(codes))
            case "pool":
                pooled = b.node("GlobalAveragePool", b.dequantize(codes))
                return b.model(b.dequantize(b.calibrated(pooled, self.kind, self.symmetric)))
            case kind:
                flat, inputs = b.node("Flatten", b.dequantize(codes)), self.channels * self.size**2
                axis = self.choose(None, 1) if b.opset >= 13 else None
                weights = b.weights(rng, (inputs, 4), self.weight, *self.weight_style(axis))
                if kind == "matmul":
                    return b.model(b.node("MatMul", flat, weights))
                return b.model(b.node("Gemm", flat, weights, b.bias(rng, 4, 2.0**-9 / 3, 0.5, "stored")))
