"""Layers of tables: what they compute, their gradients, and their exported files."""

import brevitas.nn as qnn
import numpy as np
import onnx
import pytest
import torch
from brevitas.quant import SignedBinaryActPerTensorConst
from hypothesis import given, settings
from hypothesis import strategies as st
from onnxruntime import InferenceSession

from hw.lowering.lower import lower
from hw.simulation.emulator import Emulator
from quant import export, layers, schemes
from quant.errors import QuantError
from quant.lookup import LookupConv2d, LookupLayer, PopcountHead, Thermometer
from quant.lookup.function import multilinear
from quant.lookup.scores import ROWS, WireScores
from quant.lookup.wiring import random_wires


def random_layer(seed, fan_in, inputs, outputs, **options):
    torch.manual_seed(seed)
    wires = torch.randint(inputs, (outputs, fan_in))
    return LookupLayer(inputs, outputs, fan_in, wires, **options)


sizes = given(
    seed=st.integers(0, 2**16), fan_in=st.integers(2, 8), inputs=st.integers(1, 20), outputs=st.integers(1, 9),
    frames=st.integers(1, 12),
)  # fmt: skip


@sizes
@settings(max_examples=40, deadline=None)
def test_tables_and_their_gradients_are_those_of_the_formulas(seed, fan_in, inputs, outputs, frames):
    layer = random_layer(seed, fan_in, inputs, outputs)
    x = torch.randint(2, (frames, inputs)).float().requires_grad_()
    candidates = torch.randperm(inputs)[: max(1, inputs // 2)]
    layer.scores = WireScores(torch.zeros(fan_in * outputs, len(candidates)), candidates)
    y, dy = layer(x), torch.randn(frames, outputs)
    y.backward(dy)

    bits, tables, wires = x.detach().numpy().astype(int), layer.tables.detach().numpy(), layer.wires.numpy()
    d_tables, dx, scores = np.zeros_like(tables), np.zeros(bits.shape), np.zeros((fan_in, outputs, len(candidates)))
    for n in range(frames):
        for o in range(outputs):
            address = sum(bits[n, wires[j, o]] << j for j in range(fan_in))
            assert y[n, o] == (tables[o, address] > 0)
            d_tables[o, address] += dy[n, o]
            for j in range(fan_in):
                slope = tables[o, address | 1 << j] - tables[o, address & ~(1 << j)]
                dx[n, wires[j, o]] += slope * float(dy[n, o])
                scores[j, o] -= slope * float(dy[n, o]) * bits[n, candidates.numpy()]
    np.testing.assert_allclose(layer.tables.grad, d_tables, atol=1e-5)
    np.testing.assert_allclose(x.grad, dx, atol=1e-5)
    np.testing.assert_allclose(layer.scores.values.view(fan_in, outputs, -1), scores, atol=1e-5)
    np.testing.assert_array_equal(layer.scores.best, layer.scores.values.numpy().argmax(1))


def test_the_search_for_wires_goes_over_all_of_them():
    """More wires than are searched at a time, in both arithmetics of a CPU."""
    torch.manual_seed(0)
    x, slopes, candidates = torch.randint(2, (30, 17)), torch.randn(2 * ROWS + 3, 17), torch.randperm(30)[:20]
    expected = -slopes.double() @ x[candidates].t().double()
    for dtype in (torch.float32, torch.float64):
        scores = WireScores(torch.zeros(len(slopes), 20, dtype=dtype), candidates)
        scores.lower(slopes.to(dtype), x.to(dtype))
        torch.testing.assert_close(scores.values, expected.to(dtype))
        assert torch.equal(scores.wires(), candidates[expected.argmax(1)])


@sizes
@settings(max_examples=20, deadline=None)
def test_the_multilinear_extension_is_the_mean_for_independent_bits(seed, fan_in, inputs, outputs, frames):
    layer = random_layer(seed, fan_in, inputs, outputs, gradient="multilinear").double()
    x = torch.rand(frames, inputs, dtype=torch.float64)
    values, wires = layer.tables.sigmoid().detach().numpy(), layer.wires.numpy()
    expected = np.zeros((frames, outputs))
    for address in range(2**fan_in):
        ones = np.array([address >> j & 1 for j in range(fan_in)])[:, None, None]
        p = x.numpy().T[wires]  # (fan_in, outputs, frames)
        expected += (np.where(ones, p, 1 - p).prod(0) * values[:, [address]]).T
    np.testing.assert_allclose(layer(x).detach(), expected, atol=1e-12)
    corner = x.round()
    at = sum(corner.long().t()[layer.wires[j]] << j for j in range(fan_in))
    np.testing.assert_allclose(layer(corner).detach().t(), layer.tables.sigmoid().gather(1, at).detach(), atol=1e-12)
    np.testing.assert_array_equal(layer.eval()(corner).detach().t(), (layer.tables.gather(1, at) > 0).double())


def test_the_multilinear_extension_has_the_gradient_of_what_it_computes():
    layer = random_layer(0, 3, 6, 4, gradient="multilinear").double()
    x = torch.rand(6, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, tables: multilinear(x, tables, layer.wires, None), (x, layer.tables))
    layer.start_learning(torch.tensor([0, 2, 5]))
    layer.scores = WireScores(layer.scores.values.double().zero_(), layer.scores.candidates)
    inputs = x.detach().t().requires_grad_()
    layer(inputs).sum().backward()
    # Each candidate's score falls by the derivative by the wire, times the candidate; by the chain rule their sums are
    # the inputs' gradients.
    slopes = torch.zeros(12, 5, dtype=torch.float64)
    p = x.detach()[layer.wires]
    for j in range(3):
        ends = [multilinear(torch.where(torch.arange(3)[:, None, None] == j, end, p).reshape(12, 5), layer.tables,
                            torch.arange(12).view(3, 4), None) for end in (0.0, 1.0)]  # fmt: skip
        slopes[4 * j : 4 * j + 4] = (ends[1] - ends[0]).detach()
    torch.testing.assert_close(layer.scores.values, -slopes @ x.detach()[[0, 2, 5]].t())


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1), (3, 2)])
def test_a_convolution_is_the_same_layer_at_every_window(stride, padding):
    torch.manual_seed(0)
    conv = LookupConv2d(2, 5, 3, fan_in=4, stride=stride, padding=padding)
    layer = LookupLayer(18, 5, 4, conv.wires.t())
    layer.load_state_dict(conv.state_dict())
    x = torch.randint(2, (3, 2, 7, 8)).float().requires_grad_()
    padded = torch.nn.functional.pad(x, (padding,) * 4)
    y, dy = conv(x), None
    for row in range(y.shape[2]):
        for column in range(y.shape[3]):
            window = padded[:, :, row * stride : row * stride + 3, column * stride : column * stride + 3]
            assert torch.equal(y[:, :, row, column], layer(window.flatten(1)))
    y.square().sum().backward()
    dy, x.grad = x.grad, None
    total = sum(
        layer(padded[:, :, r * stride : r * stride + 3, c * stride : c * stride + 3].flatten(1)).square().sum()
        for r in range(y.shape[2])
        for c in range(y.shape[3])
    )
    total.backward()
    torch.testing.assert_close(x.grad, dy)
    torch.testing.assert_close(layer.tables.grad, conv.tables.grad)


