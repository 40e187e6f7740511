"""Plans of constant matrix-vector products: exact, with exact ranges, the same each time, made again if corrupted."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from hw.families.ecp5.family import ECP5
from hw.families.xc7.family import XC7
from hw.kernels.constant_matrix import planner
from hw.kernels.constant_matrix.planner import plan
from hw.native import cache

RANGES = st.sampled_from([(0, 1), (0, 3), (0, 15), (-1, 1), (-8, 7), (-7, 0), (3, 9)])


def matrix(seed: int, rows: int, inputs: int, bits: int, density: float) -> np.ndarray:
    """Random weights, with a zero row, an equal, a negated and a doubled row where there are enough rows."""
    rng = np.random.default_rng(seed)
    most = max(1, 2 ** (bits - 1) - 1)
    weights = rng.integers(-most, most + 1, (rows, inputs)) * (rng.random((rows, inputs)) < density)
    for i, factor in enumerate((0, 1, -1, 2)[: max(0, rows - 1)]):
        weights[i] = factor * weights[-1]
    return weights


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 9999), rows=st.integers(1, 9), inputs=st.integers(1, 12), bits=st.integers(1, 8),
    density=st.sampled_from([0.1, 0.5, 1.0]), bounds=RANGES, luts=st.sampled_from([4, 6]),
    depth=st.sampled_from([0, 3, 6]),
)  # fmt: skip
@example(seed=0, rows=1, inputs=1, bits=1, density=0.0, bounds=(0, 1), luts=4, depth=0)
def test_the_plan_is_the_product_and_its_ranges_are_attained(seed, rows, inputs, bits, density, bounds, luts, depth):
    weights = matrix(seed, rows, inputs, bits, density)
    made = plan(weights, bounds, luts, depth)
    assert made == plan(weights, bounds, luts, depth)
    x = np.random.default_rng(seed).integers(bounds[0], bounds[1] + 1, (50, inputs))
    assert_array_equal(made.evaluate(x), x @ weights.T)
    assert all(2 <= len(each.terms) <= (3 if luts == 6 else 2) for each in made.sums)
    assert all(min(t.shift for t in each.terms) == 0 <= max(t.sign for t in each.terms) for each in made.sums)
    for row, low, high in zip(weights, *zip(*map(made.output_range, range(rows)), strict=True), strict=True):
        ends = np.stack([row * bounds[0], row * bounds[1]])
        assert (low, high) == (ends.min(axis=0).sum(), ends.max(axis=0).sum())
    forms = made.evaluate(np.eye(inputs, dtype=np.int64))  # rows of the plan, by input
    assert_array_equal(forms.T, weights)


@pytest.mark.parametrize(("luts", "arity"), [(4, 2), (6, 3)])
def test_a_limit_of_depth_holds(luts, arity):
    weights = matrix(1, 16, 32, 4, 1.0)
    digits = max(sum(bin(v ^ 3 * v).count("1") for v in map(int, np.abs(row))) for row in weights)
    least = next(depth for depth in range(9) if arity**depth >= digits)
    assert plan(weights, (0, 15), luts, least).depth <= least


def test_a_matrix_with_work_for_one_trial_can_have_a_limit_of_depth(monkeypatch):
    weights = matrix(3, 6, 8, 4, 1.0)
    monkeypatch.setattr(planner, "WORK", 1)
    for depth in (0, 4):
        made = planner.from_arrays(8, (0, 15), *planner.tables(weights, (0, 15), 4, depth))
        assert_array_equal(made.evaluate(np.eye(8, dtype=np.int64)).T, weights)


def test_a_plan_from_the_cache_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    weights = matrix(2, 5, 6, 4, 1.0)
    first = plan(weights, (0, 3), 4)
    library = cache.cache_folder() / "native"
    monkeypatch.setenv("BITFABRIC_CACHE", str(tmp_path))
    (tmp_path / "native").symlink_to(library)
    assert plan(weights, (0, 3), 4) == first
    entries = list((tmp_path / "plans").iterdir())
    assert len(entries) == 1
    saved = (entries[0] / "sums.npy").read_bytes()
    (entries[0] / "sums.npy").write_bytes(saved[:-8] + bytes(8))
    assert plan(weights, (0, 3), 4) == first
    assert (entries[0] / "sums.npy").read_bytes() == saved


def test_resources_count_registers_and_what_waits():
    made = plan(np.array([[1, 1, 1, 1], [1, 0, 0, 0]]), (0, 1), 4)
    # Three adders in two levels: a register behind the first is 2 * 2 bits, and the input of row 1 waits once.
    assert made.depth == 2
    assert made.resources(ECP5, 1).ff == 2 * 2 + 1
    assert made.resources(ECP5, 2).ff == 0
    assert made.resources(XC7, 2).lut == made.luts(XC7)
