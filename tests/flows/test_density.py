"""The density of weights at which an unrolled design would fit."""

from dataclasses import replace

import numpy as np
import pytest

from flows.density import DENSITIES, density_that_fits
from hw.boards.targets import find_target
from hw.fabric.resources import Resources
from hw.folding.choose import estimate_resources
from hw.ir.graph import Graph
from hw.kernels.constant_matrix.kernel import ConstantMatrix
from hw.kernels.constant_network.cases import perceptron
from hw.passes.chains import parted
from hw.passes.lanes import connected
from tests.passes.test_chains import chain

TARGET = find_target("lfe5u-25f")


def unrolled(weight: str = "INT4") -> Graph:
    return connected(chain(*perceptron(np.random.default_rng(0), (12, 16, 8), weight, "UINT3")))


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
    for node in parted(graph):
        if isinstance(kernel := node.kernel, ConstantMatrix):
            weights = kernel.product.weights
            least = np.sort(np.abs(weights), axis=None)[-round(density * weights.size)]
            pruned = np.where(np.abs(weights) > least, weights, 0)
            kept += ConstantMatrix(replace(kernel.product, weights=pruned)).logic(family).lut
    dense = sum(n.kernel.logic(family).lut for n in parted(graph) if isinstance(n.kernel, ConstantMatrix))
    assert used.lut - dense + kept <= left.lut


def test_there_is_none_for_weights_of_one_bit_and_where_nothing_fits():
    have = TARGET.device.capacity
    assert density_that_fits(unrolled("BIPOLAR"), TARGET, have) is None
    assert density_that_fits(unrolled(), TARGET, Resources()) is None
    assert density_that_fits(chain(*perceptron(np.random.default_rng(0), (4, 3), "INT4", "UINT3")), TARGET, have)
