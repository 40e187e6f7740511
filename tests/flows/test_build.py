import json
import re
import shutil

import numpy as np
import pytest

from flows import build, step_cache
from flows.accelerator import Accelerator
from flows.build_report import BuildReport
from flows.estimates import estimate_build
from hw.host.errors import BitfabricError, UsageError
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.synth import yosys


@pytest.fixture(scope="module")
def simulated(small, tmp_path_factory):
    """A build up to the RTL's simulation."""
    out = tmp_path_factory.mktemp("build")
    options = {"frames": small / "x.npy", "labels": small / "y.npy"}
    return build(small / "model.onnx", "ulx3s-12f", out, fps=5e6, stop_after="simulate", **options)


def test_engines_agree_and_cycles_are_as_estimated(small, simulated):
    x = np.load(small / "x.npy")
    expected = simulated.run(x, "qonnx")
    for engine in ("emulator", "rtl", "finn"):
        np.testing.assert_array_equal(simulated.run(x, engine), expected)
    for _, count in simulated.cycles:
        assert count.estimated == count.simulated
    assert simulated.cycles.interval.simulated <= 20  # 100 MHz for 5 million frames a second


def test_the_report_is_whole(simulated):
    report = simulated.report
    assert report == BuildReport.model_validate_json((simulated.folder / "build.json").read_text())
    assert report.stopped_after == "simulate"
    assert [step.name for step in report.steps] == ["lower", "fold", "emulate", "rtl", "simulate"]
    assert {engine: check.mismatches for engine, check in report.verified.items()} == dict.fromkeys(
        ("qonnx", "emulator", "rtl"), 0
    )
    assert report.verified["rtl"].frames >= 64
    assert {name for name, _ in report.resources} == {"lut", "ff", "bram", "dsp"}
    assert report.bitstream is None
    for path in report.products.values():
        assert (simulated.folder / path).exists()


def test_a_second_build_does_nothing_again(small, simulated, tmp_path):
    shutil.copytree(simulated.folder, tmp_path / "b")
    options = {"frames": small / "x.npy", "labels": small / "y.npy", "stop_after": "simulate"}
    again = build(small / "model.onnx", "ulx3s-12f", tmp_path / "b", fps=5e6, **options)
    assert all(step.cached for step in again.report.steps)
    (tmp_path / "one.json").write_text("{}")
    slower = build(small / "model.onnx", "ulx3s-12f", tmp_path / "b", folding=tmp_path / "one.json", **options)
    assert {s.name for s in slower.report.steps if s.cached} == {"lower"}
    assert slower.cycles.interval.simulated > simulated.cycles.interval.simulated


def test_an_interrupted_build_goes_on(small, simulated, tmp_path, monkeypatch):
    def interrupt(self, step):
        if step.name == "simulate":
            raise KeyboardInterrupt
        return original(self, step)

    original = step_cache.StepCache.run
    with monkeypatch.context() as patch:
        patch.setattr(step_cache.StepCache, "run", interrupt)
        with pytest.raises(KeyboardInterrupt):
            build(small / "model.onnx", "ulx3s-12f", tmp_path, fps=5e6, stop_after="simulate")
    with pytest.raises(BitfabricError, match="no finished build; go on with the same"):
        Accelerator(tmp_path)
    finished = build(small / "model.onnx", "ulx3s-12f", tmp_path, fps=5e6, stop_after="simulate")
    assert {s.name for s in finished.report.steps if not s.cached} == {"simulate"}


def test_estimate_is_what_the_build_estimates(small, simulated):
    result = estimate_build(small / "model.onnx", "ulx3s-12f", fps=5e6)
    for name, cycles in result["cycles"].items():
        assert cycles == getattr(simulated.cycles, name).simulated
    assert result["folding"] == simulated.report.folding


def test_a_folding_file_is_obeyed(small, tmp_path):
    first = next(iter(estimate_build(small / "model.onnx", "xc7z020")["folding"]))
    table = {"Defaults": {}, first: {"PE": 2}}
    (tmp_path / "f.json").write_text(json.dumps(table))
    result = estimate_build(small / "model.onnx", "xc7z020", folding=tmp_path / "f.json")
    assert result["folding"][first]["PE"] == 2


def test_a_wrong_rtl_is_caught_with_frame_layer_and_element(small, tmp_path, monkeypatch):
    original = MatrixVector.rtl

    def wrong(self, family):
        rtl = original(self, family)
        for made in rtl.memories.values():
            for memory in made if isinstance(made, tuple) else (made,):
                memory.words[-1] ^= (1 << memory.width) - 1
        return rtl

    monkeypatch.setattr(MatrixVector, "rtl", wrong)
    with pytest.raises(BitfabricError, match=r"RTL differs .* behind layer fc0 \(.*\): frame \d+, element \[\d+\]: "):
        build(small / "model.onnx", "ulx3s-12f", tmp_path, fps=1e6, stop_after="simulate")
    assert not (tmp_path / "build.json").exists()


