"""FINN's Python execution as an engine."""

from pathlib import Path

import numpy as np
import onnx

from flows.finn import frontend
from hw.finn.dialect import general
from hw.host.errors import BitfabricError, UsageError
from hw.lowering import qonnx
from hw.lowering.qonnx import load


def execute(model: Path | str | onnx.ModelProto, frames: np.ndarray) -> np.ndarray:
    """What FINN's Python execution of a graph in its dialect gives for frames ``(N, *shape)``, one after the other.

    Raises BitfabricError where FINN is missing, or cannot execute the graph.
    """
    frontend.require_finn()
    from qonnx.core.modelwrapper import ModelWrapper

    name = "the graph" if isinstance(model, onnx.ModelProto) else model
    with frontend.calling_finn(name):
        from finn.core.onnx_exec import execute_onnx

        wrapper = ModelWrapper(general(qonnx.read(model)))
        taken, given = wrapper.graph.input[0].name, wrapper.graph.output[0].name
        shape = tuple(wrapper.get_tensor_shape(taken))
        results = [
            execute_onnx(wrapper, {taken: frame.reshape(shape).astype(np.float32)})[given]
            for frame in np.asarray(frames)
        ]
    return np.concatenate(results)


class Engine:
    """FINN's Python execution of its dataflow graph, with the floating-point ends around it.

    What runs are FINN's hardware operators in NumPy, as its front end makes them from the QONNX file, before it
    narrows accumulators. It differs from the QONNX reference by one code where a value lies exactly between two
    codes of a quantizer, since FINN's thresholds round half up whatever the model says.

    ``batch`` frames go through the graph at a time (one, if FINN cannot take more for this network).
    Raises BitfabricError if FINN is missing or cannot map the network.
    """

    def __init__(self, model_path: Path | str, batch: int = 256) -> None:
        frontend.require_finn()
        source = load(model_path).graph
        if len(source.input) != 1 or len(source.output) != 1:
            raise BitfabricError(f"{model_path}: FINN's engine takes networks with one input and one output")
        self._path = model_path
        self.batch = batch
        try:
            self._model = frontend.dataflow(model_path, batch)
        except BitfabricError:
            if batch == 1:
                raise
            # A shape fixed to one frame somewhere in the graph; whatever else is wrong is raised again here.
            self._model = frontend.dataflow(model_path, 1)
            self.batch = 1
        if self.batch > 1 and self._model.get_nodes_by_op_type("ConvolutionInputGenerator"):
            # FINN's convolutions take one frame.
            self._model = frontend.dataflow(model_path, 1)
            self.batch = 1
        graph = self._model.graph
        self._input, self._output = graph.input[0].name, graph.output[0].name
        self.input_shape = tuple(self._model.get_tensor_shape(self._input)[1:])
        self._dtype = _numpy_dtype(source.output[0].type.tensor_type.elem_type)

    def run(self, x: np.ndarray) -> np.ndarray:
        """Frames ``(N, *input_shape)`` as the QONNX model takes them to its outputs ``(N, ...)``, in its type."""
        x = np.asarray(x)
        if x.ndim == 0 or x.shape[1:] != self.input_shape or x.dtype.kind not in "fiu":
            raise UsageError(
                f"input of shape {x.shape} and type {x.dtype}; the model takes numbers, {('N', *self.input_shape)}",
            )
        shape = self._model.get_tensor_shape(self._output)
        out = np.empty((len(x), *shape[1:]), self._dtype)
        with frontend.calling_finn(self._path):
            from finn.core.onnx_exec import execute_onnx

            for start in range(0, len(x), self.batch):
                frames = x[start : start + self.batch].astype(np.float32)
                padded = np.zeros((self.batch, *self.input_shape), np.float32)
                padded[: len(frames)] = frames
                result = execute_onnx(self._model, {self._input: padded})[self._output]
                out[start : start + len(frames)] = result[: len(frames)]
        return out


def _numpy_dtype(elem_type: int) -> np.dtype:
    from onnx.helper import tensor_dtype_to_np_dtype

    return tensor_dtype_to_np_dtype(elem_type)
