"""The QONNX model itself, executed in float32."""

from flows.engines.engine import Engine

ENGINE = Engine.of_model("qonnx", "QONNX reference", "the model in floating point, as onnxruntime and qonnx execute it")
