"""Lowering of what Brevitas exports: every width, both exporters, held against qonnx and against Brevitas itself."""

import contextlib
import copy
import io
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
qnn = pytest.importorskip("brevitas.nn")

from brevitas.export import export_qonnx  # noqa: E402
from brevitas.quant import (  # noqa: E402
    Int8ActPerTensorFixedPoint,
    Int8ActPerTensorFloat,
    Int8Bias,
    Int8WeightPerTensorFixedPoint,
    Int8WeightPerTensorFloat,
    SignedBinaryActPerTensorConst,
    SignedBinaryWeightPerTensorConst,
    SignedTernaryWeightPerTensorConst,
    Uint8ActPerTensorFixedPoint,
)
from brevitas.quant.fixed_point import Int8WeightPerChannelFixedPoint  # noqa: E402

from hw.lowering.lower import lower  # noqa: E402
from hw.simulation.emulator import Emulator  # noqa: E402
from hw.verification.reference import Reference, compare  # noqa: E402

INPUTS, HIDDEN, CLASSES = 12, 8, 5


def export(network, path, dynamo=False):
    """Trained a little, so that statistics are not degenerate; then exported, silently, from a copy."""
    network.train()
    for _ in range(3):
        network(torch.randn(64, 3, 4) * 2)
    network.eval()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        export_qonnx(copy.deepcopy(network), torch.randn(1, 3, 4), export_path=str(path), dynamo=dynamo)
    return path


def linear(inputs, outputs, quantizer, bits=None, bias=False, **options):
    settings = {"weight_bit_width": bits} if bits else {}
    return qnn.QuantLinear(inputs, outputs, bias=bias, weight_quant=quantizer, **settings, **options)


def sequential(first, layer, activation, norm=True):
    """Flatten, quantize, layer, norm, activation, layer, norm, activation, layer."""
    normalise = (lambda: [torch.nn.BatchNorm1d(HIDDEN)]) if norm else list
    return torch.nn.Sequential(
        torch.nn.Flatten(), first, layer(INPUTS, HIDDEN), *normalise(), activation(),
        layer(HIDDEN, HIDDEN), *normalise(), activation(), layer(HIDDEN, CLASSES),
    )  # fmt: skip


def binary(inputs, outputs):
    return linear(inputs, outputs, SignedBinaryWeightPerTensorConst)


def identity(bits, quantizer=Int8ActPerTensorFloat):
    return qnn.QuantIdentity(act_quant=quantizer, bit_width=bits)


def sign():
    return qnn.QuantIdentity(act_quant=SignedBinaryActPerTensorConst)


def integer(bits, bias=False, **options):
    return lambda inputs, outputs: linear(inputs, outputs, Int8WeightPerTensorFloat, bits, bias, **options)


NETWORKS = {
    "w1a1": (lambda: sequential(sign(), binary, sign), ["BIPOLAR", "BIPOLAR", "BIPOLAR"]),
    "8-bit input, w1a2": (
        lambda: sequential(identity(8), binary, lambda: qnn.QuantReLU(bit_width=2)), ["INT8", "UINT2", "UINT2"]
    ),
    "ternary weights, a2 hard-tanh": (
        lambda: sequential(
            identity(8), lambda i, o: linear(i, o, SignedTernaryWeightPerTensorConst),
            lambda: qnn.QuantHardTanh(bit_width=2, min_val=-1.0, max_val=1.0), norm=False,
        ), ["INT8", "INT2", "INT2"],
    ),
    "w2a4, bias": (
        lambda: sequential(identity(4), integer(2, bias=True), lambda: qnn.QuantReLU(bit_width=4)),
        ["INT4", "UINT4", "UINT4"],
    ),
    "w4a3 sigmoid, per channel": (
        lambda: sequential(
            identity(6), integer(4, bias=True, weight_scaling_per_output_type="channel"),
            lambda: qnn.QuantSigmoid(bit_width=3),
        ), ["INT6", "UINT3", "UINT3"],
    ),
    "w8a8, input and bias quantizers, no norm": (
        lambda: sequential(
            identity(8), integer(8, bias=True, bias_quant=Int8Bias, input_quant=Int8ActPerTensorFloat),
            torch.nn.ReLU, norm=False,
        ), ["INT8", None, None],
    ),
}  # fmt: skip


