"""Pruning: the selection in every structure, the gradual schedule, the zeros of every scheme up to the hardware."""

import copy
import math
import re
import types
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.lowering.lower import lower
from quant import (
    Pruning,
    TrainConfig,
    compression,
    create_model,
    export,
    fit,
    layers,
    load_checkpoint,
    save_checkpoint,
    schemes,
    train_run,
)
from quant.compression.saving import cost_inputs
from quant.compression.selection import densities, prune_layers
from quant.compression.structures import from_matrix, tile, to_matrix
from quant.compression.weights import bit_width_of, compression_of, find_layers, latent_of, weight_of
from quant.cost import LayerCost
from quant.errors import QuantError
from quant.models.network import Network
from quant.structure import structure
from quant.training.callbacks import KeepCheckpoint
from quant.training.config import Bias
from quant.training.pruning import GradualPruning, cubic, pruning_callbacks
from tests.quant.test_loop import interrupt_after, model_for, small

few = settings(max_examples=25, deadline=None)


def pruned_matrix(layer) -> torch.Tensor:
    """The mask of a layer as (MH, MW)."""
    return to_matrix(compression_of(layer).mask)


def at_most(layer, fraction: float, text: str):
    """The layer with ``fraction`` pruned, or as much as the refusal says is possible."""
    try:
        return compression.prune(layer, fraction, structure=text)
    except QuantError as error:
        most = re.search(r"leaves an output without an input: prune at most (\S+) there", str(error))
        return compression.prune(layer, float(most[1]), structure=text)


@few
@given(st.data())
def test_structures_prune_what_they_say(data):
    mh, channels, kernel = (data.draw(st.integers(*size), label) for label, size in
                            (("outputs", (2, 12)), ("channels", (1, 8)), ("kernel", (1, 3))))  # fmt: skip
    text = data.draw(st.sampled_from(["unstructured", "columns", "blocks:4x3", "bank-balanced:2x4", "1:4", "2:4"]))
    fraction = data.draw(st.sampled_from([0.0, 0.3, 0.5, 0.75]))
    torch.manual_seed(data.draw(st.integers(0, 99)))
    layer = torch.nn.Conv1d(channels, mh, kernel, bias=False)
    kind = structure(text)
    if kind.fraction is not None:
        fraction = kind.fraction
    small = at_most(layer, fraction, text)
    mask, magnitude = pruned_matrix(small).numpy(), to_matrix(layer.weight.detach()).abs().numpy()
    mw = channels * kernel
    assert mask.shape == (mh, mw)
    assert mask.any(1).all()
    assert torch.equal(weight_of(small) != 0, compression_of(small).mask)
    pe, simd = tile(kind, mask.shape)
    if text == "unstructured":
        assert (~mask).sum() == min(round(fraction * mask.size), mask.size - mh)
        best = np.zeros_like(mask)
        best[np.arange(mh), magnitude.argmax(1)] = True
        assert best[mask].any()
        assert mask[best].all()
        assert magnitude[~mask].max(initial=0) <= magnitude[mask & ~best].min(initial=np.inf)
    elif text == "columns":
        assert (mask == mask[0]).all()
        norms = np.square(magnitude).sum(0)
        assert norms[~mask[0]].max(initial=0) <= norms[mask[0]].min()
    elif kind.kind == "blocks":
        blocks = mask.reshape(mh // pe, pe, mw // simd, simd)
        assert (blocks == blocks[:, :1, :, :1]).all()
    elif kind.kind == "bank-balanced":
        groups = mask.reshape(mh // pe, pe, mw // simd, simd)
        assert (groups == groups[:, :1]).all()
        counts = groups[:, 0].sum(1)  # (group, bank)
        assert (counts == counts[0, 0]).all()
        norms = np.square(magnitude.reshape(groups.shape)).sum(1)
        kept = groups[:, 0]
        worst = np.where(kept, norms, np.inf).min(1)
        assert (np.where(kept, 0, norms).max(1) <= worst).all()
    else:
        full = mw - mw % kind.m
        counts = mask[:, :full].reshape(mh, -1, kind.m).sum(2)
        assert (counts == kind.n).all()
        assert (mask[:, full:].sum(1) == min(kind.n, mw - full)).all()


def test_the_window_is_in_the_order_of_the_hardware():
    weight = torch.arange(2 * 3 * 2 * 2).view(2, 3, 2, 2)
    assert to_matrix(weight)[0].tolist() == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]
    assert torch.equal(from_matrix(to_matrix(weight), weight.shape), weight)


@pytest.mark.parametrize("text", ["unstructured", "bank-balanced:4x4", "blocks:2x8", "columns", "2:4"])
def test_pruning_again_keeps_the_zeros(text):
    torch.manual_seed(0)
    layer = torch.nn.Linear(64, 16)
    fractions = [0.5] if text == "2:4" else [0.25, 0.5, 0.8]
    small, before = layer, None
    for fraction in fractions:
        small = compression.prune(small, fraction, structure=text)
        mask = compression_of(small).mask
        assert before is None or not bool((mask & ~before).any())
        # no score is better than another twice: the same in steps and at once
        assert float(mask.float().mean()) == pytest.approx(1 - fraction, abs=0.04)
        before = mask
    assert torch.equal(compression_of(compression.prune(small, fractions[-1], structure=text)).mask, before)


def test_layers_ranked_by_what_a_weight_saves():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(40, 20), torch.nn.Linear(20, 20))
    model[1].weight.data.mul_(100)  # the scale of a layer does not matter
    even = compression.prune(model, 0.5, savings={"0": 1.0, "1": 1.0})
    assert all(0.45 < density < 0.55 for density in densities(find_layers(even)).values())
    skewed = compression.prune(model, 0.5, savings={"0": 1.0, "1": 4.0})
    first, second = densities(find_layers(skewed)).values()
    assert first > 0.5 > second
    scores = {name: latent_of(layer).detach().abs() for name, layer in find_layers(model).items()}
    relative = {name: scores[name] / scores[name].mean() / {"0": 1.0, "1": 4.0}[name] for name in scores}
    kept = {name: compression_of(layer).mask for name, layer in find_layers(skewed).items()}
    best = {name: torch.zeros_like(kept[name]).scatter_(1, scores[name].argmax(1, keepdim=True), True) for name in kept}
    least = torch.cat([relative[name][kept[name] & ~best[name]] for name in kept]).min()
    assert torch.cat([relative[name][~kept[name]] for name in kept]).max() <= least


