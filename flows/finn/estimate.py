"""FINN's analytical estimates of resources and cycles."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from flows.cycle_budget import cycle_budget
from flows.finn import frontend
from hw.finn.execution import calling_finn, require_finn
from hw.host.errors import UsageError
from hw.ir.kernel import Folding
from hw.model import Model


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

    FINN counts neither FIFOs nor width converters. Its latency is the sum of the layers' cycles, without overlap.
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
    source: str | os.PathLike[str] | Model,
    part: str = "xc7z020clg400-1",
    *,
    fps: float | None = None,
    folding: FoldingConfig | None = None,
    target_cycles: int | None = None,
    clock_mhz: float = 100.0,
    input_quantizer: bool = False,
) -> FinnEstimate:
    """FINN's estimate for a QONNX file or a model in FINN's dialect, by FINN's specialisation, folding and analysis.

    FINN's SetFolding chooses the folding for ``fps`` (at ``clock_mhz``) or for ``target_cycles`` per frame. Or
    ``folding`` states it: FINN's folding configuration (node name -> PE, SIMD), or one Folding for each matrix-vector
    layer in order. By default PE and SIMD are 1. With ``input_quantizer`` the quantizer of a float input counts as
    hardware, as in FINN's build flow. Raises BitfabricError for a network that FINN cannot map, and UsageError for
    invalid options and for a folding that does not divide the layer.
    """
    if sum(choice is not None for choice in (fps, folding, target_cycles)) > 1:
        raise UsageError("give one of fps, folding and target_cycles, not several")
    if fps is not None:
        target_cycles = cycle_budget(fps, clock_mhz)
    if target_cycles is not None and target_cycles < 1:
        raise UsageError(f"a target of {target_cycles} cycles per frame is below 1")
    if not part.lower().startswith(("xc", "xq")):
        raise UsageError(f"{part} is no AMD part; FINN estimates such as xc7z020clg400-1")

    require_finn()
    opened = Model.open(source)
    if opened.kind == "finn":
        from qonnx.core.modelwrapper import ModelWrapper

        model = ModelWrapper(opened.proto, make_deepcopy=True)
    else:
        model = frontend.dataflow(opened, input_quantizer=input_quantizer)
    from finn.analysis.fpgadataflow.dataflow_performance import dataflow_performance
    from finn.transformation.fpgadataflow.annotate_cycles import AnnotateCycles

    with calling_finn(opened.path):
        model = _folded(_specialised(model, part), folding, target_cycles)
        model = frontend.minimized(model).transform(AnnotateCycles())
        latency = model.analysis(dataflow_performance)["critical_path_cycles"]
        return FinnEstimate(part, clock_mhz, _layers(model, part), int(latency))


def _specialised(model: Any, part: str) -> Any:
    from finn.transformation.fpgadataflow.specialize_layers import SpecializeLayers
    from qonnx.transformation.general import GiveUniqueNodeNames

    model = frontend.partition(frontend.minimized(model))
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
            raise UsageError(f"{len(folding)} foldings for {len(layers)} matrix-vector layers")
        config = {name: {"PE": f.pe, "SIMD": f.simd} for name, f in zip(layers, folding, strict=True)}
    _apply_folding(model, config)
    return model


def _apply_folding(model: Any, config: dict[str, dict[str, int]]) -> None:
    from qonnx.custom_op.registry import getCustomOp

    nodes = {node.name: getCustomOp(node) for node in model.graph.node}
    sizes = {"PE": ("MH", "NumChannels", "Labels"), "SIMD": ("MW",)}
    for name, values in config.items():
        if name not in nodes:
            raise UsageError(f"FINN's graph has no layer {name}; it has {', '.join(nodes)}")
        attributes = nodes[name].get_nodeattr_types()
        for key, value in values.items():
            of = next((size for size in sizes.get(key, ()) if size in attributes), None)
            if of is None or key not in attributes:
                raise UsageError(f"{name} has no folding {key}; give PE and, for an MVAU, SIMD")
            size = nodes[name].get_nodeattr(of)
            if value < 1 or size % value:
                raise UsageError(f"{key} {value} of {name} does not divide its {of} of {size}")
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
