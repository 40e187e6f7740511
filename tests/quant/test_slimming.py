"""Fewer channels: the groups that belong together, their removal, criteria, penalties, and reconstruction."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.lowering.lower import lower
from hw.verification.reference import compare
from quant import (
    Slimming,
    TrainConfig,
    compress_run,
    compression,
    create_model,
    export,
    fit,
    load_checkpoint,
    load_data,
    save_checkpoint,
    summary,
    train_run,
)
from quant.compression.channel_lasso import _Problem
from quant.compression.channels import channels_of
from quant.compression.criteria import Removable, channel_savings, choose_channels
from quant.compression.restructure import functions_of, renewed
from quant.compression.weights import find_layers, latent_of, weight_of
from quant.cost import LayerCost
from quant.errors import QuantError
from quant.training.penalties import GammaPenalty, GroupPenalty, penalty_of, shrink_channels

SMALL = {
    "tfc-w4a4": {"hidden": [12, 16]},
    "lenet5-w4a4": {"input_shape": (1, 16, 16)},
    "cnv-w1a1": {"width": 1 / 8},
    "resnet8-w4a4": {"width": 1 / 2, "input_shape": (1, 8, 8), "in_range": (0, 16)},
    "mobilenet-v1-w4a4": {"width": 1 / 8, "input_shape": (1, 8, 8), "in_range": (0, 16)},
    "resnet8-float": {"width": 1 / 2, "input_shape": (1, 8, 8), "in_range": (0, 16)},
    "lenet5-w4a4 mba": {"input_shape": (1, 16, 16), "activation": "mba"},
    "resnet8-w1a1 react": {"width": 1 / 2, "input_shape": (1, 8, 8), "in_range": (0, 16), "activation": "react"},
}


QUICK = "lenet5-w4a4", "cnv-w1a1", "lenet5-w4a4 mba", "resnet8-w1a1 react"


def network(name: str, **options):
    """A network with statistics and learned numbers of channels, and inputs."""
    torch.manual_seed(0)
    model = create_model(name.split()[0], **(SMALL.get(name, {}) | options))
    for function in functions_of(model).values():
        for number in function.numbers():
            torch.nn.init.uniform_(number, -0.5, 0.5)
    low, high = model.in_range
    x = torch.randint(low, high, (8, *model.input_shape), generator=torch.Generator().manual_seed(1)).float()
    for _ in range(2):
        model(x)
    return model.eval(), x


def groups(model, x):
    return {group.name: group for group in channels_of(model, x[:1]).groups()}


def test_layers_whose_outputs_are_added_belong_together():
    found = groups(*network("resnet8-w4a4"))
    assert found["stem.conv"].producers == ["stem.conv", "blocks.0.second.conv"]
    assert found["blocks.1.second.conv"].producers == ["blocks.1.second.conv", "blocks.1.shortcut.conv"]
    assert found["stem.conv"].readers == ["blocks.0.first.conv", "blocks.1.first.conv", "blocks.1.shortcut.conv"]
    assert found["output"].fixed == "it is an output of the network"


def test_depthwise_layers_pass_channels_on():
    found = groups(*network("mobilenet-v1-w4a4"))
    assert found["stem.conv"].depthwise == ["pairs.0.depthwise.conv"]
    assert found["stem.conv"].readers == ["pairs.0.pointwise.conv"]


class Branches(torch.nn.Module):
    """A concatenation, one branch of which is read twice, and a difference that is not followed."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (torch.nn.Conv2d(2, n, 3, padding=1) for n in (4, 6, 4))
        self.norm = torch.nn.BatchNorm2d(10)
        self.last = torch.nn.Linear(10 * 16, 3)
        self.other = torch.nn.Conv2d(4, 4, 1)

    def forward(self, x):
        a, b, c = self.a(x), self.b(x), self.c(x)
        joined = torch.relu(self.norm(torch.cat([a, b], 1)))
        return self.last(torch.nn.functional.max_pool2d(joined, 2).flatten(1)) + (self.other(a) - c).mean()


