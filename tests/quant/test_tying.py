"""Tied weights: structures against their formulas, gradients, every scheme up to the hardware, and what is refused."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flows import build
from flows.config import BuildConfig
from flows.planner import Plan
from hw.folding.choose import estimate_resources
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.lowering.lower import lower
from hw.model import Model
from hw.simulation.emulator import Emulator
from hw.timing.cycles import steady_state
from quant import (
    Pruning,
    TrainConfig,
    Tying,
    compress_run,
    compression,
    create_model,
    export,
    fit,
    layers,
    load_checkpoint,
    load_data,
    save_checkpoint,
    schemes,
    train_run,
)
from quant.compression.forms import Tied
from quant.compression.structures import to_matrix
from quant.compression.ties import places
from quant.compression.weights import compression_of, find_layers, weight_of
from quant.errors import QuantError
from quant.models.network import Network
from quant.ties import ties
from quant.training.callbacks import KeepCheckpoint
from quant.training.lightning_module import parameter_groups
from tests.quant.small_training import interrupt_after, model_for, small

few = settings(max_examples=25, deadline=None)
SHAPES = st.tuples(st.sampled_from([4, 8, 12]), st.sampled_from([4, 6, 8]))


def conv(inputs: int, outputs: int, kernel: int, seed: int = 0) -> torch.nn.Conv2d:
    torch.manual_seed(seed)
    return torch.nn.Conv2d(inputs, outputs, kernel, bias=False)


def tied(layer, text: str, start="nearest"):
    return compression.tie(torch.nn.Sequential(layer), text, start=start)[0]


@few
@given(SHAPES, st.sampled_from([2, 4]), st.sampled_from([(), (3,), (2, 2)]), st.integers(0, 99))
def test_circulant_blocks_are_circular_convolutions(shape, b, kernel, seed):
    found = places(ties(f"circulant:{b}"), (*shape, *kernel))
    b = math.gcd(b, *shape)
    rng = np.random.default_rng(seed)
    values = rng.normal(size=found.count)
    assert found.sign is None
    assert found.count * b == np.prod((*shape, *kernel))
    # one block for each position of the kernel: block x = ifft(fft(first column) fft(x))
    blocks = values[found.index].reshape(shape[0] // b, b, shape[1] // b, b, -1)
    x = rng.normal(size=b)
    for block in blocks.transpose(0, 2, 4, 1, 3).reshape(-1, b, b):
        np.testing.assert_allclose(block @ x, np.fft.ifft(np.fft.fft(block[:, 0]) * np.fft.fft(x)).real)
        assert all(block[p, i] == block[0, (i - p) % b] for p in range(b) for i in range(b))  # one row of it, turned


@few
@given(SHAPES, st.sampled_from([2, 4]), st.sampled_from([(), (3,)]))
def test_toeplitz_blocks_have_one_value_for_each_diagonal(shape, b, kernel):
    found = places(ties(f"toeplitz:{b}"), (*shape, *kernel))
    b = math.gcd(b, *shape)
    blocks = found.index.reshape(shape[0] // b, b, shape[1] // b, b, -1).transpose(0, 2, 4, 1, 3).reshape(-1, b, b)
    assert found.count == len(blocks) * (2 * b - 1)
    for block in blocks:
        assert all(len(np.unique(np.diag(block, k))) == 1 for k in range(1 - b, b))
        shift = np.eye(b, k=-1)  # displacement rank 2
        assert np.linalg.matrix_rank(block - shift @ block @ shift.T) <= 2


@few
@given(SHAPES, st.sampled_from([2, 8]), st.sampled_from([(), (3,), (3, 3)]))
def test_hashed_weights_and_words(shape, c, kernel):
    shape = (*shape, *kernel)
    single = places(ties(f"hashed:{c}"), shape)
    assert single.count <= -(-np.prod(shape) // c)
    assert set(np.unique(single.sign)) <= {-1, 1}
    blocks = places(ties(f"hashed:{c}:4x2"), shape)
    assert blocks.sign is None
    matrix = to_matrix(torch.from_numpy(blocks.index)).numpy()
    words = {
        tuple(matrix[i : i + 4, j : j + 2].ravel())
        for i in range(0, matrix.shape[0], 4)
        for j in range(0, matrix.shape[1], 2)
    }
    assert len(words) * 8 == blocks.count
    assert len(words) <= -(-matrix.size // 8 // c)


def test_the_hash_is_the_same_everywhere():
    found = places(ties("hashed:4"), (4, 6))
    assert found.index.tolist() == HASHED["index"]
    assert found.sign.tolist() == HASHED["sign"]


HASHED = {
    "index": [[1, 0, 1, 4, 1, 0], [5, 2, 5, 2, 1, 4], [3, 3, 5, 1, 3, 2], [0, 4, 3, 3, 0, 4]],
    "sign": [[-1, -1, -1, 1, 1, 1], [1, -1, -1, -1, 1, -1], [1, -1, -1, -1, -1, 1], [1, 1, -1, -1, -1, 1]],
}


@few
@given(st.integers(1, 3), st.integers(2, 4), st.integers(0, 99))
def test_circ_filters_are_rotations(inputs, kernel, seed):
    layer = tied(conv(inputs, 8, kernel, seed), "circ", "sample")
    filters = weight_of(layer).reshape(2, 4, inputs, kernel, kernel)
    for turns in range(4):
        torch.testing.assert_close(filters[:, turns], torch.rot90(filters[:, 0], turns, (-2, -1)), rtol=0, atol=0)


@pytest.mark.parametrize(("text", "order"), [("p4", 4), ("p4m", 8)])
@pytest.mark.parametrize("kernel", [1, 2, 3])
def test_group_convolutions_are_equivariant(text, order, kernel):
    """A rotated (reflected) image gives the same maps: rotated, and with the elements of the group permuted."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(conv(2, 2 * order, 3), conv(2 * order, order, kernel), torch.nn.Linear(2, 2)).double()
    net = compression.tie(net, text, layers=["0", "1"], start="sample")[:2]
    assert len(compression_of(net[1]).values) == net[1].weight.numel() // order
    x = torch.randn(1, 2, 7, 7, dtype=torch.double)

    def turned(maps, element):
        return torch.rot90(maps.flip(-1) if element >= 4 else maps, element % 4, (-2, -1))

    plain = net(x)[0]
    seen = set()
    for element in range(order):
        maps = net(turned(x, element))[0]
        order_of = [next(s for s in range(order) if torch.allclose(maps[r], turned(plain[s], element)))
                    for r in range(order)]  # fmt: skip
        assert sorted(order_of) == list(range(order))
        seen.add(tuple(order_of))
    assert len(seen) == order
    pooled = net(x).amax((1, 2, 3))
    torch.testing.assert_close(pooled, net(turned(x, order - 1)).amax((1, 2, 3)))


