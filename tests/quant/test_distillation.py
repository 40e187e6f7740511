"""Distillation: every loss against its formula, what student and teacher compare, and students that follow teachers."""

import numpy as np
import pytest
import torch
from brevitas.nn import QuantLinear
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch.callbacks import Callback
from torch.nn import functional

from quant import TrainConfig, create_model, export, fit, save_checkpoint, schemes
from quant.data import DataSet
from quant.distillation import (
    TERMS,
    Distillation,
    Guide,
    Posterior,
    Teacher,
    attention_transfer,
    contrastive,
    deepen,
    discriminating,
    hint,
    mimic,
    neuron_selectivity,
    pseudo_data,
    soft_targets,
    widen,
)
from quant.distillation.features import points
from quant.errors import QuantError
from quant.metrics import accuracy
from quant.models.own import OwnNetwork
from quant.training.start import start_from


def small(seed: int = 0, side: int = 4, classes: int = 2, count: int = 300) -> DataSet:
    """Easily told classes of small images."""
    random = np.random.default_rng(seed)
    y = random.integers(0, classes, count)
    x = (random.integers(0, 8, (count, 1, side, side)) + 8 * y[:, None, None, None] // (classes - 1)).astype(np.uint8)
    cut = count * 2 // 3
    return DataSet("small", x[:cut], y[:cut], x[cut:], y[cut:], classes=classes, low=0, high=16)


def network(data: DataSet, name: str, seed: int = 0, **options):
    torch.manual_seed(seed)
    return create_model(
        name, input_shape=data.shape, classes=data.classes, in_range=(data.low, data.high), **options
    )  # fmt: skip


def test_soft_targets_and_their_gradient():
    student, teacher = torch.randn(5, 3, requires_grad=True), torch.randn(5, 3)
    p, q = (torch.softmax(z / 2.5, 1) for z in (teacher, student))
    expected = 2.5**2 * (p * (p.log() - q.log())).sum(1).mean()
    loss = soft_targets(student, teacher, 2.5)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    np.testing.assert_allclose(student.grad, 2.5 * (q - p).detach() / 5, atol=1e-6)  # d(T^2 KL) = T (q - p)


def test_losses_of_outputs_and_features_are_their_formulas():
    random = np.random.default_rng(0)
    s, t = (random.normal(size=(6, 4)).astype(np.float32) for _ in range(2))
    a, b = (random.normal(size=(3, c, 5, 4)).astype(np.float32) for c in (7, 2))
    as_torch = torch.from_numpy
    assert float(mimic(as_torch(s), as_torch(t), 0.5, 2.0)) == pytest.approx(
        np.mean([np.sum((z - (v - 0.5) / 2.0) ** 2) / 2 for z, v in zip(s, t, strict=True)]), rel=1e-5
    )
    assert float(hint(as_torch(a), as_torch(a[::-1].copy()))) == pytest.approx(
        np.mean([np.sum((u - v) ** 2) / 2 for u, v in zip(a, a[::-1], strict=True)]), rel=1e-5
    )

    def attention(x):
        q = (x**2).mean(1).reshape(len(x), -1)
        return q / np.linalg.norm(q, axis=1, keepdims=True)

    expected = np.mean((attention(a) - attention(b)) ** 2)
    assert float(attention_transfer(as_torch(a), as_torch(b))) == pytest.approx(expected, rel=1e-4)

    def kernel(x, y):  # the mean of k over all pairs of channels of one sample, one by one
        return np.mean([np.dot(u / np.linalg.norm(u), v / np.linalg.norm(v)) ** 2 for u in x for v in y])

    flat = [x.reshape(3, x.shape[1], -1) for x in (a, b)]
    expected = np.mean([kernel(x, x) + kernel(y, y) - 2 * kernel(x, y) for x, y in zip(*flat, strict=True)])
    assert float(neuron_selectivity(*map(as_torch, (a, b)))) == pytest.approx(expected, rel=1e-4)
    assert float(neuron_selectivity(as_torch(a), as_torch(a[:, ::-1].copy()))) == pytest.approx(0, abs=1e-6)

    others = random.normal(size=(8, 4)).astype(np.float32)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (s, t, others)]
    scores = unit[0] @ np.concatenate([unit[1], unit[2]]).T / 0.07
    expected = np.mean(np.log(np.exp(scores).sum(1)) - np.diag(scores))
    assert float(contrastive(*map(as_torch, (s, t, others)))) == pytest.approx(expected, rel=1e-4)


