"""Float ONNX files: quantized by ONNX Runtime, read as QDQ, and compared with the hardware's integers."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from flows import build
from flows.cli.main import app
from flows.float_onnx import quantize_onnx
from hw.host.errors import BitfabricError, UsageError
from tests.builders.qonnx_builder import Builder


def write_network(path, batch="N", opset=17, first="Conv", residual=True):
    """A convolution with BatchNorm, a residual sum, pools and a linear layer."""
    rng = np.random.default_rng(0)
    constants = {
        "w1": rng.normal(size=(4, 1, 3, 3)), "w2": rng.normal(size=(4, 4, 1, 1)), "w3": rng.normal(size=(16, 3)),
        "scale": rng.uniform(0.5, 1, 4), "bias": rng.normal(size=4), "mean": rng.normal(size=4),
        "var": rng.uniform(0.5, 1, 4), "b3": rng.normal(size=3),
        "bias4": rng.normal(size=(4, 1, 1)),
    }  # fmt: skip
    nodes = [
        helper.make_node(first, ["x", "w1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c1", "scale", "bias", "mean", "var"], ["n1"]),
        helper.make_node("Relu", ["n1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"]),
        helper.make_node("Add", ["c2", "r1" if residual else "bias4"], ["s"]),
        helper.make_node("Relu", ["s"], ["r2"]),
        helper.make_node("MaxPool", ["r2"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "float",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 1, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 3])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return rng.uniform(size=(40, 1, 4, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("bits", "options"),
    [
        ((8, 8), {}),
        ((8, 8), {"per_channel": True, "method": "percentile"}),
        ((4, 8), {"symmetric": True}),
        ((4, 4), {}),
        ((16, 16), {}),
    ],
    ids=["8", "channels", "symmetric", "4", "16"],
)
def test_the_hardware_computes_what_onnx_runtime_computes(bits, options, tmp_path):
    batch, residual = ("N" if bits == (8, 8) else 2), bits[1] < 16
    frames = write_network(tmp_path / "float.onnx", batch, residual=residual)
    labels = np.zeros(len(frames), dtype=np.int64)
    made = quantize_onnx(
        tmp_path / "float.onnx", tmp_path / "model.onnx", frames, labels,
        weight_bits=bits[0], act_bits=bits[1], **options,
    )  # fmt: skip
    assert made.elements > 0
    assert made.mismatches == made.explained
    assert made.noise < {4: 0.1, 8: 1e-3, 16: 1e-6}[min(bits)]
    assert made.accuracy is not None
    assert abs(made.accuracy - made.float_accuracy) <= 1 - made.agreement
    kinds = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert kinds[-1] == "Gemm"  # nothing is quantized behind it


def test_the_command_leaves_a_file_that_builds(tmp_path):
    np.save(tmp_path / "x.npy", write_network(tmp_path / "float.onnx"))
    command = ["quantize", str(tmp_path / "float.onnx"), "-c", str(tmp_path / "x.npy"), "-o", str(tmp_path / "run")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    model = tmp_path / "run" / "model.onnx"
    assert f"bitfabric build {model}" in done.output.replace("\n", "")
    assert json.loads((tmp_path / "run" / "quantize.json").read_text())["frames"] == 40
    made = build(model, "ulx3s-85f", tmp_path / "build", frames=tmp_path / "x.npy", stop_after="emulate")
    assert made.report.verified["emulator"].mismatches == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_bits": 5}, "4, 8 and 16 bits, not 5"),
        ({"method": "kl"}, "no method 'kl'.*minmax"),
        ({"calibration": np.zeros((4, 1, 5, 4), np.float32)}, r"takes frames \(N, 1, 4, 4\).*reshape"),
        ({"calibration": np.zeros((0, 1, 4, 4), np.float32)}, "takes frames"),
        ({"calibration": np.full((4, 1, 4, 4), np.nan, np.float32)}, "frame 0 has a value that is not finite"),
        ({"labels": np.zeros(3)}, "40 frames need as many labels"),
        ({"labels": np.arange(40)}, "label [0-9]+ of frame [0-9]+ is none of the network's classes, 0 to "),
    ],
)
def test_bad_input_is_one_line(options, message, tmp_path):
    frames = write_network(tmp_path / "float.onnx")
    given = {"calibration": frames, "labels": None} | options
    with pytest.raises(UsageError, match=message) as caught:
        quantize_onnx(tmp_path / "float.onnx", tmp_path / "model.onnx", **given)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model.onnx").exists()


def test_what_the_hardware_cannot_compute_is_not_written(tmp_path):
    frames = write_network(tmp_path / "float.onnx")
    with pytest.raises(BitfabricError, match=r"r2_QuantizeLinear: .* use at most 10 bits"):
        quantize_onnx(tmp_path / "float.onnx", tmp_path / "model.onnx", frames, act_bits=16)
    assert not (tmp_path / "model.onnx").exists()


def test_files_that_cannot_be_quantized_are_named(tmp_path):
    frames = write_network(tmp_path / "float.onnx", first="ConvInteger")
    with pytest.raises(BitfabricError, match="ConvInteger"):
        quantize_onnx(tmp_path / "float.onnx", tmp_path / "model.onnx", frames)
    write_network(tmp_path / "float.onnx")
    quantize_onnx(tmp_path / "float.onnx", tmp_path / "model.onnx", frames)
    with pytest.raises(UsageError, match="has quantizers already"):
        quantize_onnx(tmp_path / "model.onnx", tmp_path / "again.onnx", frames)


LAST = {
    "Relu": (lambda b, x: b.node("Relu", x)),
    "Clip": (lambda b, x: b.node("Clip", x, -0.5, 0.75)),
    "Relu, symmetric": (lambda b, x: b.node("Relu", x)),
    "Clip behind Clip": (lambda b, x: b.node("Clip", b.node("Clip", x, -1.0, 2.0), -0.5, 0.75)),
    "Sigmoid": (lambda b, x: b.node("Sigmoid", x)),
    "Flatten behind Relu": (lambda b, x: b.node("Flatten", b.node("Relu", x))),
}


@pytest.mark.parametrize("last", LAST)
def test_a_function_at_the_output_stays(last, tmp_path):
    """ONNX Runtime leaves out a Relu whose quantizer clips, and that quantizer is removed."""
    rng = np.random.default_rng(0)
    b = Builder((1, 6))
    x = b.node("Gemm", "x", rng.normal(size=(6, 5)).astype(np.float32), rng.normal(size=5).astype(np.float32))
    onnx.save(b.model((LAST[last](b, x), (1, 5))), tmp_path / "float.onnx")
    made = quantize_onnx(
        tmp_path / "float.onnx", tmp_path / "q.onnx", rng.normal(size=(80, 6)), symmetric="symmetric" in last
    )  # fmt: skip
    assert made.noise < 1e-3
    assert made.mismatches == made.explained


@pytest.mark.parametrize("factors", [{"alpha": 0.5}, {"beta": 3.0}, {"alpha": 2.0, "beta": -0.5}, {"beta": 0.0}])
def test_factors_of_a_gemm_are_quantized_with_its_constants(factors, tmp_path):
    rng = np.random.default_rng(0)
    b = Builder((1, 6))
    hidden = b.node(
        "Relu", b.node("Gemm", "x", *(rng.normal(size=s).astype(np.float32) for s in ((6, 8), 8)), **factors)
    )
    y = b.node("Gemm", hidden, *(rng.normal(size=s).astype(np.float32) for s in ((5, 8), 5)), transB=1, **factors)
    onnx.save(b.model((y, (1, 5))), tmp_path / "float.onnx")
    made = quantize_onnx(tmp_path / "float.onnx", tmp_path / "q.onnx", rng.normal(size=(80, 6)))
    assert made.noise < 1e-3
    assert made.mismatches == made.explained


def test_a_file_without_layers_is_refused(tmp_path):
    b = Builder((1, 6))
    onnx.save(b.model((b.node("Relu", "x"), (1, 6))), tmp_path / "float.onnx")
    with pytest.raises(UsageError, match="has no layer with weights or sums that could be quantized"):
        quantize_onnx(tmp_path / "float.onnx", tmp_path / "q.onnx", np.ones((4, 6)))
    for frames in (np.full((4, 6), "a"), np.ones((4, 6), complex), np.full((4, 6), None)):
        with pytest.raises(UsageError, match=r"the calibration frames are .*; convert them"):
            quantize_onnx(tmp_path / "float.onnx", tmp_path / "q.onnx", frames)


@pytest.mark.parametrize("options", [{}, {"symmetric": True}, {"weight_bits": 4, "act_bits": 4}])
@pytest.mark.parametrize("function", ["Relu", "Elu", None])
def test_means_are_exact(function, options, tmp_path):
    """Also those of the input itself, and behind a function that no quantizer follows in the float file."""
    rng = np.random.default_rng(0)
    b = Builder((1, 2, 8, 8))
    x = b.node("AveragePool", "x", kernel_shape=[2, 2], strides=[2, 2]) if function is None else "x"
    x = b.node("Conv", x, rng.normal(size=(4, 2, 3, 3)) / 4, rng.normal(size=4), pads=[1] * 4)
    x = x if function is None else b.node(function, x)
    x = b.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    size = 16 if function is None else 64
    y = b.node("Gemm", b.node("Flatten", x), rng.normal(size=(size, 3)) / 4, rng.normal(size=3))
    onnx.save(b.model((y, (1, 3))), tmp_path / "float.onnx")
    made = quantize_onnx(tmp_path / "float.onnx", tmp_path / "q.onnx", rng.normal(size=(64, 2, 8, 8)), **options)
    assert made.mismatches == 0
    assert made.noise < (0.2 if options.get("act_bits") == 4 else 5e-3)
