"""Models with ONNX's own quantizers: QuantizeLinear, Clip and DequantizeLinear, against ONNX Runtime as it stands."""

import contextlib
import io
import logging

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from hw.host.errors import BitfabricError
from hw.host.operators import OPERATORS
from hw.lowering.lower import lower, lower_model
from hw.model import Model
from hw.simulation.emulator import Emulator
from hw.verification.layers import check_directed
from hw.verification.reference import Reference, compare_with
from tests.builders.qonnx_builder import Builder
from tests.builders.random_qdq import TYPES, Codes, QdqBuilder, RandomQdq, onnxruntime_run

OPSETS = (10, 11, 13, 17, 19, 21, 23, 25)


def agrees(model: onnx.ModelProto, x: np.ndarray, directed: bool = False):
    """Compare the graph of a model with ONNX Runtime's own result, and layer by layer; returns the comparison."""
    reference = Reference(model)
    lowered = lower_model(reference.model)
    want = onnxruntime_run(model, x)
    got = Emulator(lowered.graph).run(x)
    compared = compare_with(lowered.graph, lowered, reference, x)
    assert compared.mismatches == compared.explained, compared.describe()
    if not compared.mismatches and not compared.decided:
        near = {"rtol": 1e-5, "atol": 1e-5} if want.dtype.kind == "f" else {"rtol": 0}
        np.testing.assert_allclose(got, want, **near)
    if directed:
        check_directed(lowered.graph, lowered, reference)
    return compared


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.quick
def test_quantize_linear_is_onnx_runtimes():
    """A division, rounded to even, and the zero point after that: on all ties, and next to them."""
    scale = np.float32(0.1)
    ties = (np.arange(-3000, 3000) + 0.5).astype(np.float32) * scale
    x = np.concatenate([ties, normal(2000) * 30, np.float32([3e38, -3e38, 0, 1e10])])
    x = np.concatenate([x, np.nextafter(x, np.float32(np.inf)), np.nextafter(x, np.float32(-np.inf))])[None]
    for kind, (_, _, low, high) in TYPES.items():
        for opset in (13, 21):
            b = QdqBuilder(x, opset)
            want = b.values(b.dequantize(b.quantize("x", kind, scale, 3)))
            codes = OPERATORS["QuantizeLinear"](x, scale, np.float32(3), low=low, high=high)
            np.testing.assert_array_equal((codes - 3) * scale, want)


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 1 << 30), kind=st.sampled_from(sorted(TYPES)), weight=st.sampled_from(sorted(TYPES)),
    symmetric=st.booleans(), opset=st.sampled_from(OPSETS),
)  # fmt: skip
def test_random_networks(seed, kind, weight, symmetric, opset):
    net = RandomQdq(seed, kind, weight, symmetric or weight.endswith("16"), opset)
    model = net.model()
    agrees(model, np.concatenate([net.frames, net.draw(8)]))


# --- files of other packages ---


class Calibration(CalibrationDataReader):
    def __init__(self):
        self.frames = iter([{"x": frame[None]} for frame in normal(16, 3, 8, 8)])

    def get_next(self):
        return next(self.frames, None)


def convolutional(opset: int) -> onnx.ModelProto:
    """Conv, Relu, Conv, Relu, MaxPool, Gemm in floating point."""
    b = Builder((1, 3, 8, 8))
    x = b.node("Relu", b.node("Conv", "x", normal(6, 3, 3, 3) / 4, normal(6), kernel_shape=[3, 3]))
    x = b.node("Relu", b.node("Conv", x, normal(6, 6, 3, 3, seed=1) / 6, normal(6, seed=1), kernel_shape=[3, 3]))
    x = b.node("Flatten", b.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]))
    y = b.node("Gemm", x, normal(24, 5, seed=2) / 5, normal(5, seed=2))
    return b.model((y, (1, 5)), opset=opset)


