"""Widths that are learned in a training: the expected cost against its formula, mixtures, and whole trainings."""

import itertools
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quant import TrainConfig, WidthSearch, create_model, fit, learn_widths, train_run
from quant.cost import LayerCost
from quant.errors import QuantError
from quant.models.widths import hidden_activations, present_width, weighted_layers
from quant.quantizers.mixed import Choice, MeanSign, Mixed
from quant.quantizers.tensor_quant import UniformWeight
from quant.training.callbacks import KeepCheckpoint
from quant.training.checkpoint import load_checkpoint
from quant.training.learned_widths import ExpectedCost, LayerCosts, Supernet, width_costs
from tests.quant.small_training import interrupt_after, small

SEARCH = WidthSearch((2, 8), (2, 4), by="lut")


def products(shape, bits, density=1.0, structure="unstructured"):
    """A cost model: the bits of all products."""
    width = 1.6 if bits.weights == "ternary" else bits.weights
    return LayerCost(int(10 * np.prod(shape.weights) * width * bits.inputs), 0, 0, 0, cycles=7, rom_bits=0)


def network(data, name="tfc-w4a4", **options):
    torch.manual_seed(0)
    return create_model(name, **{"hidden": [8, 6], **options}, **data.options)


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 4), st.integers(0, 2))
@settings(max_examples=40, deadline=None)
def test_expected_cost_and_gradient_are_those_of_all_networks(seed, rows, columns, readers):
    """The sum over every combination of candidates of its probability times its cost, and the gradient of that."""
    random = np.random.default_rng(seed)
    acts = [f"act{i}" for i in range(readers)]
    columns = columns if readers else 1
    costs = {
        "first": LayerCosts((), tuple((float(c),) for c in random.integers(0, 100, rows))),
        "second": LayerCosts(tuple(acts), tuple(map(tuple, random.integers(0, 100, (rows, columns)).astype(float)))),
    }
    choices = {"first": Choice(rows), "second": Choice(rows), **{act: Choice(columns) for act in acts}}
    for choice in choices.values():
        choice.logits = torch.tensor(random.normal(size=len(choice.logits)), requires_grad=True)
    expected = ExpectedCost(costs, choices)
    expected.tables = {name: table.double() for name, table in expected.tables.items()}
    whole = torch.zeros((), dtype=torch.float64)
    for indices in itertools.product(*(range(len(each.logits)) for each in choices.values())):
        index = dict(zip(choices, indices, strict=True))
        chance = torch.stack([choices[name].probabilities[i] for name, i in index.items()]).prod()
        whole = whole + chance * expected.at(index)
    logits = [each.logits for each in choices.values()]
    torch.testing.assert_close(expected(), whole)
    torch.testing.assert_close(
        torch.autograd.grad(expected(), logits, allow_unused=True, materialize_grads=True),
        torch.autograd.grad(whole, logits, allow_unused=True, materialize_grads=True),
    )


def test_a_mixture_is_the_sum_of_its_candidates_and_then_one_of_them():
    torch.manual_seed(0)
    x, choice = torch.randn(5, 7, requires_grad=True), Choice(3)
    mixed = Mixed(choice, [MeanSign(), UniformWeight(3), UniformWeight(8)])
    parts = [each(x)[0] for each in mixed.quantizers]
    torch.testing.assert_close(parts[0].abs(), x.abs().mean().expand(5, 7).detach())
    choice.sample = lambda: torch.softmax(choice.logits, 0)
    loss = (mixed(x)[0] * torch.arange(35.0).view(5, 7)).sum()
    torch.testing.assert_close(mixed(x)[0], sum(parts) / 3)
    loss.backward()
    values = torch.stack([(part * torch.arange(35.0).view(5, 7)).sum() for part in parts])
    p = torch.full((3,), 1 / 3)  # of the softmax: dL/da_i = p_i (v_i - sum_j p_j v_j)
    torch.testing.assert_close(choice.logits.grad, p * (values - (p * values).sum()))
    mixed.eval()
    choice.logits.data = torch.tensor([0.0, 2.0, 1.0])
    torch.testing.assert_close(mixed(x)[0], parts[1], rtol=0, atol=0)
    assert int(mixed(x)[3]) == 3


def test_samples_have_the_probabilities():
    """The largest of the noisy logits is candidate i with probability softmax(logits)_i."""
    torch.manual_seed(0)
    choice = Choice(3)
    choice.logits.data = torch.tensor([0.0, 1.0, 2.0])
    choice.temperature = 0.1
    draws = torch.stack([choice.sample() for _ in range(4000)])
    torch.testing.assert_close(draws.sum(1), torch.ones(4000))
    shares = torch.bincount(draws.argmax(1), minlength=3) / 4000
    assert (shares - choice.probabilities).abs().max() < 0.03


def test_layers_read_the_activations_before_them():
    data = small()
    costs = width_costs(network(data), SEARCH, products)
    assert [each.reads for each in costs.values()] == [(), ("hidden.0.act",), ("hidden.1.act",)]
    inputs = 4  # of the data
    assert costs["hidden.0.linear"].costs == tuple((10.0 * 16 * 8 * w * inputs,) for w in (2, 8))
    assert costs["output"].costs == tuple(tuple(10.0 * 6 * 2 * w * a for a in (2, 4)) for w in (2, 8))
    torch.manual_seed(0)
    residual = create_model("resnet8-w4a4", width=0.125, input_shape=(1, 8, 8), in_range=(0, 15), classes=4)
    reads = {name: each.reads for name, each in width_costs(residual, SEARCH, products).items()}
    assert max(map(len, reads.values())) == 1
    assert {name for each in reads.values() for name in each} <= set(hidden_activations(residual))
    alone = width_costs(network(data), WidthSearch((2, 8), by="lut"), products)
    assert all(each.reads == () and len(each.costs[0]) == 1 for each in alone.values())