def test_concatenations_say_where_the_channels_are():
    torch.manual_seed(0)
    model, x = Branches().eval(), torch.randn(3, 2, 8, 8)
    found = groups(model, x)
    assert [found[name].fixed for name in ("a", "b")] == [None, None]
    assert found["c"].fixed
    small = compression.slim(model, {"a": [1, 3], "b": [0, 1, 5]}, frame=x[:1])
    assert small.last.weight.shape == (3, 5 * 16)
    assert small.norm.num_features == 5
    with torch.no_grad():
        for layer, gone in ((model.a, [0, 2]), (model.b, [2, 3, 4])):
            layer.weight[gone] = 0
            layer.bias[gone] = 0
    torch.testing.assert_close(small(x), model(x))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * name.startswith("mobile")) for name in SMALL]
)
@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 99))
def test_channels_that_are_zero_can_go(name, seed):
    """What reads the removed channels has zero weights for them, so the outputs are the same."""
    model, x = network(name)
    random = np.random.default_rng(seed)
    found = channels_of(model, x[:1])
    keep = {}
    for group in found.groups():
        if group.fixed is None:
            kept = random.permutation(group.channels)[: random.integers(1, group.channels + 1)]
            keep[str(random.choice(group.producers))] = sorted(kept.tolist())
    layers = find_layers(model)
    for group in found.groups():
        for producer in set(group.producers) & set(keep):
            gone = [n for n in range(group.channels) if n not in keep[producer]]
            for reader in group.readers:
                for start, part in found.places(reader, group):
                    places = [start + n * part.positions + p for n in gone for p in range(part.positions)]
                    latent_of(layers[reader]).data[:, places] = 0
            for each in group.producers:
                latent_of(layers[each]).data[gone] = 0
    small = compression.slim(model, keep)
    if "w1" not in name:  # weights of one bit have no zero
        torch.testing.assert_close(small(x), model(x), rtol=1e-4, atol=1e-5)
    for row, before in zip(summary(small), summary(model), strict=True):
        assert row.weights <= before.weights