def test_neurons_are_chosen_by_what_they_tell():
    labels = torch.arange(60) % 3
    torch.manual_seed(0)
    useful = functional.one_hot(labels, 3).float() + 0.01 * torch.randn(60, 3)
    features = torch.cat([torch.randn(60, 4), useful, useful[:, :1]], 1)  # the last one repeats an earlier one
    chosen = discriminating(features, labels, share=3 / 8).tolist()
    assert set(chosen) in ({4, 5, 6}, {5, 6, 7})
    with pytest.raises(QuantError, match="samples of one class"):
        discriminating(features, torch.zeros(60), 0.5)


def test_terms_have_weights_and_the_labels_one():
    assert Distillation(("soft:0.9", "labels:0.1", "attention")).weights == {
        "labels": 0.1, "soft": 0.9, "attention": 1000.0,
    }  # fmt: skip
    assert Distillation("logits").weights == {"labels": 1.0, "logits": 1.0}
    for wrong, message in (
        ({"terms": ("sift",)}, "'sift' is no term of a distillation: choose from labels, soft"),
        ({"terms": ("soft", "soft:2")}, "'soft' is named twice"),
        ({"terms": ("soft:much",)}, "weight of 'soft:much' is not a number"),
        ({"terms": ("soft:-1",)}, "weight of 'soft:-1'"),
        ({"temperature": 0.0}, "temperature=0.0"),
        ({"temperature": 2.0, "terms": ("logits",)}, "temperature=2 has no use without the term soft"),
        ({"hint_share": 0.5, "terms": ("soft", "hint:0")}, "hint_share=0.5 has no use without the term hint"),
        ({"terms": ("labels",)}, "of the terms only labels count, which need no teacher"),
        ({"terms": ("soft:0", "labels:2")}, "of the terms only labels count"),
        ({"hint_share": 1.0}, "hint_share=1.0"),
        ({"layers": ("hidden.1",)}, "'hidden.1' is no pair of layers STUDENT=TEACHER"),
        ({"layers": ("hidden.1=hidden.1",)}, "layers=hidden.1=hidden.1 have no use: of the terms only hint, attention"),
        ({"layers": ("hidden.1=hidden.1",), "terms": ("soft", "hint:0")}, "have no use"),
        ({"terms": ("soft:0", "labels:0")}, "no term of the distillation counts"),
        ({"terms": ("labels:0",)}, "no term of the distillation counts"),
        ({"pseudo": -1}, "pseudo=-1"),
    ):
        with pytest.raises(QuantError, match=message):
            Distillation(**wrong)


def test_a_student_follows_its_teacher(tmp_path):
    data = small()
    wrong = DataSet("wrong", data.x_train, 1 - data.y_train, data.x_test, 1 - data.y_test, 2, 0, 16)
    # another layout of the same input
    teacher = network(data, "resnet8-float", width=0.5)
    fit(teacher, wrong, TrainConfig(epochs=5))
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    save_checkpoint(teacher, tmp_path / "checkpoint.pt")
    states = []
    for tutor in (teacher, tmp_path, [teacher, tmp_path]):
        student = network(data, "tfc-w1a1")
        config = TrainConfig(epochs=5, distill=Distillation("soft:50", temperature=2.0))
        result = fit(student, data, config, teacher=tutor)
        assert result.test_accuracy < 0.4  # it believes the teacher, not the labels
        states.append(torch.cat([p.detach().flatten() for p in student.parameters()]))
    assert torch.equal(states[0], states[1])
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    with pytest.raises(QuantError, match="classes of 3"):
        fit(network(data, "tfc-w1a1"), data, teacher=create_model("tfc-float", in_features=16, classes=3))
    with pytest.raises(QuantError, match="distill=soft, hint needs teacher"):
        fit(network(data, "tfc-w1a1"), data, TrainConfig(distill=Distillation(("soft", "hint"))))
    with pytest.raises(QuantError, match="at least one network"):
        fit(network(data, "tfc-w1a1"), data, teacher=[])


