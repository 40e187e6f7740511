"""A network with two inputs, of different shapes and types: the build, the image, its driver and its benchmark."""

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

from flows import build
from flows.accelerator import Accelerator
from flows.cli.main import app
from flows.estimates import estimate_build
from hw.boards import driver_folder
from hw.boards.pty_board import PtyBoard
from hw.boards.virtual import VirtualBoard
from hw.host.arrays import load_arrays
from hw.host.errors import BitfabricError, UsageError
from tests.builders.qonnx_builder import Builder

FRAMES = 24


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A folder with a network that adds a layer of a vector to one of an image, and frames of both."""
    folder, rng = tmp_path_factory.mktemp("two"), np.random.default_rng(21)
    b = Builder((1, 10), "vector")
    b.inputs.append(helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 1, 3, 3)))
    first = b.node("MatMul", b.quant("vector", 0.5, 4), b.quant(rng.normal(size=(10, 6)), 0.25, 3))
    flat = b.node("Flatten", b.quant("image", 1.0, 8, signed=0))
    second = b.node("MatMul", flat, b.quant(rng.normal(size=(9, 6)), 0.25, 3))
    hidden = b.quant(b.node("Add", b.quant(first, 0.5, 6), b.quant(second, 0.5, 6)), 0.5, 5)
    scores = b.node("MatMul", hidden, b.quant(rng.normal(size=(6, 3)), 0.25, 3))
    onnx.save(b.model((scores, (1, 3))), folder / "model.onnx")
    frames = {
        "vector": rng.normal(size=(FRAMES, 10)).astype(np.float32),
        "image": rng.integers(0, 256, (FRAMES, 1, 3, 3)).astype(np.float32),
    }
    np.savez(folder / "x.npz", **frames)
    np.save(folder / "y.npy", rng.integers(0, 3, FRAMES))
    return folder


@pytest.fixture(scope="module")
def made(two, tmp_path_factory):
    folder = tmp_path_factory.mktemp("build")
    return build(
        two / "model.onnx", "ulx3s-12f", folder, fps=1e6, stop_after="simulate", frames=two / "x.npz",
        labels=two / "y.npy", benchmark_frames=8, rtl_frames=8,
    )  # fmt: skip


def test_the_build_is_verified_on_both_inputs(two, made):
    report = made.report
    assert {name: check.mismatches for name, check in report.verified.items()} == {"qonnx": 0, "emulator": 0, "rtl": 0}
    assert [report.inputs.name, *(each.name for each in report.other_inputs)] == ["vector", "image"]
    assert report.benchmark_frames == 8
    again = Accelerator(made.folder)
    frames = load_arrays(two / "x.npz")
    expected = again.run(frames, "qonnx")
    for engine in ("emulator", "rtl"):
        np.testing.assert_array_equal(again.run(frames, engine), expected)
    with pytest.raises(UsageError, match="the model has the inputs vector, image; given: one array"):
        again.run(frames["vector"])
    with pytest.raises(UsageError, match="different numbers of frames"):
        again.run(frames | {"image": frames["image"][:3]})
    link = estimate_build(two / "model.onnx", "ulx3s-12f", fps=1e6)["host_link"]
    assert link["input_octets"] == pytest.approx(2 + (7 + 2 + 5 + 9) * (1 + 2 / 256))


def test_random_frames_verify_it_too(two, tmp_path):
    made = build(two / "model.onnx", "ulx3s-12f", tmp_path, fps=1e6, stop_after="simulate", rtl_frames=6)
    assert made.report.verified["rtl"].mismatches == 0


def command(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_image_its_driver_and_its_benchmark(two, made, tmp_path):
    frames = load_arrays(two / "x.npz")
    expected = made.run(frames, "qonnx")
    given = ("run", made.folder, "--input", two / "x.npz", "--engine", "board")
    driver = driver_folder.write(tmp_path / "driver", made.implementation.interface())
    with VirtualBoard(made.image) as board, PtyBoard(board) as terminal:
        out = json.loads(command(*given, "--port", terminal.port, "--labels", two / "y.npy", "--json"))
        np.testing.assert_array_equal(np.array(next(iter(out["outputs"].values()))), expected)
        done = json.loads(command(*given, "--port", terminal.port, "--benchmark", 5000, "--json"))
        text = command(*given, "--port", terminal.port, "--benchmark", 300)
        options = [sys.executable, driver, two / "x.npz", "--port", terminal.port]
        one = subprocess.run([*options, "-o", tmp_path / "y.npy"], capture_output=True, text=True, timeout=120)
        assert one.returncode == 0, one.stderr
        np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), expected)
        both = subprocess.run([*options, "--benchmark", "300"], capture_output=True, text=True, timeout=120)
        np.save(tmp_path / "x.npy", frames["vector"])
        wrong = subprocess.run([*options[:2], tmp_path / "x.npy", *options[3:]], capture_output=True, text=True)
    interval = made.cycles.interval.estimated
    assert done["cycles"] == interval * 4999 + made.cycles.latency.simulated
    assert done["fps"] == pytest.approx(made.report.host_link.core_fps, rel=0.01)
    assert done["host_link_fps"] < done["fps"]
    assert "300 frames of 8 different ones" in text
    checksum = text.partition("checksum of all outputs ")[2][:8]
    assert checksum in both.stdout, both.stderr
    assert "the model has the inputs vector, image; give a .npz file with an array for each" in wrong.stderr


def test_what_is_no_benchmark(two, made, tmp_path):
    def refused(match, target="icebreaker", **options):
        with pytest.raises(BitfabricError, match=match) as told:
            build(two / "model.onnx", target, tmp_path / "b", stop_after="fold", fps=1e5, **options)
        assert "\n" not in str(told.value)

    refused("is for the image of a board, and lfe5u-12f is a bare device", "lfe5u-12f", benchmark_frames=4)
    refused("must be 0, or lie between 2 and 65,535", benchmark_frames=1)
    refused(r"needs about \d+ block RAMs beside the \d+ of the design, and ice40up5k has 30; give at most \d+",
            benchmark_frames=60_000)  # fmt: skip
    plain = build(two / "model.onnx", "ulx3s-12f", tmp_path / "p", stop_after="fold", fps=1e5)
    with pytest.raises(BitfabricError, match="has no benchmark; build it for a board with --benchmark-frames"):
        plain.benchmark(load_arrays(two / "x.npz"), 10)
    done = CliRunner().invoke(app, ["run", str(made.folder), "--input", str(two / "x.npz"), "--benchmark", "9"])
    assert done.exit_code == 2
    assert "--benchmark goes with --engine board" in done.output