@pytest.mark.parametrize(
    ("activations", "weights", "options", "opset", "quantizers"),
    [
        (QuantType.QInt8, QuantType.QInt8, {"ActivationSymmetric": True, "WeightSymmetric": True}, 13, 3),
        (QuantType.QUInt8, QuantType.QInt8, {}, 13, 3),
        (QuantType.QUInt8, QuantType.QUInt8, {"WeightSymmetric": False}, 11, 3),
        (QuantType.QInt16, QuantType.QInt8, {"ActivationSymmetric": True}, 17, 5),
        (QuantType.QInt8, QuantType.QInt4, {"ActivationSymmetric": True}, 21, 3),
    ],
)
def test_static_quantization_of_onnxruntime(tmp_path, activations, weights, options, opset, quantizers):
    source, made = tmp_path / "float.onnx", tmp_path / "qdq.onnx"
    onnx.save(convolutional(opset), source)
    logging.disable(logging.WARNING)
    per_channel = weights == QuantType.QInt8 and opset >= 13
    quantize_static(
        source, made, Calibration(), quant_format=QuantFormat.QDQ, activation_type=activations, weight_type=weights,
        per_channel=per_channel, extra_options=options,
    )  # fmt: skip
    logging.disable(logging.NOTSET)
    agrees(onnx.load(made), normal(24, 3, 8, 8, seed=3), directed=True)
    opened = Model.open(made)
    assert (opened.kind, opened.frontend.engine) == ("qdq", "onnxruntime")
    made = [node.kernel.op for node in opened.graph if node.kernel.op in ("threshold", "requant")]
    assert len(made) == quantizers  # None behind MaxPool and Flatten, whose codes have the scale of their input.


def test_a_residual_network_of_onnxruntime(tmp_path):
    """Padded convolutions of asymmetric codes, SiLU, a sum of unequal scales, and a mean, each between quantizers."""
    b = Builder((1, 3, 8, 8))
    x = b.node("Conv", "x", normal(4, 3, 3, 3) / 4, normal(4), pads=[1, 1, 1, 1])
    x = b.node("Mul", x, b.node("Sigmoid", x))
    y = b.node("Relu", b.node("Conv", x, normal(4, 1, 3, 3, seed=1) / 2, normal(4, seed=1), pads=[1, 1, 1, 1], group=4))
    x = b.node("Flatten", b.node("GlobalAveragePool", b.node("Add", x, y)))
    onnx.save(b.model((b.node("Gemm", x, normal(4, 3, seed=2)), (1, 3)), opset=17), tmp_path / "float.onnx")
    logging.disable(logging.WARNING)
    quantize_static(
        tmp_path / "float.onnx", tmp_path / "qdq.onnx", Calibration(), quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, per_channel=True,
    )  # fmt: skip
    logging.disable(logging.NOTSET)
    agrees(onnx.load(tmp_path / "qdq.onnx"), normal(24, 3, 8, 8, seed=3), directed=True)


def test_codes_of_few_bits_of_brevitas(tmp_path):
    import brevitas.nn as qnn
    import torch
    from brevitas.export import export_onnx_qcdq
    from brevitas.quant import Int32Bias

    torch.manual_seed(0)
    layers = [
        qnn.QuantIdentity(return_quant_tensor=True),
        qnn.QuantConv2d(3, 6, 3, padding=1, bias=True, weight_bit_width=4, bias_quant=Int32Bias),
        qnn.QuantReLU(bit_width=3, return_quant_tensor=True),
        qnn.QuantConv2d(6, 6, 3, groups=6, bias=False, weight_bit_width=3),
        qnn.QuantIdentity(bit_width=4, return_quant_tensor=True),
    ]
    net = torch.nn.Sequential(*layers, torch.nn.Flatten(), qnn.QuantLinear(96, 5, bias=True, weight_bit_width=2))
    net.train()(torch.from_numpy(normal(8, 3, 6, 6)))
    with contextlib.redirect_stdout(io.StringIO()):
        export_onnx_qcdq(net.eval(), torch.zeros(1, 3, 6, 6), str(tmp_path / "m.onnx"), opset_version=13, dynamo=False)
    graph = Model.open(tmp_path / "m.onnx").graph
    assert [graph.edges[name].dtype.name for name in graph.edges if "threshold" in name] == ["UINT3", "INT4"]
    agrees(onnx.load(tmp_path / "m.onnx"), normal(24, 3, 6, 6, seed=1), directed=True)


