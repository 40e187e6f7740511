from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.fabric.resources import Resources
from hw.families import families, spec_of
from hw.families.ecp5 import ECP5
from hw.families.ice40 import ICE40
from hw.folding import choose, elimination, finn_json, program, solver
from hw.folding.choose import estimate_resources, for_budget, for_cycles
from hw.folding.search import Search
from hw.folding.tables import choices
from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding
from hw.passes.fifos import insert_fifos
from hw.passes.fold import apply_folding
from hw.passes.lanes import insert_width_converters
from hw.timing.cycles import steady
from hw.timing.fifo_sizing import size_fifos
from tests.builders.networks import perceptron, residual
from tests.kernels.kernel_bench import check, random_frames

DEVICE = Resources(lut=24288, ff=24288, bram=56, dsp=28)
FRONTS = (
    ([16, 24, 5], [("INT3", "INT3"), ("UINT3", "INT3")]),
    ([12, 8, 6], [("UINT2", "INT3"), ("BIPOLAR", "BIPOLAR")]),
    ([24, 20, 10], [("INT8", "TERNARY"), ("UINT4", "INT4")]),
)


def measured(graph, table):
    """Interval and resources of a folding."""
    folded = insert_width_converters(apply_folding(graph, table))
    used = np.array([*vars(estimate_resources(folded, ECP5)).values()])
    return max(node.kernel.schedule().interval for node in folded), used


def cost(used, available):
    """What the search minimises, written again."""
    return sum(u / have if have else 1e3 * u for u, have in zip(used, vars(available).values(), strict=True))


def areas(used, available):
    """The shares of logic, block RAM and DSPs; lookup tables and flip-flops lie in the same cells."""
    pairs = zip(vars(used).values(), vars(available).values(), strict=True)
    lut, ff, bram, dsp = (count / max(1, have) for count, have in pairs)
    return max(lut, ff), bram, dsp


def is_as_good(faster, slower, available):
    """Whether there is no reason to take a slower folding: see ``pareto_front``."""
    mine, its = areas(faster.used, available), areas(slower.used, available)
    no_more = all(a <= b for a, b in zip(mine, its, strict=True))
    return no_more or max(mine) < max(its) or faster.cost < slower.cost + 1e-9


def check_front(front, available):
    for faster, slower in combinations(front, 2):
        assert faster.interval < slower.interval
        assert not is_as_good(faster, slower, available)


def of_every_node(graph, family):
    """By node that has several: the foldings of all its implementations."""
    every = ((node.name, choices(node.kernel, family)) for node in graph)
    return [[(name, folding) for folding in foldings] for name, foldings in every if len(foldings) > 1]


def check_searches(graph, seed):
    """The foldings that the three searches find, against all there are."""
    legal = [measured(graph, dict(table)) for table in product(*of_every_node(graph, ECP5))]
    rng = np.random.default_rng(seed)

    cycles = legal[rng.integers(len(legal))][0]
    interval, used = measured(graph, for_cycles(graph, cycles, ECP5, DEVICE))
    assert interval <= cycles
    assert cost(used, DEVICE) == pytest.approx(min(cost(u, DEVICE) for t, u in legal if t <= cycles))

    for _ in range(5):
        # A budget that is what one folding takes, or less: most of the least sums do not fit it.
        some, other = (legal[i][1] for i in rng.integers(len(legal), size=2))
        budget = Resources(*np.where(rng.random(4) < 0.5, np.minimum(some, other), some).tolist())
        fitting = [(t, u) for t, u in legal if (u <= [*vars(budget).values()]).all()]
        interval, used = measured(graph, for_budget(Search(graph, ECP5, DEVICE), budget).folding)
        ranked = sorted((t, cost(u, DEVICE)) for t, u in fitting) or [min((cost(u, DEVICE), t) for t, u in legal)[::-1]]
        assert (interval, cost(used, DEVICE)) == (ranked[0][0], pytest.approx(ranked[0][1]))

        _, used = measured(graph, for_cycles(graph, cycles, ECP5, budget))
        fast = [u for t, u in fitting if t <= cycles] or [u for t, u in legal if t <= cycles]
        assert cost(used, budget) == pytest.approx(min(cost(u, budget) for u in fast))

        search = Search(graph, ECP5, budget)
        front = search.pareto_front(budget)
        assert front if fitting else not front
        for choice in front:
            assert choice.cost == pytest.approx(min(cost(u, budget) for t, u in fitting if t <= choice.interval))
        check_front(front, budget)
        for interval in {t for t, _ in fitting} - {choice.interval for choice in front}:
            left_out = search.cheapest(interval, budget)
            faster = [choice for choice in front if choice.interval <= interval]
            assert any(is_as_good(choice, left_out, budget) for choice in faster)
    for choice in front:
        interval, used = measured(graph, choice.folding)
        assert (interval, Resources(*used.tolist())) == (choice.interval, choice.used)