def test_levels():
    x = torch.tensor([[0.0, 1.0], [0.0, 2.0], [0.0, 3.0], [8.0, 4.0], [9.0, 5.0]])
    uniform = Thermometer(2, 3, low=0, high=[16, 8])
    np.testing.assert_array_equal(uniform.levels, [4, 8, 12, 2, 4, 6])
    np.testing.assert_array_equal(uniform(x)[3], [1, 1, 0, 1, 1, 0])
    uneven = Thermometer(2, [1, 2], low=-8, high=7)
    np.testing.assert_array_equal(uneven.features, [0, 1, 1])
    np.testing.assert_array_equal(uneven.levels, [-0.5, -3, 2])
    quantile = Thermometer(2, 3, "quantile", low=0, high=16)
    np.testing.assert_array_equal(quantile.levels, [4, 8, 12, 4, 8, 12])
    quantile.fit_levels(x)
    np.testing.assert_array_equal(quantile(x).sum(0), [2, 2, 1, 3, 2, 1])  # strictly above the quartiles
    gaussian = Thermometer(1, 3, "gaussian", low=0, high=16)
    gaussian.fit_levels(x[:, 1:])
    np.testing.assert_allclose(gaussian.levels, 3 + np.sqrt(2) * np.array([-0.67449, 0, 0.67449]), atol=1e-4)