def test_translated_filters_are_patches():
    layer = tied(conv(2, 8, 3), "translated:4", "sample")
    filters = weight_of(layer).reshape(2, 4, 2, 3, 3)
    whole = torch.zeros(2, 2, 4, 4)
    whole[:, :, :3, :3] = filters[:, 0]
    whole[:, :, 3, 1:], whole[:, :, 1:, 3] = filters[:, 3, :, 2], filters[:, 3, :, :, 2]
    whole[:, :, 3, 0], whole[:, :, 0, 3] = filters[:, 2, :, 2, 0], filters[:, 1, :, 0, 2]
    for patch in range(4):
        a, b = divmod(patch, 2)
        torch.testing.assert_close(filters[:, patch], whole[:, :, a : a + 3, b : b + 3], rtol=0, atol=0)
    assert len(compression_of(layer).values) == whole.numel()


def test_negated_filters_are_opposite():
    for layer in (conv(3, 6, 3), torch.nn.Linear(5, 4)):
        weight = weight_of(tied(layer, "negated", "sample"))
        assert torch.equal(weight[::2], layer.weight[::2])
        assert torch.equal(weight[1::2], -weight[::2])
    with pytest.raises(QuantError, match="ties no weights"):
        tied(torch.nn.Linear(5, 3), "negated")


ALL = ["circulant:4", "toeplitz:4", "hashed:3", "hashed:2:2x2", "negated", "circ", "p4", "translated:4"]


