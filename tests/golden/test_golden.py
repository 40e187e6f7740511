"""Nothing that the product computes has changed: graphs, plans, generated files, cells, help and errors.

``python -m tests.golden --renew [PART ...]`` keeps what is computed now, where a change is meant.
"""

import pytest

from tests.golden.comparison import difference
from tests.golden.parts import PARTS, SLOW


@pytest.mark.parametrize("part", [pytest.param(p, marks=pytest.mark.slow) if p in SLOW else p for p in PARTS])
def test_as_it_was(part, tmp_path):
    found = difference(PARTS[part](tmp_path))
    if found:
        pytest.fail(f"{part} has changed:\n{found}", pytrace=False)