def test_learned_levels_and_inputs_get_the_gradient_of_a_ramp():
    encoder = Thermometer(2, 3, "learned", low=0, high=16)  # levels 4, 8, 12: ramps of 8 around them
    x = torch.tensor([[5.0, 0.0]], requires_grad=True)
    y = encoder(x)
    np.testing.assert_array_equal(y.detach(), [[1, 0, 0, 0, 0, 0]])
    y.backward(torch.tensor([[1.0, 10.0, 100.0, 1.0, 1.0, 1.0]]))
    np.testing.assert_allclose(x.grad, [[11 / 8, 1 / 8]])
    np.testing.assert_allclose(encoder.places.grad, [-16 / 8, -160 / 8, 0, -16 / 8, 0, 0])


def test_jitter_moves_all_features_of_a_sample_alike_and_only_in_training():
    encoder = Thermometer(3, 1, low=0, high=16, jitter=0.5)
    x = torch.full((200, 3), 7.0)
    torch.manual_seed(0)
    bits = encoder(x)
    assert 0 < bits.mean() < 0.5
    assert torch.equal(bits, bits[:, :1].expand(-1, 3))
    assert not encoder.eval()(x).any()


def test_popcount():
    head = PopcountHead(3, 12)
    x = torch.randint(2, (5, 12)).float()
    torch.testing.assert_close(head(x), x.view(5, 3, 4).sum(2) / (0.35 * 2))


@given(st.integers(0, 2**16), st.integers(2, 8), st.integers(1, 30), st.integers(2, 40))
@settings(max_examples=40, deadline=None)
def test_random_wires_use_all_candidates_alike(seed, fan_in, outputs, count):
    torch.manual_seed(seed)
    wires = random_wires(fan_in, outputs, 3 * torch.arange(count))
    assert wires.shape == (fan_in, outputs)
    assert set(wires.flatten().tolist()) <= set(range(0, 3 * count, 3))
    if count >= 2 * fan_in:
        assert all(len(set(table.tolist())) == fan_in for table in wires.t())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LookupLayer(8, 4, fan_in=1), "fan-in of 1 is outside 2 to 8"),
        (lambda: LookupLayer(8, 4, fan_in=9), "fan-in of 9 is outside 2 to 8"),
        (lambda: LookupLayer(0, 4), "wired to nothing"),
        (lambda: LookupLayer(8, 0), "wired to nothing"),
        (lambda: LookupLayer(8, 2, wiring=[[0, 1, 2, 8]] * 2), "wire 3 of output 0 goes to input 8, .* inputs 0..7"),
        (lambda: LookupLayer(8, 2, wiring=[[0, 1, 2, 3], [0, -1, 2, 3]]), "wire 1 of output 1 goes to input -1"),
        (lambda: LookupLayer(8, 2, wiring=[[0, 1, 2]] * 2), "one row for each output"),
        (lambda: LookupLayer(8, 2, wiring=[[0.5] * 4] * 2), "no table of whole numbers"),
        (lambda: LookupLayer(8, 2, wiring="dense"), "no wiring 'dense': choose learned, random"),
        (lambda: LookupLayer(8, 2, gradient="dwn"), "no gradient 'dwn': choose finite or multilinear"),
        (lambda: LookupConv2d(0, 4), "channels=0"),
        (lambda: LookupConv2d(1, 4, 5)(torch.zeros(1, 1, 4, 4)), "5 x 5 at least, not"),
        (lambda: LookupConv2d(2, 4)(torch.zeros(1, 1, 4, 4)), "images .N, 2, H, W."),
        (lambda: Thermometer(4, 2), "its features have no range: give low and high"),
        (lambda: Thermometer(4, 2, low=3, high=3), r"feature 0 has no range \(3..3\)"),
        (lambda: Thermometer(2, 2, low=[0, 5], high=[1, 4]), r"feature 1 has no range \(5..4\)"),
        (lambda: Thermometer(2, 2, low=0, high=float("inf")), "feature 0 has no range"),
        (lambda: Thermometer(4, 0, low=0, high=1), "leave nothing to read"),
        (lambda: Thermometer(4, [1, 2], low=0, high=1), "bits has .2,. numbers for 4 features"),
        (lambda: Thermometer(4, 2, "even", low=0, high=1), "no levels 'even': choose uniform, quantile"),
        (lambda: Thermometer(4, 2, low=0, high=1, jitter=-1), "jitter=-1 is not"),
        (lambda: PopcountHead(3, 10), "10 bits cannot be shared by 3 classes"),
        (lambda: PopcountHead(2, 10, 0), "temperature of 0 is not above 0"),
    ],
)  # fmt: skip
def test_bad_requests(make, message):
    with pytest.raises(QuantError, match=message) as caught:
        make()
    assert caught.value.status == 2
    assert "\n" not in str(caught.value)


