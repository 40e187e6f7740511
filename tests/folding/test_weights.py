"""Networks whose weights fit no folding: proven from a few layers, and never of one that fits."""

import numpy as np
import pytest
from qonnx.core.datatype import DataType

from hw.families import find_device
from hw.folding import weights
from hw.folding.search import Search
from hw.folding.weights import too_many_weights
from hw.kernels.matrix_vector.kernel import MatrixVector
from tests.builders.networks import perceptron


@pytest.mark.quick
def test_what_is_proven_not_to_fit_has_no_folding_that_fits(monkeypatch):
    monkeypatch.setattr(weights, "MANY", 0)
    device, proven = find_device("ice40up5k"), 0
    for hidden in (16, 64, 128, 256):
        types = [("UINT4", "INT4"), ("UINT2", "INT4"), ("UINT2", "INT4")]
        graph = perceptron(np.random.default_rng(0), [64, hidden, hidden, 4], types)
        over = too_many_weights(graph, device.family, device.capacity, 1.0)
        if over:
            proven += 1
            assert over.bits > over.held
            assert over.layers[0] == "fc1"
            assert Search(graph, device.family, device.capacity).fastest(device.capacity) is None
    assert 0 < proven < 4


@pytest.mark.quick
def test_the_least_resources_are_a_lower_bound():
    family, rng = find_device("lfe5u-25f").family, np.random.default_rng(0)
    for data in ("UINT3", "BIPOLAR", "INT2"):
        layer = MatrixVector(rng.integers(-3, 4, (4, 12)), DataType["INT3"], DataType[data])
        for folding in layer.foldings():
            folded = layer.fold(folding)
            least, used = vars(folded.least_resources(family)), vars(folded.resources(family))
            assert all(least[name] <= used[name] for name in used)