@pytest.mark.parametrize(("name", "scheme"), [
    *(pytest.param(name, None, marks=[pytest.mark.slow] * (name not in QUICK)) for name in SMALL),
    ("tfc-w4a4", "accumulator_aware"), ("tfc-w4a4", "learned_step"),
])  # fmt: skip
def test_a_slimmed_network_is_stored_and_exported(name, scheme, tmp_path):
    model, x = network(name) if scheme is None else network(name, scheme=scheme)
    half = {g.name: g.channels // 2 for g in channels_of(model, x[:1]).groups() if g.fixed is None}
    small = compression.slim(compression.slim(model, half), {next(iter(half)): [0]}, granularity=2)
    save_checkpoint(small, tmp_path / "c.pt")
    again = load_checkpoint(tmp_path / "c.pt")
    np.testing.assert_array_equal(again(x).detach(), small(x).detach())
    assert [row.output_shape for row in summary(again)] == [row.output_shape for row in summary(small)]
    if not name.endswith("float"):
        export(again, tmp_path / "model.onnx", x.numpy())
        compared = compare(lower(tmp_path / "model.onnx"), tmp_path / "model.onnx", x.numpy())
        assert compared.mismatches == compared.explained


def test_masks_stay_with_their_weights(tmp_path):
    model, x = network("tfc-w4a4")
    pruned = compression.prune(model, 0.5)
    small = compression.slim(pruned, {"hidden.0.linear": [1, 2, 5, 7]})
    place = find_layers(small)["hidden.1.linear"]
    np.testing.assert_array_equal(
        weight_of(place) != 0, (weight_of(find_layers(pruned)["hidden.1.linear"]) != 0)[:, [1, 2, 5, 7]]
    )
    save_checkpoint(small, tmp_path / "c.pt")
    np.testing.assert_array_equal(load_checkpoint(tmp_path / "c.pt")(x).detach(), small(x).detach())


@pytest.mark.parametrize("clusters", [8, 32])
def test_shared_values_stay_where_the_weights_are(clusters):
    shared = compression.share_weights(create_model("tfc-w8a8", in_features=64).eval(), clusters)
    small = compression.slim(shared, {"hidden.0.linear": range(0, 64, 2)})
    for name, places in (("hidden.0.linear", np.s_[::2]), ("hidden.1.linear", np.s_[:, ::2])):
        assert torch.equal(weight_of(small.get_submodule(name)), weight_of(shared.get_submodule(name))[places])


def test_bad_requests():
    model, _ = network("tfc-w4a4")
    for keep, options, words in (
        ({"hidden.7": [0]}, {}, "keep='hidden.7' is no layer"),
        ({"output": [0]}, {}, "must all stay: it is an output of the network; choose other layers: hidden.0.linear"),
        ({"hidden.0.linear": []}, {}, "give at least one of its 12 channels"),
        ({"hidden.0.linear": [12]}, {}, "0 to 11"),
        ({"hidden.0.linear": 4}, {"granularity": 0}, "no whole number"),
    ):
        with pytest.raises(QuantError, match=words):
            compression.slim(model, keep, **options)
    largest, _ = network("lenet5-w4a4", activation="maxout:2")
    with pytest.raises(QuantError, match=r"stay: Maxout takes the largest of each 2 of them; choose .*: hidden"):
        compression.slim(largest, {"features.0.conv": 2})
    sized, _ = network("tfc-wternarya4", scheme="ternary_connect", hidden=[12, 16])
    with pytest.raises(QuantError, match="scale that follows from the layer's size"):
        compression.slim(sized, {"hidden.0.linear": 4})
    resnet, _ = network("resnet8-w4a4")
    with pytest.raises(QuantError, match=r"belongs to stem\.conv"):
        compression.slim(resnet, {"stem.conv": 4, "blocks.0.second.conv": 4})
    with pytest.raises(QuantError, match="needs frame"):
        compression.slim(Branches(), {"a": 2})
    with pytest.raises(QuantError, match="slim before"):
        compression.slim(compression.product_quantize(model, 4, 3), {"hidden.0.linear": 4})
    for fraction, granularity, words in ((0.02, 0, "multiples of 8 or 4"), (0.2, 64, "multiples of 64")):
        with pytest.raises(QuantError, match=rf"fraction={fraction:g} removes no channel, .* {words}"):
            choose_channels(Removable.of(model), compression.SCORES["l1"], fraction, granularity=granularity)
    bare = Removable.of(network("tfc-w4a4", batch_norm=False)[0])
    with pytest.raises(QuantError, match="needs a BatchNorm"):
        compression.SCORES["slimming"](bare, bare.groups["hidden.0.linear"])


def test_criteria_are_their_formulas():
    model, _ = network("resnet8-w4a4")
    found = Removable.of(model)
    group = found.groups["stem.conv"]
    stem, second = (find_layers(model)[name].weight.detach() for name in group.producers)
    torch.testing.assert_close(
        compression.SCORES["l1"](found, group), (stem.abs().sum((1, 2, 3)) + second.abs().sum((1, 2, 3))) / 2
    )
    norms = [dict(model.named_modules())[name] for name in group.norms]
    with torch.no_grad():
        for norm in norms:
            norm.weight.uniform_(-1, 1)
    torch.testing.assert_close(compression.SCORES["slimming"](found, group), sum(n.weight.abs() for n in norms) / 2)
    filters = (stem.square().sum((1, 2, 3)) + second.square().sum((1, 2, 3))).sqrt()
    torch.testing.assert_close(compression.SCORES["neurons"](found, group), filters)
    readers = sum(find_layers(model)[name].weight.detach().square().sum((0, 2, 3)) for name in group.readers).sqrt()
    torch.testing.assert_close(compression.SCORES["structured"](found, group), filters * readers)


def test_the_weights_of_a_flattened_channel_are_those_of_all_its_positions():
    model, _ = network("lenet5-w4a4")
    found = Removable.of(model)
    [columns] = found.columns(found.groups["features.1.conv"])
    weight = find_layers(model)["hidden.0.linear"].weight
    np.testing.assert_array_equal(columns.view(16, 120, -1), weight.detach().view(120, 16, -1).transpose(0, 1))


def choosing(**channels):
    return SimpleNamespace(groups={name: SimpleNamespace(name=name, channels=n) for name, n in channels.items()})


def test_kept_counts_are_multiples():
    scores = {"a": torch.arange(64.0), "b": torch.arange(32.0), "c": torch.arange(6.0), "d": torch.arange(3.0)}
    found = choosing(**{name: len(values) for name, values in scores.items()})
    for fraction, counts in ((0.5, [32, 16, 4, 3]), (0.4, [40, 20, 4, 3]), (0.9, [8, 4, 4, 3]), (0.0, [64, 32, 6, 3])):
        keep = choose_channels(found, lambda _, g: scores[g.name], fraction)
        assert [len(each) for each in keep.values()] == counts
        for name, places in keep.items():
            np.testing.assert_array_equal(places, np.arange(len(scores[name]))[-len(places) :])
    assert len(choose_channels(found, lambda _, g: scores[g.name], 0.5, granularity=5)["a"]) == 30


def test_channels_that_save_more_go_first():
    random = np.random.default_rng(0)
    scores = {name: torch.from_numpy(random.uniform(1, 2, 64)) for name in "abc"}
    found = choosing(a=64, b=64, c=64)
    savings = {"a": 10, "b": 1, "c": 0}
    for fraction, kept in ((0.0, [64, 64, 64]), (0.5, [29, 64, 64]), (10 / 11, [1, 64, 64]), (0.95, [1, 36, 64])):
        keep = choose_channels(found, lambda _, g: scores[g.name], fraction, granularity=1, savings=savings)
        assert [len(each) for each in keep.values()] == kept
    equal = choose_channels(found, lambda _, g: scores[g.name] * (1 + 9 * (g.name == "a")), 0.5, granularity=1,
                            savings=dict.fromkeys("abc", 1))  # fmt: skip
    assert all(20 <= len(each) <= 44 for each in equal.values())  # relative to the group's median


def test_savings_are_those_of_all_layers_that_touch_a_channel():
    def cost(shape, bits, density=1.0, structure="unstructured"):
        return LayerCost(int(np.prod(shape.weights)), 0, 0, 0, 1, 0)

    model, _ = network("lenet5-w4a4")
    found = channel_savings(model, cost, fraction=0.5)
    assert found["features.0.conv"] == 25 + 16 * 25  # its filter, and an input of 16 filters
    assert found["features.1.conv"] == 6 * 25 + 120  # at 16 x 16 one position is left
    assert found["hidden.1.linear"] == 120 + 10
    light, _ = network("mobilenet-v1-w4a4")
    assert channel_savings(light, cost)["stem.conv"] == 9 + 9 + 8
    with pytest.raises(QuantError, match="save no cycles"):
        channel_savings(model, cost, "cycles")


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), amount=st.floats(0.01, 3))
def test_shrinking_is_the_proximal_operator_of_the_group_lasso(seed, amount):
    torch.manual_seed(seed)
    before = [torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 2, 5, dtype=torch.float64)]
    after = [each.clone() for each in before]
    shrink_channels(after, amount)
    v, u = (torch.cat([each.flatten(1) for each in parts], 1) for parts in (before, after))
    wanted = v * (1 - amount / v.norm(dim=1, keepdim=True)).clamp(min=0)
    if wanted.any():
        torch.testing.assert_close(u, wanted)
        objective = lambda w: 0.5 * (w - v).square().sum(1) + amount * w.norm(dim=1)  # noqa: E731
        for _ in range(50):
            assert (objective(u) <= objective(u + 0.01 * torch.randn_like(u)) + 1e-12).all()
    else:
        assert torch.equal(u[v.norm(dim=1).argmax()], v[v.norm(dim=1).argmax()])