def encoded(*rest, levels="uniform"):
    return torch.nn.Sequential(Thermometer(64, 2, levels, low=0, high=16), *rest)


def convolutional():
    return torch.nn.Sequential(
        torch.nn.Flatten(),
        Thermometer(64, 1, low=0, high=16),
        torch.nn.Unflatten(1, (1, 8, 8)),
        LookupConv2d(1, 6, 3, padding=1, stride=2),
        LookupConv2d(6, 5, 2),
        torch.nn.Flatten(),
        LookupLayer(45, 20, 6),
        PopcountHead(10, 20),
    )


def hybrid():
    """Tables behind a quantized convolution and before a quantized dense layer."""
    scheme = schemes.get("integer", weight_bits=4, act_bits=2)
    block = layers.block(scheme, layers.conv(scheme, 1, 4, 3), 4, 2)
    model = torch.nn.Sequential(
        layers.InputQuant(5, 0, 16),
        block,
        Thermometer(144, 3, low=0, high=4),
        LookupLayer(432, 40),
        LookupLayer(40, 20, 6),
        layers.linear(scheme, 20, 10),
    )
    for _ in range(2):
        model(torch.randint(0, 17, (20, 1, 8, 8)).float()).logsumexp(1).sum().backward()
    assert block.conv.weight.grad.abs().sum() > 0  # through the tables and the encoder
    return model


LAYER = "Gather MatMul Cast Add Gather"


@pytest.mark.parametrize(
    ("make", "bits", "operators"),
    [
        (lambda: encoded(LookupLayer(128, 40, 6), PopcountHead(10, 40)), 2, f"{LAYER} Reshape ReduceSum Div"),
        (lambda: encoded(LookupLayer(128, 40, 2), LookupLayer(40, 20, 8), levels="learned"), 3, f"{LAYER} {LAYER}"),
        (convolutional, 4, f"Pad Flatten {LAYER} Reshape Transpose"),
        (hybrid, 5, f"GreaterOrEqual Cast {LAYER} {LAYER} MatMul"),
    ],
    ids=["one layer", "deep", "convolution", "hybrid"],
)
def test_export(tmp_path, make, bits, operators):
    torch.manual_seed(0)
    model = make()
    result = export(model, tmp_path / "model.onnx", input_shape=(1, 8, 8), in_range=(0, 16))
    assert (result.quantizers, result.float32_arg_max_differ) == (bits, 0)
    file = onnx.load(tmp_path / "model.onnx")
    assert operators in " ".join(node.op_type for node in file.graph.node)
    types = {
        each.tensor_name: each.quant_parameter_tensor_names[0].value for each in file.graph.quantization_annotation
    }
    if make is hybrid:
        assert "global_in" not in types
        return
    assert types["global_in"] == "UINT5"
    session = InferenceSession(tmp_path / "model.onnx")
    for frame in np.random.default_rng(0).integers(0, 17, (5, 1, 1, 8, 8)).astype(np.float32):
        expected = model.eval()(torch.from_numpy(frame)).detach()
        np.testing.assert_array_equal(session.run(None, {"global_in": frame})[0], expected)