def half_a_lut(shape, bits, density=1.0, structure="unstructured"):
    """A cost model: half a lookup table for each weight bit, and twice as much where inputs have a sign."""
    weights = int(np.prod(shape.weights) * density)
    return LayerCost(weights * bits.weights * (1 + bits.signed_inputs) // 2, 0, 0, 0, cycles=7, rom_bits=weights)


def test_what_a_weight_saves():
    model = create_model("lenet5-w4a4", input_shape=(1, 28, 28), in_range=(-128, 127))
    found = compression.savings(model, half_a_lut, "lut", fraction=0.75)
    assert list(found) == list(find_layers(model))
    first, *rest = found.values()
    assert first == pytest.approx(4, rel=1e-2)
    assert rest == pytest.approx([2] * 4, rel=1e-2)
    assert compression.savings(model, half_a_lut, "rom_bits", layers="output") == {"output": 1.0}
    with pytest.raises(QuantError, match="save no lut in any layer"):  # 1 % is less than an estimate can tell
        compression.savings(model, half_a_lut, "lut", fraction=0.01)
    with pytest.raises(QuantError, match="zeros of structure columns save no cycles in any layer"):
        compression.savings(model, half_a_lut, "cycles", structure="columns")
    with pytest.raises(QuantError, match=r"layer hidden\.0\.linear has floating-point weights"):
        compression.savings(create_model("tfc-float"), half_a_lut, layers="hidden.0*")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tfc-wternarya2", {}),
        ("resnet8-w4a4", {"width": 0.25}),
        pytest.param("mobilenet-v1-w2a2", {"width": 0.125}, marks=pytest.mark.slow),
    ],
)
def test_the_layers_that_a_cost_model_is_asked_for(name, options, tmp_path):
    model = create_model(name, input_shape=(1, 8, 8), in_range=(0, 255), **options)
    export(model, tmp_path / "model.onnx")
    products, windows = [], {}
    for node in lower(tmp_path / "model.onnx"):
        if node.kernel.op == "sliding_window":
            windows[node.outputs[0]] = node.kernel
        elif node.kernel.op in ("matrix_vector", "depthwise"):
            products.append((node.kernel, windows.get(node.inputs[0])))
    wanted = []
    for kernel, window in products:
        [stream], [made] = kernel.inputs(), kernel.outputs()
        wanted.append((made.shape[-1], kernel.weight_dtype.name, stream.dtype.bitwidth(), stream.dtype.signed(),
                       None if window is None else (window.shape, window.kernel)))  # fmt: skip
    for shape, bits in cost_inputs(model).values():
        names = {1: "BIPOLAR", "ternary": "TERNARY"}
        weights = names.get(bits.weights, f"INT{bits.weights}")
        window = ((*shape.image, shape.inputs), shape.kernel) if shape.kernel else None
        assert (shape.outputs, weights, bits.inputs, bits.signed_inputs, window) in wanted


