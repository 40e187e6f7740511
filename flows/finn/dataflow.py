"""FINN's Python execution of the dataflow graph to which its own front end converts a QONNX model."""

import os

import numpy as np

from flows.finn import frontend
from hw.finn.execution import calling_finn, require_finn
from hw.host.errors import BitfabricError, UsageError
from hw.model import Model, Qonnx


class FinnDataflow:
    """Python execution of FINN's dataflow graph of a QONNX model, including the floating-point nodes at its ends.

    FINN's hardware operators run in NumPy. The graph is that of FINN's front end before it narrows accumulators. The
    result differs from the QONNX reference by one code where a value lies exactly between two codes of a quantizer,
    because FINN's thresholds always round half up.

    ``batch`` frames are executed at a time; one, where FINN does not support more for the network. Raises UsageError
    for a file that is not a QONNX model, and BitfabricError where FINN is missing or cannot map the network.
    """

    def __init__(self, source: str | os.PathLike[str] | Model, batch: int = 256) -> None:
        require_finn()
        model = Model.open(source)
        if not isinstance(model.frontend, Qonnx):
            raise UsageError(f"{model.path} is no QONNX model; FINN's front end starts from one")
        ports = model.frontend.wrapper.graph
        if len(ports.input) != 1 or len(ports.output) != 1:
            raise BitfabricError(f"{model.path}: FINN's engine takes networks with one input and one output")
        self._path = model.path
        self.batch = batch
        try:
            self._model = frontend.dataflow(model, batch)
        except BitfabricError:
            if batch == 1:
                raise
            # Some graphs contain a shape that is fixed to one frame. Any other error is raised again here.
            self._model = frontend.dataflow(model, 1)
            self.batch = 1
        if self.batch > 1 and self._model.get_nodes_by_op_type("ConvolutionInputGenerator"):
            # FINN's convolutions process one frame at a time.
            self._model = frontend.dataflow(model, 1)
            self.batch = 1
        graph = self._model.graph
        self._input, self._output = graph.input[0].name, graph.output[0].name
        self.input_shape = tuple(self._model.get_tensor_shape(self._input)[1:])
        self._dtype = _numpy_dtype(ports.output[0].type.tensor_type.elem_type)

    def run(self, x: np.ndarray) -> np.ndarray:
        """The model's outputs ``(N, ...)``, in the QONNX model's type, for frames ``(N, *input_shape)``.

        Raises UsageError for frames of another shape or type, and BitfabricError where FINN fails.
        """
        x = np.asarray(x)
        if x.ndim == 0 or x.shape[1:] != self.input_shape or x.dtype.kind not in "fiu":
            raise UsageError(
                f"input of shape {x.shape} and type {x.dtype}; the model takes numbers, {('N', *self.input_shape)}",
            )
        shape = self._model.get_tensor_shape(self._output)
        out = np.empty((len(x), *shape[1:]), self._dtype)
        with calling_finn(self._path):
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
