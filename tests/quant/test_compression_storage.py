"""Compressed networks: exact round trips through bytes, sizes against real bytes, export and checkpoints."""

import copy

import numpy as np
import pytest
import torch
from brevitas.nn import QuantConv2d, QuantLinear
from brevitas.quant import Int8WeightPerChannelFloat
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.lowering.lower import lower
from hw.simulation.emulator import Emulator
from quant import TrainConfig, compression, create_model, export, fit, load_checkpoint, save_checkpoint, schemes
from quant.compression import huffman
from quant.compression.forms import Pruned
from quant.compression.weights import attach, compression_of, find_layers, grid_of, is_quantized, weight_of
from quant.errors import QuantError
from tests.quant.compressed import METHODS, convolutional, digits, images, new_network, trained_network

few = settings(max_examples=25, deadline=None)


@pytest.fixture(scope="module")
def data():
    return digits()


@pytest.fixture(scope="module")
def network():
    return trained_network()


@pytest.fixture(scope="module")
def frames(data):
    return torch.from_numpy(data.x_test.reshape(-1, 64)).float()


def bits_of(layer) -> int:
    return int(layer.quant_weight().bit_width)


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("kind", ["float", "quantized"])
def test_encoded_networks_decode_exactly(method, kind, network, data, frames):
    model, x = (convolutional(), images()) if kind == "float" else (network, frames)
    state = copy.deepcopy(model.state_dict())
    small = METHODS[method](model)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    encoded = compression.encode(small)
    torch.manual_seed(9)
    fresh = convolutional(1) if kind == "float" else new_network().eval()
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
    for name, method in METHODS.items():
        if name == "hashed":
            with pytest.raises(QuantError, match="layer 0: its quantizer has a scale for each channel"):
                method(model)
            continue
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
    assert lines[1].split()[:3] == ["0", "shared", "4,000"]
    assert lines[-2].split()[0] == "total"
    assert lines[-1].startswith("sizes in bits; encoded:")


def test_damaged_bytes_are_refused(network, data):
    encoded = compression.encode(compression.share_weights(compression.prune(network, 0.5), 8))
    for damaged in (b"", b"abcd", encoded[:20], encoded[: len(encoded) // 2], encoded[:-1], b"x" + encoded[1:]):
        with pytest.raises(QuantError):
            compression.decode(damaged, new_network())
    with pytest.raises(QuantError, match="no layer hidden"):
        compression.decode(encoded, convolutional())
    random = np.random.default_rng(0)
    for _ in range(20):
        broken = bytearray(encoded)
        broken[random.integers(len(broken))] ^= 1 << random.integers(8)
        try:
            compression.decode(bytes(broken), new_network())
        except QuantError:
            continue


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
    fit(small, data, TrainConfig(epochs=2))
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
    model = new_network(scheme="fixed_point")
    fit(model, data, TrainConfig(epochs=6))
    small = compression.snap(compression.share_weights(model, 16), 8)
    fit(small, data, TrainConfig(epochs=2))
    verification = export(small, tmp_path / "model.onnx", frames.numpy())
    assert verification.float32_max_abs_diff == 0
    emulated = Emulator(lower(tmp_path / "model.onnx")).run(frames.numpy())
    np.testing.assert_array_equal(emulated, small(frames).detach().numpy())


def test_state_of_a_compressed_network_reloads(network, data, frames):
    small = compression.share_weights(compression.prune(network, 0.3), 8, jointly=True)
    fresh = new_network()
    compression.prepare(fresh, compression.describe(small))
    fresh.load_state_dict(small.state_dict())
    assert torch.equal(fresh.eval()(frames), small(frames))
    assert compression_of(fresh.output).values is compression_of(fresh.hidden[0].linear).values


def test_deep_compression(network, data):
    small = compression.deep_compression(network, data, TrainConfig(epochs=6), fraction=0.7, clusters=16)
    report = compression.report(small)
    assert report.total.rate > 12
    assert report.total.nonzeros <= 0.31 * report.total.weights
    assert all(len(weight_of(small.get_submodule(row.name)).unique()) <= 17 for row in report.layers)
    x, y = torch.from_numpy(data.x_test.reshape(-1, 64)).float(), torch.from_numpy(data.y_test)
    assert float((small(x).argmax(1) == y).float().mean()) > 0.95


@pytest.mark.parametrize("name", [name for name in schemes.list() if name not in ("lookup", "own")])  # no weights
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