def test_fake_quantization_of_pytorch(tmp_path):
    """Float weights behind QuantizeLinear and DequantizeLinear by channel, as TensorRT wants them, too."""
    import torch

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = torch.nn.Conv2d(2, 4, 3), torch.nn.Linear(64, 5)

        def forward(self, x):
            per_tensor = torch.fake_quantize_per_tensor_affine
            scale = torch.tensor([0.0018, 0.0017, 0.0019, 0.0015])
            weight = torch.fake_quantize_per_channel_affine(
                self.conv.weight, scale, torch.zeros(4, dtype=torch.int32), 0, -128, 127
            )
            x = torch.nn.functional.conv2d(per_tensor(x, 0.031, 129, 0, 255), weight, self.conv.bias)
            x = per_tensor(torch.relu(x), 0.011, 0, 0, 255).flatten(1)
            return torch.nn.functional.linear(x, per_tensor(self.fc.weight, 0.001, 0, -128, 127), self.fc.bias)

    torch.manual_seed(0)
    path = str(tmp_path / "m.onnx")
    with contextlib.redirect_stdout(io.StringIO()), pytest.warns(DeprecationWarning, match="TorchScript"):
        torch.onnx.export(Net().eval(), torch.zeros(1, 2, 6, 6), path, dynamo=False, opset_version=13)
    agrees(onnx.load(path), normal(24, 2, 6, 6), directed=True)


# --- by hand ---


def test_integer_inputs_and_outputs():
    """An input of integers directly behind DequantizeLinear, and an output of codes: integer ports."""
    for kind in ("int8", "uint8", "uint16"):
        dtype, elem_type, low, high = TYPES[kind]
        rng = np.random.default_rng(1)
        frames = rng.integers(low, high, (16, 2, 5, 5), endpoint=True).astype(dtype)
        b = QdqBuilder(frames, 21, elem_type)
        weights = b.weights(rng, (3, 2, 3, 3), "int8", True, 0, "stored")
        x = b.node("Conv", b.dequantize(Codes("x", kind, np.float32(0.02), np.asarray(3))), weights)
        model = b.model(b.calibrated(x, "uint8", False).name, TensorProto.UINT8)
        agrees(model, frames, directed=True)
        graph = lower(model)
        assert (graph.inputs[0].dtype, graph.outputs[0].dtype) == (kind.upper(), "uint8")


@pytest.mark.parametrize("zero_point", [0, 1, 2, -7])
@pytest.mark.parametrize("kind", ["int4", "int8", "int16"])
def test_ties_and_zero_points(kind, zero_point):
    """Every second sum is a tie: it goes to an even number, and the zero point, odd or not, comes after that."""
    frames = np.arange(-120, 120).reshape(-1, 1).repeat(3, axis=1).astype(np.float32)
    b = QdqBuilder(frames, 21)
    x = b.dequantize(b.quantize("x", "int8", 1.0, 0))
    weights = b.dequantize(Codes(b.constant(np.diag([1, 3, -5]), np.int8), "int8", np.float32(1), np.asarray(0)))
    codes = b.quantize(b.node("MatMul", x, weights), kind, 2.0, zero_point)
    model = b.model(b.dequantize(codes)) if kind == "int4" else b.model(codes.name, TYPES[kind][1])
    assert not agrees(model, frames, directed=True).mismatches
    np.testing.assert_array_equal(Emulator(lower(model)).run(frames), onnxruntime_run(model, frames))


