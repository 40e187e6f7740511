"""Compression of trained networks: each method against its formula, sizes against real bytes, exact round trips."""

import copy
import itertools

import numpy as np
import pytest
import torch
from brevitas.nn import QuantConv2d, QuantLinear
from brevitas.quant import Int8WeightPerChannelFloat
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from hw.emulate import Emulator
from hw.lower import lower
from quant import compression, create_model, export, fit, layers, load_checkpoint, load_data, save_checkpoint, schemes
from quant.compression import huffman
from quant.compression.error_correction import Quadratic
from quant.compression.forms import Codewords, Pruned, Shared
from quant.compression.kmeans import entropy_kmeans, scalar_kmeans, vector_kmeans
from quant.compression.weights import attach, compression_of, find_layers, grid_of, is_quantized, weight_of
from quant.errors import QuantError

few = settings(max_examples=25, deadline=None)
numbers = st.lists(st.floats(-4, 4, width=16), min_size=1, max_size=9)


@pytest.fixture(scope="module")
def data():
    return load_data("digits")


def new_network(data, **options):
    return create_model("tfc-w8a8", input_shape=data.shape, in_range=(data.low, data.high), **options)


@pytest.fixture(scope="module")
def network(data):
    torch.manual_seed(0)
    model = new_network(data)
    assert fit(model, data, epochs=8).test_accuracy > 0.95
    return model


@pytest.fixture(scope="module")
def frames(data):
    return torch.from_numpy(data.x_test.reshape(-1, 64)).float()


def bits_of(layer) -> int:
    return int(layer.quant_weight().bit_width)


def convolutional(seed: int = 0) -> torch.nn.Sequential:
    """Floating point, 1-D tensors besides the weights, a weight without bias."""
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Conv2d(2, 6, 3, stride=2, padding=1, bias=False),
        torch.nn.BatchNorm2d(6),
        torch.nn.ReLU(),
        torch.nn.Conv2d(6, 8, 3, dilation=2, padding=2),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(8 * 16, 10),
    ).eval()


def images(count: int = 20) -> torch.Tensor:
    return torch.randn(count, 2, 8, 8, generator=torch.Generator().manual_seed(5))


METHODS = {
    "shared": lambda model: compression.share_weights(model, 8),
    "jointly shared": lambda model: compression.share_weights(model, 16, jointly=True),
    "uniform": lambda model: compression.uniform_quantize(model, 0.03),
    "entropy": lambda model: compression.entropy_quantize(model, 0.02),
    "product": lambda model: compression.product_quantize(model, 4, 3),
    "residual": lambda model: compression.residual_quantize(model, 4, 2),
    "pruned": lambda model: compression.prune(model, 0.7),
    "pruned and shared": lambda model: compression.share_weights(compression.prune(model, 0.97), 8),
    "snapped": lambda model: compression.snap(compression.share_weights(compression.prune(model, 0.5), 8), 5),
    "jointly snapped": lambda model: compression.snap(compression.share_weights(model, 8, jointly=True), 6),
    "snapped codewords": lambda model: compression.snap(compression.product_quantize(model, 4, 3), 6),
    "some layers": lambda model: compression.share_weights(model, 4, layers=["*[0-9]*"]),
}


# k-means


def within(values: np.ndarray, weights: np.ndarray, index: np.ndarray) -> float:
    return sum(
        float(
            np.sum(
                weights[index == k]
                * (values[index == k] - np.average(values[index == k], weights=weights[index == k])) ** 2
            )
        )
        for k in np.unique(index)
    )


