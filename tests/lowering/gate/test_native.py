"""ONNX's own shape inference, in a process that may die."""

import os
import signal

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hw.lowering.gate import native
from tests.builders.qonnx_builder import Builder


def asked(op: str, **attributes) -> bytes:
    b = Builder((1, 2, 6, 6))
    b.node(op, "x", np.ones((2, 2, 3, 3)), **attributes)
    graph = helper.make_graph(
        b.nodes, "one", b.inputs, [helper.make_tensor_value_info("t0", TensorProto.FLOAT, None)], b.constants
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString()


def test_native_inference_may_die():
    """The division by zero of a Conv with strides of 0 ends the worker, not this process, and the next one answers."""
    worker = native.Worker()
    try:
        for _ in range(2):
            with pytest.raises(native.WorkerError, match="died of it"):
                worker.infer(asked("Conv", strides=[0, 0]))
            answer = onnx.ModelProto.FromString(worker.infer(asked("Conv")))
            assert [dim.dim_value for dim in answer.graph.output[0].type.tensor_type.shape.dim] == [1, 2, 4, 4]
        with pytest.raises(native.WorkerError, match="Attribute kernel_shape has incorrect size"):
            worker.infer(asked("Conv", kernel_shape=[1, 2, 3]))
    finally:
        worker.close()


def test_native_inference_is_reused_and_restarted_after_a_time_limit(monkeypatch):
    worker = native.Worker()
    try:
        worker.infer(asked("Conv"))
        first = worker._running().pid
        worker.infer(asked("Conv"))
        assert worker._running().pid == first
        monkeypatch.setattr(native, "INFERENCE_SECONDS", 0.05)
        os.kill(first, signal.SIGSTOP)
        with pytest.raises(native.WorkerError, match="no answer within"):
            worker.infer(asked("Conv"))
        monkeypatch.undo()
        with monkeypatch.context() as patch:  # the start has a time limit of its own: it depends on the machine
            patch.setattr(native, "START_SECONDS", 0.0)
            with pytest.raises(native.WorkerError, match="did not start within"):
                worker.infer(asked("Conv"))
        assert worker.infer(asked("Conv"))
        assert worker._running().pid != first
    finally:
        worker.close()