def test_equal_codes_need_no_kernel():
    """A quantizer with the scale of its input, behind what only moves or selects codes, is no hardware."""
    frames = normal(8, 2, 4, 4)
    b = QdqBuilder(frames, 13)
    codes = b.calibrated("x", "uint8", False)

    def again(x: str) -> Codes:
        return b.quantize(x, "uint8", codes.scale, codes.zero_point)

    pooled = again(b.node("MaxPool", b.dequantize(codes), kernel_shape=[2, 2]))
    moved = again(b.node("Transpose", b.dequantize(pooled), perm=[0, 1, 3, 2]))
    flat = again(b.node("Reshape", b.dequantize(moved), b.constant([1, 18], np.int64)))
    weights = b.weights(np.random.default_rng(0), (18, 3), "int8", True, None, "stored")
    model = b.model(b.node("MatMul", b.dequantize(flat), weights))
    agrees(model, frames, directed=True)
    assert [node.kernel.op for node in lower(model)][-2:] == ["max_pool", "matrix_vector"]
    assert not any(node.kernel.op in ("threshold", "requant") for node in lower(model))


def test_a_clip_narrows_the_codes_of_one_reader():
    """Two readers of one tensor of codes, of which one is behind a Clip."""
    frames = normal(16, 6)
    b = QdqBuilder(frames, 13)
    rng = np.random.default_rng(0)
    x = b.node(
        "MatMul", b.dequantize(b.calibrated("x", "int8", True)), b.weights(rng, (6, 4), "int8", True, None, "clip")
    )
    codes = b.calibrated(x, "int8", True)
    clipped = b.node("Clip", codes.name, b.constant(-3, np.int8), b.constant(20, np.int8))
    both = [b.dequantize(Codes(name, "int8", codes.scale, codes.zero_point)) for name in (codes.name, clipped)]
    agrees(b.model(b.node("Add", *both)), frames)


INT64 = {"dtype": np.int64}
BETWEEN = {
    "Concat": lambda b, x: b.node("Concat", x, b.node("MaxPool", x, kernel_shape=[3, 3], pads=[1] * 4), axis=1),
    "Gather": lambda b, x: b.node("Gather", x, b.constant([3, 1, 0], **INT64), axis=1),
    "Max": lambda b, x: b.node("Max", x, b.constant(100, np.uint8)),
    "MaxPool": lambda b, x: b.node("MaxPool", x, kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2]),
    "Min": lambda b, x: b.node("Min", x, b.constant(100, np.uint8)),
    "Pad": lambda b, x: b.node("Pad", x, b.constant([0, 0, 1, 0, 0, 0, 0, 1], **INT64), b.constant(7, np.uint8)),
    "Resize": lambda b, x: b.node(
        "Resize", x, "", b.constant([1, 1, 2, 2]), mode="nearest", coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    ),
    "Slice": lambda b, x: b.node("Slice", x, *(b.constant([end], **INT64) for end in (1, 4, 2))),
}  # fmt: skip


@pytest.mark.parametrize("op", BETWEEN)
def test_operators_on_codes(op):
    """What stands between QuantizeLinear and DequantizeLinear works on integers, before the zero point."""
    rng, frames = np.random.default_rng(0), normal(6, 4, 5, 5)
    b = QdqBuilder(frames, 13)
    x = b.node("Conv", b.dequantize(b.calibrated("x", "uint8", False)), normal_weights(b, rng, 4, 4, 2))
    codes = b.calibrated(x, "uint8", False)
    x = b.dequantize(Codes(BETWEEN[op](b, codes.name), "uint8", codes.scale, codes.zero_point))
    agrees(b.model(b.node("Conv", x, normal_weights(b, rng, 3, b.values(x).shape[1], 2))), frames, directed=True)


def normal_weights(b: QdqBuilder, rng: np.random.Generator, outputs: int, inputs: int, size: int) -> str:
    return b.weights(rng, (outputs, inputs, size, size), "int8", True, None, "stored")


