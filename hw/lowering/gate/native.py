"""ONNX's own shape inference of one node, in a process that may die without this one.

It is asked only about operators of other packages, for which there are no rules here. The native code behind it
divides by zero on some attributes and allocates what a file asks for. So one worker process answers all questions of
this process, with bounded memory and time; it starts with the first question and ends with this process.
"""

import atexit
import os
import select
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import onnx
from onnx import helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp, is_custom_op

from hw.host.errors import BitfabricError
from hw.lowering.gate.boundary import one_line
from hw.lowering.gate.limits import INFERENCE_BYTES, INFERENCE_SECONDS
from hw.lowering.gate.site import Shape, Site
from hw.lowering.gate.worker import READY
from hw.native.process import DEVNULL, PIPE, Process

REMEDY = "install a package whose operator has shape inference, or export the model with the shapes of its tensors"
START_SECONDS = 300
"""Longest time for the start of the process, on a busy machine with a slow disk."""
WORKER = Path(__file__).with_name("worker.py")


class WorkerError(Exception):
    """The worker refused a question, or died or took too long over it."""


class Worker:
    """A process of ``worker.py``, started when it is needed and again after it has died."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def infer(self, model: bytes) -> bytes:
        """The serialised model with inferred shapes. Raises WorkerError."""
        with self._lock:
            try:
                process = self._running()
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(len(model).to_bytes(8, "little") + model)
                process.stdin.flush()
                head = _read(process.stdout, 9, time.monotonic() + INFERENCE_SECONDS)
                answer = _read(process.stdout, int.from_bytes(head[1:], "little"), time.monotonic() + INFERENCE_SECONDS)
            except TimeoutError:
                self._end()
                raise WorkerError(f"no answer within {INFERENCE_SECONDS} s") from None
            except (OSError, EOFError):
                status = self._end()
                raise WorkerError(f"ONNX's shape inference died of it (status {status})") from None
            if head[0]:
                raise WorkerError(answer.decode(errors="replace"))
            return answer

    def _running(self) -> Process:
        if self._process is None or self._process.poll() is not None or self._owner != os.getpid():
            command = [sys.executable, "-P", str(WORKER), str(INFERENCE_BYTES), str(INFERENCE_SECONDS)]
            self._process = Process(command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
            self._owner = os.getpid()
            assert self._process.stdout is not None
            try:
                _read(self._process.stdout, len(READY), time.monotonic() + START_SECONDS)
            except TimeoutError:
                self._end()
                raise WorkerError(f"ONNX's shape inference did not start within {START_SECONDS} s") from None
        return self._process

    def _end(self) -> int:
        assert self._process is not None
        self._process.kill()
        status = self._process.wait()
        self._process = None
        return status

    def close(self) -> None:
        """End the process, if this process has started one."""
        with self._lock:
            if self._process is not None and self._owner == os.getpid():
                self._end()


def _read(stream: IO[bytes], count: int, deadline: float) -> bytes:
    """That many bytes of a pipe. Raises TimeoutError at the deadline, EOFError where it ends."""
    parts = []
    while count:
        ready, _, _ = select.select([stream], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError
        part = os.read(stream.fileno(), min(count, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


WORKER_PROCESS = Worker()
atexit.register(WORKER_PROCESS.close)


def infer(site: Site, declared: Mapping[str, tuple[Shape, int]]) -> list[tuple[Shape, int]]:
    """The shapes and element types of the outputs of one node.

    Where its operator has no inference, they are those that the file ``declared``. Raises BitfabricError if they are
    known from neither.
    """
    try:
        return _inferred(site)
    except BitfabricError:
        if all(name in declared for name in site.node.output):
            return [declared[name] for name in site.node.output]
        raise


def _inferred(site: Site) -> list[tuple[Shape, int]]:
    """The shapes and element types of the outputs by inference. Raises BitfabricError where there is none."""
    node = onnx.NodeProto()
    node.CopyFrom(site.node)
    values = [
        helper.make_tensor_value_info(name, tensor.elem_type, tensor.shape)
        for name, tensor in zip(node.input, site.inputs, strict=True)
        if tensor is not None
    ]
    constants = [
        numpy_helper.from_array(tensor.value, name)
        for name, tensor in zip(node.input, site.inputs, strict=True)
        if tensor is not None and tensor.value is not None
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    unique = {value.name: value for value in values}
    graph = helper.make_graph([node], "node", list(unique.values()), outputs, constants)
    imports = [helper.make_opsetid(node.domain, site.version)]
    try:
        if is_custom_op(node.domain):
            wrapper = ModelWrapper(helper.make_model(graph, opset_imports=imports))
            replaced = getCustomOp(wrapper.graph.node[0]).make_shape_compatible_op(wrapper)
            graph.node[0].CopyFrom(replaced)
            imports = [helper.make_opsetid("", onnx.defs.onnx_opset_version())]
        model = helper.make_model(graph, opset_imports=imports)
        answer = onnx.ModelProto.FromString(WORKER_PROCESS.infer(model.SerializeToString()))
    except Exception as error:
        raise site.error(
            f"the shape of its output cannot be inferred ({one_line(error)})",
            REMEDY,
        ) from error
    found = {value.name: value.type.tensor_type for value in answer.graph.output}
    result = []
    for name in node.output:
        kind = found.get(name)
        if kind is None or not kind.HasField("shape") or not all(dim.dim_value > 0 for dim in kind.shape.dim):
            raise site.error(
                f"the shape of its output {name} cannot be inferred",
                REMEDY,
            )
        result.append((tuple(dim.dim_value for dim in kind.shape.dim), kind.elem_type))
    return result
