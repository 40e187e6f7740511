"""What hardware saves for each weight that pruning removes."""

from typing import Any

import torch

from quant.compression.weights import Layers, find_layers
from quant.cost import CostModel, LayerBits, LayerShape
from quant.errors import QuantError
from quant.metrics import FLOAT_BITS, LayerSummary, summary
from quant.models.network import Network
from quant.structure import Structure
from quant.structure import structure as read_structure


def savings(
    model: Network,
    cost: CostModel,
    by: str = "lut",
    *,
    fraction: float = 0.5,
    structure: str | Structure = "unstructured",
    layers: Layers = None,
) -> dict[str, float]:
    """Returns for each layer what one pruned weight saves: the difference of costs over that of weights.

    ``by`` is a part of the cost, "lut", "ff", "bram", "dsp", "cycles" or "rom_bits" (``quant.LayerCost``). The
    difference is that between the dense layer and one of which ``fraction`` is zero in ``structure``, at the target and
    rate of ``cost``, at least 0. ``prune(..., savings=...)`` ranks by it.

    Raises QuantError (status 2) for layers of floating-point numbers, and where no layer saves anything.
    """
    kind = read_structure(structure)
    sizes = cost_inputs(model, layers)
    found = {}
    for name, (shape, bits) in sizes.items():
        dense, sparse = cost(shape, bits, 1.0, kind), cost(shape, bits, 1.0 - fraction, kind)
        weights = fraction * torch.Size(shape.weights).numel()
        found[name] = max(0, getattr(dense, by) - getattr(sparse, by)) / weights if fraction else 1.0
    if not any(found.values()):
        raise QuantError(
            f"zeros of structure {kind} save no {by} in any layer there: take another structure, another rate, or "
            "prune by size",
            status=2,
        )
    return found


def cost_inputs(model: Network, layers: Layers = None) -> dict[str, tuple[LayerShape, LayerBits]]:
    """Returns the shapes and bit widths of linear and convolution layers, for a cost model.

    Raises QuantError (status 2) for layers with floating-point weights or inputs.
    """
    chosen, rows = find_layers(model, layers), {row.name: row for row in summary(model)}
    found = {}
    for name, layer in chosen.items():
        row = rows[name]
        if FLOAT_BITS in (row.weight_bits, row.act_bits):
            raise QuantError(
                f"layer {name} has floating-point weights or inputs, which have no cost in hardware: prune by size, or "
                "choose other layers",
                status=2,
            )
        found[name] = _shape(layer, row), _bits(layer, row)
    return found


def _shape(layer: Any, row: LayerSummary) -> LayerShape:
    if row.kind == "linear":
        return LayerShape(layer.in_features, layer.out_features, image=row.input_shape[:-1])
    sizes = {"image": row.input_shape[1:]}
    padding = tuple(layer.padding)
    pointwise = set(layer.kernel_size) == set(layer.stride) == {1} and not any(padding) and layer.groups == 1
    if not pointwise:
        sizes |= {"kernel": tuple(layer.kernel_size), "stride": tuple(layer.stride), "padding": padding,
                  "dilation": tuple(layer.dilation)}  # fmt: skip
    return LayerShape(layer.in_channels, layer.out_channels, groups=layer.groups, **sizes)


def _bits(layer: Any, row: LayerSummary) -> LayerBits:
    ternary = row.weight_bits == 2 and bool(layer.weight_quant.is_narrow_range)
    return LayerBits("ternary" if ternary else row.weight_bits, min(16, row.act_bits), row.signed_inputs)
