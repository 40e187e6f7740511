"""The reference: the model, executed by qonnx or ONNX Runtime in float32 on many frames at once."""

import os

import numpy as np
import onnx
from onnx import numpy_helper
from qonnx.core.modelwrapper import ModelWrapper

from hw.host.errors import UsageError
from hw.ir.frames import Batch, checked
from hw.ir.graph import Graph, Port
from hw.lowering.gate.boundary import boundary
from hw.lowering.lower import LoweredModel, lower_model
from hw.lowering.qonnx import integer_dtype, is_linear, load, prepare, read
from hw.passes.chains import unfused
from hw.simulation.emulator import Emulator
from hw.verification.comparison import (
    check_correspondence,
    check_scales,
    compare_layers,
)
from hw.verification.counts import Comparison
from hw.verification.exact_layers import ExactLayers, inexact_layers
from hw.verification.exact_reference import ExactReference, constant_tensors
from hw.verification.execution import ByOnnxRuntime, Execute, by_qonnx

CHUNK_ELEMENTS = 1 << 22
"""Elements of the largest tensor that one execution computes, which bounds the memory."""


class Reference:
    """Executes a model on batches. Raises UsageError for a file that cannot be read.

    ``execute`` is ONNX Runtime for a model that needs no QONNX, and otherwise qonnx; ``title`` says
    which in reports. ``loaded``: the result of ``hw.lowering.qonnx.load`` for the same model, if the caller already has
    it.
    """

    def __init__(
        self, model: str | os.PathLike[str] | onnx.ModelProto | ModelWrapper, loaded: ModelWrapper | None = None
    ) -> None:
        self.proto = read(model)
        self.model = load(self.proto) if loaded is None else loaded
        linear = is_linear(self.proto)
        self.title = "ONNX Runtime" if linear else "the QONNX reference"
        self.execute: Execute = ByOnnxRuntime() if linear else by_qonnx
        values = [*self.model.graph.input, *self.model.graph.output, *self.model.graph.value_info]
        shapes = [self.model.get_tensor_shape(value.name) for value in values]
        widest = max(int(np.prod(shape)) for shape in shapes if shape)
        self.chunk = max(1, CHUNK_ELEMENTS // widest)
        self._batched: dict[int, ModelWrapper] = {}
        self._constants: dict[str, np.ndarray] | None = None

    def run(self, frames: Batch) -> Batch:
        """The model's output for frames ``(N, *shape)``; by name where it has several inputs or outputs.

        Raises UsageError for frames that do not match the model's inputs.
        """
        results = self.tensors(frames, [value.name for value in self.model.graph.output])
        return results if len(results) > 1 else next(iter(results.values()))

    def tensors(self, frames: Batch, names: list[str]) -> dict[str, np.ndarray]:
        """The values of the named tensors for frames ``(N, *shape)``. Raises UsageError as ``run`` does."""
        given = self.check(frames)
        count = len(next(iter(given.values())))
        parts: list[dict[str, np.ndarray]] = []
        for start in range(0, count, self.chunk):
            chunk = {name: values[start : start + self.chunk] for name, values in given.items()}
            parts.append(self._execute(chunk, names))
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    def check(self, frames: Batch) -> dict[str, np.ndarray]:
        """The frames by input, in the model's types. Raises UsageError for other names, shapes or types."""
        inputs = self.model.graph.input
        given = frames if isinstance(frames, dict) else {inputs[0].name: frames}
        if sorted(given) != sorted(value.name for value in inputs):
            names = ", ".join(value.name for value in inputs)
            raise UsageError(f"the model has the inputs {names}; given: {', '.join(given)}")
        result = {}
        for value in inputs:
            shape = tuple(self.model.get_tensor_shape(value.name)[1:])
            kind = integer_dtype(self.model, value)
            good = checked(given[value.name], f"input {value.name}", shape, "float32" if kind is None else kind.name)
            result[value.name] = good.astype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
        return result

    def batched(self, count: int) -> ModelWrapper:
        """The model prepared for ``count`` frames, which is cached for the last count. Do not modify it."""
        if count not in self._batched:
            copy = onnx.ModelProto()
            copy.CopyFrom(self.proto)
            self._batched = {count: prepare(copy, count)}
        return self._batched[count]

    def exact(self, model: ModelWrapper, tensors: dict[str, np.ndarray]) -> ExactReference:
        """The reference with exact sums, from the values of ``tensors`` for one batch.

        ``model`` is this one, prepared for the batch size, or a part of it. ``tensors`` are those at which it starts
        (see ExactReference), without the constants.
        """
        if self._constants is None:
            zeros = {
                value.name: np.zeros(
                    self.model.get_tensor_shape(value.name),
                    onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type),
                )
                for value in self.model.graph.input
            }
            self._constants = self._execute(zeros, constant_tensors(self.batched(1)))
        initial = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
        return ExactReference(model, {**self._constants, **initial, **tensors})

    def _execute(self, frames: dict[str, np.ndarray], names: list[str]) -> dict[str, np.ndarray]:
        """The named tensors for one batch."""
        count = len(next(iter(frames.values())))
        remedy = "its operators are valid, but qonnx or ONNX Runtime does not execute them: export it in another opset"
        with boundary("the reference of the model", remedy):
            return self.execute(self.batched(count), frames, names)