def test_the_network_goes_on_with_what_was_learned():
    data = small()
    model = network(data)
    net = Supernet(model, WidthSearch((1, 2, 8), (2, 4)))
    for i, choice in enumerate(net.choices.values()):
        choice.logits.data[i % len(choice.logits)] = 1.0
    x = torch.rand(50, 16) * 16
    net.network.train()(x)
    net.network.eval()
    found = net.chosen({"weight_widths": [1, 2, 8], "activation_widths": [4, 2]}).eval()
    assert [present_width(each) for each in weighted_layers(found).values()] == [1, 2, 8]
    for name in ("hidden.1.linear", "output"):  # of 2 and 8 bits: the same values
        mine, its = (each.get_submodule(name).quant_weight().value for each in (found, net.network))
        torch.testing.assert_close(mine, its, rtol=0, atol=0)
    mine, its = (each.get_submodule("hidden.0.linear").quant_weight().value for each in (found, net.network))
    torch.testing.assert_close(mine.sign(), its.sign(), rtol=0, atol=0)
    assert found.get_submodule("hidden.0.linear").weight.abs().mean().item() == pytest.approx(0.5, rel=0.1)
    z = torch.randn(20, 8)
    mine, its = (each.get_submodule("hidden.0.act")(z) for each in (found, net.network))
    torch.testing.assert_close(mine, its, rtol=0, atol=0)


def test_heads_of_early_exits_keep_their_widths():
    net = Supernet(network(small(), early_exit=1), WidthSearch((2, 8), (2, 4)))
    assert set(net.choices) == {"hidden.0.linear", "hidden.1.linear", "output", "hidden.0.act", "hidden.1.act"}
    found = net.chosen({"weight_widths": [2, 8, 2], "activation_widths": [2, 2]})
    assert [present_width(each) for each in weighted_layers(found).values()] == [2, 8, 2, 4]


def test_more_strength_costs_less(tmp_path):
    data = small()
    found = []
    for strength in (0.0, 100.0):
        search = WidthSearch((2, 8), (2, 4), "lut", strength, rate=0.2)
        learned = learn_widths(network(data), data, TrainConfig(epochs=10, widths=search), cost=products)[1]
        assert learned.epochs == 4
        for name, shares in learned.probabilities.items():
            assert sum(shares) == pytest.approx(1.0), name
        found.append(learned)
    assert set(found[1].weights.values()) == {2}
    assert set(found[1].activations.values()) == {2}
    assert found[1].cost < found[0].cost <= found[0].largest


def test_a_run_has_the_learned_widths_and_is_resumed(tmp_path, monkeypatch):
    config = TrainConfig(epochs=4, widths=WidthSearch((2, 8), (2, 4), "lut", share=0.5))
    options = {"hidden": [8, 6]}
    result = train_run("tfc-w4a4", tmp_path / "run", config, model_options=options, cost=products, progress=False)
    learned = result["learned_widths"]
    model = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    assert [present_width(each) for each in weighted_layers(model).values()] == learned["weight_widths"]
    assert list(model.options["activation_widths"]) == learned["activation_widths"]
    assert len(result["fit"]["history"]) == 2
    assert result["verification"]["frames"]
    monkeypatch.setattr(KeepCheckpoint, "interval", 0.0)
    for steps in (20, 25):  # of 14 an epoch: in the second epoch of the search; in the first one of the rest
        with monkeypatch.context() as patch:
            interrupt_after(patch, steps)
            with pytest.raises(KeyboardInterrupt):
                train_run(
                    "tfc-w4a4", tmp_path / "again", config,
                    model_options=options, cost=products, progress=False, resume=steps > 20,
                )  # fmt: skip
    again = train_run(
        "tfc-w4a4", tmp_path / "again", config, model_options=options, cost=products, progress=False, resume=True
    )
    assert again["learned_widths"] == learned
    assert again["accuracy"] == result["accuracy"]
    written = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert TrainConfig.from_dict(written["config"]) == config


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WidthSearch((4,)), "give at least two widths"),
        (lambda: WidthSearch((0, 4)), "0 is no width of weights"),
        (lambda: WidthSearch((2, 4), (1, 2)), "1 is no width of activations"),
        (lambda: WidthSearch((2, 4), by="area"), "no part 'area'"),
        (lambda: WidthSearch((2, 4), strength=-1.0), "strength=-1.0 is not from 0"),
        (lambda: WidthSearch((2, 4), share=1.0), "share=1.0 of the epochs"),
        (lambda: TrainConfig(epochs=1, widths=SEARCH).phases(), "epochs of at least 2"),
        (lambda: fit(network(small()), small(), TrainConfig(widths=SEARCH)), "learn_widths"),
        (lambda: width_costs(network(small()), SEARCH, None), "needs a cost model"),
        (
            lambda: width_costs(network(small()), WidthSearch((2, 4), by="cycles"), products),
            "no width changes the cycles",
        ),
        (lambda: width_costs(network(small(), "tfc-w1a1"), SEARCH, products), "one width for all layers"),
        (lambda: width_costs(create_model("lookup-s"), SEARCH, products), "no layers whose width"),
    ],
)
def test_what_cannot_be_learned(make, message):
    with pytest.raises(QuantError, match=message) as caught:
        make()
    assert caught.value.status == 2
