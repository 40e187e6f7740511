"""Networks whose weights fit no folding of a device, recognised before every folding is examined."""

from dataclasses import dataclass

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.folding.tables import choices
from hw.ir.graph import Graph
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.passes.columns import forms_by_node

MANY = 1 << 20
"""Weights of a network; the foldings of smaller ones are examined within seconds."""


@dataclass(frozen=True)
class TooManyWeights:
    """``bits`` of weights; the bits that all block RAMs and lookup tables hold; the largest layers, by name."""

    bits: int
    held: int
    layers: tuple[str, ...]


def too_many_weights(graph: Graph, family: Family, available: Resources, most: float) -> TooManyWeights | None:
    """The weights of a graph, if it is proven that no folding fits ``most`` times the resources ``available``.

    The proof: a layer's shares of the lookup tables and of the block RAMs, added, are least in some folding; the sum of
    these over a few layers is more than twice ``most``. Only networks with more bits of weights than the device could
    hold are examined, from the largest layer on.
    """
    layers = {
        name: kernel
        for name, kernel in ((node.title, node.kernel) for node in graph)
        if isinstance(kernel, MatrixVector)
    }
    bits = {name: kernel.weights.size * kernel.weight_dtype.bitwidth() for name, kernel in layers.items()}
    held = available.bram * family.bram_bits + (available.lut << family.lut_inputs)
    if sum(kernel.weights.size for kernel in layers.values()) < MANY or sum(bits.values()) <= most * held:
        return None
    forms = {graph.node(name).title: kernels.values() for name, kernels in forms_by_node(graph).items()}
    largest, share = sorted(layers, key=lambda name: -bits[name]), 0.0
    for name in largest:
        used = [
            each.least_resources(family)
            for form in (layers[name], *forms.get(name, ()))
            for each in choices(form, family).values()
        ]
        share += min(each.lut / max(1, available.lut) + each.bram / max(1, available.bram) for each in used)
        if share > 2 * most:
            return TooManyWeights(sum(bits.values()), held, tuple(largest[:3]))
    return None