def test_the_step_of_neurons_is_the_proximal_operator_of_the_sparse_group_lasso():
    model, _ = network("tfc-w8a8", hidden=[6, 5])
    found = Removable.of(model)
    group = found.groups["hidden.1.linear"]
    v = latent_of(find_layers(model)[group.name]).detach().clone().double()
    amount, mixture = 0.02, 0.3
    GroupPenalty(found, "neurons", dict.fromkeys(found.groups, 1.0), mixture).shrink(group, amount)
    u = latent_of(find_layers(model)[group.name]).detach().double()
    size = v.shape[1] ** 0.5

    def objective(w):
        penalty = (1 - mixture) * size * w.norm(dim=1) + mixture * w.abs().sum(1)
        return 0.5 * (w - v).square().sum(1) + amount * penalty

    for seed in range(100):
        torch.manual_seed(seed)
        assert (objective(u) <= objective(u + 0.003 * torch.randn_like(u)) + 1e-9).all()
    assert (objective(u) < objective(v)).all()


def test_the_structured_step_shrinks_filters_and_what_reads_them():
    model, _ = network("resnet8-w4a4")
    found = Removable.of(model)
    group = found.groups["stem.conv"]
    before = {name: latent_of(layer).detach().clone() for name, layer in find_layers(model).items()}
    GroupPenalty(found, "structured", dict.fromkeys(found.groups, 1.0), 0.5).shrink(group, 0.1)
    after = {name: latent_of(layer).detach() for name, layer in find_layers(model).items()}
    for names, axis in ((group.producers, 0), (group.readers, 1)):
        only = [n for n in names if n not in (group.readers if axis == 0 else group.producers)]
        norm = sum(before[n].square().transpose(0, axis).flatten(1).sum(1) for n in names).sqrt()
        if axis:  # a layer that does both has shrunk as a producer before
            continue
        for n in only:
            torch.testing.assert_close(after[n], before[n] * (1 - 0.1 / norm).view(-1, 1, 1, 1))
    reader = "blocks.1.first.conv"
    norm = sum(before[n].square().transpose(0, 1).flatten(1).sum(1) for n in group.readers).sqrt()
    torch.testing.assert_close(after[reader], before[reader] * (1 - 0.1 / norm).view(1, -1, 1, 1))


