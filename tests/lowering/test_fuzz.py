"""Damaged models: each one is refused in one line that names a node or tensor, or gives its reference's integers."""

import pytest

from tests.builders.every_operator import finn_models, models
from tests.builders.lookup_models import lookup_models
from tests.builders.mutations import Mutant
from tests.builders.outcomes import campaign, examine
from tests.builders.random_qdq import qdq_models

FOUND = (5, 17, 122, 755, 897, 1274, 1394, 1869, 1961, 3361, 4921, 5301, 6794, 7111, 20833)
"""Seeds that once ended in a traceback, in other integers than the reference's, or not within a minute."""
BATCH = 25


def test_the_models_are_valid():
    for number, data in enumerate(models()):
        assert examine(Mutant(number, "valid", data)).result == "equal"


@pytest.mark.parametrize("seed", FOUND)
def test_found(seed):
    campaign([seed])


@pytest.mark.parametrize("batch", range(10))
def test_some(batch):
    counts = campaign(range(batch * BATCH, (batch + 1) * BATCH))
    assert counts.total() == BATCH


def test_some_in_finns_dialect():
    counts = campaign(range(100), finn_models())
    assert counts["read"] > 10
    assert counts.total() == 100


def test_some_with_onnx_quantizers():
    counts = campaign(range(40), qdq_models())
    assert counts["equal"] > 3
    assert counts.total() == 40


def test_some_with_lookup_tables():
    counts = campaign(range(150), lookup_models())
    assert counts["equal"] > 5
    assert counts.total() == 150


@pytest.mark.slow
def test_many_with_lookup_tables():
    counts = campaign(range(1000, 5000), lookup_models())
    assert counts["equal"] > 200
    assert counts["degenerate"] + counts["large"] < 15


@pytest.mark.slow
def test_many_with_onnx_quantizers():
    counts = campaign(range(1000, 3000), qdq_models())
    assert counts["equal"] > 200
    assert counts["degenerate"] + counts["large"] < 15


@pytest.mark.slow
def test_many_in_finns_dialect():
    assert campaign(range(1000, 4000), finn_models())["read"] > 300


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(10))
def test_many(batch):
    counts = campaign(range(10_000 + batch * 500, 10_000 + (batch + 1) * 500))
    assert counts["refused"] > 300
    assert counts["equal"] > 30
    assert counts["degenerate"] + counts["large"] < 15
