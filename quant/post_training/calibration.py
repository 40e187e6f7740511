"""Brevitas's calibration, layer-wise optimization of weights, and bias correction of a graph with quantizers."""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from brevitas.core.restrict_val import PowerOfTwoRestrictValue
from brevitas.core.scaling import ParameterFromRuntimeStatsScaling, ParameterFromStatsFromParameterScaling
from brevitas.graph.calibrate import bias_correction_mode, calibration_mode
from brevitas.graph.gpfq import gpfq_mode
from brevitas.graph.gptq import gptq_mode
from brevitas.graph.gpxq import gpxq_mode
from brevitas.graph.utils import remove_weight_orig

from quant.post_training.placement import Placement
from quant.post_training.tracing import GraphModule

WEIGHTS: dict[str, type[gpxq_mode] | None] = {"nearest": None, "gptq": gptq_mode, "gpfq": gpfq_mode}
"""How weights are rounded: each to the nearest code, or one input channel after another, correcting the rest for the
errors so far (Frantar et al., "GPTQ", ICLR 2023; Lybrand and Saab, "A greedy algorithm for quantizing neural networks",
JMLR 2021)."""


_LEARNED = (ParameterFromRuntimeStatsScaling, ParameterFromStatsFromParameterScaling)


def _is_power_of_two(scaling: torch.nn.Module) -> bool:
    return any(isinstance(module, PowerOfTwoRestrictValue) for module in scaling.modules())


@torch.no_grad()
def calibrate(placement: Placement, batches: Sequence[torch.Tensor]) -> None:
    """Measures the scales of all activations with float weights, then gives each group the widest of its scales."""
    graph = placement.graph
    graph.eval()
    with calibration_mode(graph):
        for batch in batches:
            graph(batch)
    graph.eval()
    for sites in placement.groups().values():
        quantizers: list[Any] = [graph.get_submodule(site.name) for site in sites]
        placement.share(sites, max(quantizers, key=lambda quantizer: float(quantizer.act_quant.scale())))
    graph(batches[0])  # scales of weights are parameters after the first execution
    for module in graph.modules():
        if isinstance(module, _LEARNED) and _is_power_of_two(module):
            # In the middle of the exponents that are rounded up to the same one, so that training does not cross to the
            # next one with its first steps.
            module.value.copy_(torch.ceil(module.value) - 0.5)


@torch.no_grad()
def optimize_weights(graph: GraphModule, batches: Sequence[torch.Tensor], how: str) -> None:
    """Rounds the weights as ``WEIGHTS[how]``, layer by layer, with quantized activations."""
    mode = WEIGHTS[how]
    if mode is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with mode(graph, use_quant_activations=True) as optimizer:
            for _ in range(optimizer.num_layers):
                for batch in batches:
                    optimizer.model(batch)
                optimizer.update()
    remove_weight_orig(graph)
    graph.eval()


@torch.no_grad()
def correct_biases(graph: GraphModule, batches: Sequence[torch.Tensor]) -> None:
    """Adds to every layer's bias the mean error, by channel, that quantization of its weights makes.

    Nagel et al., "Data-free quantization through weight equalization and bias correction", ICCV 2019.
    """
    with bias_correction_mode(graph):
        for batch in batches:
            graph(batch)
    graph.eval()
