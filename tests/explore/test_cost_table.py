"""The costs of many networks from one lowering, against those of the networks when each is lowered itself."""

import numpy as np
import pytest

import flows.explore.variants as variants_module
from flows.explore.cost_table import CostTable, _over
from flows.explore.front import front, nondominated, separable_costs
from flows.explore.variants import lowered, new_network, new_variants
from hw.fabric.resources import Resources
from hw.folding import tables
from hw.folding.search import Search
from hw.host.errors import UsageError

WIDTHS = 1, 2, "ternary", 4, 8
NETWORKS = {
    "mlp": ("tfc-w4a4", {"hidden": [12, 8], "input_shape": (16,), "classes": 4}),
    "factors": ("tfc-w4a4", {"hidden": [12, 8], "input_shape": (16,), "classes": 4, "low_rank": 0.5}),
    "convolutions": ("lenet5-w4a4", {"width": 0.5, "input_shape": (1, 16, 16), "in_range": (0, 15), "classes": 4}),
    "branches": ("resnet8-w4a4", {"width": 0.125, "input_shape": (1, 8, 8), "in_range": (0, 15), "classes": 4}),
}


def frames(options):
    return np.random.default_rng(0).integers(0, 16, (64, *options["input_shape"])).astype(np.float32)


def drawn(random, variants):
    """Widths of all layers and activations."""
    layers = {name: WIDTHS[random.integers(len(WIDTHS))] for name in variants.layers}
    return layers, {name: int(random.integers(1, 6)) for name in variants.activations}


@pytest.mark.parametrize("kind", ["mlp", "factors", "convolutions", pytest.param("branches", marks=pytest.mark.slow)])
def test_equals_the_lowered_network(kind):
    """Types, weights, and cycles of every kernel are those of a lowering. The resources of kernels of thresholds, which
    follow from their values, may differ; those of all others are equal. So the cost that is minimised, the sum of the
    shares of the device, differs little; of two foldings of nearly equal cost, either may be the cheapest."""
    name, options = NETWORKS[kind]
    x, random = frames(options), np.random.default_rng(1)
    variants = new_variants(name, options, x, WIDTHS)
    table = CostTable("ulx3s-25f", fps=20_000)
    family = table.device.family
    ratios = []
    for _ in range(4):
        layers, activations = drawn(random, variants)
        made = variants.graph(layers, activations)
        itself = lowered(
            new_network(
                name,
                {**options, "weight_widths": [*layers.values()], "activation_widths": [*activations.values()]},
                x,
            )
        )
        assert [node.name for node in made] == [node.name for node in itself]
        for mine, its in zip(made, itself, strict=True):
            assert (mine.kernel.op, mine.kernel.inputs(), mine.kernel.outputs(), mine.kernel.interval) == (
                its.kernel.op, its.kernel.inputs(), its.kernel.outputs(), its.kernel.interval,
            )  # fmt: skip
            if hasattr(mine.kernel, "weights"):
                np.testing.assert_array_equal(mine.kernel.weights, its.kernel.weights)
            same = mine.kernel.resources(family) == its.kernel.resources(family)
            assert same or mine.kernel.op == "threshold"
        exact = table.search(itself)
        cost, other = table.cost(made), exact.cheapest(table.cycles, table.limits) or exact.cheapest(table.cycles)
        assert cost.interval == other.interval
        ratios.append(cost.share / other.cost)
    assert max(abs(ratio - 1) for ratio in ratios) <= 0.02


def test_known_kernels_are_not_costed_again():
    name, options = NETWORKS["mlp"]
    variants = new_variants(name, options, frames(options), (2, 4))
    table = CostTable("ulx3s-25f", fps=100_000)
    for first in (2, 4):
        for second in (2, 4):
            for third in (2, 4):
                for act in (2, 4):
                    layers = dict(zip(variants.layers, (first, second, third), strict=True))
                    table.cost(variants.graph(layers, dict.fromkeys(variants.activations, act)))
    # Three products by width and input (the first has one input), two thresholds by type of sum and output.
    products, thresholds = 2 + 4 + 4, 2 * 2 + 4 * 2
    assert len(table) <= products + thresholds
    entries = len(table)
    table.cost(variants.graph())
    assert len(table) == entries


