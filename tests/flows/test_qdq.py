"""A QDQ file from the command line to the RTL."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from flows import Accelerator, assert_engines_agree, build
from flows.finn import frontend
from hw import finn
from hw.finn.execution import require_finn
from hw.host.errors import BitfabricError, UsageError
from hw.model import Model
from hw.simulation.emulator import Emulator
from tests.builders.random_qdq import QdqBuilder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A network of two layers, int8 and uint8, with frames."""
    folder, rng = tmp_path_factory.mktemp("qdq"), np.random.default_rng(3)
    frames = rng.normal(size=(12, 2, 6, 6)).astype(np.float32)
    b = QdqBuilder(frames, 13)
    weights = b.weights(rng, (3, 2, 3, 3), "int8", True, 0, "stored")
    bias = b.bias(rng, 3, 2.0**-9 / 3, 0.5, "stored")
    x = b.node("Conv", b.dequantize(b.calibrated("x", "int8", True)), weights, bias, pads=[1, 1, 1, 1])
    codes = b.calibrated(b.node("Relu", x), "uint8", False)
    x = b.node("MaxPool", b.dequantize(codes), kernel_shape=[2, 2], strides=[2, 2])
    x = b.node("Flatten", b.dequantize(b.quantize(x, "uint8", codes.scale, codes.zero_point)))
    x = b.node("MatMul", x, b.weights(rng, (27, 4), "int8", True, None, "float"))
    onnx.save(b.model(b.calibrated(x, "int8", True).name, TensorProto.INT8), folder / "model.onnx")
    np.save(folder / "x.npy", frames)
    return folder


def test_a_build_is_verified_against_onnx_runtime(folder):
    made = build(folder / "model.onnx", "ulx3s-12f", folder / "out", frames=folder / "x.npy", stop_after="emulate")
    assert list(made.report.verified) == ["onnxruntime", "emulator"]
    assert made.report.verified["emulator"].mismatches == 0
    assert made.report.verified["emulator"].directed.covered
    frames = np.load(folder / "x.npy")
    outputs = [made.run(frames, engine) for engine in ("onnxruntime", "emulator")]
    np.testing.assert_array_equal(*outputs)
    with pytest.raises(UsageError, match=r"qonnx does not execute .*; use --engine onnxruntime"):
        made.run(frames, "qonnx")
    page = made.write_report(folder / "page.html").read_text()
    assert "ONNX Runtime" in page
    assert "QONNX reference" not in page
    assert json.loads((folder / "out" / "build.json").read_text())["verified"]["onnxruntime"]["frames"] == 12
    assert Accelerator(folder / "out").model.kind == "qdq"


def test_finns_streamlining_refuses_it(folder):
    try:
        require_finn()
    except BitfabricError:
        pytest.skip("no FINN")
    with pytest.raises(
        UsageError, match=r"QuantizeLinear quantizers, .* use --front-end bitfabric, or export it as QONNX"
    ):
        frontend.dataflow(Model.open(folder / "model.onnx"))


@pytest.mark.slow
def test_rtl_agrees(folder):
    assert_engines_agree(folder / "model.onnx", engines=["onnxruntime", "emulator", "rtl"])


def test_finns_dialect_holds_the_quantizer_of_the_input(folder):
    model = Model.open(folder / "model.onnx")
    frames = np.load(folder / "x.npy")
    read = finn.read(finn.write(finn.adapted(model.graph)))
    np.testing.assert_array_equal(Emulator(read).run(frames), Emulator(model.graph).run(frames))