@few
@given(values=numbers, clusters=st.integers(1, 4), data=st.data())
def test_kmeans_against_brute_force(values, clusters, data):
    values = np.array(values)
    weights = np.array(data.draw(st.lists(st.floats(0.125, 4), min_size=len(values), max_size=len(values))))
    best = (
        min(
            within(values, weights, np.array(z)) for z in itertools.product(range(clusters), repeat=min(7, len(values)))
        )
        if len(values) <= 7
        else None
    )
    for init in ("linear", "density", "random", "exact"):
        centroids, index = scalar_kmeans(values, clusters, weights, init)
        assert len(centroids) <= clusters
        assert (np.diff(centroids) > 0).all()
        assert set(index) == set(range(len(centroids)))
        for k, centroid in enumerate(centroids):  # the Hessian-weighted mean
            chosen = index == k
            assert centroid == pytest.approx(np.sum(weights[chosen] * values[chosen]) / weights[chosen].sum(), abs=1e-9)
        cost = np.sum(weights * (values - centroids[index]) ** 2)
        nearest = np.sum(weights * np.min((values[:, None] - centroids) ** 2, axis=1))
        assert cost == pytest.approx(nearest, abs=1e-9)  # each value is at its nearest centroid
        if best is not None:
            assert cost >= best - 1e-9
            assert init != "exact" or cost == pytest.approx(best, abs=1e-9)


def test_kmeans_of_many_values_is_no_worse_than_scikit_learn():
    from sklearn.cluster import KMeans

    values = np.random.default_rng(0).normal(size=20_000)
    centroids, index = scalar_kmeans(values, 16)
    reference = KMeans(16, n_init=1, init=np.linspace(values.min(), values.max(), 16)[:, None]).fit(values[:, None])
    assert np.sum((values - centroids[index]) ** 2) <= reference.inertia_ * 1.001


def test_entropy_constrained_kmeans_lowers_its_cost():
    random = np.random.default_rng(0)
    values, weights = random.normal(size=3000), random.uniform(0.1, 3, 3000)
    start, index = scalar_kmeans(values, 24, weights)

    def cost(centroids, index):
        share = np.bincount(index) / len(index)
        return np.sum(weights * (values - centroids[index]) ** 2) - 0.1 * np.sum(np.log2(share[index]))

    centroids, found = entropy_kmeans(values, start, 0.1, weights)
    assert cost(centroids, found) < cost(start, index)
    assert len(centroids) < len(start)
    plain, same = entropy_kmeans(values, start, 0.0, weights)
    assert np.sum(weights * (values - plain[same]) ** 2) <= np.sum(weights * (values - start[index]) ** 2) + 1e-9


def test_vector_kmeans_keeps_few_distinct_vectors():
    vectors = np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])
    codewords, index = vector_kmeans(vectors, 5)
    assert len(codewords) == 2
    np.testing.assert_array_equal(codewords[index], vectors)


# Huffman codes and packing