def test_training_that_saves_hardware(tmp_path):
    data = small()
    with pytest.raises(QuantError, match="pruning by lut needs a cost model"):
        fit(model_for(data, "tfc-w4a4"), data, TrainConfig(epochs=1, prune=Pruning(0.5, by="lut")))

    def expensive_output(shape, bits, density=1.0, structure="unstructured"):
        return LayerCost(int(density * np.prod(shape.weights) * (20 if shape.outputs == 10 else 1)), *[0] * 5)

    config = TrainConfig(epochs=2, prune=Pruning(0.5, by="lut"))
    run = train_run("tfc-w4a4", tmp_path, config, cost=expensive_output)
    assert run["savings"]["output"] == pytest.approx(20 * run["savings"]["hidden.1.linear"], rel=0.02)
    assert run["layers"][-1]["density"] < 0.2
    assert run["layers"][0]["density"] > run["layers"][-1]["density"]
    assert run["totals"]["density"] <= 0.5
    assert train_run("tfc-w4a4", tmp_path, config, cost=expensive_output)["cached"] is True
    assert train_run("tfc-w4a4", tmp_path, config, cost=half_a_lut)["cached"] is False


def test_a_criterion_of_your_own():
    layer = torch.nn.Linear(30, 10)
    scores = torch.rand(10, 30)
    small = compression.prune(layer, 0.5, score=lambda name, layer: scores)
    assert torch.equal(
        compression_of(small).mask.flatten(), torch.zeros(300).scatter(0, scores.flatten().topk(150).indices, 1).bool()
    )
    with pytest.raises(QuantError, match=r"finite, at least 0 and of shape \(10, 30\)"):
        compression.prune(layer, 0.5, score=lambda name, layer: scores - 0.5)


@pytest.mark.parametrize("bias", get_args(Bias))
def test_the_gradient_of_biased_decay(bias):
    weight = torch.tensor([-2.0, -0.1, -0.001, 0.0, 0.001, 0.05, 3.0], requires_grad=True)
    c, w = 10.0, weight.detach()
    compression.BIASES[bias](weight, c).sum().backward()
    value = {"hyperbolic": w.abs() / (1 + c * w.abs()), "exponential": (1 - torch.exp(-c * w.abs())) / c}[bias]
    slope = {"hyperbolic": w.sign() / (1 + c * w.abs()) ** 2, "exponential": w.sign() * torch.exp(-c * w.abs())}[bias]
    torch.testing.assert_close(compression.BIASES[bias](w, c), value)
    torch.testing.assert_close(weight.grad, slope)