@pytest.mark.quick
@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_no_enumerated_folding_is_better(seed, tangled):
    graph = perceptron(np.random.default_rng(seed), [6, 4, 2], [("UINT2", "INT3"), ("BIPOLAR", "BIPOLAR")])
    with pytest.MonkeyPatch.context() as patch:
        if tangled:  # what elimination is too big for, the integer program finds
            patch.setattr(elimination, "LARGEST_TABLE", 2)
        check_searches(graph, seed)


@pytest.mark.quick
@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32))
def test_logic_cells_limit_every_budget(seed):
    """iCE40: the cheapest folding whose lookup tables and flip-flops the packer is estimated to fit."""
    rng = np.random.default_rng(seed)
    graph = perceptron(rng, [6, 4, 2], [("UINT2", "INT3"), ("BIPOLAR", "BIPOLAR")])
    packing, device = spec_of(ICE40).packing, Resources(5280, 5280, 30, 8)
    legal = []
    for table in product(*of_every_node(graph, ICE40)):
        folded = insert_width_converters(apply_folding(graph, dict(table)))
        used = estimate_resources(folded, ICE40)
        cells = (1 + packing.extra) * used.lut + packing.lone_ff * used.ff
        interval = max(node.kernel.schedule().interval for node in folded)
        legal.append((interval, cost([*vars(used).values()], device), cells))
    most = float(rng.choice([cells for _, _, cells in legal]))
    search, free = Search(graph, ICE40, device, most + 1e-6), Search(graph, ICE40, device)
    for cycles in sorted({interval for interval, _, _ in legal}):
        within = [price for interval, price, cells in legal if interval <= cycles and cells <= most + 1e-6]
        found = search.cheapest(cycles, device)
        assert (found is None) == (not within)
        if found:
            assert found.cost == pytest.approx(min(within))
        assert search.cheapest(cycles).cost == pytest.approx(free.cheapest(cycles).cost)
    assert packing.estimate(Resources(100, 50)) == -(-(100 * (1 + packing.extra) + 50 * packing.lone_ff) // 1)


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 2**32))
def test_no_enumerated_folding_of_paths_that_part_and_meet_is_better(seed):
    check_searches(residual(np.random.default_rng(seed), 2, prefix=()), seed)


@pytest.mark.quick
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 6))
def test_elimination_finds_the_least_sum(seed, count):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 4, count).tolist()
    factors = [((i,), rng.random(size)) for i, size in enumerate(sizes)]
    for _ in range(2 * count):
        pair = tuple(int(v) for v in rng.permutation(count)[:2])
        factors.append((pair, rng.random([sizes[v] for v in pair])))

    def total(values):
        return sum(table[tuple(values[v] for v in scope)] for scope, table in factors)

    every = {values: total(values) for values in product(*map(range, sizes))}
    assert total(elimination.minimise(factors, sizes)) == pytest.approx(min(every.values()))
    for i, least in enumerate(elimination.minima(factors, sizes)):
        for value, found in enumerate(least):
            assert found == pytest.approx(min(each for values, each in every.items() if values[i] == value))