def random_frames(graph: Graph, count: int, seed: int = 0) -> Batch:
    """Random frames, by name where the graph has several inputs: standard normal floats, or uniform integers of an
    integer type."""
    rng = np.random.default_rng(seed)
    found = {port.name: _random(graph, port, count, rng) for port in graph.inputs}
    return found if len(found) > 1 else next(iter(found.values()))


def _random(graph: Graph, port: Port, count: int, rng: np.random.Generator) -> np.ndarray:
    if port.dtype.startswith("float"):
        return rng.normal(size=(count, *port.shape)).astype(port.dtype)
    dtype = graph.edges[port.edge].dtype
    frames = rng.integers(int(dtype.min()), int(dtype.max()), (count, *port.shape), endpoint=True)
    return np.where(frames >= 0, 1, -1) if dtype.name == "BIPOLAR" else frames


def compare(graph: Graph, model: str | os.PathLike[str] | onnx.ModelProto | ModelWrapper, frames: Batch) -> Comparison:
    """Compare ``graph``, layer by layer and as a whole, with the reference of the model that it was made of.

    The graph can be folded, with width converters and FIFOs. Raises UsageError for frames that do not match the model's
    inputs, and BitfabricError for a graph that lacks an edge of the model's lowering.
    """
    reference = Reference(model)
    return compare_with(graph, lower_model(reference.model), reference, frames)


def compare_with(graph: Graph, lowering: LoweredModel, reference: Reference, frames: Batch) -> Comparison:
    """The same as ``compare``, for a caller that already has the lowering and the reference of the model."""
    parts = unfused(graph)  # Its edges are those of the lowering; the outputs are computed by the graph itself.
    check_correspondence(parts, lowering)
    check_scales(lowering)
    result, inexact = Comparison(titles=graph.titles, reference=reference.title), inexact_layers(lowering)
    outputs = [port.name for port in graph.outputs]
    names = [*(tensor for tensor, _ in lowering.tensors.values()), *outputs]
    given = graph.check(frames)
    result.frames = len(next(iter(given.values())))
    for start in range(0, result.frames, reference.chunk):
        chunk = {name: values[start : start + reference.chunk] for name, values in given.items()}
        expected = reference.tensors(chunk, names)
        exact = None
        if inexact:
            starts = reference.check(chunk) | {name: expected[name] for name, _ in lowering.tensors.values()}
            exact = reference.exact(reference.batched(len(next(iter(chunk.values())))), starts)
        layers = ExactLayers(lowering, inexact, exact)
        driven, touched = compare_layers(parts, lowering, chunk, expected, layers, result, start)
        whole = _outputs(graph, chunk)
        # Frames in which no layer differs have the same outputs without the reference's integers between the layers.
        # In the others, the graph must compute what the model's lowering computes.
        if touched.any() and graph is not lowering.graph:
            few = _outputs(lowering.graph, {name: values[touched] for name, values in chunk.items()})
        else:
            few = {name: values[touched] for name, values in whole.items()}
        for name in outputs:
            driven[name][touched] = few[name]
            result.add_whole(name, whole[name], driven[name], start)
            result.add_classes(whole[name], expected[name])
    return result


def _outputs(graph: Graph, frames: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of the whole graph, by name."""
    results = Emulator(graph).run(frames)
    return results if isinstance(results, dict) else {graph.outputs[0].name: results}