def test_an_ensemble_is_the_mean_of_its_soft_max():
    data = small()
    one, other = (network(data, "tfc-float", seed) for seed in (1, 2))
    x = torch.from_numpy(data.x_train[:20]).float()
    mean = sum(torch.softmax(each.eval()(x.flatten(1)), 1) for each in (one, other)) / 2
    np.testing.assert_allclose(torch.softmax(Teacher([one, other], one)(x), 1).detach(), mean.detach(), atol=1e-6)


class Interrupt(Callback):
    def on_train_epoch_start(self, trainer, _module):
        if trainer.current_epoch == 2:
            raise KeyboardInterrupt


CONV = ("resnet8-w1a1", "resnet8-float", {"width": 0.25})
DENSE = ("tfc-w2a2", "tfc-float", {"hidden": [8, 8]})


@pytest.mark.parametrize(
    ("term", "kind"),
    [(term, CONV) for term in ("attention", "selectivity")]
    + [(term, DENSE) for term in ("hint", "neurons", "contrastive", "posterior", "logits")],
)
def test_every_term_trains_the_student_and_resumes_bit_for_bit(term, kind, tmp_path):
    data = small(side=8 if kind is CONV else 4, count=60)
    name, tutor, options = kind
    teacher = network(data, tutor, 1, **options)
    states = []
    for interrupted in (False, True):
        student = network(data, name, **options)
        config = TrainConfig(epochs=3, batch_size=16, validation=0.2, distill=Distillation((term, "soft")))
        if interrupted:
            with pytest.raises(KeyboardInterrupt):
                fit(student, data, config, teacher=teacher, checkpoint=tmp_path, callbacks=[Interrupt()])
            student = network(data, name, **options)
            fit(student, data, config, teacher=teacher, checkpoint=tmp_path, resume=True)
        else:
            result = fit(student, data, config, teacher=teacher)
            assert result.epoch > (1 if term == "hint" else 0)
        states.append(student.state_dict())
        assert not any(m._forward_hooks for m in student.modules())
    for key, value in states[0].items():
        np.testing.assert_array_equal(value, states[1][key], err_msg=key)


def test_the_first_epochs_learn_the_hint_only():
    data = small()
    student, teacher = network(data, "tfc-w2a2"), network(data, "tfc-float", 1)
    x, y = torch.from_numpy(data.x_train).float().flatten(1), torch.from_numpy(data.y_train)
    guide = Guide(student, Teacher(teacher, student), Distillation(("hint", "soft")), x, y, epochs=10)
    assert guide.hint_epochs == 3
    logits = student.train()(x[:10])
    guide(logits, x[:10], y[:10], functional.cross_entropy(logits, y[:10]), epoch=2).backward()
    assert float(student.output.weight.grad.abs().max()) == 0
    assert float(student.hidden[2].linear.weight.grad.abs().max()) == 0
    assert float(student.hidden[1].linear.weight.grad.abs().max()) > 0
    assert [guide._decay(epoch) for epoch in (3, 6, 9)] == [4.0, 2.5, 1.0]
    guide.close()


def test_what_cannot_be_compared_is_refused_by_name():
    flat, data = small(), small(side=8)
    dense, conv = network(flat, "tfc-float"), network(data, "resnet8-float", width=0.25)
    x, y = torch.from_numpy(flat.x_train).float().flatten(1), torch.from_numpy(flat.y_train)
    for student, terms, message, layers in (
        (network(flat, "tfc-w1a1"), ("attention",), "no feature maps of equal size", ()),
        (network(flat, "tfc-w1a1"), ("hint",), "tfc-w1a1 has no module 'hidden.9'", ("hidden.9=hidden.1",)),
        (network(flat, "tfc-w1a1"), ("selectivity",), "hidden.0 has one position", ("hidden.0=hidden.0",)),
        (network(flat, "tfc-w1a1"), ("hint",), "one pair of layers, not 2", ("a=b", "c=d")),
    ):
        with pytest.raises(QuantError, match=message):
            Guide(student, Teacher(dense, student), Distillation(terms, layers=layers), x, y, 10)
    student = network(flat, "tfc-w1a1")
    with pytest.raises(QuantError, match="hint needs one teacher, not 2"):
        Guide(student, Teacher([dense, dense], student), Distillation("hint"), x, y, 10)
    with pytest.raises(QuantError, match="posterior needs a float teacher, and tfc-w1a1 is quantized"):
        Guide(student, Teacher(student, student), Distillation("posterior"), x, y, 10)
    with pytest.raises(QuantError, match="1 epochs leave none after the hint"):
        Guide(student, Teacher(dense, student), Distillation("hint"), x, y, 1)
    assert conv.classes == 2


