import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.kernels.shared import cell_costs


def distinct(words, width):
    """Distinct bit columns that are not constant, counted one by one."""
    columns = {tuple(word[lane] >> bit & 1 for word in words) for lane in range(len(words[0])) for bit in range(width)}
    return sum(len(set(column)) > 1 for column in columns)


@pytest.mark.quick
@settings(max_examples=60, deadline=None)
@given(
    depth=st.one_of(st.integers(1, 9), st.integers(1, cell_costs.COLUMNS)),
    lanes=st.integers(1, 12),
    width=st.one_of(st.just(1), st.integers(1, 40)),
    signed=st.booleans(),
    seed=st.integers(0, 9999),
)
def test_columns_of_memories_are_those_that_differ(depth, lanes, width, signed, seed):
    low = -(1 << (width - 1)) if signed else 0
    words = np.random.default_rng(seed).integers(low, low + (1 << width), (depth, lanes))
    of = words.tolist()
    assert cell_costs.columns(words, width) == distinct(of, width)
    assert cell_costs.columns_apart(words, width) == sum(distinct([[w[i]] for w in of], width) for i in range(lanes))