@pytest.mark.quick
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 9999), count=st.integers(1, 12), resources=st.integers(1, 5))
def test_prices_exceed_limits_unless_a_mixture_fits(seed, count, resources):
    rng = np.random.default_rng(seed)
    excess = rng.normal(rng.uniform(-1, 1), 1, (count, resources))
    prices, least = program.dearest(excess)
    assert (prices >= 0).all()
    assert prices.sum() == pytest.approx(1)
    assert least == pytest.approx((excess @ prices).min())
    others = rng.dirichlet(np.full(resources, 0.3), 500)
    assert ((excess @ others.T).min(axis=0) <= least + 1e-7).all()


@pytest.mark.quick
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 9999), count=st.integers(1, 12), resources=st.integers(1, 5))
def test_prices_give_the_greatest_bound(seed, count, resources):
    rng = np.random.default_rng(seed)
    costs, excess = rng.random(count), rng.normal(rng.uniform(-1, 1), 1, (count, resources))
    prices, bound = program.prices(costs, excess)
    assert ((prices >= 0) & (prices <= program.MOST)).all()
    assert bound == pytest.approx((costs + excess @ prices).min())
    others = rng.exponential(1, (500, resources))
    assert ((costs[:, None] + excess @ others.T).min(axis=0) <= bound + 1e-7).all()


def test_few_foldings_are_left_to_the_integer_program(monkeypatch):
    """Of a chain of hundreds: the bound from prices excludes nearly all, and the answer stays the same."""
    graph = perceptron(np.random.default_rng(3), [64, 96, 48, 96, 64, 48, 10], [("UINT4", "INT4")] * 6)
    asked = []

    def recorded(options, *rest):
        asked.append(sum(len(node.used) for node in options))
        return program.solve(options, *rest)

    monkeypatch.setattr(solver, "solve", recorded)
    free = Search(graph, ECP5, DEVICE)
    at_most = free.cheapest(2000).used
    every = sum(int(node.eligible(2000).sum()) for node in free.nodes)
    assert every > 500
    assert not asked
    for share in (0.9, 0.8, 0.7):
        budget = replace(DEVICE, bram=int(share * at_most.bram))
        bounded = Search(graph, ECP5, DEVICE)
        choice = bounded.cheapest(2000, budget)
        # The same with all foldings.
        limit = np.array([*vars(budget).values()])
        picked = bounded._solver.programmed(2000, limit, bounded.weights)
        assert choice.cost == pytest.approx(float(bounded._solver.used(picked) @ bounded.weights))
        assert asked.pop() == every
        assert all(each < 0.1 * every for each in asked)
        asked.clear()


@pytest.mark.quick
@settings(max_examples=6, deadline=None)
@given(st.integers(1, 60), st.integers(0, 2**32))
def test_fifos_keep_the_bound_and_are_minimal(cycles, seed):
    rng = np.random.default_rng(seed)
    graph = perceptron(rng, [12, 8, 6, 4], [("INT4", "BIPOLAR"), ("BIPOLAR", "BIPOLAR"), ("UINT2", "TERNARY")])
    graph = insert_width_converters(
        apply_folding(graph, for_cycles(graph, max(cycles, Search(graph, ECP5, DEVICE).min_interval[0]), ECP5, DEVICE))
    )
    depths = size_fifos(graph)
    bound = max(node.kernel.schedule().interval for node in graph)
    assert steady(insert_fifos(graph, depths)).interval == bound
    for edge, depth in depths.items():
        shorter = depths | {edge: depth - 1 if depth > 2 else 0}
        assert steady(insert_fifos(graph, shorter)).interval > bound


@settings(max_examples=4, deadline=None)
@given(st.integers(2, 40), st.booleans(), st.integers(0, 2**32))
def test_folded_network_in_rtl(cycles, arg_max, seed):
    rng = np.random.default_rng(seed)
    types = [("UINT3", "INT2"), ("BIPOLAR", "BIPOLAR"), ("INT2", "BIPOLAR")]
    graph = perceptron(rng, [8, 6, 4, 3], types, arg_max)
    table = for_cycles(graph, max(cycles, Search(graph, ECP5, DEVICE).min_interval[0]), ECP5, DEVICE)
    graph = insert_width_converters(apply_folding(graph, table))
    graph = insert_fifos(graph, size_fifos(graph))
    check(graph, {"x": random_frames(graph.edges["x"], 6, rng)}, rng)