@few
@given(symbols=st.lists(st.integers(0, 19), max_size=60), spare=st.integers(0, 3))
def test_huffman_round_trip(symbols, spare):
    alphabet = max(symbols, default=0) + 1 + spare
    table, coded = huffman.encode(np.array(symbols, dtype=np.int64), alphabet)
    np.testing.assert_array_equal(huffman.decode(table, coded, alphabet, len(symbols)), symbols)
    lengths = huffman.unpack(table, huffman.LENGTH_BITS, alphabet)
    assert len(coded) == -(-int(lengths[symbols].sum() if symbols else 0) // 8)
    if len(set(symbols)) > 1:
        used = np.unique(symbols)
        assert sum(2.0 ** -lengths[used]) == 1.0  # a complete prefix code
        share = np.bincount(symbols)[used] / len(symbols)
        entropy = -np.sum(share * np.log2(share))
        assert entropy - 1e-9 <= np.sum(share * lengths[used]) < entropy + 1


def test_huffman_codes_are_optimal_and_may_be_long():
    # Fibonacci's numbers give the longest code words
    counts = [1, 1]
    while len(counts) < 30:
        counts.append(counts[-1] + counts[-2])
    assert sorted(huffman.code_lengths(np.array(counts)))[-1] == 29
    symbols = np.repeat(np.arange(20), counts[:20])
    table, coded = huffman.encode(symbols, 20)
    np.testing.assert_array_equal(huffman.decode(table, coded, 20, len(symbols)), symbols)
    with pytest.raises(QuantError, match="end too early or are damaged"):
        huffman.decode(table, coded[:-5], 20, len(symbols))


@few
@given(bits=st.integers(0, 32), values=st.lists(st.integers(0, 2**32 - 1), max_size=20))
def test_packing_round_trip(bits, values):
    values = np.array([value % (1 << bits) for value in values], dtype=np.int64)
    packed = huffman.pack(values, bits)
    assert len(packed) == -(-bits * len(values) // 8)
    np.testing.assert_array_equal(huffman.unpack(packed, bits, len(values)), values)


# pruning


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
    accuracy = fit(pruned, data, epochs=4, learning_rate=(1e-2, 1e-3), validation=0.1).test_accuracy
    assert accuracy > 0.93
    for name, mask in zero.items():
        assert bool((weight_of(pruned.get_submodule(name))[mask] == 0).all())
    assert not torch.equal(weight_of(pruned.output), moved)
    further = compression.prune(pruned, 0.8)
    assert bool((weight_of(further.output)[zero["output"]] == 0).all())
    assert float((weight_of(further.output) == 0).float().mean()) == pytest.approx(0.8, abs=0.02)


# shared weights


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
    torch.testing.assert_close(form.centroids.grad, torch.stack(expected))
    assert not small.parametrizations.weight.original.requires_grad
    # on a grid the gradient passes the rounding
    snapped = compression.snap(small, 8)
    snapped(x).backward(upstream)
    torch.testing.assert_close(compression_of(snapped).centroids.grad, torch.stack(expected))


def test_joint_codebook_is_one_parameter_of_all_layers():
    small = compression.share_weights(convolutional(), 8, jointly=True)
    forms = [compression_of(small[i]) for i in (0, 3, 6)]
    assert len({id(form.centroids) for form in forms}) == 1
    values = torch.cat([weight_of(small[i]).flatten() for i in (0, 3, 6)]).unique()
    assert len(values) == 8
    again = copy.deepcopy(small)
    assert compression_of(again[0]).centroids is compression_of(again[6]).centroids
    assert compression_of(again[0]).centroids is not forms[0].centroids
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
    before = fit(copy.deepcopy(small), data, epochs=1, learning_rate=(1e-12, 1e-12)).train_accuracy
    result = fit(small, data, epochs=6, validation=0.1)
    assert result.train_accuracy > before
    assert result.test_accuracy > 0.94
    for name, chosen in index.items():
        layer = small.get_submodule(name)
        assert torch.equal(compression_of(layer).index, chosen)
        assert len(weight_of(layer).unique()) <= 4
        assert not torch.equal(weight_of(layer), weight_of(network.get_submodule(name)))


# product and residual quantization


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
    assert quadratic.error(found) == pytest.approx(float(difference.square().sum()), rel=1e-4)


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


# sensitivity


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


# storage


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("kind", ["float", "quantized"])
def test_encoded_networks_decode_exactly(method, kind, network, data, frames):
    model, x = (convolutional(), images()) if kind == "float" else (network, frames)
    state = copy.deepcopy(model.state_dict())
    small = METHODS[method](model)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    encoded = compression.encode(small)
    torch.manual_seed(9)
    fresh = convolutional(1) if kind == "float" else new_network(data).eval()
    decoded = compression.decode(encoded, fresh)
    assert torch.equal(decoded(x), small(x))
    assert compression.encode(decoded) == encoded
    report = compression.report(small)
    assert report.encoded_bits == 8 * len(encoded)
    for row in report.layers:
        weight = weight_of(small.get_submodule(row.name))
        assert (row.weights, row.nonzeros) == (weight.numel(), int((weight != 0).sum()))
        assert row.bits_before == 32 * row.weights


def test_brevitas_layers_of_any_make():
    torch.manual_seed(0)
    x = torch.randn(4, 3, 6, 6)

    def make():
        return torch.nn.Sequential(
            QuantConv2d(3, 5, 3, weight_quant=Int8WeightPerChannelFloat),
            torch.nn.Flatten(),
            QuantLinear(80, 4, bias=True),
            QuantLinear(4, 4, bias=False, weight_quant=None),
        ).eval()

    model = make()
    for method in METHODS.values():
        small = method(model)
        assert torch.equal(compression.decode(compression.encode(small), make())(x), small(x))
    shared = compression.share_weights(model, 4)
    codes = weight_of(shared[0]) / shared[0].quant_weight().scale
    torch.testing.assert_close(codes, codes.round(), atol=1e-4, rtol=0)
    with pytest.raises(QuantError, match="layer 0 has a scale for each channel: give a step"):
        compression.uniform_quantize(model)
    assert grid_of(shared[0]).scale.shape == shared[0].quant_weight().scale.shape == (5, 1, 1, 1)


@few
@given(data=st.data(), bits=st.integers(1, 5))
def test_sparse_offsets(data, bits):
    keep = data.draw(st.lists(st.booleans(), min_size=1, max_size=150))
    layer = torch.nn.Linear(len(keep), 1, bias=False)
    mask = torch.tensor(keep)[None]
    layer.weight.data.copy_(torch.where(mask, torch.rand(1, len(keep)) + 1, 0.0))
    attach(layer, Pruned(mask))
    for small in (layer, compression.share_weights(layer, 3)):
        decoded = compression.decode(
            compression.encode(small, offset_bits=bits), torch.nn.Linear(len(keep), 1, bias=False)
        )
        assert torch.equal(weight_of(decoded), weight_of(small))
        [row] = compression.report(small, bits).layers
        places = np.flatnonzero(keep)
        gaps = np.diff(places, prepend=-1) - 1
        sparse = row.form == "pruned" or not all(keep)
        assert row.offset_bits == sparse * bits * (len(places) + int(np.sum(gaps // 2**bits)))


def test_report_in_numbers_and_words():
    model = torch.nn.Sequential(torch.nn.Linear(100, 40), torch.nn.Linear(40, 10))
    small = compression.share_weights(model, 16, layers="0")
    report = compression.report(small)
    first, second = report.layers
    assert (first.form, first.bits_before, first.index_bits, first.codebook_bits) == ("shared", 128_000, 16_000, 512)
    assert first.table_bits == 16 * huffman.LENGTH_BITS
    assert first.huffman_bits <= first.index_bits
    assert first.bits_after == first.codebook_bits + first.table_bits + first.huffman_bits
    assert first.rate == first.bits_before / first.bits_after
    assert first.saving == pytest.approx((first.bits_before - first.bits_after) / first.bits_before)
    assert (second.form, second.rate, second.saving) == ("plain", 1.0, 0.0)
    assert report.total.bits_after == first.bits_after + second.bits_after
    assert report.other_bits == 32 * 50
    assert report.as_dict()["layers"][0]["rate"] == first.rate
    assert report.as_dict()["encoded_bits"] == 8 * len(compression.encode(small))
    lines = str(report).splitlines()
    assert lines[0].split()[:3] == ["layer", "form", "weights"]
    assert lines[2].split()[:3] == ["0", "shared", "4,000"]
    assert lines[-2].split()[0] == "total"
    assert lines[-1].startswith("sizes in bits; encoded:")


def test_damaged_bytes_are_refused(network, data):
    encoded = compression.encode(compression.share_weights(compression.prune(network, 0.5), 8))
    for damaged in (b"", b"abcd", encoded[:20], encoded[: len(encoded) // 2], encoded[:-1], b"x" + encoded[1:]):
        with pytest.raises(QuantError):
            compression.decode(damaged, new_network(data))
    with pytest.raises(QuantError, match="no layer hidden"):
        compression.decode(encoded, convolutional())
    random = np.random.default_rng(0)
    for _ in range(20):
        broken = bytearray(encoded)
        broken[random.integers(len(broken))] ^= 1 << random.integers(8)
        try:
            compression.decode(bytes(broken), new_network(data))
        except QuantError:
            continue


# hardware


@pytest.mark.parametrize("method", ["snapped", "pruned", "shared", "snapped codewords", "jointly snapped"])
def test_torch_qonnx_and_emulator_agree(method, network, data, frames, tmp_path):
    if method == "snapped":
        small = compression.snap(compression.share_weights(network, 16), 8)
        for name in compression.describe(small):
            quantized = small.get_submodule(name).quant_weight()
            codes = (quantized.value / quantized.scale).detach().numpy()
            assert np.log2(float(quantized.scale)).is_integer()
            assert len(np.unique(codes)) <= 16
            assert (codes == np.rint(codes)).all()
            assert 64 <= np.abs(codes).max() <= 127
    else:
        small = METHODS[method](network)
    fit(small, data, epochs=2)
    verification = export(small, tmp_path / "model.onnx", frames.numpy()[:100])
    assert verification.max_abs_diff < 1e-12

    save_checkpoint(small, tmp_path / "checkpoint.pt")
    again = load_checkpoint(tmp_path / "checkpoint.pt")
    assert torch.equal(again(frames), small(frames))
    assert compression.encode(again) == compression.encode(small)
    export(again, tmp_path / "again.onnx", frames.numpy()[:100])
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "model.onnx").read_bytes()

    # In float64, where rounding hardly matters (torch's own scales are rounded otherwise there, which may put one value
    # to the other side of a threshold). Differences below the least step of an integer sum: the integers are equal.
    emulated = Emulator(lower(tmp_path / "model.onnx")).run(frames.numpy())
    expected = copy.deepcopy(small).double()(frames.double()).detach().numpy()
    step = float(small.output.quant_weight().scale) * float(small.hidden[2].act.act_quant.scale())
    assert (np.abs(emulated - expected).max(1) > 0.25 * step).sum() <= 1
    assert (emulated.argmax(1) == expected.argmax(1)).mean() > 0.995


def test_powers_of_two_are_exact_everywhere(data, frames, tmp_path):
    torch.manual_seed(0)
    model = new_network(data, scheme="fixed_point")
    fit(model, data, epochs=6)
    small = compression.snap(compression.share_weights(model, 16), 8)
    fit(small, data, epochs=2)
    verification = export(small, tmp_path / "model.onnx", frames.numpy())
    assert verification.float32_max_abs_diff == 0
    emulated = Emulator(lower(tmp_path / "model.onnx")).run(frames.numpy())
    np.testing.assert_array_equal(emulated, small(frames).detach().numpy())


def test_state_of_a_compressed_network_reloads(network, data, frames):
    small = compression.share_weights(compression.prune(network, 0.3), 8, jointly=True)
    fresh = new_network(data)
    compression.prepare(fresh, compression.describe(small))
    fresh.load_state_dict(small.state_dict())
    assert torch.equal(fresh.eval()(frames), small(frames))
    assert compression_of(fresh.output).centroids is compression_of(fresh.hidden[0].linear).centroids


def test_deep_compression(network, data):
    small = compression.deep_compression(network, data, fraction=0.7, clusters=16, epochs=6)
    report = compression.report(small)
    assert report.total.rate > 12
    assert report.total.nonzeros <= 0.31 * report.total.weights
    assert all(len(weight_of(small.get_submodule(row.name)).unique()) <= 17 for row in report.layers)
    x, y = torch.from_numpy(data.x_test.reshape(-1, 64)).float(), torch.from_numpy(data.y_test)
    assert float((small(x).argmax(1) == y).float().mean()) > 0.95


# bad input


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
        (lambda m: compression.product_quantize(compression.prune(m)), "compressed already"),
        (
            lambda m: compression.product_quantize(torch.nn.Conv1d(2, 2, 3), inputs=torch.rand(1, 2, 8)),
            "neither linear nor an ungrouped 2-D convolution",
        ),
        (lambda m: compression.residual_quantize(m, 4, 0), "0 is no whole number"),
        (lambda m: compression.prune(m, 1.0), "fraction=1.0 of layer 0"),
        (lambda m: compression.prune(m, {"*": 0.5}, jointly=True), "give one fraction"),
        (lambda m: compression.prune(compression.share_weights(m)), "prune before"),
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


@pytest.mark.parametrize("name", schemes.list())
def test_layers_of_every_scheme(name):
    def make():
        return create_model("tfc-w1a1", schemes.get(name), in_features=64).eval()

    torch.manual_seed(0)
    model, x = make(), torch.randint(0, 17, (20, 64)).float()
    wide = [n for n, layer in find_layers(model).items() if not is_quantized(layer) or bits_of(layer) > 1]
    if len(wide) < len(find_layers(model)):
        with pytest.raises(QuantError, match="1-bit weights"):
            compression.prune(model)
    if wide:
        pruned = compression.prune(model, 0.5, layers=wide)
        for small in (pruned, compression.share_weights(pruned, 4, layers=wide)):
            for layer in find_layers(small, wide).values():
                weight = weight_of(layer)
                assert int((weight == 0).sum()) >= weight.numel() // 2
            assert torch.equal(compression.decode(compression.encode(small), make())(x), small(x))
