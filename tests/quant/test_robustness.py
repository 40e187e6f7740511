"""Distortions of trained weights: what each does, that the network is unchanged afterwards, tables and plots."""

import copy

import numpy as np
import pytest
import torch
from brevitas.nn import QuantLinear
from brevitas.quant import ShiftedUint8WeightPerTensorFloat
from torch.nn.utils import parametrize

from quant import TrainConfig, compression, create_model, fit, load_data, robustness, schemes
from quant.errors import QuantError


@pytest.fixture(scope="module")
def data():
    return load_data("digits")


@pytest.fixture(scope="module")
def network(data):
    torch.manual_seed(0)
    model = create_model("tfc-w4a4", input_shape=data.shape, in_range=(data.low, data.high))
    fit(model, data, TrainConfig(epochs=4))
    return model


def plain() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3), torch.nn.Flatten(), torch.nn.ReLU(), torch.nn.Linear(3 * 36, 10)
    )


def codes(layer: torch.nn.Module) -> np.ndarray:
    quantized = layer.quant_weight()
    return np.rint((quantized.value / quantized.scale).detach().numpy()).astype(np.int64)


@pytest.mark.parametrize(
    ("kind", "rate", "expected"),
    [
        ("sign", 1.0, lambda w: torch.sign(w) * w.abs().mean()),
        ("sign", 0.0, lambda w: w),
        ("power", 1.0, lambda w: w),
        ("power", 2.0, lambda w: w * w.abs() * w.abs().mean() / w.square().mean()),
        ("power", 0.0, lambda w: torch.sign(w) * w.abs().mean()),
        ("clip", 0.25, lambda w: w.clamp(-w.abs().max() / 4, w.abs().max() / 4)),
        ("clip", 1.0, lambda w: w),
        ("additive", 0.0, lambda w: w),
        ("multiplicative", 0.0, lambda w: w),
    ],
)
def test_projections(kind, rate, expected):
    model = plain()
    before = [layer.weight.detach().clone() for layer in (model[0], model[3])]
    with robustness.distorted(model, kind, rate):
        for layer, w in zip((model[0], model[3]), before, strict=True):
            torch.testing.assert_close(layer.weight, expected(w))


def test_noise_has_its_size_and_is_the_same_for_equal_seeds():
    layer = torch.nn.Linear(400, 300)
    w = layer.weight.detach().clone()
    seen = {}
    for seed in (0, 0, 1):
        for kind in ("additive", "multiplicative"):
            with robustness.distorted(layer, kind, 0.3, seed):
                noise = layer.weight.detach() - w
                torch.testing.assert_close(layer.weight.detach() - w, noise)  # one draw a context
            unit = noise / (w.square().mean().sqrt() if kind == "additive" else w)
            assert abs(float(unit.mean())) < 5e-3
            assert float(unit.std()) == pytest.approx(0.3, abs=5e-3)
            same = seen.setdefault((kind, seed), noise)
            assert torch.equal(noise, same)
            assert seed == 0 or not torch.equal(noise, seen[kind, 0])


@pytest.mark.parametrize(("name", "bits"), [("tfc-w1a1", 1), ("tfc-w2a2", 2), ("tfc-w4a4", 4), ("tfc-w8a8", 8)])
def test_each_bit_flips_at_the_rate(name, bits):
    torch.manual_seed(1)
    model = create_model(name, in_features=512)
    layer = model.hidden[0].linear
    clean = codes(layer)
    for rate in (0.0, 0.1, 1.0):
        with robustness.distorted(model, "bit_flip", rate, seed=3):
            found = codes(layer)
        if bits == 1:
            flips = (found != clean)[..., None]
            assert set(np.unique(found)) <= {-1, 1}
        else:
            assert found.min() >= -(2 ** (bits - 1))
            assert found.max() < 2 ** (bits - 1)
            flips = ((found ^ clean)[..., None] >> np.arange(bits)) & 1
        spread = 5 * np.sqrt(rate * (1 - rate) / flips[..., 0].size) + 1e-12
        assert np.abs(flips.mean(axis=(0, 1)) - rate).max() <= spread


def test_the_network_is_unchanged_afterwards(network, data):
    x = torch.from_numpy(data.x_test.reshape(-1, 64)).float()
    state = copy.deepcopy(network.state_dict())
    expected = network(x)
    float_model, image = plain(), torch.rand(2, 1, 8, 8)
    float_expected, float_state = float_model(image), list(float_model.state_dict())
    for kind in robustness.KINDS:
        with robustness.distorted(network, kind, 0.4) as inside:
            assert inside is network
            assert not torch.equal(network(x), expected)
        assert torch.equal(network(x), expected)
        if kind != "bit_flip":
            with robustness.distorted(float_model, kind, 0.4):
                assert not torch.equal(float_model(image), float_expected)
            assert torch.equal(float_model(image), float_expected)
    with pytest.raises(RuntimeError, match="inside"), robustness.distorted(float_model, "sign", 1.0):
        raise RuntimeError("inside")
    assert list(float_model.state_dict()) == float_state
    assert not parametrize.is_parametrized(float_model[0])
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in state.items())


def test_compressed_networks_can_be_distorted(network):
    model = compression.share_weights(plain(), 4)
    shared = model[3].weight.detach().clone()
    with robustness.distorted(model, "multiplicative", 0.5):
        assert not torch.equal(model[3].weight, shared)
    assert torch.equal(model[3].weight, shared)
    small = compression.prune(network, 0.5)
    clean = codes(small.output)
    with robustness.distorted(small, "bit_flip", 0.5):
        assert (codes(small.output) != clean).any()
    assert (codes(small.output) == clean).all()