def test_slimming_adds_its_subgradient():
    model, x = network("tfc-w4a4")
    norm = model.hidden[0].norm
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(-1, 1, 12))
    savings = {"hidden.0.linear": 3.0, "hidden.1.linear": 1.0}
    penalty = penalty_of(model, Slimming("slimming", 0.5), savings)
    model.train()(x).sum().backward()
    before = norm.weight.grad.clone()
    penalty.on_after_backward()
    torch.testing.assert_close(norm.weight.grad, before + 0.5 * 1.5 * norm.weight.detach().sign())
    with pytest.raises(QuantError, match="needs BatchNorm"):
        penalty_of(network("tfc-w4a4", batch_norm=False)[0], Slimming(), None)
    with pytest.raises(QuantError, match="1-bit weights"):
        penalty_of(network("tfc-w1a1", hidden=[8])[0], Slimming("neurons"), None)
    assert isinstance(penalty, GammaPenalty)


def test_fit_applies_the_penalty():
    data = load_data("digits")
    norms = []
    for slimming in (None, Slimming("less-is-more", 2.0)):
        torch.manual_seed(0)
        model = create_model("tfc-w4a4", hidden=[16, 16], input_shape=data.shape, in_range=(data.low, data.high))
        fit(model, data, TrainConfig(epochs=2, slimming=slimming))
        norms.append(float(model.hidden[1].linear.weight.detach().norm()))
    assert norms[1] < 0.7 * norms[0]
    with pytest.raises(QuantError, match="needs a cost model"):
        fit(model, data, TrainConfig(epochs=1, slimming=Slimming(by="lut")))
    with pytest.raises(QuantError, match="no penalty 'lasso'"):
        Slimming("lasso")


