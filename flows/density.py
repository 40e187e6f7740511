"""The density of weights at which an unrolled design would fit a device."""

from dataclasses import replace

import numpy as np

from flows import fit
from hw.boards.targets import Target
from hw.fabric.resources import Resources
from hw.folding import choose
from hw.folding.search import fits
from hw.ir.graph import Graph
from hw.kernels.constant_matrix.kernel import ConstantMatrix
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.passes.chains import parted

DENSITIES = 0.75, 0.5, 0.35, 0.25, 0.15, 0.1, 0.05
"""Shares of the weights that are kept, of which the largest that fits is named."""


def density_that_fits(hardware: Graph, target: Target, budget: Resources) -> tuple[float, Resources] | None:
    """The largest of ``DENSITIES`` at which a design is estimated to fit ``budget``, and the logic cells that there are
    for kernels, in the same folding; with its resources. None where no layer has its weights in logic, where weights
    are of one bit, which have no zero, and where none of them fits.

    The smallest weights of each layer are left out, as pruning by magnitude does, and the adders of the others planned.
    """
    matrices = [node.kernel for node in parted(hardware) if isinstance(node.kernel, ConstantMatrix)]
    if not matrices or any(str(getattr(each.product, "weight_dtype", "BIPOLAR")) == "BIPOLAR" for each in matrices):
        return None
    family = target.device.family
    used, packing = choose.estimate_resources(hardware, family), fit.packing_of(target)
    most = fit.most_cells(target, fit.shell(target, hardware))
    dense = sum((each.logic(family) for each in matrices), Resources())
    for density in DENSITIES:
        kept = sum((_pruned(each, density).logic(family) for each in matrices), Resources())
        left = used - dense + kept
        if fits(left, budget) and (packing is None or packing.estimate(left) <= most):
            return density, left
    return None


def _pruned(kernel: ConstantMatrix, density: float) -> ConstantMatrix:
    """The kernel with this share of its weights, the largest; fewer where it has fewer."""
    product = kernel.product
    assert isinstance(product, MatrixVector | Depthwise)
    weights = product.weights
    order = np.argsort(-np.abs(weights), axis=None, kind="stable")
    kept = np.zeros(weights.size, bool)
    kept[order[: round(density * weights.size)]] = True
    sparse = replace(product, weights=np.where(kept.reshape(weights.shape), weights, 0))
    return ConstantMatrix(sparse, kernel.pixels, kernel.adders_per_stage, kernel.table_inputs)