def test_a_langevin_step_is_its_equation():
    data = small()
    net = network(data, "tfc-float", hidden=[4])
    x, y = torch.from_numpy(data.x_train[:50]).float().flatten(1), torch.from_numpy(data.y_train[:50])
    posterior = Posterior(net, samples=200, step=1e-4, precision=3.0)
    before = [p.detach().clone() for p in posterior.network.parameters()]
    total = functional.cross_entropy(posterior.network(x), y, reduction="sum")
    gradients = torch.autograd.grad(total, list(posterior.network.parameters()))
    torch.manual_seed(5)
    posterior.step(x, y)
    torch.manual_seed(5)
    for old, gradient, new in zip(before, gradients, posterior.network.parameters(), strict=True):
        expected = old - 1e-4 / 2 * (200 / 50 * gradient + 3.0 * old) + 1e-2 * torch.randn_like(old)
        np.testing.assert_allclose(new.detach(), expected, rtol=1e-4, atol=1e-6)
    assert not torch.equal(before[0], next(posterior.network.parameters()))


def test_pseudo_data_lie_between_neighbours():
    random = np.random.default_rng(0)
    x = random.integers(0, 17, (40, 1, 3, 3)).astype(np.uint8)
    made = pseudo_data(x, 2, swap=0.5, low=0, high=16, seed=3)
    assert made.shape == (80, 1, 3, 3)
    assert made.dtype == np.uint8
    assert made.min() >= 0
    assert made.max() <= 16
    np.testing.assert_array_equal(made, pseudo_data(x, 2, swap=0.5, low=0, high=16, seed=3))
    assert 0.1 < (made[:40] != x).mean() < 0.9
    same = np.full((4, 5), 7, np.uint8)  # nothing between equal samples
    np.testing.assert_array_equal(pseudo_data(same, 1, low=0, high=16), same)
    with pytest.raises(QuantError, match="two samples or more"):
        pseudo_data(x[:1], 1, low=0, high=16)


def test_unlabelled_samples_have_the_teachers_labels():
    data = small()
    teacher = network(data, "tfc-float", 1)
    fit(teacher, data, TrainConfig(epochs=5))
    student = network(data, "tfc-w2a2")
    result = fit(student, data, TrainConfig(epochs=3, distill=Distillation(pseudo=2)), teacher=teacher)
    assert result.test_accuracy > 0.9


@settings(max_examples=8, deadline=None)
@given(
    st.sampled_from(["tfc", "lenet5", "resnet8", "mobilenet"]), st.floats(1.0, 2.0), st.booleans(),
    st.integers(0, 99),
)  # fmt: skip
def test_a_wider_network_computes_the_same(kind, factor, batch_norm, seed):
    side = 16 if kind == "lenet5" else 8
    data = small(side=side, count=30)
    options = {"hidden": [5, 7]} if kind == "tfc" else {"width": 0.25}
    try:
        net = network(data, f"{kind}-float", seed, batch_norm=batch_norm, **options)
    except QuantError:
        return  # no such network for images of this size
    _random_norms(net, seed)
    wider = {"hidden": [round(w * factor) for w in (5, 7)]} if kind == "tfc" else {"width": 0.25 * factor}
    wide = widen(net, noise=0.0, seed=seed, **wider)
    x = torch.from_numpy(data.x_train).float().reshape(-1, *net.input_shape)
    with torch.no_grad():
        np.testing.assert_allclose(wide(x), net.eval()(x), rtol=1e-3, atol=1e-4)
        if factor > 1.5:
            assert sum(p.numel() for p in wide.parameters()) > sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("after", [0, 1])