@pytest.mark.slow
def test_the_whole_way_to_the_bitstream(small, tmp_path):
    made = build(
        small / "model.onnx", "ulx3s-12f", tmp_path / "a", fps=1e6, frames=small / "x.npy", labels=small / "y.npy"
    )
    assert made.report.verified["netlist"].mismatches == 0
    assert made.report.verified["netlist"].frames >= 8
    assert made.report.fmax_mhz.placed >= made.report.clock_mhz
    assert made.bitstream.stat().st_size > 0
    x = np.load(small / "x.npy")[:9]
    np.testing.assert_array_equal(made.run(x, "netlist"), made.run(x, "qonnx"))
    again = build(small / "model.onnx", "ulx3s-12f", tmp_path / "b", fps=1e6)
    assert again.report.bitstream.sha256 == made.report.bitstream.sha256
    reopened = Accelerator(tmp_path / "a")
    np.testing.assert_array_equal(reopened.run(x, "netlist"), made.run(x, "qonnx"))
    paths = reopened.report.timing_paths
    assert paths.slowest[0].delay_ns == pytest.approx(1000 / made.report.fmax_mhz.placed, rel=1e-3)
    assert min(paths.pairs, 10) == len(paths.slowest) == len({(path.start, path.end) for path in paths.slowest})
    assert {path.start for path in paths.slowest} <= {layer.name for layer in made.report.layers}
    assert not list((tmp_path / "a").rglob("*.sdf"))
    page = reopened.write_report().read_text()
    assert page.count(f"<td>{paths.slowest[0].delay_ns:.2f}</td>") >= 1
    assert f"the {len(paths.slowest)} slowest of {paths.pairs}" in page or f"all {paths.pairs} pairs" in page
    placed = tmp_path / "a" / "place" / "image.placed.json"
    placed.write_bytes(placed.read_bytes().replace(b"1", b"0", 1))
    with pytest.raises(UsageError, match=r"place/image\.placed\.json was changed"):
        Accelerator(tmp_path / "a")
    shorter = build(small / "model.onnx", "ulx3s-12f", tmp_path / "b", fps=1e6, stop_after="rtl")
    assert shorter.bitstream is None
    left = {path.name for path in (tmp_path / "b").iterdir()}
    assert left == {".lock", ".steps", "build.json", "lower", "fold", "rtl"}


@pytest.mark.slow
def test_a_clock_that_is_missed_names_the_layers_on_the_way_and_the_clock_that_would_do(small, tmp_path):
    with pytest.raises(BitfabricError, match=r"^lfe5u-12f: the placed design reaches [\d.]+ MHz, ") as caught:
        build(small / "model.onnx", "lfe5u-12f", tmp_path, fps=1e6, clock_mhz=400, force_clock=True)
    message = str(caught.value)
    found = re.search(
        r"reaches ([\d.]+) MHz, with the best of 3 seeds, not 400 MHz; critical path .*: (.*); build", message
    )
    stops = found[2].split(" -> ")
    layers = [layer["name"] for layer in json.loads((tmp_path / ".steps/fold.json").read_text())["result"]["layers"]]
    assert {stop.partition(" (")[0] for stop in stops} & set(layers)
    assert message.endswith(f"build with --clock {int(float(found[1]))}")
    assert "\n" not in message


def test_a_build_at_work_is_left_alone(small, tmp_path):
    import fcntl

    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BitfabricError, match="another build is at work"):
            build(small / "model.onnx", "ulx3s-12f", tmp_path)


BAD = [
    ({"target": "ulx3s-99f"}, 2, "no target 'ulx3s-99f'"),
    ({"target": "nix.yaml"}, 2, "no board file nix.yaml"),
    ({"fps": 1e12}, 2, "at most .* frames/s are possible"),
    ({"fps": -1}, 2, "must be positive"),
    ({"fps": 1, "folding": "f.json"}, 2, "exclude each other"),
    ({"folding": "nix.json"}, 2, "no folding file"),
    ({"clock_mhz": 0}, 2, "between 1 and 1000 MHz"),
    ({"stop_after": "nix"}, 2, "the steps are lower, fold"),
    ({"labels": "y.npy"}, 2, "give --input"),
    ({"frames": "nix.npy"}, 2, "no frames file"),
    ({"frames": "model.onnx"}, 2, "not a whole .npy file"),
    ({"model": "nix.onnx"}, 2, "nix.onnx"),
    ({"model": "x.npy"}, 2, "x.npy"),
]


@pytest.mark.parametrize(("options", "status", "message"), BAD)
def test_bad_requests_are_one_line_and_leave_nothing(small, tmp_path, options, status, message):
    options = {k: small / v if k in ("folding", "frames", "labels", "model") else v for k, v in options.items()}
    model = options.pop("model", small / "model.onnx")
    with pytest.raises(BitfabricError, match=message) as caught:
        build(model, options.pop("target", "ulx3s-12f"), tmp_path / "out", **options)
    assert caught.value.status == status
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "build.json").exists()


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((8, 11), np.float32), r"frames of shape \(N, 12\), not \(8, 11\)"),
        (np.full((8, 12), np.nan, np.float32), "input x holds NaN or infinity in frame 0"),
        (np.array([["a"] * 12] * 8), "input x takes float32 numbers, not <U1"),
    ],
)
def test_frames_that_do_not_match_are_refused(small, simulated, frames, message):
    with pytest.raises(BitfabricError, match=message) as caught:
        simulated.run(frames)
    assert caught.value.status == 2


def test_a_network_too_big_says_by_how_much_and_what_would_fit(big, tmp_path, monkeypatch):
    monkeypatch.setattr(yosys, "synthesise", None)  # found by the estimate: a synthesis would fail
    with pytest.raises(BitfabricError, match=r"does not fit .*too many.*--fps \d+ .* is estimated to fit"):
        build(big / "model.onnx", "ulx3s-85f", tmp_path / "out", fps=5e6)