def test_many_costs_are_those_of_single_tables(monkeypatch):
    """Many networks have one lowering, each folding of a kernel is costed once, and the costs are those of a table of
    its own for each network."""
    lowerings, costed = [], []
    monkeypatch.setattr(variants_module, "lowered", lambda model: lowerings.append(model) or lowered(model))
    exact = tables.vector
    monkeypatch.setattr(tables, "vector", lambda used: costed.append(used) or exact(used))
    name, options = NETWORKS["mlp"]
    variants, random = new_variants(name, options, frames(options), WIDTHS), np.random.default_rng(2)
    table = CostTable("ulx3s-25f", fps=20_000)
    networks = [drawn(random, variants) for _ in range(60)]
    costs = [table.cost(variants.graph(*each)) for each in networks]
    once = len(costed)
    assert costs == [table.cost(variants.graph(*each)) for each in networks]
    assert (len(lowerings), len(costed)) == (1, once)
    assert costs[:8] == [CostTable("ulx3s-25f", fps=20_000).cost(variants.graph(*each)) for each in networks[:8]]
    assert len(lowerings) == 1
    assert len(table) == len({node.kernel for each in networks for node in variants.graph(*each)})


def test_search_with_shared_tables_is_that_without():
    name, options = NETWORKS["convolutions"]
    variants = new_variants(name, options, frames(options), (2, 4))
    table = CostTable("icebreaker", fps=3000)
    for width in (2, 4):
        graph = variants.graph(dict.fromkeys(variants.layers, width))
        shared = table.search(graph)
        own = Search(graph, table.device.family, table.device.capacity, shared.most_cells, table.clock_mhz)
        for cycles in (shared.min_interval[0], table.cycles, 10 * table.cycles):
            mine, its = shared.cheapest(cycles), own.cheapest(cycles)
            assert (mine.folding, mine.used, mine.interval) == (its.folding, its.used, its.interval)


def test_front_is_the_least_of_all_combinations():
    """No combination of widths has less loss and less cost, under the separable costs."""
    name, options = NETWORKS["mlp"]
    variants = new_variants(name, options, frames(options), (2, 4, 8))
    table = CostTable("ulx3s-25f", fps=100_000)
    random = np.random.default_rng(0)
    widths = dict.fromkeys([*variants.layers, *variants.activations], (2, 4, 8))
    loss = {(each, width): float(random.random() / width**2) for each in widths for width in (2, 4, 8)}
    points = front(variants, table, widths, loss)
    assert len(points) > 2
    assert points == nondominated(points)
    assert [point.loss for point in points] == sorted((point.loss for point in points), reverse=True)
    costs = separable_costs(variants, table, widths)
    names = list(widths)

    def cost(chosen):
        return sum(float(each[tuple(widths[n].index(chosen[n]) for n in scope)]) for scope, each in costs)

    mine = [(point.loss, cost({**point.layers, **point.activations})) for point in points]
    for values in np.ndindex(*[3] * len(names)):
        chosen = {each: widths[each][i] for each, i in zip(names, values, strict=True)}
        total = sum(loss[each, width] for each, width in chosen.items())
        other = cost(chosen)
        assert not all(other < at - 1e-9 and total < least - 1e-9 for least, at in mine)


def test_what_cannot_be_reached_names_the_nearest():
    name, options = NETWORKS["mlp"]
    variants = new_variants(name, options, frames(options), (2, 4))
    graph = variants.graph()
    small = CostTable("ulx3s-25f", fps=1e6, limits={"lut": 50}).cost(graph)
    assert small.excess > 0
    assert small.why.endswith("LUT of at most 50")
    none = CostTable("ulx3s-25f", fps=1e6, limits={"dsp": 0}).limits
    assert _over(Resources(lut=10), none) == (0.0, "")
    assert _over(Resources(dsp=1), none) == (1.0, "1 DSP of at most 0")
    fastest = CostTable("ulx3s-25f").cost(graph)
    assert fastest.excess == 0
    assert fastest.fps >= 1e6
    with pytest.raises(UsageError, match="one frame a cycle"):
        CostTable("ulx3s-25f", fps=1e12)
    with pytest.raises(UsageError, match="limit lutt=3"):
        CostTable("ulx3s-25f", limits={"lutt": 3})