def test_an_export_that_computes_something_else_is_refused(tmp_path, monkeypatch):
    torch.manual_seed(0)
    model = encoded(LookupLayer(128, 40), PopcountHead(10, 40))
    monkeypatch.setattr(LookupLayer, "flat_tables", lambda self: 1 - self.codes().flatten().float())
    with pytest.raises(QuantError, match="integers of 1 differ"):
        export(model, tmp_path / "model.onnx", input_shape=(64,), in_range=(0, 16))
    assert not (tmp_path / "model.onnx").exists()


class SignBits(torch.nn.Module):
    """Bits from a quantizer of one bit."""

    def __init__(self) -> None:
        super().__init__()
        self.sign = qnn.QuantIdentity(act_quant=SignedBinaryActPerTensorConst, scaling_init=1.0)

    def forward(self, x):
        return (self.sign(x) + 1) / 2


def test_bits_of_quantizers_and_layers_that_are_called_twice_reach_hardware(tmp_path):
    """A hybrid: products, their signs as bits, tables that are used twice, in a container that is, too."""

    class Hybrid(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Sequential(
                qnn.QuantIdentity(bit_width=4),
                qnn.QuantLinear(9, 12, weight_bit_width=3, bias=False),
                torch.nn.BatchNorm1d(12),  # without one, sums of zero have any sign in float32
                SignBits(),
            )
            self.tables = torch.nn.Sequential(LookupLayer(12, 12, fan_in=3), LookupLayer(12, 12, fan_in=2))
            self.last = LookupLayer(12, 20)
            self.scores = PopcountHead(5, 20, temperature=1.0)

        def forward(self, x):
            return self.scores(self.last(self.tables(self.tables(self.first(x)))))

    torch.manual_seed(5)
    net = Hybrid()
    frames = 4 * torch.randn(50, 9)
    net.train()(frames)
    result = export(net.eval(), tmp_path / "model.onnx", frames.numpy())
    assert result.max_abs_diff == 0
    graph = lower(tmp_path / "model.onnx")
    assert [node.kernel.op for node in graph][2:] == ["thermometer", *["lookup_layer"] * 5, "popcount_class"]
    np.testing.assert_array_equal(Emulator(graph).run(frames.numpy()), net(frames).numpy(force=True))


def test_what_is_no_bit_is_refused_instead_of_cut_to_one():
    layer = LookupLayer(4, 6, fan_in=2)
    bits = torch.randint(2, (3, 4)).float()
    bits[0, 0], bits[0, 1] = 0, 1
    for x in (bits * 0.7, bits * 2.5, 2 * bits - 1, bits / 0.7):
        with pytest.raises(QuantError, match=r"^LookupLayer: its input holds .*, and tables read bits, 0 and 1: put"):
            layer(x)
    soft = LookupLayer(4, 6, fan_in=2, gradient="multilinear")
    soft(bits * 0.7)
    with pytest.raises(QuantError, match=r"holds 0\.7, and tables read bits"):
        soft.eval()(torch.full((3, 4), 0.7))
    for wiring in (None, [[0, 1], [0]], [["a", "b"]] * 6):
        with pytest.raises(QuantError, match=r"^LookupLayer: the wiring is no table of whole numbers"):
            LookupLayer(4, 6, fan_in=2, wiring=wiring)
