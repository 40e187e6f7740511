"""Plans of constant matrix-vector products: exact, with exact ranges, the same each time, made again if corrupted."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from qonnx.core.datatype import DataType

from hw.fabric.resources import Resources
from hw.families.ecp5.family import ECP5
from hw.families.xc7.family import XC7
from hw.folding.search import Search
from hw.kernels.constant_matrix import pipeline, planner
from hw.kernels.constant_matrix.adders import bits
from hw.kernels.constant_matrix.kernel import ConstantMatrix
from hw.kernels.constant_matrix.pipeline import Pipeline
from hw.kernels.constant_matrix.planner import plan
from hw.kernels.constant_network import cases as constants
from hw.kernels.constant_network.kernel import SLACK
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.native import cache
from hw.rtl.design import generate
from hw.simulation import verilator
from tests.builders.networks import perceptron
from tests.kernels.kernel_bench import alone, check, random_frames, synthesised

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


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 9999), rows=st.integers(1, 8), luts=st.sampled_from([4, 6]))
def test_a_plan_of_some_rows_has_their_sums_only(seed, rows, luts):
    rng, weights = np.random.default_rng(seed), matrix(seed, rows, 6, 5, 0.6)
    chosen, x = rng.random(rows) < 0.5, rng.integers(0, 16, (20, 6))
    whole = plan(weights, (0, 15), luts)
    some = whole.only(chosen)
    assert_array_equal(some.evaluate(x), x @ (weights * chosen[:, None]).T)
    read = {t.source for t in some.outputs if t} | {t.source for each in some.sums for t in each.terms}
    assert read >= set(range(6, 6 + len(some.sums)))
    assert {(each.low, each.high) for each in some.sums} <= {(each.low, each.high) for each in whole.sums}
    assert whole.only(np.ones(rows, bool)) == whole
    left, all_of = Pipeline(whole, (0,) * rows, 1, raw=True).only(chosen), Pipeline(whole, (0,) * rows, 1, raw=True)
    assert left.stages == all_of.stages
    assert left.raw_bits <= all_of.raw_bits


@pytest.mark.parametrize(("luts", "arity"), [(4, 2), (6, 3)])
def test_a_limit_of_depth_holds(luts, arity):
    weights = matrix(1, 16, 32, 4, 1.0)
    digits = max(sum(bin(v ^ 3 * v).count("1") for v in map(int, np.abs(row))) for row in weights)
    least = next(depth for depth in range(9) if arity**depth >= digits)
    assert plan(weights, (0, 15), luts, least).depth <= least


@pytest.mark.parametrize("tables", [4, 6])
def test_a_kernel_takes_the_plan_of_the_least_depth_where_it_saves_stages(tables):
    """With registers after every adder it has fewer of them, too; where no stage is saved, the cheapest is taken."""
    weights = matrix(1, 16, 32, 4, 1.0)
    kernel = ConstantMatrix(MatrixVector(weights, DataType["INT5"], DataType["UINT4"]), 1, 1, tables)
    deep, least = plan(weights, (0, 15), tables), kernel._least_depth
    assert kernel.plan.depth == least < deep.depth
    assert kernel.plan.size(1) < deep.size(1)
    together = kernel.fold(replace(kernel.folding, adders_per_stage=4))
    if -(-deep.depth // 4) == -(-least // 4):
        assert together.plan == deep
    x = np.random.default_rng(2).integers(0, 16, (20, 32))
    assert_array_equal(kernel.plan.evaluate(x), x @ weights.T)


def test_a_matrix_with_work_for_one_trial_can_have_a_limit_of_depth(monkeypatch):
    weights = matrix(3, 6, 8, 4, 1.0)
    monkeypatch.setattr(planner, "WORK", 1)
    for depth in (0, 4):
        made = planner.from_arrays(8, (0, 15), *planner.tables(weights, (0, 15), 4, depth))
        assert_array_equal(made.evaluate(np.eye(8, dtype=np.int64)).T, weights)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 9999), sizes=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 6)), min_size=1, max_size=5),
    luts=st.sampled_from([4, 6]),
)  # fmt: skip
def test_rows_without_a_common_input_are_planned_apart(seed, sizes, luts):
    """Blocks of a matrix, its rows and columns in any order, take the adders of the blocks alone."""
    rng = np.random.default_rng(seed)
    blocks = [matrix(seed + i, *size, 4, 0.8) for i, size in enumerate(sizes)]
    whole = np.zeros(np.sum([each.shape for each in blocks], axis=0), np.int64)
    row = column = 0
    for block in blocks:
        whole[row : row + len(block), column : column + block.shape[1]] = block
        row, column = row + len(block), column + block.shape[1]
    mixed = whole[rng.permutation(row)][:, rng.permutation(column)]
    with pytest.MonkeyPatch.context() as patch:
        asked = []
        one = planner._tables
        patch.setattr(planner, "_tables", lambda part, *rest: asked.append(part) or one(part, *rest))
        made = planner.from_arrays(column, (-3, 4), *planner.tables(mixed, (-3, 4), luts))
    assert_array_equal(made.evaluate(np.eye(column, dtype=np.int64)).T, mixed)
    assert all((part != 0).any(axis=0).all() and (part != 0).any(axis=1).all() for part in asked)
    assert len(asked) >= sum(each.any() for each in blocks)
    assert sum(part.shape[1] for part in asked) == np.count_nonzero(mixed.any(axis=0))
    assert sum(map(len, asked)) == np.count_nonzero(mixed.any(axis=1))


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 9999), shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    types=st.sampled_from([("INT4", "UINT4"), ("INT3", "BINARY"), ("TERNARY", "UINT2"), ("BIPOLAR", "UINT8")]),
    density=st.sampled_from([0.1, 0.5, 1.0]), family=st.sampled_from([ECP5, XC7]),
)  # fmt: skip
def test_no_plan_undercuts_its_bound(seed, shape, types, density, family):
    rng, (weight, data) = np.random.default_rng(seed), types
    if weight == "BIPOLAR":
        weights = rng.choice([-1, 1], shape)
    else:
        low, high = int(DataType[weight].min()), int(DataType[weight].max())
        weights = rng.integers(low, high + 1, shape) * (rng.random(shape) < density)
    kernel = ConstantMatrix(MatrixVector(weights, DataType[weight], DataType[data])).tuned(family, 100.0)
    least, used = vars(kernel.least_resources(family)), vars(kernel.resources(family))
    assert all(least[name] <= used[name] for name in used)


@pytest.fixture
def made_plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """An empty cache of plans in ``tmp_path``, and the matrices that are planned, each time one is."""
    made: list[np.ndarray] = []
    tables = planner.tables

    def counted(matrix: np.ndarray, *options: Any) -> tuple[np.ndarray, np.ndarray]:
        made.append(matrix)
        return tables(matrix, *options)

    library = cache.cache_folder() / "native"
    library.mkdir(parents=True, exist_ok=True)
    monkeypatch.setenv("BITFABRIC_CACHE", str(tmp_path))
    (tmp_path / "native").symlink_to(library)
    monkeypatch.setattr(planner, "tables", counted)
    return made


def test_a_plan_from_the_cache_is_whole_and_made_once(tmp_path: Path, made_plans: list[np.ndarray]):
    weights = matrix(2, 5, 6, 4, 1.0)
    first = plan(weights, (0, 3), 4)
    assert plan(weights, (0, 3), 4) == first
    assert len(made_plans) == 1
    entries = list((tmp_path / "plans").iterdir())
    assert len(entries) == 1
    saved = (entries[0] / "sums.npy").read_bytes()
    (entries[0] / "sums.npy").write_bytes(saved[:-8] + b"\xff" * 8)
    assert plan(weights, (0, 3), 4) == first
    assert (entries[0] / "sums.npy").read_bytes() == saved
    assert len(made_plans) == 2


@pytest.mark.parametrize("family", [ECP5, XC7])
def test_a_search_plans_each_matrix_and_depth_once_and_the_next_search_none(family, made_plans: list[np.ndarray]):
    available = Resources(lut=24288, ff=24288, bram=56, dsp=28)
    types = [("INT3", "INT3"), ("UINT3", "INT3")]

    def front() -> list[tuple[int, Resources]]:
        graph = perceptron(np.random.default_rng(0), [16, 24, 5], types)
        search = Search(graph, family, available, clock_mhz=100.0)
        return [(choice.interval, choice.used) for choice in search.pareto_front(available)]

    first, planned = front(), len(made_plans)
    assert len(types) <= planned <= 2 * len(types)  # of any depth, and of the least where that may save stages
    assert front() == first
    assert len(made_plans) == planned


def test_a_search_for_a_low_rate_plans_nothing(made_plans: list[np.ndarray]):
    available = Resources(lut=24288, ff=24288, bram=56, dsp=28)
    graph = perceptron(np.random.default_rng(0), [16, 24, 5], [("INT3", "INT3"), ("UINT3", "INT3")])
    search = Search(graph, ECP5, available, clock_mhz=100.0)
    assert search.min_interval[0] == 1
    assert search.cheapest(128, available).used.lut
    assert not made_plans


def test_resources_count_registers_and_what_waits():
    made = plan(np.array([[1, 1, 1, 1], [1, 0, 0, 0]]), (0, 1), 4)
    # Three adders in two levels: a register behind the first is 2 * 2 bits, and the input of row 1 waits once.
    assert made.depth == 2
    assert made.resources(ECP5, 1).ff == 2 * 2 + 1
    assert made.resources(ECP5, 2).ff == 0
    assert made.resources(XC7, 2).lut == made.luts(XC7)


@pytest.mark.parametrize("slack", [0, 1, 2])
@pytest.mark.parametrize("raw", [False, True])
def test_sums_wait_for_values_that_many_read_and_no_output_is_later_than_the_slack(raw, slack, monkeypatch):
    rng = np.random.default_rng(6)
    made, offsets = plan(rng.integers(-7, 8, (24, 20)), (-4, 3), 4), tuple(rng.integers(-2, 3, 24).tolist())
    sources = range(made.inputs, made.inputs + len(made.sums))
    readers = Counter(source for each in made.sums for source in {term.source for term in each.terms})
    reads = [(s, t.source) for s, each in zip(sources, made.sums, strict=True) for t in each.terms]
    at_once = Pipeline(made, offsets, 1, 0, raw, slack)

    def near(some: Pipeline) -> int:
        """Reads of values that many read, a stage later; inputs come before the first stage."""
        far = [(s, t) for s, t in reads if readers[t] >= pipeline.FAR]
        return sum(some.stage(s) == 1 + (some.stage(t) if t >= made.inputs else 0) for s, t in far)

    monkeypatch.setattr(pipeline, "LARGE", len(made.sums) + 1)
    soon, stages = near(at_once), at_once.stages
    monkeypatch.setattr(pipeline, "LARGE", len(made.sums))
    waiting = Pipeline(made, offsets, 1, 0, raw, slack)
    assert waiting.stages == stages + slack
    assert all(waiting.stage(s) > waiting.stage(t) for s, t in reads if t >= made.inputs)
    assert all(made.levels[s - made.inputs] <= waiting.stage(s) <= waiting.stages for s in sources)
    for row, term in enumerate(made.outputs):
        assert waiting.stage(term.source) <= waiting.stages - waiting.adjusted(row)
    assert near(waiting) < (0.5 - 0.25 * bool(slack)) * soon


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 9999), rows=st.integers(1, 8), inputs=st.integers(1, 3), width=st.integers(2, 20),
    bounds=st.sampled_from([(0, 1), (-1, 0), (-1, 1), (0, 3), (-2, 1)]), luts=st.sampled_from([4, 6]),
)  # fmt: skip
def test_what_is_shifted_beyond_a_sum_is_not_added(seed, rows, inputs, width, bounds, luts):
    """Multiples of one input of few values cancel high bits: x + 1024 x - 1009 x has four bits, not eleven."""
    made = plan(np.random.default_rng(seed).integers(-1 << width - 1, 1 << width - 1, (rows, inputs)), bounds, luts)
    values = list(np.stack(np.meshgrid(*[range(bounds[0], bounds[1] + 1)] * inputs), -1).reshape(-1, inputs).T)
    for each in made.sums:
        total = sum(values[t.source] * t.scale for t in each.terms)
        size = bits(each.low, each.high)
        left = sum(values[t.source] * t.scale for t in each.added) & (1 << size) - 1
        values.append(left - (each.low < 0) * ((left >> size - 1) << size))
        assert_array_equal(values[-1], total)
        assert all(term.shift < size for term in each.added)
    assert Pipeline(made, (0,) * rows, 1).register_bits >= 0


@pytest.mark.parametrize(("family", "adders"), [(ECP5, 1), (XC7, 2)])
def test_rtl_of_multiples_of_one_bit(family, adders, tmp_path):
    """The RTL is the product, and Yosys accepts it: no adder has terms beyond its bits."""
    rng = np.random.default_rng(0)
    weights = np.kron(np.eye(3, dtype=np.int64), np.ones((7, 1), np.int64)) * rng.integers(-(1 << 15), 1 << 15, (21, 1))
    product = MatrixVector(weights, DataType["INT16"], DataType["BINARY"])
    kernel = ConstantMatrix(product, 1, adders, family.lut_inputs)
    fewer = [each for each in kernel.plan.sums if len(each.added) < len(each.terms)]
    assert {len(each.added) for each in fewer} >= ({1} if family == ECP5 else {1, 2})
    check(alone(kernel), {"in0": random_frames(kernel.inputs()[0], 8, rng)}, rng, family)
    zero = ConstantMatrix(
        MatrixVector(matrix(1, 8, 6, 8, 1.0), DataType["INT9"], DataType["UINT4"], input_range=(0, 0))
    )
    assert len(zero.pipeline().last) < 6 + len(zero.plan.sums)  # of inputs that are always 0, no sum needs all terms
    verilator.lint(generate(alone(zero), family))
    assert 0 < synthesised(kernel, family, tmp_path).lut <= kernel.resources(family).lut


@pytest.mark.slow
@pytest.mark.parametrize("family", [ECP5, XC7], ids=lambda family: family.name)
def test_rtl_of_a_large_layer_whose_sums_wait_equals_model(family, monkeypatch):
    rng = np.random.default_rng(6)
    product = MatrixVector(rng.integers(-7, 8, (24, 20)), DataType["INT4"], DataType["INT3"], (2,))
    kernel = ConstantMatrix(product, 1, 1, family.lut_inputs)
    layers = constants.perceptron(rng, (20, 24, 6), "INT4", "INT3", adders=1, tables=family.lut_inputs)
    monkeypatch.setattr(pipeline, "LARGE", 10_000)
    latency = constants.named(*layers).schedule().latency
    monkeypatch.setattr(pipeline, "LARGE", 100)
    assert kernel.pipeline()._slots != kernel.pipeline()._levels
    network = constants.named(*layers)
    large = sum(step.logic.far for step in network.steps[::2])
    assert large
    assert network.schedule().latency == latency + SLACK * large
    for each in (kernel, network):
        check(alone(each), {"in0": random_frames(each.inputs()[0], 12, rng)}, rng, family)