@pytest.mark.quick
def test_files_round_trip_and_finns_defaults(tmp_path):
    graph = perceptron(np.random.default_rng(1), [8, 4, 2], [("UINT4", "INT4"), ("UINT2", "INT4")])
    table = {"fc0": Folding(2, 4), "act0": Folding(4, 1)}
    finn_json.save(table, tmp_path / "f.json", graph)
    assert finn_json.read(tmp_path / "f.json", graph).table == table
    (tmp_path / "d.json").write_text('{"Defaults": {"PE": [2, ["all"]]}, "fc0": {"SIMD": 8, "ram_style": "block"}}')
    content = finn_json.read(tmp_path / "d.json", graph)
    others = {"act0": Folding(2), "fc1": Folding(2)}
    assert content.table == {"fc0": Folding(2, 8), **others}
    assert content.settings == {"fc0": {"ram_style": "block"}}
    assert content.remarks == ("d.json: these settings of FINN's have no effect here: ram_style (1)",)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no folding file"),
        ("{", "cannot be read as a folding file"),
        ("[1]", "a folding file is"),
        ('{"fc9": {"PE": 1}}', "no layer fc9; did you mean fc1 or fc0"),
        ('{"fc0": {"pe": 2}}', "layer fc0: unknown key pe"),
        ('{"fc0": {"PE": 0}}', "PE must be a positive integer, not 0"),
        ('{"fc0": {"PE": true}}', "PE must be a positive integer"),
        ('{"fc0": {"PE": 3}}', "fc0.*3"),
        (
            '{"fc0": {"PE": 1, "adders_per_stage": 2}}',
            "fc0: matrix_vector has no setting adders_per_stage; leave it out",
        ),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path, text, message):
    graph = perceptron(np.random.default_rng(1), [8, 4, 2], [("UINT4", "INT4"), ("UINT2", "INT4")])
    path = tmp_path / "f.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BitfabricError, match=message) as caught:
        apply_folding(graph, finn_json.read(path, graph).table)
    assert caught.value.status == 2


@pytest.mark.quick
def test_impossible_rate_names_the_limit():
    graph = perceptron(np.random.default_rng(1), [8, 4, 2], [("UINT4", "INT4"), ("UINT2", "INT4")], arg_max=True)
    with pytest.raises(BitfabricError, match="needs at least 1 cycles"):
        for_cycles(graph, 0, ECP5, DEVICE)


@pytest.mark.quick
@pytest.mark.parametrize("family", families().values(), ids=families())
def test_no_row_of_a_front_is_dominated(family):
    """Unrolled layers of 3 bits take fewer lookup tables than those of two cycles, and more flip-flops: two rows cost
    less in total than a faster one, and more of everything that limits."""
    dropped = 0
    for seed, (widths, types) in enumerate(FRONTS):
        graph = perceptron(np.random.default_rng(seed), widths, types)
        for available in (DEVICE, Resources(1000, 6000, 40, 10), Resources(50_000, 3000, 4, 0)):
            search = Search(graph, family, available)
            front = search.pareto_front(available)
            check_front(front, available)
            cheaper = [search.cheapest(cycles, available) for cycles in search.intervals]
            costs = [np.inf, *(choice.cost for choice in cheaper if choice)]
            dropped += sum(np.diff(np.minimum.accumulate(costs)) < 0) - len(front)
    assert dropped > 0, "no front had a dominated row"


def test_settings_of_layers_in_logic_follow_the_clock():
    """Registers behind every adder for a fast clock, behind four for a slow one; lanes and other layers stay."""
    graph = perceptron(np.random.default_rng(1), [16, 12, 4], [("UINT4", "INT4"), ("UINT2", "INT4")])
    table = choose.for_rate(Search(graph, ECP5, Resources(83_640, 83_640, 208, 156)), 1).folding
    for clock_mhz, adders in ((400, 1), (20, 4)):
        made = choose.tuned(graph, table, ECP5, clock_mhz)
        assert {each.adders_per_stage for each in made.values() if each.adders_per_stage} == {adders}
        assert {name: replace(each, adders_per_stage=0) for name, each in made.items()} == {
            name: replace(each, adders_per_stage=0) for name, each in table.items()
        }