def test_accuracy_against(network, data):
    table = robustness.accuracy_against(network, data, "bit_flip", [0, 0.01, 0.3], seeds=3)
    assert table.accuracies.shape == (3, 3)
    assert (table.accuracies[0] == table.undistorted).all()
    assert table.accuracies[2].mean() < table.accuracies[1].mean() <= table.undistorted + 0.02
    x, y = torch.from_numpy(data.x_test.reshape(-1, 64)).float(), torch.from_numpy(data.y_test)
    again = robustness.accuracy_against(network, (x, y), "bit_flip", [0.3], seeds=[2])
    assert again.accuracies[0, 0] == table.accuracies[2, 2]
    assert table.as_dict()["accuracies"][2][2] == again.accuracies[0, 0]
    lines = str(table).splitlines()
    assert lines[0].startswith("bit_flip (probability of a flip, each bit); undistorted")
    assert [line.split()[0] for line in lines[2:]] == ["0", "0.01", "0.3"]


def test_plot(tmp_path, network, data):
    tables = {
        label: robustness.accuracy_against(network, data, "additive", [0.5, 0, 0.1], seeds)
        for label, seeds in (("a", 2), ("b", [7]))
    }
    figure = robustness.plot(tables, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"
    [axes] = figure.axes
    line = axes.get_lines()[0]
    assert list(line.get_xdata()) == [0, 0.1, 0.5]
    np.testing.assert_allclose(line.get_ydata(), tables["a"].accuracies.mean(1)[[1, 2, 0]])
    other = robustness.accuracy_against(network, data, "clip", [0.5], 1)
    with pytest.raises(QuantError, match="one kind"):
        robustness.plot({"a": other, "b": tables["a"]})
    with pytest.raises(QuantError, match=r"cannot write .*plot\.png: No such file"):
        robustness.plot(other, tmp_path / "none" / "plot.png")


def test_training_under_distortion(data):
    torch.manual_seed(0)
    layer = torch.nn.Linear(6, 4, bias=False)
    w = layer.weight.detach().clone()
    x = torch.randn(5, 6)
    with robustness.distorted_training(layer, "sign", 1.0):
        layer(x).sum().backward()
        torch.testing.assert_close(layer.weight, torch.sign(w) * w.abs().mean())
        layer.eval()
        assert torch.equal(layer.weight, w)
    # the gradient is that of the projected weight
    torch.testing.assert_close(layer.weight.grad, x.sum(0).expand(4, 6))
    assert torch.equal(layer.weight, w)

    model = create_model("tfc-w8a8", input_shape=data.shape, in_range=(data.low, data.high))
    usual = copy.deepcopy(model)
    with robustness.distorted_training(model, "multiplicative", 1.0):
        fit(model, data, TrainConfig(epochs=8))
    fit(usual, data, TrainConfig(epochs=8))
    hardened, other = (robustness.accuracy_against(m, data, "multiplicative", [1.0]) for m in (model, usual))
    assert hardened.accuracies.mean() > other.accuracies.mean() + 0.05


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("bitflip", [0.1]), "no distortion 'bitflip': choose one of additive, bit_flip"),
        (("bit_flip", [1.5]), r"rate=1.5 of bit_flip .* is not from 0 to 1"),
        (("additive", [-1.0]), "is not from 0 on"),
        (("additive", [float("nan")]), "is not from 0 on"),
        (("additive", []), "at least one rate"),
        (("additive", [0.1], 0), "one seed"),
    ],
)
def test_bad_arguments(network, data, arguments, match):
    with pytest.raises(QuantError, match=match) as error:
        robustness.accuracy_against(network, data, *arguments)
    assert error.value.status == 2


def test_bad_models(data):
    with (
        pytest.raises(QuantError, match="layer 0 has floating-point weights"),
        robustness.distorted(plain(), "bit_flip", 0.1),
    ):
        pass
    with (
        pytest.raises(QuantError, match="no linear or convolution layer"),
        robustness.distorted(torch.nn.ReLU(), "sign", 1),
    ):
        pass
    with pytest.raises(QuantError, match="give data as"):
        robustness.accuracy_against(plain(), data, "sign", [1])


def test_unsigned_weights_with_a_zero_point():
    layer = QuantLinear(20, 10, bias=False, weight_quant=ShiftedUint8WeightPerTensorFloat).eval()
    layer.weight.requires_grad_(False)
    quantized = layer.quant_weight()
    assert float(quantized.zero_point) > 0
    unsigned = torch.round(quantized.value / quantized.scale + quantized.zero_point)
    with robustness.distorted(layer, "bit_flip", 1.0):
        flipped = layer.quant_weight().value
    torch.testing.assert_close(flipped, (255 - unsigned - quantized.zero_point) * quantized.scale)


@pytest.mark.parametrize("name", [name for name in schemes.list() if name not in ("lookup", "own")])  # no weights
def test_bit_flips_of_every_scheme(name):
    torch.manual_seed(0)
    model = create_model("tfc-w1a1", schemes.get(name), in_features=64).eval()
    layer = model.hidden[0].linear
    if not layer.weight_quant.is_quant_enabled:
        pytest.skip("floating-point weights")
    clean, bits = codes(layer), int(layer.quant_weight().bit_width)
    with robustness.distorted(model, "bit_flip", 1.0):
        found = codes(layer)
    np.testing.assert_array_equal(found, -clean if bits == 1 else ~clean)
    np.testing.assert_array_equal(codes(layer), clean)