@few
@given(st.data())
def test_the_proximal_step_of_a_group_lasso(data):
    text = data.draw(st.sampled_from(["unstructured", "columns", "blocks:2x3", "bank-balanced:4x2"]))
    torch.manual_seed(data.draw(st.integers(0, 99)))
    matrix, amount = torch.randn(8, 12), data.draw(st.sampled_from([0.1, 1.0, 2.5, 100.0]))
    height, width = {"unstructured": (1, 1), "columns": (8, 1), "blocks:2x3": (2, 3), "bank-balanced:4x2": (4, 1)}[text]
    expected, left = matrix.clone(), torch.ones(8, 12, dtype=torch.bool)
    for i in range(0, 8, height):
        groups = [np.s_[i : i + height, j : j + width] for j in range(0, 12, width)]
        norms = [float(matrix[group].norm()) for group in groups]
        for group, norm in zip(groups, norms, strict=True):
            if max(norms) <= amount and norm == max(norms):
                continue  # the last one of these outputs
            expected[group] = matrix[group] * max(0.0, 1 - amount / norm)
            left[group] = norm > amount
    shrunk, kept = compression.shrink(matrix, structure(text), amount)
    torch.testing.assert_close(shrunk, expected)
    assert torch.equal(kept, left)
    assert bool(kept.any(1).all())


def test_training_with_a_group_lasso_and_biased_decay():
    data, zeros = small(), {}
    for name, options in (
        ("plain", {}),
        ("lasso", {"lasso": 7.0, "structure": "columns"}),
        ("decay", {"decay": "hyperbolic", "decay_rate": 0.1}),
    ):
        model = model_for(data, "tfc-w4a4")
        fit(model, data, TrainConfig(epochs=10, prune=Pruning(0.0, layers="hidden.1.*", **options)))
        layer = model.hidden[1].linear
        zeros[name] = float((weight_of(layer) == 0).float().mean())
        columns = pruned_matrix(layer)
        assert bool((columns == columns[0]).all())
        assert not bool(weight_of(layer)[~compression_of(layer).mask].any())
        assert 0 < int(columns[0].sum()) < 64 if name == "lasso" else bool(columns.all())
    assert zeros["plain"] < min(zeros["decay"], zeros["lasso"])


def test_biased_decay_is_part_of_the_loss():
    model = model_for(small(), "tfc-w4a4")
    pruning, decay = pruning_callbacks(model, Pruning(0.0, decay="exponential", decay_rate=0.25), None)
    pruning.plan(100)
    weight = model.hidden[1].linear.weight
    weight.grad = torch.rand_like(weight)
    before, w = weight.grad.clone(), weight.detach()
    for step in (59, 60):  # it ends with the pruning
        decay.on_after_backward(types.SimpleNamespace(global_step=step), None)
    torch.testing.assert_close(weight.grad - before, 0.25 * w.sign() * torch.exp(-10 * w.abs()))


def test_the_cubic_schedule(monkeypatch):
    assert [cubic(0.75, t / 4) for t in range(5)] == [0.0, *(0.75 * (1 - (1 - t / 4) ** 3) for t in (1, 2, 3, 4))]
    data, seen = small(), []
    model = model_for(data, "tfc-w4a4")
    step = GradualPruning.on_train_batch_end

    def watched(self, trainer, *rest):
        step(self, trainer, *rest)
        seen.append((trainer.global_step, densities({"0": model.hidden[0].linear})["0"]))

    monkeypatch.setattr(GradualPruning, "on_train_batch_end", watched)
    fit(model, data, TrainConfig(epochs=10, batch_size=20, prune=Pruning(0.75, begin=0.1, end=0.6, every=7)))
    assert len(seen) == 100
    count = model.hidden[0].linear.weight.numel()
    for done, density in seen:
        steps = min(max(0, done - 10), 50)
        last = 50 if steps == 50 else steps - steps % 7
        assert density == 1 - round(cubic(0.75, last / 50) * count) / count