@pytest.mark.parametrize("text", ALL)
def test_gradients_are_sums_and_values_are_means(text):
    layer = conv(4, 8, 3)
    nearest, sample = tied(layer, text), tied(layer, text, "sample")
    form = compression_of(nearest)
    sign = np.ones(form.index.shape) if form.sign is None else form.sign.numpy()
    index, weight = form.index.numpy(), layer.weight.detach().numpy()
    output = torch.randn(8, 4, 3, 3)
    (nearest.weight * output).sum().backward()
    for k, value in enumerate(form.values.detach().numpy()):
        there = index == k
        np.testing.assert_allclose(form.values.grad[k], (sign * output.numpy())[there].sum(), atol=1e-5)
        np.testing.assert_allclose(value, (sign * weight)[there].mean(), atol=1e-6)
        assert compression_of(sample).values[k] == (sign * weight)[there][0]
    np.testing.assert_array_equal(
        weight_of(nearest).numpy(), sign.astype(np.float32) * form.values.detach().numpy()[index]
    )
    # the nearest tied weight: any other is farther away
    error = np.square(weight - weight_of(nearest).numpy()).sum()
    for _ in range(20):
        other = form.values.detach().numpy() + np.random.default_rng(0).normal(size=len(form.values)) * 1e-2
        assert np.square(weight - sign * other[index]).sum() > error


def test_values_start_with_the_variance_of_the_layer():
    torch.manual_seed(0)
    layer = torch.nn.Linear(256, 256)
    wanted = float(layer.weight.detach().std())
    for text in ("circulant:8", "toeplitz:8", "hashed:8", "hashed:8:4x4"):
        assert float(weight_of(tied(layer, text, "sample")).std()) == pytest.approx(wanted, rel=0.03)
        assert float(weight_of(tied(layer, text)).std()) < 0.6 * wanted


SCHEMES = (
    ("binaryconnect", {}),
    ("binaryconnect", {"scale": "glorot"}),
    ("binaryconnect", {"mode": "stochastic"}),
    ("binarynet", {}),
    ("bwn", {}),
    ("xnor", {}),
    ("lab", {}),
    ("hwgq", {}),
    ("integer", {"weight_bits": 4}),
    ("integer", {"weight_bits": 2, "act_bits": 2}),
    ("integer", {"weight_bits": "ternary"}),
    ("twn", {}),
    ("ternary_connect", {}),
    ("fixed_point", {"weight_bits": 4, "rounding": "floor"}),
    ("fixed_point", {"weight_bits": 8, "rounding": "stochastic"}),
    ("gupta", {}),
    ("learned_step", {"weight_bits": 3}),
)
"""All schemes with weight quantizers, but those with a scale for each channel."""


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


def assert_tied(codes: np.ndarray, form: Tied) -> None:
    """Equal values are equal integers, up to the signs."""
    signed = codes if form.sign is None else codes * form.sign.numpy()
    first = np.unique(form.index.numpy(), return_index=True)[1]
    np.testing.assert_array_equal(signed, signed.ravel()[first][form.index.numpy()])


def symmetric(layer) -> bool:
    return bool(layer.weight_quant.is_narrow_range)


def test_ties_of_every_scheme_reach_the_hardware(tmp_path):
    data = small()
    every = {name for name in schemes.list() if schemes.get(name).quantizes}
    assert {name for name, _ in SCHEMES} == every - {"accumulator_aware", "lookup", "own"}
    torch.manual_seed(0)
    model = Mixed(data)
    some = [f"hidden.{index}.linear" for index in range(len(SCHEMES))]
    found = find_layers(model)
    with_signs = [name for name in some[1::2] if symmetric(found[name])]
    model = compression.tie(model, "hashed:4", layers=with_signs, start="sample")
    model = compression.tie(model, "circulant:4", layers=[n for n in some if n not in with_signs], start="sample")
    before = {name: compression_of(layer).values.detach().clone() for name, layer in find_layers(model).items()
              if name in some}  # fmt: skip
    fit(model, data, TrainConfig(epochs=3))
    export(model, tmp_path / "model.onnx", data.x_test[:8].astype(np.float32))
    kernels = [node.kernel for node in lower(tmp_path / "model.onnx") if isinstance(node.kernel, MatrixVector)]
    x = torch.from_numpy(data.x_test.reshape(-1, 1, 4, 4)).float()
    for (name, layer), kernel in zip(list(find_layers(model).items())[:-1], kernels, strict=False):
        form = compression_of(layer)
        assert_tied(kernel.weights, form)
        assert not torch.equal(form.values, before[name]), name
        limit = layer.scheme.weight_limit
        assert limit is None or float(form.values.detach().abs().max()) <= limit
    assert bool(torch.isfinite(model(x)).all())


