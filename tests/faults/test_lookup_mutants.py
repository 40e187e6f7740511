"""Mutants of lookup networks: which of them are equivalent, and that the checks of a build find all others."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.faults.mutants import mutants
from hw.host.errors import BitfabricError
from hw.lowering.lower import lower_model
from hw.verification.equivalence import Equivalence
from hw.verification.mutation import Score, model_scores
from hw.verification.reference import Reference
from tests.builders.lookup_models import LookupModel


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 1 << 16), levels=st.integers(1, 2), inputs=st.integers(2, 4))
def test_a_mutant_is_equivalent_exactly_where_no_input_of_its_layer_changes_its_output(seed, levels, inputs):
    spec = LookupModel(seed=seed, features=3, levels=levels, bits=2, layers=((6, inputs),), classes=2)
    try:
        lowering = lower_model(Reference(spec.model()).model)
    except BitfabricError:  # Its outputs are constant.
        return
    graph, equivalence = lowering.graph, Equivalence(lowering.graph, lowering)
    bounds = {edge: tensor for edge, (_, tensor) in {**lowering.computed, **lowering.tensors}.items()}
    for mutant in mutants(graph, 60, seed):
        node = graph.node(mutant.layer)
        tensor = bounds[node.inputs[0]]
        ends = zip(tensor.low.tolist(), tensor.high.tolist(), strict=True)
        frames = np.array(list(product(*(range(low, high + 1) for low, high in ends))))
        same = np.array_equal(node.kernel.execute(frames)[0], mutant.kernel.execute(frames)[0])
        assert equivalence.equivalent(mutant) == same, str(mutant)


@pytest.mark.parametrize(
    "spec",
    [
        LookupModel(layers=((18, 4), (12, 3)), features=6, levels=3, bits=5, seed=1),
        LookupModel(layers=((12, 8),), features=4, bits=3, seed=3, compared="Less", end="arg max"),
    ],
    ids=["two layers", "eight inputs"],
)
def test_the_checks_of_a_build_find_every_mutant(spec):
    scores = model_scores(spec.model(), 200)
    assert set(scores) == {"threshold", "value", "constant", "wire"}
    total = sum(scores.values(), Score())
    assert total.survivors == []
    assert total.mutants == 200