def test_a_deeper_network_computes_the_same_and_learns_on(after, batch_norm):
    data = small()
    net = network(data, "tfc-float", hidden=[6, 5], batch_norm=batch_norm)
    _random_norms(net, 0)
    x = torch.from_numpy(data.x_train).float().flatten(1)
    deep = deepen(net, after, x)
    with torch.no_grad():
        np.testing.assert_allclose(deep(x), net.eval()(x), rtol=1e-4, atol=1e-5)
    assert len(deep.hidden) == 3
    history = fit(deep, data, TrainConfig(epochs=10, batch_size=50)).history
    assert history[-1].loss < history[0].loss


def test_net2net_refuses_what_cannot_keep_its_function():
    data = small()
    for change, message in (
        (lambda: widen(network(data, "tfc-w1a1"), hidden=[99, 99, 99]), "tfc-w1a1 is quantized"),
        (lambda: widen(network(data, "tfc-float"), hidden=[64, 64]), "changes? the layers of tfc-float"),
        (lambda: widen(network(data, "tfc-float"), hidden=[8, 64, 64]), "layer hidden.0.linear has 64 channels, and 8"),
        (lambda: deepen(network(data, "tfc-float"), 3, torch.zeros(4, 16)), "after=3 is none of the 3 hidden layers"),
    ):
        with pytest.raises(QuantError, match=message):
            change()


def _random_norms(net, seed):
    random = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            for value, low in ((module.weight, 0.5), (module.bias, -0.5), (module.running_mean, -1.0)):
                value.data.copy_(low + torch.rand(value.shape, generator=random))
            module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=random))


def test_a_binary_network_starts_from_a_float_one(tmp_path):
    data = small()
    source = network(data, "tfc-float", 1)
    fit(source, data, TrainConfig(epochs=5))
    model = network(data, "tfc-w1a1")
    start_from(model, source)
    for block, old in zip([*model.hidden, model], [*source.hidden, source], strict=True):
        layer, first = (getattr(b, "linear", None) or b.output for b in (block, old))
        assert float(layer.weight.detach().abs().max()) <= 1
        largest = max(1.0, float(first.weight.detach().abs().max()))
        np.testing.assert_allclose(layer.weight.detach(), first.weight.detach() / largest, rtol=1e-5)
    np.testing.assert_array_equal(model.hidden[0].norm.running_mean, source.hidden[0].norm.running_mean)
    two = create_model("tfc-w1a1", schemes.get("binarynet"), input_shape=data.shape, classes=2, in_range=(0, 16))
    start_from(two, model)  # weights of +-1 stay the same
    np.testing.assert_array_equal(two.hidden[1].linear.weight.detach(), model.hidden[1].linear.weight.detach())
    fit(model, data, TrainConfig(epochs=3))
    x, y = (torch.from_numpy(a) for a in (data.x_test, data.y_test))
    assert accuracy(model, x.float().flatten(1), y) > 0.9
    export(model, tmp_path / "model.onnx", data.x_test.reshape(len(data.x_test), -1).astype(np.float32))
    with pytest.raises(QuantError, match=r"needs hidden.0.linear.weight of shape \(64, 16\), .* has shape \(8, 16\)"):
        start_from(model, network(data, "tfc-float", hidden=[8, 8, 8]))
    with pytest.raises(QuantError, match="no start nowhere: give a folder"):
        start_from(model, "nowhere")


def test_all_terms_are_documented():
    assert all(f'"{term}"' in (Distillation.__doc__ or "") for term in TERMS)


def test_features_of_a_network_of_ones_own():
    """BatchNorms of any name, and layers without one behind them, but for the last layer."""
    for linear in (torch.nn.Linear, lambda *sizes: QuantLinear(*sizes, bias=True)):
        net = torch.nn.Sequential(
            linear(6, 5), torch.nn.BatchNorm1d(5), torch.nn.ReLU(), linear(5, 4), torch.nn.ReLU(), linear(4, 3)
        )
        own = OwnNetwork(net, "net.py:make", schemes.get("own"), input_shape=(6,), classes=3, in_range=(0, 16))
        assert points(own, torch.zeros(4, 6)) == {"net.1": (5,), "net.3": (4,)}
    with pytest.raises(QuantError, match="has no hidden layer whose features"):
        points(OwnNetwork(linear(6, 3), "net.py:one", schemes.get("own"), input_shape=(6,), classes=3,
                          in_range=(0, 16)), torch.zeros(4, 6))  # fmt: skip
