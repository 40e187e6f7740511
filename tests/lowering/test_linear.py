"""Lowering visits every node a number of times that does not depend on how many there are."""

import sys
from types import FrameType
from typing import Any

import pytest

from hw.host.errors import BitfabricError
from hw.lowering.lower import lower
from tests.builders import long_models


def lines(model) -> int:
    """The number of lines of Python that lowering executes in this package and in qonnx, turns of loops included."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any):
        nonlocal count
        if event == "line":
            count += 1
        file = frame.f_code.co_filename
        return trace if "/hw/" in file or "/qonnx/" in file else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        lower(model)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (long_models.elementwise, 30),
        (long_models.layers, 6),
        (long_models.branches, 8),
        (long_models.dead, 100),
    ],
    ids=["elementwise", "layers", "branches", "dead"],
)
def test_twice_the_nodes_are_at_most_twice_the_work(make, count):
    lower(make(count))  # What is imported or computed once is not part of the count.
    once, twice = lines(make(count)), lines(make(2 * count))
    assert once < twice <= 2 * once


def test_endless_chains_are_refused(monkeypatch):
    """The steps of a chain are copied for each node, so their number has a limit."""
    monkeypatch.setattr("hw.lowering.lower.MAX_CHAIN", 20)
    lower(long_models.elementwise(10))
    model = long_models.elementwise(21)
    with pytest.raises(BitfabricError, match="cannot be lowered: too many operators follow each other without a layer"):
        lower(model)
