"""--input-type from the command line to the report: a network of QKeras's kind, whose input has no quantizer."""

import json

import numpy as np
import onnx
import pytest

from flows import Accelerator, assert_engines_agree, build
from flows.estimates import estimate_build, pareto
from hw import finn
from hw.host.errors import UsageError
from hw.lowering.lower import lower
from hw.model import Model
from tests.flows.test_cli import bitfabric, one_line
from tests.lowering.test_input_types import dense

TYPE = "fixed<16,6>"


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    """A folder with a network of float inputs, and frames for it."""
    folder = tmp_path_factory.mktemp("tagger")
    onnx.save(dense(8, 6, 3), folder / "model.onnx")
    np.save(folder / "x.npy", (np.random.default_rng(1).normal(size=(60, 8)) * 2).astype(np.float32))
    return folder


def test_a_build_keeps_the_type(tagger, tmp_path):
    """It is in build.json, in the report and in the model of the folder, so that nothing needs it a second time."""
    model, x, out = tagger / "model.onnx", np.load(tagger / "x.npy"), tmp_path / "out"
    made = build(
        model, "ulx3s-12f", out, stop_after="emulate", frames=tagger / "x.npy", input_type=TYPE, watch=lambda *_: None
    )
    assert made.report.model.input_types == {"x": TYPE}
    assert json.loads((out / "build.json").read_text())["model"]["input_types"] == {"x": TYPE}
    again = Accelerator(out)
    assert again.model.input_types == {"x": TYPE}
    np.testing.assert_array_equal(again.run(x, "emulator"), again.run(x, "qonnx"))
    page = again.write_report().read_text()
    assert "input x: fixed&lt;16,6&gt;, as the user gave it, not the model: quantized by the host to 16 bits" in page
    copied = build(out / "lower" / "model.onnx", "ulx3s-12f", tmp_path / "copy", stop_after="lower")
    assert copied.report.model == made.report.model.model_copy(update={"path": str(out / "lower" / "model.onnx")})
    other = build(model, "ulx3s-12f", tmp_path / "copy", stop_after="lower", input_type=["x=uint8"])
    assert other.report.model.input_types == {"x": "uint8"}
    assert other.report.model.sha256 != made.report.model.sha256


def test_every_function_takes_it(tagger):
    model = tagger / "model.onnx"
    assert estimate_build(model, "ulx3s-12f", input_type=TYPE)["input_types"] == {"x": TYPE}
    assert pareto(model, "ulx3s-12f", input_type=TYPE)["pareto"]
    assert_engines_agree(model, engines=["qonnx", "emulator"], input_type=TYPE)
    opened = Model.open(model, TYPE)
    assert str(opened.graph) == str(lower(model, TYPE))
    assert Model.open(opened) is opened
    assert str(Model.open(Model.open(model), TYPE).graph) == str(opened.graph)


def test_finns_dialect_states_its_own_types(tagger, tmp_path):
    path = tmp_path / "finn.onnx"
    onnx.save(finn.write(finn.adapted(lower(tagger / "model.onnx", "uint8"))), path)
    with pytest.raises(UsageError, match="states the types of its inputs itself; leave --input-type out"):
        Model.open(path, "uint8")


def test_the_command_line(tagger):
    model = tagger / "model.onnx"
    refused = bitfabric("estimate", model, "--target", "ulx3s-12f")
    one_line(refused, 1, "input x reaches MatMul_1 as floating point", "--input-type 'fixed<16,6>'")
    done = bitfabric("estimate", model, "--target", "ulx3s-12f", "--input-type", f"x={TYPE}")
    assert "input x: fixed<16,6>, as the user gave it, not the model" in done.stdout, done.stderr
    one_line(
        bitfabric("estimate", model, "--target", "ulx3s-12f", "--input-type", "ap_fixed<8,3,AP_TRN,AP_WRAP>"),
        2, "AP_WRAP is not computed at an input; use AP_SAT",
    )  # fmt: skip


@pytest.mark.slow
def test_a_jet_tagger_from_the_file_to_the_rtl(tmp_path):
    """16-64-32-32-5, as hls4ml's example: built, simulated, and run with float frames."""
    onnx.save(dense(16, 64, 32, 32, 5), tmp_path / "model.onnx")
    frames = (np.random.default_rng(1).normal(size=(40, 16)) * 4).astype(np.float32)
    np.save(tmp_path / "x.npy", frames)
    done = bitfabric(
        "build", tmp_path / "model.onnx", "--target", "ulx3s-85f", "--fps", "1000000", "--input-type", TYPE,
        "--input", tmp_path / "x.npy", "--stop-after", "simulate", "-o", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for engine in ("qonnx", "emulator", "rtl"):
        ran = bitfabric(
            "run", tmp_path / "out", "--input", tmp_path / "x.npy", "--engine", engine, "-o", tmp_path / f"{engine}.npy"
        )
        assert ran.returncode == 0, ran.stderr
    outputs = {name: np.load(tmp_path / f"{name}.npy") for name in ("qonnx", "emulator", "rtl")}
    np.testing.assert_array_equal(outputs["rtl"], outputs["emulator"])
    assert Accelerator(tmp_path / "out").report.verified["emulator"].mismatches == 0
    np.testing.assert_allclose(outputs["emulator"], outputs["qonnx"], rtol=1e-5, atol=1e-5)