def test_both_kinds_of_quantizers_in_one_model():
    """QONNX's and ONNX's own: qonnx executes both."""
    rng = np.random.default_rng(0)
    b = Builder((1, 6))
    x = b.node("MatMul", b.quant("x", 0.25, 4), b.quant(rng.normal(size=(6, 5)), 0.1, 4))
    zero, scale = b.constant(7, np.int8), b.constant(0.31)
    x = b.node("DequantizeLinear", b.node("QuantizeLinear", x, scale, zero), scale, zero)
    codes, none = b.constant(rng.integers(-128, 128, (5, 3)), np.int8), b.constant(0, np.int8)
    model = b.model((b.node("MatMul", x, b.node("DequantizeLinear", codes, 0.01, none)), (1, 3)))
    reference = Reference(model)
    lowered = lower_model(reference.model)
    compared = compare_with(lowered.graph, lowered, reference, normal(64, 6))
    assert compared.mismatches == compared.explained <= 1
    check_directed(lowered.graph, lowered, reference)
    model.graph.node[-2].domain = "com.microsoft"
    with pytest.raises(BitfabricError, match="is ONNX Runtime's, and the model has QONNX's quantizers, too"):
        lower(model)


def small(**changed) -> onnx.ModelProto:
    """One QuantizeLinear and its DequantizeLinear; ``changed`` are the scale, the zero point, the type of it,
    attributes, the opset."""
    kind = changed.pop("kind", TensorProto.INT8)
    opset, domain = changed.pop("opset", 21), changed.pop("domain", "")
    scale, zero = changed.pop("scale", 1.0), changed.pop("zero", 0)
    dims = list(np.shape(zero))
    constants = [
        helper.make_tensor("scale", changed.pop("float", TensorProto.FLOAT), list(np.shape(scale)), np.ravel(scale)),
        helper.make_tensor("zero", kind, dims, np.ravel(zero)),
    ]
    names = ["scale", "zero"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *names], ["q"], "Q", domain=domain, **changed),
        helper.make_node("DequantizeLinear", ["q", *names], ["y"], "D", domain=domain),
    ]
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "small", infos[:1], infos[1:], constants)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid(domain, 1)][: 1 + bool(domain)]
    )


@pytest.mark.quick
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"scale": 0.0}, "Q: QuantizeLinear cannot be lowered: its scale is not positive; check the calibration"),
        ({"scale": -1.0}, "its scale is not positive"),
        ({"scale": np.inf}, "its scale is not finite; check the calibration"),
        ({"scale": 1e-40}, "its scale is below 1.18e-38, where float32 has fewer bits"),
        ({"scale": [1.0, 2.0], "zero": [0, 0]}, "its scales [2] do not fit axis 1 of its input [1, 4]"),
        ({"scale": [1.0] * 4, "zero": [0] * 4, "opset": 12}, "before opset 13 there is one for the tensor"),
        ({"scale": [1.0] * 4, "zero": [0, 0]}, "its zero point [2] does not fit its scale [4]"),
        ({"scale": [1.0] * 4, "zero": [0] * 4, "axis": 5}, "its axis 5 is none of the 2 axes"),
        ({"block_size": 2}, "its scales are those of blocks (block_size)"),
        ({"kind": TensorProto.FLOAT8E4M3FN}, "is of type float8e4m3fn"),
        ({"kind": TensorProto.INT16, "opset": 20}, "is of type int16, which QuantizeLinear of opset 20 does not take"),
        ({"float": TensorProto.FLOAT16}, "float16"),
        ({"opset": 23, "precision": TensorProto.FLOAT16}, "it divides in float16; leave the attribute precision out"),
        ({"output_dtype": TensorProto.UINT8}, "its output_dtype is uint8, but its zero point is int8"),
        ({"domain": "com.microsoft", "output_dtype": 3}, "attribute output_dtype, which it does not have"),
    ],
)
def test_what_is_refused(changed, words):
    with pytest.raises(BitfabricError) as error:
        lower(small(**changed))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.quick
