"""Data-free merging of neurons against its formula, and networks whose neurons are equal."""

import pytest
import torch

from quant import compression, create_model
from quant.compression.merging import saliencies
from quant.compression.neurons import hidden_neurons
from quant.compression.weights import weight_of
from quant.errors import QuantError
from quant.metrics import accuracy
from tests.quant.compressed import convolutional, digits, trained_network


def doubled(model, name: str, seed: int = 0):
    """Makes neuron 5 of a hidden layer of an MLP equal to neuron 2; BatchNorm has drawn values."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for block in model.hidden:
            for tensor in (block.norm.weight, block.norm.running_var):
                tensor.uniform_(0.5, 2.0, generator=generator)
            for tensor in (block.norm.bias, block.norm.running_mean):
                tensor.normal_(generator=generator)
        block = model.get_submodule(name)
        block.linear.weight[5] = block.linear.weight[2]
        for tensor in (block.norm.weight, block.norm.running_var, block.norm.bias, block.norm.running_mean):
            tensor[5] = tensor[2]
    return model.eval()


@pytest.mark.quick
def test_the_saliency_is_the_formula():
    torch.manual_seed(0)
    w, a = torch.randn(4, 6), torch.randn(3, 4, 2)
    s = saliencies(w, a)
    for i in range(4):
        for j in range(4):
            expected = sum(float(a[k, j, p]) ** 2 for k in range(3) for p in range(2)) / 6
            expected *= float(((w[i] - w[j]) ** 2).sum())
            assert s[i, j] == torch.inf if i == j else float(s[i, j]) == pytest.approx(expected, rel=1e-5)


def test_equal_neurons_merge_without_a_change_and_the_weights_add_up():
    torch.manual_seed(0)
    model = doubled(create_model("tfc-float", input_shape=(20,)), "hidden.1")
    x = torch.randint(0, 16, (50, 20)).float()
    small = compression.merge_neurons(model, 1 / 64, layers="hidden.1.linear")
    torch.testing.assert_close(small(x), model(x), rtol=1e-4, atol=1e-4)
    before, after = weight_of(model.hidden[2].linear), weight_of(small.hidden[2].linear)
    [gone] = [j for j in (2, 5) if not after[:, j].any()]
    torch.testing.assert_close(after[:, 7 - gone], before[:, 2] + before[:, 5])
    assert not weight_of(small.hidden[1].linear)[gone].any()
    others = [j for j in range(64) if j not in (2, 5)]
    assert torch.equal(after[:, others], before[:, others])
    # quantized: the integers add up where they fit, and the outputs stay as they are where all fit
    quantized = doubled(create_model("tfc-w4a4", input_shape=(20,), in_range=(0, 15)), "hidden.0")
    with torch.no_grad():
        quantized.hidden[1].linear.weight[:, [2, 5]] *= 0.4
    merged = compression.merge_neurons(quantized, 1 / 64, layers="hidden.0.linear")
    torch.testing.assert_close(merged(x), quantized(x), rtol=1e-5, atol=1e-5)


def test_each_step_takes_the_least_of_what_is_left():
    torch.manual_seed(1)
    model = create_model("tfc-float", input_shape=(20,)).eval()
    [group] = [g for g in hidden_neurons(model, torch.zeros(1, 20)) if g.name == "hidden.0.linear"]
    rows, a = group.rows(), weight_of(model.hidden[1].linear).double()
    gone = []
    for _ in range(6):  # brute force, without an update of s
        s = saliencies(rows, a[:, :, None])
        s[gone] = s[:, gone] = torch.inf
        i, j = divmod(int(s.argmin()), 64)
        a[:, i] += a[:, j]
        a[:, j] = 0
        gone.append(j)
    small = compression.merge_neurons(model, 6 / 64, layers="hidden.0.linear")
    torch.testing.assert_close(weight_of(small.hidden[1].linear).double(), a, rtol=1e-5, atol=1e-6)
    # what is merged already counts
    again = compression.merge_neurons(small, 6 / 64, layers="hidden.0.linear")
    assert torch.equal(weight_of(again.hidden[1].linear), weight_of(small.hidden[1].linear))


def test_which_neurons_can_merge():
    found = {
        name: [(g.name, g.positions) for g in hidden_neurons(model, torch.zeros(1, *model.input_shape))]
        for name, model in (
            (name, create_model(name, input_shape=shape))
            for name, shape in (
                ("lenet5-w4a4", (1, 28, 28)),
                ("resnet8-w4a4", (3, 8, 8)),
                ("mobilenet-v1-float", (3, 32, 32)),
            )
        )
    }
    assert found["lenet5-w4a4"] == [
        ("features.0.conv", 1),
        ("features.1.conv", 16),
        ("hidden.0.linear", 1),
        ("hidden.1.linear", 1),
    ]
    assert [name for name, _ in found["resnet8-w4a4"]] == [f"blocks.{i}.first.conv" for i in range(3)]
    assert [name for name, _ in found["mobilenet-v1-float"]] == ["pairs.12.pointwise.conv"]


def test_channels_of_a_convolution_merge_through_pool_and_flatten():
    torch.manual_seed(0)
    model = create_model("lenet5-float", input_shape=(1, 28, 28)).eval()
    with torch.no_grad():
        model.features[1].conv.weight[3] = model.features[1].conv.weight[9]
    x = torch.rand(4, 1, 28, 28) * 255
    small = compression.merge_neurons(model, 1 / 16, layers="features.1.conv")
    torch.testing.assert_close(small(x), model(x), rtol=1e-4, atol=1e-4)
    assert (weight_of(small.hidden[0].linear).view(120, 16, 16) == 0).all((0, 2)).sum() == 1


def test_a_trained_network_loses_little_at_a_tenth():
    data, model = digits(), trained_network()
    test = torch.from_numpy(data.x_test.reshape(-1, 64)).float(), torch.from_numpy(data.y_test)
    small = compression.merge_neurons(model, 0.1)
    assert accuracy(small, *test) > 0.9
    for block in small.hidden:
        assert int((weight_of(block.linear) == 0).all(1).sum()) == 6


def test_bad_input():
    model = create_model("tfc-w4a4", input_shape=(20,))
    plain = convolutional()
    for call, words in (
        (lambda: compression.merge_neurons(model, 1.0), "fraction=1.0 of layer hidden.0.linear"),
        (lambda: compression.merge_neurons(model, 0.999), "leaves no neuron of layer hidden.0.linear"),
        (
            lambda: compression.merge_neurons(model, 1 / 200),
            "fraction=0.005 is less than one neuron of hidden.0.linear",
        ),
        (lambda: compression.merge_neurons(model, 0.5, layers="output"), "layer output cannot merge neurons"),
        (lambda: compression.merge_neurons(plain, 0.5), "needs frame"),
        (lambda: compression.merge_neurons(create_model("tfc-w1a1", input_shape=(20,)), 0.5), "1-bit weights"),
        (lambda: compression.merge_neurons(compression.share_weights(model, 4), 0.5), "shared weights"),
    ):
        with pytest.raises(QuantError, match=words) as caught:
            call()
        assert caught.value.status == 2
        assert "\n" not in str(caught.value)
    assert not weight_of(compression.merge_neurons(plain, 0.5, frame=torch.zeros(1, 2, 8, 8))[3])[:, 1:].all()