def test_learning_rates_of_shared_values():
    model = compression.tie(create_model("tfc-w1a1", in_features=64), "circulant:8", layers="hidden.1.*")
    layer = model.hidden[1].linear
    groups = {id(p): group for group in parameter_groups(model, 1e-3) for p in group["params"]}
    plain = {id(p): group for group in parameter_groups(create_model("tfc-w1a1", in_features=64), 1e-3)
             for p in group["params"]}  # fmt: skip
    assert groups[id(compression_of(layer).values)]["places"] == 8
    assert groups[id(compression_of(layer).values)]["lr"] == groups[id(model.hidden[0].linear.weight)]["lr"]
    assert {group["places"] for group in plain.values()} == {1.0}
    # SGD moves a value by the mean of its gradients, so that a step is that of the nearest tied weight
    data = small()
    torch.manual_seed(0)
    model = create_model("tfc-w4a4", "learned_step", input_shape=data.shape, classes=2, in_range=(0, 16))
    result = fit(model, data, TrainConfig(epochs=20, tie=Tying("circulant:4")))
    assert result.test_accuracy > 0.9


def test_a_resumed_training_of_ties_equals_an_uninterrupted_one(tmp_path, monkeypatch):
    data = small()
    config = TrainConfig(epochs=4, batch_size=40, tie=Tying("hashed:4", layers=["hidden.*"]))
    expected = model_for(data, "tfc-w4a4")
    wanted = fit(expected, data, config)
    monkeypatch.setattr(KeepCheckpoint, "interval", 0.0)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 9)
        with pytest.raises(KeyboardInterrupt):
            fit(model_for(data, "tfc-w4a4"), data, config, checkpoint=tmp_path)
    found = model_for(data, "tfc-w4a4")
    assert fit(found, data, config, checkpoint=tmp_path, resume=True).history == wanted.history
    save_checkpoint(found, tmp_path / "checkpoint.pt")
    for model in (found, load_checkpoint(tmp_path / "checkpoint.pt")):
        assert model.state_dict().keys() == expected.state_dict().keys()
        assert all(torch.equal(model.state_dict()[key], value) for key, value in expected.state_dict().items())
    with pytest.raises(QuantError, match="is of another training, with tie="):
        fit(model_for(data, "tfc-w4a4"), data, TrainConfig(epochs=4, batch_size=40), checkpoint=tmp_path, resume=True)


def test_runs_with_ties_and_of_ties(tmp_path):
    run = train_run("tfc-w1a1", tmp_path / "run", TrainConfig(epochs=1, tie=Tying("circulant:8")))
    assert run["config"]["tie"] == {"structure": "circulant:8", "layers": None}
    model = load_checkpoint(tmp_path / "run/checkpoint.pt")
    kernels = [node.kernel for node in lower(tmp_path / "run/model.onnx") if isinstance(node.kernel, MatrixVector)]
    for layer, kernel in zip(list(find_layers(model).values())[:3], kernels, strict=False):
        assert_tied(kernel.weights, compression_of(layer))
    train_run("tfc-w1a1", tmp_path / "dense", TrainConfig(epochs=1))
    made = compress_run(tmp_path / "dense", tmp_path / "tied", "tie", options={"structure": "toeplitz:4"}, epochs=1)
    assert made["compression"]["options"] == {"structure": "toeplitz:4"}
    model = load_checkpoint(tmp_path / "tied/checkpoint.pt")
    assert json.loads((tmp_path / "tied/metrics.json").read_text())["config"]["tie"] is None
    assert [compression_of(layer) is None for layer in find_layers(model).values()] == [False, False, False, True]


def test_ties_shrink_the_weight_memory(tmp_path):
    """From the training to the folding search: 24 of 30 block RAMs are saved, at the same rate."""
    blocks, frames = {}, load_data("digits").x_test[:20].reshape(-1, 64)
    for text in (None, "circulant:8"):
        path = tmp_path / "run/model.onnx"
        train_run("tfc-w4a4", path.parent, TrainConfig(epochs=1, tie=None if text is None else Tying(text)))
        plan = Plan(Model.open(path), BuildConfig("lfe5u-85f", fps=75e6 / 64, clock_mhz=75.0))
        hardware = plan.point.hardware
        ops = [node.kernel.op for node in hardware if node.kernel.op.endswith("matrix_vector")]
        assert ops == ["matrix_vector" if text is None else "tied_matrix_vector"] * 3 + ["matrix_vector"]
        blocks[text] = estimate_resources(hardware, plan.device.family).bram
        assert steady_state(hardware).interval <= 64
        wanted = Emulator(lower(path)).run(frames)
        np.testing.assert_array_equal(Emulator(hardware).run(frames), wanted)
    assert blocks[None] - blocks["circulant:8"] == 24