def test_a_resumed_pruning_equals_an_uninterrupted_one(tmp_path, monkeypatch):
    data = small()
    pruning = Pruning(0.7, end=0.7, structure="bank-balanced:4x2")
    config = TrainConfig(epochs=5, batch_size=40, validation=0.2, prune=pruning)
    expected = model_for(data, "tfc-wternarya2")
    wanted = fit(expected, data, config)
    assert wanted.epoch >= 4  # only pruned networks are candidates
    monkeypatch.setattr(KeepCheckpoint, "interval", 0.0)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 9)
        with pytest.raises(KeyboardInterrupt):
            fit(model_for(data, "tfc-wternarya2"), data, config, checkpoint=tmp_path)
    found = model_for(data, "tfc-wternarya2")
    assert fit(found, data, config, checkpoint=tmp_path, resume=True).history == wanted.history
    for key, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[key], value), key
    save_checkpoint(found, tmp_path / "checkpoint.pt")
    again = load_checkpoint(tmp_path / "checkpoint.pt")
    for key, value in expected.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key
    with pytest.raises(QuantError, match="is of another training, with prune="):
        fit(model_for(data, "tfc-wternarya2"), data, TrainConfig(epochs=5, batch_size=40, validation=0.2),
            checkpoint=tmp_path, resume=True)  # fmt: skip


SCHEMES = (
    ("integer", {"weight_bits": 4}),
    ("integer", {"weight_bits": 2, "act_bits": 2}),
    ("integer", {"weight_bits": "ternary"}),
    ("twn", {}),
    ("twn", {"per_filter": True}),
    ("ternary_connect", {}),
    ("fixed_point", {"weight_bits": 4, "rounding": "floor"}),
    ("fixed_point", {"weight_bits": 2}),
    ("fixed_point", {"weight_bits": 8, "rounding": "stochastic"}),
    ("gupta", {}),
    ("learned_step", {"weight_bits": 3}),
    ("accumulator_aware", {}),
    ("accumulator_aware", {"zero_center": False}),
)
"""All schemes whose weights have a zero, with each of their weight quantizers."""


class Mixed(Network):
    """A network with one layer of every scheme."""

    def __init__(self, data):
        super().__init__("mixed", schemes.get("integer"), data.shape, 2, (data.low, data.high))
        self.options = {}
        self.hidden = torch.nn.Sequential()
        for name, parameters in SCHEMES:
            scheme = schemes.get(name, **parameters)
            self.hidden.append(layers.block(scheme, layers.linear(scheme, 16, 16), 16, batch_norm=True))
        self.add_output(16, bias=False)

    def forward(self, x):
        return self.scale(self.output(self.hidden(self.input(x).flatten(1))))


def test_zeros_of_every_scheme_reach_the_hardware(tmp_path):
    data = small()
    torch.manual_seed(0)
    model = Mixed(data)
    fit(model, data, TrainConfig(epochs=3, prune=Pruning(0.6)))
    export(model, tmp_path / "model.onnx")
    kernels = [node.kernel for node in lower(tmp_path / "model.onnx") if isinstance(node.kernel, MatrixVector)]
    assert {name for name, _ in SCHEMES} == {name for name in schemes.list() if has_zero(name)}
    for layer, kernel in zip(find_layers(model).values(), kernels, strict=True):
        mask = compression_of(layer).mask
        assert int((~mask).sum()) == round(0.6 * mask.numel())
        assert not kernel.weights[~mask.numpy()].any()
        assert kernel.weights.any()


@pytest.mark.parametrize(("name", "parameters"), SCHEMES)
def test_pruned_weights_do_not_change_the_scale_of_the_others(name, parameters):
    torch.manual_seed(0)
    weight, mask = torch.randn(1, 200) / 10, torch.rand(1, 200) < 0.3
    scheme = schemes.get(name, **parameters)
    layer = layers.linear(scheme, 200, 1)
    with torch.no_grad():
        layer.weight.copy_(weight * mask)
    layer.eval()
    alone = copy.deepcopy(layer.weight_quant.tensor_quant)
    values, scale = layer.weight_quant.tensor_quant(layer.weight)[:2]
    expected, scale_alone = alone(weight[mask][None])[:2]
    torch.testing.assert_close(scale, scale_alone)
    torch.testing.assert_close(values[mask][None], expected)
    assert not values[~mask].any()