def test_the_lasso_and_the_least_squares_solve_their_problems():
    random = np.random.default_rng(0)
    n, c, k, out = 400, 6, 3, 5
    x0 = random.normal(size=(n, c * k)) @ random.normal(size=(c * k, c * k))
    x = x0 + 0.1 * random.normal(size=x0.shape)
    weight = random.normal(size=(out, c * k))
    a, cross, w = (torch.from_numpy(each) for each in (x.T @ x / n, x.T @ x0 / n, weight))
    problem = _Problem(a, cross, w, torch.arange(c * k) // k, ridge=0.0)
    y = x0 @ weight.T
    z = np.stack([(x[:, i * k : i * k + k] @ weight[:, i * k : i * k + k].T).ravel() for i in range(c)], 1)
    lambdas, betas = problem.path()
    for place, by in enumerate(lambdas.tolist()):
        beta = betas[:, place].numpy()
        gradient = z.T @ (z @ beta - y.ravel()) / n  # the conditions of Karush, Kuhn and Tucker
        assert (np.abs(gradient) <= by + 1e-6).all()
        np.testing.assert_allclose(gradient[beta != 0], -by * np.sign(beta[beta != 0]), atol=1e-6)
    for count in (2, 4):
        chosen = problem.select(count)
        assert len(chosen) == count
        used = np.isin(np.arange(c * k) // k, chosen)
        wanted = np.linalg.lstsq(x[:, used], y, rcond=None)[0].T
        found = problem.reconstruct(chosen).numpy()
        np.testing.assert_allclose(found[:, used], wanted, atol=1e-8)
        assert not found[:, ~used].any()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    train_run("tfc-w4a4", folder, TrainConfig(epochs=4))
    return folder


FAST = ("slimming", "neurons", "lasso")


@pytest.mark.parametrize(
    "criterion", [pytest.param(c, marks=[pytest.mark.slow] * (c not in FAST)) for c in (*compression.SCORES, "lasso")]
)
def test_each_criterion_makes_a_smaller_run(criterion, run, tmp_path):
    options = {"criterion": criterion, "penalty_epochs": 1}
    made = compress_run(run, tmp_path / "small", "slim", options=options, epochs=0)
    assert made["layers"][1]["weights"] == 32 * 32
    assert made["totals"]["weights"] == 64 * 32 + 2 * 32 * 32 + 32 * 10
    if criterion == "lasso":
        assert made["compression"]["accuracy"]["compressed"] > 0.8  # without any training


def test_the_same_widths_from_scratch(run, tmp_path):
    compress_run(run, tmp_path / "small", "slim", fraction=0.75, epochs=0)
    again = compress_run(tmp_path / "small", tmp_path / "scratch", "scratch", epochs=1)
    assert again["totals"]["weights"] == 64 * 16 + 2 * 16 * 16 + 16 * 10
    assert tuple(again["compression"]["config"]["learning_rate"]) == (1e-2, 1e-4)
    small = load_checkpoint(tmp_path / "small" / "checkpoint.pt")
    torch.manual_seed(3)
    one, other = renewed(small), renewed(small)
    assert not torch.equal(one.output.weight, other.output.weight)
    assert one.output.weight.shape == small.output.weight.shape
    bound = 1 / 16**0.5  # of torch's initialization, by the smaller fan-in
    assert float(one.output.weight.detach().abs().max()) <= bound
    assert float(one.output.weight.detach().abs().max()) > 0.8 * bound


def test_slimming_by_hardware(run, tmp_path):
    def cost(shape, bits, density=1.0, structure="unstructured"):
        return LayerCost(shape.outputs * shape.inputs * (100 if shape.outputs == 10 else 1), 0, 0, 0, 1, 0)

    made = compress_run(
        run, tmp_path / "small", "slim", options={"by": "lut", "criterion": "l1"}, fraction=0.4, epochs=0, cost=cost
    )
    widths = [row["output_shape"][0] for row in made["layers"]]
    assert widths[2] < min(widths[0], widths[1])
    assert set(made["compression"]["savings"]) == {"hidden.0.linear", "hidden.1.linear", "hidden.2.linear"}