@pytest.mark.slow
def test_ties_from_the_training_to_the_placed_netlist(tmp_path):
    """At 256 cycles a frame the blocks' rows are turned in time; fewer block RAMs than of the dense network."""
    blocks = {}
    for text in (None, "circulant:8"):
        run, out = tmp_path / f"run-{text}", tmp_path / f"build-{text}"
        train_run("tfc-w4a4", run, TrainConfig(epochs=1, tie=None if text is None else Tying(text)))
        made = build(
            run / "model.onnx", "ulx3s-85f", out, fps=25e6 / 256, clock_mhz=25.0, frames=run / "x_test.npy",
            rtl_frames=4, netlist_frames=1, stop_after="synthesise" if text is None else "netlist",
        ).report  # fmt: skip
        assert made.cycles.interval.estimated == made.cycles.interval.simulated == 256
        blocks[text] = sum(each.resources.bram for each in made.layers if each.resources and each.name != "(shell)")
        if text is not None:
            assert {
                each.implementation or each.operator for each in made.layers if each.name in ("fc0", "fc1", "fc2")
            } == {"tied_matrix_vector"}
            assert made.verified["netlist"].frames == 1
            assert made.verified["netlist"].mismatches == 0
    assert blocks["circulant:8"] < blocks[None]


@pytest.mark.quick
@pytest.mark.parametrize("text", ["circulant", "circulant:1", "circulant:65", "circ:4", "p4:2x2", "hashed:8:0x2",
                                  "hashed:4x4", "toeplitz:4:2x2", "rotated", "2:4", ""])  # fmt: skip
def test_names_of_structures(text):
    with pytest.raises(QuantError, match=f"no structure of ties '{text}'") as caught:
        Tying(text)
    assert caught.value.status == 2
    for known in (*ALL, "p4m", "hashed:1024:8x4"):
        assert str(ties(known)) == known


def test_what_cannot_be_tied():
    def network(name="tfc-w4a4", *scheme, **parameters):
        chosen = schemes.get(scheme[0], **parameters) if scheme else None
        return create_model(name, chosen, in_features=64)

    for model, text, options, words in (
        (network("tfc-w4a4", "accumulator_aware"), "circulant:8", {},
         r"layer hidden\.0\.linear: scheme accumulator_aware has a scale for each channel, .* circulant:8 ties"),
        (network("tfc-wternarya4", "twn", per_filter=True), "hashed:4:2x2", {}, "scheme twn has a scale for each"),
        (network("tfc-w2a2"), "hashed:4", {}, "integers of scheme integer are not symmetric: take a structure without"),
        (network("tfc-w4a4", "learned_step"), "hashed:4", {}, "integers of scheme learned_step are not symmetric"),
        (network(), "p4", {}, "structure p4 ties no weights of any layer"),
        (network(), "p4", {"layers": "hidden.1.*"}, r"p4 ties no weights of layer hidden\.1\.linear with shape 64x64"),
        (network(), "circulant:7", {}, "ties no weights of any layer"),
        (network(), "circulant:8", {"layers": "conv*"}, "matches none"),
        (compression.tie(network()), "circulant:8", {}, "layer hidden.0.linear has tied weights, which structure"),
        (compression.prune(network(), 0.5), "circulant:8", {}, "has pruned weights, which structure circulant:8 would"),
    ):  # fmt: skip
        with pytest.raises(QuantError, match=words) as caught:
            compression.tie(model, text, **options)
        assert caught.value.status == 2
        assert "\n" not in str(caught.value)
    with pytest.raises(QuantError, match=r"has tied weights, which pruning would undo"):
        fit(network(), "digits", TrainConfig(epochs=1, tie=Tying("circulant:8"), prune=Pruning(0.5)))
    with pytest.raises(QuantError, match=r"layer hidden\.0\.linear has tied weights, which merging"):
        compression.merge_neurons(compression.tie(network()), 0.5)
    with pytest.raises(
        QuantError, match="tied weights, whose structure is that of its channels: slim before, then tie"
    ):
        compression.slim(compression.tie(network()), {"hidden.0.linear": 32})
    depthwise = torch.nn.Sequential(layers.depthwise(schemes.get("integer"), 8, 3), torch.nn.Linear(8, 8))
    with pytest.raises(QuantError, match="ties no weights of layer 0 with shape 8x1x3x3"):
        compression.tie(depthwise, "circulant:4", layers="0")
