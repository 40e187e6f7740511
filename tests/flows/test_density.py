"""The density of weights at which an unrolled design would fit."""

from dataclasses import replace

import numpy as np
import pytest
from qonnx.core.datatype import DataType

from flows.density import DENSITIES, density_that_fits
from hw.boards.targets import find_target
from hw.fabric.resources import Resources
from hw.folding.choose import estimate_resources
from hw.ir.graph import Graph, Node, Port
from hw.kernels.constant_matrix.cases import pruned
from hw.kernels.constant_matrix.kernel import ConstantMatrix
from hw.kernels.matrix_vector.kernel import MatrixVector

TARGET = find_target("lfe5u-25f")


def unrolled(weight: str = "INT4") -> Graph:
    """Two products in logic, one after the other."""
    rng, dtype, nodes, edge = np.random.default_rng(0), DataType["UINT3"], [], "x"
    for number, (inputs, outputs) in enumerate(((12, 16), (16, 8))):
        matrix = pruned(rng, weight, (outputs, inputs), 0.0)
        kernel = ConstantMatrix(MatrixVector(matrix, DataType[weight], dtype))
        nodes.append(Node(f"n{number}", kernel, (edge,), (f"e{number}",)))
        edge, dtype = f"e{number}", kernel.outputs()[0].dtype
    return Graph(tuple(nodes), (Port("x", "x", (12,), "UINT3"),), (Port("y", edge, (8,), dtype.name),))


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_the_largest_density_that_fits_is_named(share):
    graph = unrolled()
    used = estimate_resources(graph, TARGET.device.family)
    budget = replace(TARGET.device.capacity, lut=int(share * used.lut))
    density, left = density_that_fits(graph, TARGET, budget)
    assert left.lut <= budget.lut
    assert density in DENSITIES
    larger = [each for each in DENSITIES if each > density]
    if larger:  # pruned to the next one it does not fit
        some = density_that_fits(graph, TARGET, replace(budget, lut=left.lut))
        assert some == (density, left)
    # The estimate is that of the pruned layers.
    family, kept = TARGET.device.family, 0
    for node in graph:
        if isinstance(kernel := node.kernel, ConstantMatrix):
            weights = kernel.product.weights
            least = np.sort(np.abs(weights), axis=None)[-round(density * weights.size)]
            pruned = np.where(np.abs(weights) > least, weights, 0)
            kept += ConstantMatrix(replace(kernel.product, weights=pruned)).resources(family).lut
    dense = sum(n.kernel.resources(family).lut for n in graph if isinstance(n.kernel, ConstantMatrix))
    assert used.lut - dense + kept <= left.lut


def test_there_is_none_for_weights_of_one_bit_and_where_nothing_fits():
    have = TARGET.device.capacity
    assert density_that_fits(unrolled("BIPOLAR"), TARGET, have) is None
    assert density_that_fits(unrolled(), TARGET, Resources()) is None
    assert density_that_fits(unrolled(), TARGET, have)
