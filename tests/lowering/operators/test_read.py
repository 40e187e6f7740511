"""Every row of the page of operators that can be read is true: the model lowers, and has its own result."""

import numpy as np
import pytest

from hw.lowering.lower import lower
from hw.simulation.emulator import Emulator
from tests.lowering.operators.page import PAGE, page
from tests.lowering.operators.right import result
from tests.lowering.operators.row import ROUNDED, ULPS, Row
from tests.lowering.operators.table import ROWS

LEAST = 462
"""Rows times versions that are read. The number may only grow."""
CASES = [(row, opset) for row in ROWS for opset in row.versions.values()]


def _name(value: Row | int) -> str:
    return "-".join(filter(None, (value.domain, value.op, value.condition))) if isinstance(value, Row) else str(value)


@pytest.mark.parametrize(("row", "opset"), CASES, ids=_name)
def test_a_row_is_read_as_it_says(row, opset):
    model = row.model(opset)
    frames = (np.random.default_rng(0).normal(size=(24, *row.shape[1:])) * 2).astype(np.float32)
    got, right = np.asarray(Emulator(lower(model)).run(frames)), result(model, frames)
    assert got.dtype == right.dtype
    if row.exactness == ROUNDED and row.output is None:
        np.testing.assert_array_max_ulp(got, right, ULPS)
    else:
        np.testing.assert_array_equal(got, right)


def test_the_operators_that_are_read_become_more_and_never_fewer():
    assert len(CASES) >= LEAST
    assert all(row.versions for row in ROWS)


def test_the_page_has_these_rows():
    """``python -m tests.lowering.operators.page`` writes it."""
    assert PAGE.read_text() == page(PAGE.read_text())
