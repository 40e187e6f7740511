"""FINN beside the open back end: its resource and cycle estimates, and its Python execution as an engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from flows import finn_frontend
from hw.errors import BitfabricError
from hw.kernels.kernel import Folding
from hw.qonnx_file import load


@dataclass(frozen=True)
class FinnLayer:
    """One node of FINN's specialised graph with FINN's own estimates (``bram18``: 18 kbit blocks)."""

    name: str
    op: str
    pe: int
    simd: int
    cycles: int
    lut: int
    bram18: int
    dsp: int


@dataclass(frozen=True)
class FinnEstimate:
    """FINN's analytical estimate of a network on a part.

    FINN counts neither FIFOs nor width converters; its latency lets no two layers overlap.
    """

    part: str
    clock_mhz: float
    layers: tuple[FinnLayer, ...]
    latency_cycles: int

    @property
    def lut(self) -> int:
        return sum(layer.lut for layer in self.layers)

    @property
    def bram18(self) -> int:
        return sum(layer.bram18 for layer in self.layers)

    @property
    def dsp(self) -> int:
        return sum(layer.dsp for layer in self.layers)

    @property
    def max_cycles(self) -> int:
        """Cycles per frame of the slowest layer: the estimated interval."""
        return max(layer.cycles for layer in self.layers)

    @property
    def fps(self) -> float:
        """Frames per second at ``clock_mhz``."""
        return self.clock_mhz * 1e6 / self.max_cycles


FoldingConfig = Mapping[str, Mapping[str, int]] | Sequence[Folding]


def estimate(
    model_path: Path | str,
    part: str = "xc7z020clg400-1",
    *,
    fps: float | None = None,
    folding: FoldingConfig | None = None,
    target_cycles: int | None = None,
    clock_mhz: float = 100.0,
    input_quantizer: bool = False,
) -> FinnEstimate:
    """What FINN estimates for a QONNX file: its own front end, specialisation, folding and analysis passes.

    The folding is found by FINN's SetFolding for ``fps`` (at ``clock_mhz``) or for ``target_cycles`` per frame, or
    given: FINN's folding configuration (node name -> PE, SIMD), or one Folding for each matrix-vector layer in
    order. With none of them nothing is parallel. ``input_quantizer`` counts the float input's quantizer as hardware,
    as FINN's build flow does. Raises BitfabricError for what FINN cannot map and for a folding that does not divide.
    """
    if sum(choice is not None for choice in (fps, folding, target_cycles)) > 1:
        raise BitfabricError("give one of fps, folding and target_cycles, not several", status=2)
    if fps is not None:
        if not 0 < fps <= clock_mhz * 1e6:
            raise BitfabricError(f"{fps:g} frames/s at {clock_mhz:g} MHz is no rate of at least one cycle", status=2)
        target_cycles = int(clock_mhz * 1e6 / fps)
    if target_cycles is not None and target_cycles < 1:
        raise BitfabricError(f"a target of {target_cycles} cycles per frame is below 1", status=2)
    if not part.lower().startswith(("xc", "xq")):
        raise BitfabricError(f"{part} is no AMD part; FINN estimates such as xc7z020clg400-1", status=2)

    model = finn_frontend.dataflow(model_path, input_quantizer=input_quantizer)
    from finn.analysis.fpgadataflow.dataflow_performance import dataflow_performance
    from finn.transformation.fpgadataflow.annotate_cycles import AnnotateCycles

    with finn_frontend.calling_finn(model_path):
        model = _folded(_specialised(model, part), folding, target_cycles)
        model = finn_frontend.minimized(model).transform(AnnotateCycles())
        latency = model.analysis(dataflow_performance)["critical_path_cycles"]
        return FinnEstimate(part, clock_mhz, _layers(model, part), int(latency))


def _specialised(model: Any, part: str) -> Any:
    from finn.transformation.fpgadataflow.specialize_layers import SpecializeLayers
    from qonnx.transformation.general import GiveUniqueNodeNames

    model = finn_frontend.partition(finn_frontend.minimized(model))
    return model.transform(SpecializeLayers(part.lower())).transform(GiveUniqueNodeNames())


def _folded(model: Any, folding: FoldingConfig | None, target_cycles: int | None) -> Any:
    from finn.transformation.fpgadataflow.set_folding import SetFolding
    from qonnx.transformation.general import GiveUniqueNodeNames

    if target_cycles is not None:
        return model.transform(SetFolding(target_cycles)).transform(GiveUniqueNodeNames())
    if folding is None:
        return model
    if isinstance(folding, Mapping):
        config = {name: dict(values) for name, values in folding.items() if name != "Defaults"}
    else:
        layers = [n.name for n in model.graph.node if n.op_type.startswith("MVAU")]
        if len(layers) != len(folding):
            raise BitfabricError(f"{len(folding)} foldings for {len(layers)} matrix-vector layers", status=2)
        config = {name: {"PE": f.pe, "SIMD": f.simd} for name, f in zip(layers, folding, strict=True)}
    _apply_folding(model, config)
    return model


def _apply_folding(model: Any, config: dict[str, dict[str, int]]) -> None:
    from qonnx.custom_op.registry import getCustomOp

    nodes = {node.name: getCustomOp(node) for node in model.graph.node}
    sizes = {"PE": ("MH", "NumChannels", "Labels"), "SIMD": ("MW",)}
    for name, values in config.items():
        if name not in nodes:
            raise BitfabricError(f"FINN's graph has no layer {name}; it has {', '.join(nodes)}", status=2)
        attributes = nodes[name].get_nodeattr_types()
        for key, value in values.items():
            of = next((size for size in sizes.get(key, ()) if size in attributes), None)
            if of is None or key not in attributes:
                raise BitfabricError(f"{name} has no folding {key}; give PE and, for an MVAU, SIMD", status=2)
            size = nodes[name].get_nodeattr(of)
            if value < 1 or size % value:
                raise BitfabricError(f"{key} {value} of {name} does not divide its {of} of {size}", status=2)
            nodes[name].set_nodeattr(key, int(value))


def _layers(model: Any, part: str) -> tuple[FinnLayer, ...]:
    from finn.analysis.fpgadataflow.exp_cycles_per_layer import exp_cycles_per_layer
    from finn.analysis.fpgadataflow.res_estimation import res_estimation
    from qonnx.custom_op.registry import getCustomOp

    cycles = model.analysis(exp_cycles_per_layer)
    resources = model.analysis(partial(res_estimation, fpgapart=part.lower()))
    layers = []
    for node in model.graph.node:
        op = getCustomOp(node)
        pe, simd = (op.get_nodeattr(key) if key in op.get_nodeattr_types() else 1 for key in ("PE", "SIMD"))
        cost = resources[node.name]
        lut, bram18, dsp = (int(cost[key]) for key in ("LUT", "BRAM_18K", "DSP"))
        layers.append(FinnLayer(node.name, node.op_type, pe, simd, int(cycles[node.name]), lut, bram18, dsp))
    return tuple(layers)


class Engine:
    """FINN's Python execution of its dataflow graph, with the floating-point ends around it.

    What runs are FINN's hardware operators in NumPy, as its front end makes them from the QONNX file, before it
    narrows accumulators. It differs from the QONNX reference by one code where a value lies exactly between two
    codes of a quantizer, since FINN's thresholds round half up whatever the model says.

    ``batch`` frames go through the graph at a time (one, if FINN cannot take more for this network).
    Raises BitfabricError if FINN is missing or cannot map the network.
    """

    def __init__(self, model_path: Path | str, batch: int = 256) -> None:
        finn_frontend.require_finn()
        source = load(model_path).graph
        if len(source.input) != 1 or len(source.output) != 1:
            raise BitfabricError(f"{model_path}: FINN's engine takes networks with one input and one output")
        self._path = model_path
        self.batch = batch
        try:
            self._model = finn_frontend.dataflow(model_path, batch)
        except BitfabricError:
            if batch == 1:
                raise
            # A shape fixed to one frame somewhere in the graph; whatever else is wrong is raised again here.
            self._model = finn_frontend.dataflow(model_path, 1)
            self.batch = 1
        if self.batch > 1 and self._model.get_nodes_by_op_type("ConvolutionInputGenerator"):
            # FINN's convolutions take one frame.
            self._model = finn_frontend.dataflow(model_path, 1)
            self.batch = 1
        graph = self._model.graph
        self._input, self._output = graph.input[0].name, graph.output[0].name
        self.input_shape = tuple(self._model.get_tensor_shape(self._input)[1:])
        self._dtype = _numpy_dtype(source.output[0].type.tensor_type.elem_type)

    def run(self, x: np.ndarray) -> np.ndarray:
        """Frames ``(N, *input_shape)`` as the QONNX model takes them to its outputs ``(N, ...)``, in its type."""
        x = np.asarray(x)
        if x.ndim == 0 or x.shape[1:] != self.input_shape or x.dtype.kind not in "fiu":
            raise BitfabricError(
                f"input of shape {x.shape} and type {x.dtype}; the model takes numbers, {('N', *self.input_shape)}",
                status=2,
            )
        shape = self._model.get_tensor_shape(self._output)
        out = np.empty((len(x), *shape[1:]), self._dtype)
        with finn_frontend.calling_finn(self._path):
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