def has_zero(name: str) -> bool:
    scheme = schemes.get(name)
    return scheme.quantizes and name != "lookup" and bit_width_of(layers.linear(scheme, 4, 4)) > 1


@pytest.mark.parametrize("name", ["binaryconnect", "binarynet", "bwn", "xnor", "hwgq", "lab"])
def test_weights_without_a_zero_are_refused(name):
    data = small()
    scheme = schemes.get(name)
    model = create_model("tfc-w1a1", scheme, input_shape=data.shape, classes=2, in_range=(0, 16))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    line = (
        rf"has 1-bit weights of scheme {name}, which have no zero to prune to: take ternary weights \(twn, ternary_co"
    )
    for act in (lambda: fit(model, data, TrainConfig(prune=Pruning(0.5))), lambda: compression.prune(model, 0.5)):
        with pytest.raises(QuantError, match=line) as caught:
            act()
        assert caught.value.status == 2
    assert model.state_dict().keys() == before.keys()
    if not scheme.edge.unit_weights and scheme.edge is not scheme:
        fit(model, data, TrainConfig(epochs=1, prune=Pruning(0.5, layers="output")))
        assert densities(find_layers(model))["output"] == 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fraction": 1.0}, "fraction=1.0"),
        ({"structure": "3:2"}, "1 <= N < M"),
        ({"structure": "rows"}, "no structure 'rows'"),
        ({"structure": "blocks:0x4"}, "no structure"),
        ({"structure": "columns:4x4"}, "no structure"),
        ({"structure": "2:4", "fraction": 0.75}, "structure 2:4 prunes 0.5 of the weights"),
        ({"structure": "2:4", "jointly": True}, "prunes all layers alike"),
        ({"by": "energy"}, "no criterion 'energy': choose size, lut, cycles, rom_bits"),
        ({"begin": 0.5, "end": 0.5}, "0 <= begin < end <= 1"),
        ({"every": 0}, "every=0"),
        ({"lasso": -1.0}, "lasso=-1.0"),
        ({"structure": "1:4", "lasso": 0.1}, "unless it is N:M"),
        ({"decay": "quadratic"}, "choose hyperbolic or exponential"),
        ({"decay_rate": 0.0}, "decay_rate=0.0"),
    ],
)
def test_bad_settings_of_pruning(options, message):
    with pytest.raises(QuantError, match=message) as caught:
        Pruning(**options)
    assert caught.value.status == 2


def test_what_cannot_be_pruned():
    data = small()
    # Refused before the first step: the message has the fraction asked for, not one of the schedule.
    with pytest.raises(
        QuantError, match=r"fraction=0\.99 of .* an output without an input: prune at most 0\.9843 there"
    ):
        fit(model_for(data, "tfc-w4a4"), data, TrainConfig(epochs=1, prune=Pruning(0.99, layers="hidden.1.*")))
    model = torch.nn.Sequential(layers.depthwise(schemes.get("integer"), 8, 3))
    with pytest.raises(QuantError, match="layer 0 is a convolution in groups"):
        compression.prune(model, 0.5, structure="columns")
    assert math.isclose(densities(find_layers(compression.prune(model, 0.5)))["0"], 0.5, abs_tol=0.01)
    with pytest.raises(QuantError, match="layers='x' matches none"):
        fit(model_for(data, "tfc-w4a4"), data, TrainConfig(epochs=1, prune=Pruning(0.5, layers="x")))
    with pytest.raises(QuantError, match="structure 2:4 prunes all layers alike"):
        compression.prune(torch.nn.Linear(8, 4), structure="2:4", jointly=True)
    joint = torch.nn.Linear(8, 4)
    mask = compression.prune(joint, 0.5)
    prune_layers({"": mask}, {"": latent_of(mask).detach().abs()}, 0.875, structure("unstructured"))
    assert bool((pruned_matrix(mask).sum(1) == 1).all())
