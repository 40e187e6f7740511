"""What hardware saves for each weight that pruning removes."""

from collections import Counter
from math import prod

from quant.compression.weights import Layers, find_layers
from quant.cost import CostModel, LayerBits, LayerShape
from quant.errors import QuantError
from quant.layer_summary import FLOAT_BITS
from quant.metrics import cost_input, has_cost, summary
from quant.models.network import Network
from quant.structure import Structure
from quant.structure import structure as read_structure

LEAST = 0.02
"""Share of a layer's cost below which a saving is none."""


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
    rate of ``cost``; below 2 % of the dense layer's cost, which no estimate tells from nothing, it counts as 0. A layer
    that runs twice in a frame is there twice in hardware, and saves twice (but for cycles).
    ``prune(..., savings=...)`` ranks by it.

    Raises QuantError (status 2) for layers of floating-point numbers, and where no layer saves anything.
    """
    kind = read_structure(structure)
    sizes, runs = cost_inputs(model, layers), Counter(row.name for row in summary(model))
    found = {}
    for name, (shape, bits) in sizes.items():
        if not fraction:
            found[name] = 1.0
            continue
        dense, sparse = (getattr(cost(shape, bits, density, kind), by) for density in (1.0, 1.0 - fraction))
        saved = dense - sparse if dense - sparse >= LEAST * dense else 0
        found[name] = (1 if by == "cycles" else runs[name]) * saved / (fraction * prod(shape.weights))
    if not any(found.values()):
        raise QuantError(
            f"zeros of structure {kind} save no {by} in any layer there: take another structure, another rate, or "
            "prune by size",
            status=2,
        )
    return found


def cost_inputs(model: Network, layers: Layers = None) -> dict[str, tuple[LayerShape, LayerBits]]:
    """Returns the shapes and bit widths of linear and convolution layers, for a cost model.

    Raises QuantError (status 2) for layers with floating-point weights or inputs, for those that a cost model does not
    know (``quant.metrics.has_cost``), and for those that the network does not use.
    """
    chosen, rows = find_layers(model, layers), {row.name: row for row in summary(model)}
    found = {}
    for name, layer in chosen.items():
        if name not in rows:
            raise QuantError(f"the network does not use layer {name}: choose other layers", status=2)
        row = rows[name]
        if FLOAT_BITS in (row.weight_bits, row.act_bits):
            raise QuantError(
                f"layer {name} has floating-point weights or inputs, which have no cost in hardware: prune by size, or "
                "choose other layers",
                status=2,
            )
        if not has_cost(layer, row):
            shape = "x".join(map(str, layer.weight.shape))
            raise QuantError(
                f"layer {name} is of the kind {row.kind} ({shape}, {row.weight_bits} bits), whose cost in hardware is "
                "not known: choose other layers, or go by size",
                status=2,
            )
        found[name] = cost_input(layer, row)
    return found