def frames(count=400):
    return np.random.default_rng(0).normal(size=(count, 3, 4)).astype(np.float32) * 2


@pytest.mark.parametrize("dynamo", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_equal_the_reference_up_to_its_rounding(name, dynamo, tmp_path):
    torch.manual_seed(1)
    build, types = NETWORKS[name]
    network = build()
    path = export(network, tmp_path / "model.onnx", dynamo)
    graph, x = lower(path), frames()
    layers = [node for node in graph if node.kernel.op == "matrix_vector"]
    for node, dtype in zip(layers, types, strict=True):
        assert dtype is None or node.kernel.input_dtype.name == dtype
    compared = compare(graph, path, x)
    assert compared.mismatches == compared.explained, compared.describe()
    assert compared.mismatches <= 16  # Of 6,400 elements.
    got, want = Emulator(graph).run(x), Reference(path).run(x)
    eager = network(torch.from_numpy(x))
    eager = getattr(eager, "value", eager).detach().numpy()
    for expected in (want, eager):
        near = np.isclose(got, expected, rtol=1e-5, atol=1e-5).all(axis=1)
        assert near.mean() > 0.97


def test_the_dynamo_exporter_gives_the_same_graph(tmp_path):
    torch.manual_seed(2)
    network = NETWORKS["w4a3 sigmoid, per channel"][0]()
    graphs = [lower(export(network, tmp_path / f"{dynamo}.onnx", dynamo)) for dynamo in (False, True)]
    assert str(graphs[0]) == str(graphs[1])


def on_grid(network, grid):
    """Weights and biases rounded to a multiple of ``grid``, so that float32 computes all sums exactly."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(("weight", "bias")):
                parameter.copy_((parameter / grid).round().clamp(-8, 7) * grid)


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_fixed_point_is_equal_to_the_bit_ties_included(bits, tmp_path):
    torch.manual_seed(bits)
    weights = Int8WeightPerTensorFixedPoint if bits != 8 else Int8WeightPerChannelFixedPoint

    def layer(inputs, outputs):
        return linear(inputs, outputs, weights, bits, bias=True)

    def activation():
        return qnn.QuantReLU(act_quant=Uint8ActPerTensorFixedPoint, bit_width=bits)

    network = sequential(identity(bits, Int8ActPerTensorFixedPoint), layer, activation, norm=False)
    on_grid(network, 2.0**-4)
    path = export(network, tmp_path / "model.onnx")
    graph = lower(path)
    assert [node.kernel.op for node in graph][1] == ("requant" if bits == 16 else "threshold")
    # Inputs on half steps of their own quantizer: every second one is a tie, and the sums then lie on a coarse grid.
    scale = float(network[1].act_quant.scale())
    x = np.random.default_rng(1).integers(-40, 40, (500, 3, 4)).astype(np.float32) * np.float32(
        scale / 2 * 2 ** max(0, bits - 10)
    )
    reference = Reference(path)
    np.testing.assert_array_equal(Emulator(graph).run(x), reference.run(x))
    np.testing.assert_array_equal(Emulator(graph).run(x), network(torch.from_numpy(x)).detach().numpy())
    compared = compare(graph, path, x)
    assert compared.mismatches == 0
    quantizers = [node for node in reference.model.graph.node if node.op_type == "Quant"]
    ties = 0
    for node in quantizers:
        if reference.model.get_initializer(node.input[0]) is None:
            value = reference.tensors(x, [node.input[0]])[node.input[0]] / reference.model.get_initializer(
                node.input[1]
            )
            ties += int(np.sum(np.abs(value - np.floor(value) - 0.5) == 0))
    assert ties > 100
