"""Each compression method against its formula, and its training."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional

from quant import TrainConfig, compression, create_model, fit, layers, schemes
from quant.compression.error_correction import Quadratic
from quant.compression.forms import Codewords, Pruned, Shared
from quant.compression.kmeans import scalar_kmeans, vector_kmeans
from quant.compression.weights import compression_of, grid_of, weight_of
from quant.errors import QuantError
from quant.metrics import accuracy
from quant.models.network import model_inputs
from tests.quant.compressed import METHODS, convolutional, digits, images, trained_network


@pytest.fixture(scope="module")
def data():
    return digits()


@pytest.fixture(scope="module")
def network():
    return trained_network()


@pytest.fixture(scope="module")
def frames(data):
    return torch.from_numpy(data.x_test.reshape(-1, 64)).float()


def test_pruning_keeps_exactly_the_largest():
    model = convolutional()
    for fraction in (0.0, 0.31, 0.9):
        pruned = compression.prune(model, fraction)
        for index in (0, 3, 6):
            before, after = model[index].weight.detach(), weight_of(pruned[index])
            count = round(fraction * before.numel())
            assert int((after == 0).sum()) == count
            assert torch.equal(after[after != 0], before[after != 0])
            if count:
                assert before[after == 0].abs().max() <= before[after != 0].abs().min()
    jointly = compression.prune(model, 0.5, jointly=True, layers=["0", "6"])
    kept = torch.cat([weight_of(jointly[i])[weight_of(jointly[i]) != 0].abs() for i in (0, 6)])
    gone = torch.cat([model[i].weight[weight_of(jointly[i]) == 0].abs() for i in (0, 6)])
    assert gone.max() <= kept.min()
    assert len(gone) == round(0.5 * (len(gone) + len(kept)))
    assert compression_of(jointly[3]) is None
    by_layer = compression.prune(model, {"conv": 0.25, "6": 0.5})
    assert [float((weight_of(by_layer[i]) == 0).float().mean()) for i in (0, 3, 6)] == pytest.approx([0.25, 0.25, 0.5])


def test_ties_are_pruned_to_the_exact_number():
    layer = torch.nn.Linear(10, 10)
    torch.nn.init.constant_(layer.weight, 0.5)
    assert int((weight_of(compression.prune(layer, 0.37)) == 0).sum()) == 37


def test_pruned_weights_stay_zero_in_training(network, data):
    pruned = compression.prune(network, 0.6)
    zero = {name: weight_of(pruned.get_submodule(name)) == 0 for name in compression.describe(pruned)}
    moved = weight_of(pruned.output)
    accuracy = fit(pruned, data, TrainConfig(epochs=4, learning_rate=(1e-2, 1e-3), validation=0.1)).test_accuracy
    assert accuracy > 0.93
    for name, mask in zero.items():
        assert bool((weight_of(pruned.get_submodule(name))[mask] == 0).all())
    assert not torch.equal(weight_of(pruned.output), moved)
    further = compression.prune(pruned, 0.8)
    assert bool((weight_of(further.output)[zero["output"]] == 0).all())
    assert float((weight_of(further.output) == 0).float().mean()) == pytest.approx(0.8, abs=0.02)


def test_sharing_is_kmeans_of_each_layer():
    model = convolutional()
    small = compression.share_weights(model, {"conv": 4, "linear": 7})
    for index, clusters in ((0, 4), (3, 4), (6, 7)):
        w = model[index].weight.detach().double().numpy()
        centroids, chosen = scalar_kmeans(w.ravel(), clusters)
        np.testing.assert_array_equal(weight_of(small[index]), centroids[chosen].reshape(w.shape).astype(np.float32))
    assert compression_of(model[0]) is None


def test_compressing_a_compressed_network_leaves_it_as_it_was():
    pruned = compression.prune(convolutional(), 0.5)
    before, x = weight_of(pruned[6]), images()
    expected = pruned(x)
    shared = compression.share_weights(pruned, 4)
    snapped = compression.snap(shared, 3)
    again = compression.share_weights(snapped, 2)
    assert torch.equal(weight_of(pruned[6]), before)
    assert torch.equal(pruned(x), expected)
    for network, most in ((shared, 5), (snapped, 5), (again, 3)):
        assert len(weight_of(network[6]).unique()) <= most
        assert int((weight_of(network[6]) == 0).sum()) >= before.numel() // 2
    assert grid_of(shared[6]) is None
    assert grid_of(snapped[6]).bits == grid_of(again[6]).bits == 3


def test_gradient_of_a_centroid_is_the_sum_of_its_weights():
    layer = torch.nn.Linear(9, 5)
    small = compression.share_weights(compression.prune(layer, 0.2), 4)
    form = compression_of(small)
    assert isinstance(form, Shared)
    x, upstream = torch.randn(6, 9), torch.randn(6, 5)
    small(x).backward(upstream)
    by_weight = upstream.T @ x
    expected = [by_weight[form.index == k].sum() for k in range(4)]
    torch.testing.assert_close(form.values.grad, torch.stack(expected))
    assert not small.parametrizations.weight.original.requires_grad
    # on a grid the gradient passes the rounding
    snapped = compression.snap(small, 8)
    snapped(x).backward(upstream)
    torch.testing.assert_close(compression_of(snapped).values.grad, torch.stack(expected))


def test_joint_codebook_is_one_parameter_of_all_layers():
    small = compression.share_weights(convolutional(), 8, jointly=True)
    forms = [compression_of(small[i]) for i in (0, 3, 6)]
    assert len({id(form.values) for form in forms}) == 1
    values = torch.cat([weight_of(small[i]).flatten() for i in (0, 3, 6)]).unique()
    assert len(values) == 8
    again = copy.deepcopy(small)
    assert compression_of(again[0]).values is compression_of(again[6]).values
    assert compression_of(again[0]).values is not forms[0].values
    row = compression.report(small).layers
    assert [r.codebook_bits for r in row] == [8 * 32, 0, 0]


def test_importance_moves_the_centroids():
    model = convolutional()
    importance = {name: torch.rand(model.get_submodule(name).weight.shape) ** 4 for name in ("0", "3", "6")}
    small = compression.share_weights(model, 6, importance=importance, jointly=True)
    plain = compression.share_weights(model, 6, jointly=True)

    def loss(network) -> float:
        return sum(
            float(
                (importance[n] * (weight_of(network.get_submodule(n)) - weight_of(model.get_submodule(n))) ** 2).sum()
            )
            for n in importance
        )

    assert loss(small) < loss(plain)
    zeros = {name: torch.zeros_like(h) for name, h in importance.items()}
    compression.share_weights(model, 6, importance=zeros)


def test_uniform_quantization(network):
    model = convolutional()
    small = compression.uniform_quantize(model, 0.05)
    for index in (0, 3, 6):
        w, found = model[index].weight.detach(), weight_of(small[index])
        cells = torch.round(w / 0.05)
        for cell in cells.unique():
            assert len(found[cells == cell].unique()) == 1
        assert float((w - found).abs().max()) <= 0.05
    # a quantized layer's own integers: nothing changes but the storage
    coded = compression.uniform_quantize(network)
    for name in compression.describe(coded):
        assert torch.equal(weight_of(coded.get_submodule(name)), weight_of(network.get_submodule(name)))
    assert compression.report(coded).total.bits_after < network.output.weight.numel() + 12928 * 9


def test_entropy_quantization_trades_bits_for_error(network):
    sizes = []
    for lagrangian in (0.0, 0.02, 0.2):
        report = compression.report(compression.entropy_quantize(network, lagrangian, jointly=False))
        sizes.append(report.total.huffman_bits)
    assert sizes[0] > sizes[1] > sizes[2]


def test_training_shared_weights_with_fit(network, data):
    small = compression.share_weights(network, 4)
    index = {n: compression_of(small.get_submodule(n)).index.clone() for n in compression.describe(small)}
    before = accuracy(small, torch.tensor(model_inputs(small, data.x_train)), torch.tensor(data.y_train))
    result = fit(small, data, TrainConfig(epochs=6, validation=0.1))
    assert result.train_accuracy > before
    assert result.test_accuracy > 0.94
    for name, chosen in index.items():
        layer = small.get_submodule(name)
        assert torch.equal(compression_of(layer).index, chosen)
        assert len(weight_of(layer).unique()) <= 4
        assert not torch.equal(weight_of(layer), weight_of(network.get_submodule(name)))


def test_product_quantization_is_kmeans_of_sub_vectors():
    layer = torch.nn.Conv2d(5, 12, 3)
    small = compression.product_quantize(layer, 6, 2)
    w = layer.weight.detach().numpy()
    rows = w.transpose(0, 2, 3, 1).reshape(-1, 5)
    expected = np.zeros_like(rows)
    for start in (0, 2, 4):
        part = np.pad(rows[:, start : start + 2], ((0, 0), (0, max(0, start + 2 - 5))))
        codewords, index = vector_kmeans(part.astype(np.float64), 6)
        expected[:, start : start + 2] = codewords[index][:, : 5 - start]
    np.testing.assert_allclose(weight_of(small), expected.reshape(12, 3, 3, 5).transpose(0, 3, 1, 2), atol=1e-6)


def test_reconstruction_improves_with_more_codewords_and_stages():
    layer = torch.nn.Linear(24, 200)

    def error(small) -> float:
        return float((weight_of(small) - weight_of(layer)).square().sum())

    by_clusters = [error(compression.product_quantize(layer, clusters, 4)) for clusters in (1, 2, 8, 32, 200)]
    assert by_clusters == sorted(by_clusters, reverse=True)
    assert by_clusters[-1] == pytest.approx(0, abs=1e-9)
    by_stages = [error(compression.residual_quantize(layer, 8, stages)) for stages in (1, 2, 4)]
    assert by_stages == sorted(by_stages, reverse=True)
    first = weight_of(compression.residual_quantize(layer, 8, 1))
    codewords, index = vector_kmeans(layer.weight.detach().double().numpy(), 8)
    np.testing.assert_allclose(first, codewords[index], atol=1e-6)


def test_response_error_is_the_quadratic_form():
    model = convolutional()
    x = images()
    small = compression.product_quantize(model, 3, 2)
    seen, wanted = (network[:3](x) for network in (small, model))
    w = weight_of(model[3])
    quadratic = Quadratic.measure(small, model, "3", x, w)
    found = weight_of(small[3])
    difference = functional.conv2d(seen, found, dilation=2, padding=2) - functional.conv2d(
        wanted, w, dilation=2, padding=2
    )
    assert quadratic.error(found) == pytest.approx(float(difference.detach().square().sum()), rel=1e-4)


def test_error_correction_lowers_the_response_error():
    model = convolutional()
    x = images(40)
    plain = compression.product_quantize(model, 3, 2)
    previous = compression.product_quantize(model, 3, 2, inputs=x, rounds=0)
    for name in ("0", "3", "6"):
        assert torch.equal(weight_of(previous.get_submodule(name)), weight_of(plain.get_submodule(name)))
    errors = []
    for rounds in (0, 1, 2, 4):
        small = compression.product_quantize(model, 3, 2, inputs=x, rounds=rounds, layers="0")
        errors.append(Quadratic.measure(model, model, "0", x, weight_of(model[0])).error(weight_of(small[0])))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.97 * errors[0]
    corrected = compression.product_quantize(model, 3, 2, inputs=x)
    assert (corrected(x) - model(x)).square().sum() < 0.5 * (plain(x) - model(x)).square().sum()


@pytest.mark.parametrize("options", [{"padding": "same", "dilation": 2}, {"padding": 1, "padding_mode": "reflect"}])
@pytest.mark.parametrize("axes", [1, 2])
def test_the_error_of_a_convolution_is_that_of_its_response(axes, options):
    """Of any padding, images and signals: the quadratic form is the mean square of what the layer's output changes."""
    torch.manual_seed(0)
    layer = (torch.nn.Conv1d if axes == 1 else torch.nn.Conv2d)(4, 6, 3, bias=False, **options)
    x = torch.rand(5, 4, *(7,) * axes)
    small = compression.product_quantize(layer, 3, 2, inputs=x)
    form = Quadratic.measure(layer, layer, "", x, layer.weight)
    expected = float((small(x) - layer(x)).double().square().sum())
    assert form.error(weight_of(small)) == pytest.approx(expected, rel=1e-3)