def test_parameters_by_channel_in_every_domain():
    rng = np.random.default_rng(0)
    x = normal(64, 4) * 20
    for domain in ("", "com.microsoft"):
        for kind in (TensorProto.INT8, TensorProto.UINT4, TensorProto.INT16):
            given = {"scale": rng.uniform(0.1, 1, 4).astype(np.float32), "zero": [0, 1, 5, 7], "kind": kind}
            if kind == TensorProto.INT16:
                given["zero"] = [0, 2, 4, 6]
            model = small(**given, domain=domain)
            np.testing.assert_array_equal(Emulator(lower(model)).run(x), onnxruntime_run(model, x))
    with pytest.raises(BitfabricError, match="different zero points; use one zero point, or 8 bits"):
        lower(small(scale=[1.0] * 4, zero=[0, 1, 2, 3], kind=TensorProto.INT16))


@pytest.mark.quick
def test_dynamic_and_operator_oriented_models_are_refused_by_name():
    b = Builder((1, 4))
    codes = b.node("DynamicQuantizeLinear", "x", outputs=3)
    with pytest.raises(BitfabricError, match=r"DynamicQuantizeLinear_0: .* its scale depends on the frame; quantize"):
        lower(b.model((codes, (1, 4), TensorProto.UINT8)))
    b = Builder((1, 4), elem_type=TensorProto.UINT8)
    with pytest.raises(BitfabricError, match=r"MatMulInteger_0: .* depend on the processor.*; .* QuantFormat\.QDQ"):
        lower(b.model((b.node("MatMulInteger", "x", b.constant(np.eye(4), np.uint8)), (1, 4), TensorProto.INT32)))
    for op, words in (
        ("QGemm", "processor"),
        ("QLinearAdd", "processor"),
        ("MatMulNBits", "scales are those of blocks"),
    ):
        b = QdqBuilder(normal(1, 4), 13)
        model = b.model(b.node(op, "x", domain="com.microsoft"))
        with pytest.raises(BitfabricError, match=f"{op}_0: {op} cannot be lowered: .*{words}"):
            lower(model)


@pytest.mark.quick
def test_ports_of_four_bits_are_refused():
    """NumPy has no such type; files with frames neither."""
    b = QdqBuilder(normal(1, 4), 21)
    with pytest.raises(BitfabricError, match="output t0 is of type int4; make it int8"):
        lower(b.model(b.quantize("x", "int4", 1.0, 0).name, TensorProto.INT4))
    b = QdqBuilder(normal(1, 4), 21, TensorProto.UINT4)
    with pytest.raises(BitfabricError, match="input x is of type uint4; make it uint8"):
        lower(b.model(b.dequantize(Codes("x", "uint4", np.float32(1), np.asarray(0)))))


@pytest.mark.parametrize(("ratio", "kernel"), [(37.3, "requant"), (4.0, "threshold")])
def test_many_channels_of_eight_bits_are_multiplied(ratio, kernel):
    """255 thresholds of many channels would fill block RAMs, unless ties make float32 decide by chance."""
    rng = np.random.default_rng(0)
    frames = normal(16, 24)
    b = QdqBuilder(frames, 13)
    codes = b.calibrated("x", "uint8", False)
    scale = np.float32(0.013)
    integers = b.constant(rng.integers(-128, 128, (24, 48)), np.int8)
    x = b.node("MatMul", b.dequantize(codes), b.dequantize(Codes(integers, "int8", scale, np.asarray(0))))
    made = b.quantize(x, "uint8", codes.scale * scale * np.float32(ratio), 117)
    model = b.model(made.name, TensorProto.UINT8)
    assert [node.kernel.op for node in lower(model)] == ["matrix_vector", kernel]
    agrees(model, frames, directed=True)
