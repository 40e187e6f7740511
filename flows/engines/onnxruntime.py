"""A model with ONNX's own quantizers, executed by ONNX Runtime in float32."""

from flows.engines.engine import Engine

ENGINE = Engine.of_model(
    "onnxruntime", "ONNX Runtime", "the model in floating point, as onnxruntime executes it without graph optimisation"
)