def test_the_codewords_are_the_least_squares_solution():
    """With every assignment fixed by a single codeword a layer, the optimum is known: one shared row."""
    layer = torch.nn.Linear(4, 3, bias=False)
    x = torch.randn(50, 4)
    small = compression.product_quantize(layer, 1, 4, inputs=x, rounds=1)
    target = (x @ layer.weight.T).mean(1)
    expected = torch.linalg.lstsq(x.double(), target.double()[:, None]).solution[:, 0]
    torch.testing.assert_close(weight_of(small), expected.float().expand(3, 4), atol=1e-5, rtol=1e-5)


def test_error_correction_of_a_quantized_network(network, data, frames):
    x = torch.from_numpy(data.x_train[:400].reshape(400, -1)).float()
    y = network(frames).argmax(1)
    agree = [
        float((compression.product_quantize(network, 8, 4, inputs=inputs)(frames).argmax(1) == y).float().mean())
        for inputs in (None, x)
    ]
    assert agree[1] > agree[0] + 0.02


def test_curvature_is_the_mean_squared_gradient():
    torch.manual_seed(0)
    layer = torch.nn.Linear(5, 3)
    x, y = torch.randn(30, 5), torch.randint(0, 3, (30,))
    delta = torch.softmax(layer(x), 1) - functional.one_hot(y, 3)
    expected = (delta.square().T @ x.square() / 30).detach()
    model = torch.nn.Sequential(layer)
    torch.testing.assert_close(compression.curvature(model, x, y)["0"], expected)
    assert model[0].weight.grad is None
    quantized = torch.nn.Sequential(layers.linear(schemes.get("integer", weight_bits=8, act_bits=8), 5, 3))
    w = weight_of(quantized[0])
    delta = torch.softmax(x @ w.T, 1) - functional.one_hot(y, 3)
    found = compression.curvature(quantized, x, y, frames=10)["0"]
    torch.testing.assert_close(found, delta[:10].square().T @ x[:10].square() / 10)


