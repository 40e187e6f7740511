"""Post-training quantization: from a float network to integers that the hardware computes exactly."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from hw.lowering.lower import lower
from hw.simulation.emulator import Emulator
from hw.verification.reference import compare
from quant import QuantError, TrainConfig, create_model, export, fit, load_data, quantize, save_checkpoint, summary
from quant.layers import Linear as QuantizedLinear
from quant.post_training.input_scale import input_quantizer
from quant.post_training.tracing import float_graph
from quant.training.lightning_module import parameter_groups

ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.Hardswish, nn.Hardtanh, nn.Tanh)


class Branches(nn.Module):
    """Convolutions with a residual sum and a concatenation, of which each may be absent."""

    def __init__(self, act=nn.ReLU, norm=True, residual=True, concat=True, pool="max"):
        super().__init__()
        self.residual, self.concat = residual, concat
        self.stem = nn.Conv2d(1, 4, 3, padding=1, bias=not norm)
        self.norm = nn.BatchNorm2d(4, affine=not concat) if norm else nn.Identity()
        self.second = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.third = nn.Conv2d(4, 4, 1)
        self.act = act()
        self.pool = {"max": nn.MaxPool2d(2), "average": nn.AvgPool2d(2), "none": nn.Identity()}[pool]
        self.drop = nn.Dropout(0.5)
        self.last = nn.LazyLinear(5)

    def forward(self, x):
        x = self.act(self.norm(self.stem(x)))
        y = self.second(x)
        x = self.act(y + x if self.residual else y)
        x = self.pool(x)
        y = functional.relu(self.third(x))
        x = torch.cat([x, y], 1) if self.concat else y
        return self.last(self.drop(x.flatten(1)))


def made(seed=0, **options):
    """A network with random weights and statistics, and frames of whole numbers 0 to 15."""
    torch.manual_seed(seed)
    frames = torch.randint(0, 16, (48, 1, 6, 6)).float()
    network = Branches(**options)
    network.train()
    network(frames)  # the statistics of BatchNorm, and the sizes of lazy layers
    return network.eval(), frames


def exported(quantized, path):
    export(quantized.model, path)
    return lower(path)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_networks_are_computed_by_the_hardware_as_by_the_reference(data, tmp_path):
    draw = data.draw
    network, frames = made(
        seed=draw(st.integers(0, 99)),
        act=draw(st.sampled_from(ACTIVATIONS)),
        norm=draw(st.booleans()),
        residual=draw(st.booleans()),
        concat=draw(st.booleans()),
        pool=draw(st.sampled_from(("max", "average", "none"))),
    )
    settings = {
        "weight_bits": draw(st.integers(2, 16)),
        "act_bits": draw(st.sampled_from((2, 3, 4, 6, 8, 11, 16))),
        "scales": draw(st.sampled_from(("power-of-two", "free"))),
        "per_channel": draw(st.booleans()),
        "method": draw(st.sampled_from(("mse", "percentile", "max"))),
        "equalize": draw(st.booleans()),
        "weights": draw(st.sampled_from(("nearest", "gptq", "gpfq"))),
    }
    quantized = quantize(network, frames, sensitivity=False, **settings)
    graph = exported(quantized, tmp_path / "model.onnx")
    compared = compare(graph, tmp_path / "model.onnx", frames.numpy())
    assert compared.mismatches == compared.explained
    if settings["scales"] == "power-of-two" and settings["weight_bits"] + settings["act_bits"] < 16:
        logits = quantized.model(frames).detach().numpy()
        assert len(np.unique(logits)) > 1
        changed = np.any(Emulator(graph).run(frames.numpy()) != logits, axis=1)
        assert changed.sum() <= compared.explained


@pytest.mark.parametrize("bits", [2, 5, 12, 16])
def test_weights_and_activations_have_the_asked_widths(bits, tmp_path):
    network, frames = made()
    quantized = quantize(network, frames, weight_bits=bits, act_bits=bits, in_bits=4, sensitivity=True)
    widths = {row.name: (row.kind, row.bits) for row in quantized.layers}
    assert widths["third"] == ("weights", bits)
    assert widths["x_quant"] == ("input", 4)
    assert {row.bits for row in quantized.layers if row.kind == "activation"} == {bits}
    assert [row.bits for row in quantized.layers if row.kind == "sum"] == [max(8, bits)]
    graph = exported(quantized, tmp_path / "model.onnx")
    assert compare(graph, tmp_path / "model.onnx", frames.numpy()).mismatches == 0


def test_branches_that_meet_have_one_scale():
    network, frames = made()
    names = dict(quantize(network, frames, sensitivity=False).model.named_modules())
    assert {"add_quant", "cat_quant"} <= names.keys()
    assert not any(name.startswith(("add_quant_", "cat_quant_")) for name in names)


def test_more_bits_cost_less_and_the_report_says_what_each_part_costs():
    network, frames = made()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    labels = network(frames).argmax(1)
    found = [quantize(network, (frames, labels), weight_bits=bits, act_bits=bits) for bits in (3, 8, 16)]
    assert found[0].noise > found[1].noise > found[2].noise
    assert found[0].float_accuracy == 1.0
    assert found[0].accuracy == found[0].agreement
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    rows = {row.name: row for row in found[0].layers}
    assert {"stem", "second", "third", "last", "x_quant", "add_quant", "cat_quant"} <= rows.keys()
    assert rows["x_quant"].noise == 0.0  # whole numbers from 0 to 15 are codes
    assert rows["second"].noise < found[0].noise
    assert "third" in str(found[0])
    assert "third" in found[0]._repr_html_()
    assert found[0].as_dict()["layers"][0]["name"] == found[0].layers[0].name
    # The measurement of single parts leaves no trace.
    again = quantize(network, (frames, labels), weight_bits=3, act_bits=3, sensitivity=False)
    torch.testing.assert_close(again.model(frames), found[0].model(frames), rtol=0, atol=0)


def test_training_goes_on_from_the_quantized_network(tmp_path):
    data = load_data("digits")
    torch.manual_seed(0)
    network = create_model("tfc", scheme="float")
    fit(network, data, TrainConfig(epochs=3))
    quantized = quantize(network, data, weight_bits=2, act_bits=2)
    result = fit(quantized.model, data, TrainConfig(epochs=3))
    assert quantized.accuracy is not None
    assert result.test_accuracy > quantized.accuracy
    with pytest.raises(QuantError, match=r"state_dict\(\)"):
        save_checkpoint(quantized.model, tmp_path / "checkpoint.pt")
    graph = exported(quantized, tmp_path / "model.onnx")
    frames = data.x_test[:40].reshape(-1, *quantized.model.input_shape).astype(np.float32)
    logits = quantized.model(torch.from_numpy(frames)).detach().numpy()
    np.testing.assert_array_equal(Emulator(graph).run(frames), logits)


@pytest.mark.parametrize("name", ["tfc", "lenet5", "cnv", "resnet8", "mobilenet-v2", "squeezenet", "kws-mlp", "ad-mlp"])
def test_families_in_floating_point_are_traced(name):
    network = create_model(name, scheme="float", **({"width": 0.125} if name in ("cnv", "mobilenet-v2") else {}))
    frames = torch.rand(2, *network.input_shape)
    expected = network.eval()(frames)
    torch.testing.assert_close(float_graph(network, frames, equalize=False)(frames), expected, rtol=1e-3, atol=1e-3)


class Enlarged(nn.Module):
    """Half the resolution, and back by a transposed convolution with a BatchNorm behind it."""

    def __init__(self, axes=2, padding=1):
        super().__init__()
        conv, transposed, norm = (getattr(nn, f"{kind}{axes}d") for kind in ("Conv", "ConvTranspose", "BatchNorm"))
        self.down = conv(1, 4, 3, stride=2, padding=1)
        self.up = transposed(4, 6, 3, stride=2, padding=1, output_padding=padding, bias=False)
        self.norm, self.last = norm(6), conv(6, 2, 1)

    def forward(self, x):
        return self.last(functional.relu(self.norm(self.up(functional.relu(self.down(x)))))).flatten(1)


@pytest.mark.parametrize(
    ("axes", "padding", "options"),
    [
        (2, 1, {}),
        (2, 0, {"per_channel": True, "scales": "free"}),
        (2, 1, {"weights": "gptq", "weight_bits": 4, "act_bits": 4}),
        (1, 1, {"weights": "gpfq", "weight_bits": 4, "act_bits": 4, "per_channel": True}),
    ],
)
def test_transposed_convolutions_are_quantized(axes, padding, options, tmp_path):
    torch.manual_seed(0)
    network, frames = Enlarged(axes, padding), torch.randint(0, 16, (32, 1, *(8,) * axes)).float()
    network.train()(frames)
    quantized = quantize(network.eval(), frames, **options)
    assert {"up", "down", "last"} <= {row.name for row in quantized.layers}
    compared = compare(exported(quantized, tmp_path / "model.onnx"), tmp_path / "model.onnx", frames.numpy())
    assert compared.mismatches == compared.explained
    row = next(each for each in summary(quantized.model) if each.name == "up")
    assert (row.kind, row.weights) == ("transposed", 24 * 3**axes)
    assert row.macs == 4**axes * row.weights  # each input is multiplied by all weights of its channel


def test_the_rates_of_layers_are_in_proportion_to_their_weights():
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    frames = torch.randint(0, 256, (32, 4)).float()
    rates = []
    for factor in (1.0, 0.01):
        with torch.no_grad():  # the same function
            for parameter in network[0].parameters():
                parameter.mul_(factor)
            network[2].weight.div_(factor)
        model = quantize(network, frames, equalize=False, sensitivity=False, weights="nearest", scales="free").model
        groups = {id(p): group["lr"] for group in parameter_groups(model, 2e-4) for p in group["params"]}
        layers = [each for each in model.modules() if isinstance(each, QuantizedLinear)]
        found = [groups[id(each.weight)] for each in layers]
        for layer, rate in zip(layers, found, strict=True):
            assert rate == pytest.approx(2e-4 * float(layer.weight.detach().square().mean().sqrt()) / 0.05)
            assert {groups[id(p)] for p in layer.weight_quant.parameters()} <= {rate}
        rates.append(found)
    assert rates[1] == pytest.approx([rates[0][0] / 100, rates[0][1] * 100])


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.norm, self.relu = nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU()

    def forward(self, x):
        x = self.relu(self.norm(self.layer(x)))
        return self.layer(torch.dropout(self.relu(self.norm(self.layer(x))), 0.5, self.training)) - x.mean(1, True)


def test_modules_that_are_called_twice_stay_what_they_are():
    torch.manual_seed(0)
    network, frames = Twice(), torch.rand(32, 6)
    network(frames)
    network.eval()
    graph = float_graph(network, frames, equalize=False)
    torch.testing.assert_close(graph(frames), network(frames), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "bits", "scale"),
    [
        (np.arange(17), 5, 1.0),
        (np.arange(256), 8, 1.0),
        (np.arange(17) / 16, 5, 1 / 16),
        (np.arange(256) / 255, 8, 2.0**-8),  # the step is no power of two
        (np.arange(-100, 101) / 64, 8, 1 / 64),
        (np.array([0.0, 1.0]), 2, 1.0),
        (np.random.default_rng(0).normal(size=5000), 8, 2.0**-5),
    ],
    ids=["digits", "pixels", "parts", "fractions", "signed", "bits", "floats"],
)
@pytest.mark.quick
def test_inputs_that_are_multiples_of_a_step_are_codes(values, bits, scale):
    x = torch.tensor(values, dtype=torch.float32).reshape(-1, 1)
    quantizer = input_quantizer(x, None, power_of_two=True)
    found, step, _, width = quantizer.act_quant.fused_activation_quant_proxy.tensor_quant(x)
    assert (int(width), float(step)) == (bits, scale)
    assert float((found - x).abs().max()) <= float(step)


def test_free_scales_hold_pixels_between_zero_and_one_exactly():
    x = torch.arange(256).reshape(-1, 1) / 255
    quantizer = input_quantizer(x, None, power_of_two=False)
    torch.testing.assert_close(quantizer(x), x, rtol=1e-6, atol=0)


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(x) if x.sum() > 0 else x


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.first(x) * torch.sigmoid(self.second(x))


class Softmaxed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.second(torch.softmax(self.first(x), 1))


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return functional.linear(self.layer(x), self.layer.weight)


def normalized():
    return nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 2))


@pytest.mark.parametrize(
    ("network", "frames", "options", "message"),
    [
        (Branching, torch.rand(8, 4), {}, "cannot be traced"),
        (Gated, torch.rand(8, 4), {}, r"mul \(mul\) cannot be quantized for hardware"),
        (Functional, torch.rand(8, 4), {}, r"linear \(linear\) cannot be quantized .* nn.Linear"),
        (Softmaxed, torch.rand(8, 4), {}, "class scores can only be the network's last step"),
        (normalized, torch.rand(8, 4), {}, r"1 \(LayerNorm\) cannot be quantized .* BatchNorm"),
        (lambda: nn.Sequential(nn.ReLU()), torch.rand(8, 4), {}, "no Linear or Conv layer"),
        (lambda: nn.ConvTranspose1d(4, 4, 3, groups=2), torch.rand(8, 4, 6), {}, r"\(ConvTranspose1d\) has 2 groups"),
        (lambda: nn.Linear(4, 2), torch.rand(8, 5), {}, r"does not take .* \(8, 5\)"),
        (lambda: nn.Linear(4, 2), torch.rand(0, 4), {}, "calibration has no frames"),
        (lambda: nn.Linear(4, 2), [], {}, "calibration has no frames"),
        (lambda: nn.Linear(4, 2), 7, {}, "calibration is int"),
        (lambda: nn.Linear(4, 2), np.full((8, 4), "a"), {}, "give frames of numbers"),
        (lambda: nn.Linear(4, 2), torch.tensor([[0.0] * 4, [0.0, np.nan, 0, 0]]), {}, "frame 1 of calibration"),
        (lambda: nn.Linear(4, 2), (torch.rand(8, 4), torch.zeros(7)), {}, "8 frames, and labels for 7"),
        (lambda: nn.Linear(4, 2), torch.rand(8, 4), {"test": torch.rand(8, 4)}, "test has no labels"),
        (lambda: nn.Linear(4, 2), torch.rand(8, 4), {"weight_bits": 17}, "weight_bits"),
        (lambda: nn.Linear(4, 2), torch.rand(8, 4), {"in_bits": 1}, "in_bits=1"),
        (lambda: nn.Linear(4, 2), torch.rand(8, 4), {"scales": "log"}, "scales='log': choose 'power-of-two'"),
        (lambda: nn.Linear(4, 2), torch.rand(8, 4), {"method": "kl"}, "method='kl': choose 'mse'"),
        (lambda: nn.Linear(4, 2), torch.rand(8, 4), {"weights": "adaround"}, "weights='adaround': choose"),
        (lambda: create_model("tfc-w1a1"), torch.rand(8, 1, 8, 8), {}, "quantized already"),
    ],
)
def test_bad_input_is_one_line(network, frames, options, message):
    with pytest.raises(QuantError, match=message) as caught:
        quantize(network(), frames, **options)
    assert "\n" not in str(caught.value)