def test_curvature_from_adam():
    model = convolutional()
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.0))
    with pytest.raises(QuantError, match="no second moment of layer 0"):
        compression.curvature_from_adam(model, optimizer)
    model(images()).sum().backward()
    optimizer.step()
    found = compression.curvature_from_adam(model, optimizer, power=1.0)
    for name, h in found.items():
        torch.testing.assert_close(h, model.get_submodule(name).weight.grad ** 2)
    half = compression.curvature_from_adam(model, optimizer)
    torch.testing.assert_close(half["6"], found["6"].sqrt())
    compression.share_weights(model, 4, importance=half, jointly=True)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda m: compression.share_weights(m, 0), "clusters=0 is no whole number of 1 or more"),
        (lambda m: compression.share_weights(m, 2.5), "clusters=2.5"),
        (lambda m: compression.share_weights(m, {"conv": 4}), "says nothing of layer 6"),
        (lambda m: compression.share_weights(m, {"conv": 4, "linear": 2}, jointly=True), "one number of clusters"),
        (lambda m: compression.share_weights(m, init="best"), "init='best' is none of linear"),
        (lambda m: compression.share_weights(m, layers="fc*"), r"layers='fc\*' matches none of 0, 3, 6"),
        (lambda m: compression.share_weights(m, importance={}), "importance has no tensor of shape"),
        (
            lambda m: compression.share_weights(m, importance={"0": -torch.ones(6, 2, 3, 3)}, layers="0"),
            "importance of layer 0 is negative",
        ),
        (lambda m: compression.share_weights(compression.product_quantize(m)), "consists of codewords"),
        (lambda m: compression.share_weights(torch.nn.ReLU()), "no linear or convolution layer"),
        (
            lambda m: compression.share_weights(torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(2, 2))),
            "parametrization of its own",
        ),
        (lambda m: compression.share_weights(create_model("tfc-w1a1")), "1-bit weights"),
        (lambda m: compression.uniform_quantize(m), "floating-point weights: give a step"),
        (lambda m: compression.uniform_quantize(m, -1.0), "step=-1.0"),
        (lambda m: compression.entropy_quantize(m, float("nan")), "lagrangian=nan"),
        (lambda m: compression.product_quantize(m, 4, 0), "length=0"),
        (lambda m: compression.product_quantize(m, rounds=-1), "rounds=-1"),
        (
            lambda m: compression.product_quantize(compression.prune(m)),
            "has pruned weights, which codewords would undo",
        ),
        (
            lambda m: compression.product_quantize(torch.nn.Conv1d(2, 2, 3, groups=2), inputs=torch.rand(1, 2, 8)),
            "neither linear nor an ungrouped 1-D or 2-D convolution",
        ),
        (lambda m: compression.residual_quantize(m, 4, 0), "0 is no whole number"),
        (lambda m: compression.prune(m, 1.0), "fraction=1.0 of layer 0"),
        (lambda m: compression.prune(m, {"*": 0.5}, jointly=True), "give one fraction"),
        (lambda m: compression.prune(compression.share_weights(m)), "shared weights, which pruning would undo"),
        (lambda m: compression.snap(m), "no layer has shared weights"),
        (lambda m: compression.snap(compression.share_weights(m, layers="0"), layers="6"), "layer 6 has no shared"),
        (lambda m: compression.snap(compression.share_weights(m), bits=1), "bits=1"),
        (lambda m: compression.encode(compression.prune(m), offset_bits=0), "offset_bits=0"),
        (lambda m: compression.curvature(m, torch.rand(0, 2, 8, 8), torch.zeros(0)), "0 inputs"),
    ],
)
def test_bad_arguments(call, match):
    with pytest.raises(QuantError, match=match) as error:
        call(convolutional())
    assert error.value.status == 2
    assert "\n" not in str(error.value)


def test_weights_that_are_no_numbers():
    model = convolutional()
    with torch.no_grad():
        model[3].weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(QuantError, match="layer 3 has weights that are no finite numbers"):
        compression.prune(model)
    compression.prune(model, layers=["0", "6"])


def test_too_many_values_for_the_exact_optimum():
    with pytest.raises(QuantError, match="up to 2048 distinct values"):
        compression.share_weights(torch.nn.Linear(100, 100), init="exact")


def test_forms_are_what_they_say():
    model = convolutional()
    kinds = {"shared": Shared, "product": Codewords, "pruned": Pruned}
    for method, kind in kinds.items():
        assert isinstance(compression_of(METHODS[method](model)[0]), kind)
