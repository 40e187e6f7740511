"""Networks on small devices and boards: whole builds down to the netlist, and the bitstream."""

import re
import subprocess
import sys

import numpy as np
import onnx
import pytest

from flows import build
from flows.accelerator import Accelerator
from flows.engines import program
from flows.estimates import estimate_build, pareto
from flows.frames import score
from flows.soft_errors import sweep
from hw.boards import driver_folder
from hw.boards.pty_board import PtyBoard
from hw.boards.virtual import VirtualBoard
from hw.host.driver import Driver
from hw.host.errors import BitfabricError
from hw.synth import netlist, nextpnr
from quant import TrainConfig, train_run
from tests.builders.qonnx_builder import Builder


def test_a_network_on_an_icebreaker(small, tmp_path):
    made = build(small / "model.onnx", "icebreaker", tmp_path, fps=1e6, clock_mhz=36, netlist_frames=8)
    assert made.report.fmax_mhz.placed >= made.report.clock_mhz == 36
    assert made.report.verified["netlist"].stage == "placed"
    assert made.report.verified["netlist"].frames == 8
    assert made.bitstream.stat().st_size > 50_000
    assert (tmp_path / "driver" / "model.json").exists()
    x = np.load(small / "x.npy")[:3]
    np.testing.assert_array_equal(made.run(x, "netlist"), made.run(x, "qonnx"))


@pytest.mark.slow
def test_a_network_on_an_ice40_without_a_board(small, tmp_path):
    made = build(small / "model.onnx", "ice40up5k", tmp_path, fps=1e6, netlist_frames=8)
    assert made.report.verified["netlist"].stage == "placed"
    assert made.report.fmax_mhz.placed >= made.report.clock_mhz == 40
    assert made.bitstream is None


@pytest.mark.slow
def test_a_network_on_a_gowin_without_a_board(small, tmp_path):
    made = build(small / "model.onnx", "gw1nr-9c", tmp_path, fps=1e6, netlist_frames=8)
    assert made.report.verified["netlist"].stage == "mapped"
    assert made.report.fmax_mhz.placed >= made.report.clock_mhz == 75


def test_a_network_for_7_series_is_compared_after_synthesis(small, tmp_path):
    made = build(small / "model.onnx", "xc7z020", tmp_path, fps=1e6, netlist_frames=8, rtl_frames=8)
    checked = made.report.verified["netlist"]
    assert (checked.stage, checked.path, checked.frames, checked.mismatches) == (
        "mapped",
        "synthesise/accelerator.json",
        8,
        0,
    )
    assert made.report.fmax_mhz.placed is None
    assert made.report.stopped_after is None
    assert [step.name for step in made.report.steps][-2:] == ["synthesise", "netlist"]
    x = np.load(small / "x.npy")[:3]
    np.testing.assert_array_equal(Accelerator(tmp_path).run(x, "netlist"), made.run(x, "qonnx"))


@pytest.mark.slow
def test_an_image_for_an_amd_board_is_compared_after_synthesis_where_its_tools_are_missing(
    small, tmp_path, monkeypatch
):
    monkeypatch.setattr(nextpnr, "missing", lambda device: "no tools")
    made = build(small / "model.onnx", "arty-a7-35", tmp_path, fps=1e6, netlist_frames=4, rtl_frames=2)
    checked = made.report.verified["netlist"]
    assert (checked.stage, checked.frames, checked.mismatches) == ("mapped", 4, 0)
    assert made.report.bitstream is None
    assert made.report.warnings[-1] == "no bitstream is made: no tools"
    _, module = netlist.load(tmp_path / "synthesise" / "image.json")
    kinds = {cell["type"] for cell in module["cells"].values()}
    assert not {kind for kind in kinds if re.match("DSP|SRL|RAM(?!B18)|LUT6_2|PLL|MMCM", kind)}
    with pytest.raises(BitfabricError, match="arty-a7-35 cannot be placed: no tools"):
        build(small / "model.onnx", "arty-a7-35", tmp_path, fps=1e6, rtl_frames=2, stop_after="place")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A trained tfc-w1a1 with its test frames."""
    run = tmp_path_factory.mktemp("digits")
    train_run("tfc-w1a1", run, TrainConfig(epochs=30), progress=False)
    return run


@pytest.mark.slow
@pytest.mark.parametrize(("board", "fmax", "stage"), [("icebreaker", 40, "placed"), ("tangnano9k", 75, "mapped")])
def test_digits_on_the_smallest_boards(digits, tmp_path, board, fmax, stage):
    frames, labels = digits / "x_test.npy", digits / "y_test.npy"
    made = build(digits / "model.onnx", board, tmp_path, frames=frames, labels=labels, netlist_frames=16)
    report = made.report
    assert report.fmax_mhz.placed >= fmax
    assert {name: check.mismatches for name, check in report.verified.items()} == dict.fromkeys(
        ("qonnx", "emulator", "rtl", "netlist"), 0
    )
    assert report.verified["rtl"].accuracy > 0.93
    assert report.verified["netlist"].stage == stage
    assert made.bitstream.stat().st_size > 50_000


@pytest.fixture(scope="module")
def simulated(small, tmp_path_factory):
    """A build for a board up to the RTL's simulation."""
    return build(small / "model.onnx", "ulx3s-12f", tmp_path_factory.mktemp("build"), fps=1e6, stop_after="simulate")


def test_the_board_engine_and_the_driver_that_a_build_leaves_give_what_the_model_gives(small, simulated, tmp_path):
    x = np.load(small / "x.npy")
    expected = simulated.run(x, "qonnx")
    folder = driver_folder.write(tmp_path / "driver", simulated.implementation.interface())
    alone = f"import sys, runpy; sys.argv = [{str(folder)!r}, *sys.argv[1:]]; "
    alone += f"runpy.run_path({str(folder)!r}, run_name='__main__'); "
    alone += "assert not {'hw', 'qonnx', 'onnx', 'torch'} & {m.partition('.')[0] for m in sys.modules}"
    seen, counters = [], {}
    with VirtualBoard(simulated.image) as board, PtyBoard(board) as terminal:
        got = simulated.run(x, "board", port=terminal.port, progress=lambda *done: seen.append(done), counters=counters)
        np.testing.assert_array_equal(got, expected)
        options = [small / "x.npy", "-o", tmp_path / "y.npy", "--port", terminal.port]
        subprocess.run([sys.executable, "-c", alone, *options], cwd=tmp_path, check=True, timeout=120)
        np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), expected)
        np.save(tmp_path / "bad.npy", x[:, :5])
        command = [sys.executable, folder, tmp_path / "bad.npy", "--port", terminal.port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 1
        assert done.stderr.startswith("error: the model takes frames of shape (N, 12)")
        assert done.stderr.count("\n") == 1
    assert seen[-1] == (len(x), len(x))
    # On a busy machine the host may have to send frames again.
    assert len(x) <= counters["frames"] <= len(x) + counters["resent"]
    assert counters["errors"] == 0
    assert "parity_errors" not in counters
    assert counters["cycles"] >= simulated.cycles.latency.simulated
    with pytest.raises(BitfabricError, match="cannot open"):
        simulated.run(x, "board", port="/dev/nothing")


def test_the_rate_of_the_host_link_stands_beside_that_of_the_core(small, simulated):
    report = simulated.report
    link = report.host_link
    x = np.load(small / "x.npy")
    clocks = []
    with VirtualBoard(simulated.image) as board:
        interface = simulated.implementation.interface()
        driver = Driver(board, interface.input_formats, interface.output_formats, interface.model, timeout=0.001)
        (frames,) = interface.encode(x)
        for some in (frames, np.concatenate([frames, frames])):
            before = board.clocks
            driver.run(some)
            clocks.append(board.clocks - before)
    measured = (clocks[1] - clocks[0]) / len(x)
    assert link.clock_mhz * 1e6 / link.fps == pytest.approx(measured, rel=0.01)
    assert (link.baud, link.slots) == (simulated.image.transport.baud, driver.identity.slots)
    assert link.core_fps == report.fps == 1e8 / report.cycles.interval.estimated > link.fps
    estimated = estimate_build(small / "model.onnx", "ulx3s-12f", fps=1e6)
    assert estimated["host_link"] == link.to_json()
    assert estimate_build(small / "model.onnx", "lfe5u-12f", fps=1e6)["host_link"] is None
    page = simulated.write_report().read_text()
    for text in (page, simulated._repr_html_()):
        assert f"{link.fps:,.0f}" in text
        assert "host link" in text
    line = pareto(small / "model.onnx", "ulx3s-12f")["host_link_fps"]
    assert line >= link.fps
    beyond = estimate_build(small / "model.onnx", "ulx3s-12f", fps=1e6, clock_mhz=900)
    assert beyond["host_link"] is None
    assert "no image can be made: no PLL setting for 900 MHz" in beyond["warnings"][0]


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """A network whose first layer's weights, folded enough, are in block RAM; and frames for it."""
    folder = tmp_path_factory.mktemp("deep")
    rng = np.random.default_rng(8)
    model = Builder((1, 128))
    x = model.quant("x", 1.0, 2, signed=0)
    for inputs, outputs in ((128, 16), (16, 4)):
        x = model.node("MatMul", x, model.node("BipolarQuant", rng.normal(size=(inputs, outputs)), 1.0))
        x = model.node("BipolarQuant", x, 1.0) if outputs == 16 else x
    onnx.save(model.model((x, (1, 4))), folder / "model.onnx")
    np.save(folder / "x.npy", rng.integers(0, 4, (6, 128)).astype(np.float32))
    return folder


def test_an_image_with_parity_says_so_and_counts(deep, small, tmp_path):
    options = {"fps": 75e6 / 256, "stop_after": "rtl"}
    plain = build(deep / "model.onnx", "ulx3s-12f", tmp_path / "build", **options)
    files = {p.name: p.read_bytes() for p in (tmp_path / "build" / "rtl").iterdir()}
    made = build(deep / "model.onnx", "ulx3s-12f", tmp_path / "build", parity=True, **options)
    assert (plain.report.parity, made.report.parity) == (False, True)
    assert [layer.parity for layer in made.report.layers].count(True) == 1
    assert not any(layer.parity for layer in plain.report.layers)
    assert made.cycles == plain.cycles
    again = {p.name: p.read_bytes() for p in (tmp_path / "build" / "rtl").iterdir()}
    assert {name for name in files if files[name] != again[name]} >= {"accelerator.sv"}
    x = np.load(deep / "x.npy")
    counters = {}
    with VirtualBoard(made.image) as board, PtyBoard(board) as terminal:
        np.testing.assert_array_equal(
            made.run(x, "board", port=terminal.port, counters=counters), plain.run(x, "qonnx")
        )
    # On a busy machine the host may have to send frames again.
    assert len(x) <= counters["frames"] <= len(x) + counters["resent"]
    assert counters["parity_errors"] == 0
    with pytest.raises(BitfabricError, match="has none as folded"):
        estimate_build(small / "model.onnx", "ulx3s-12f", fps=1e6, parity=True)
    more, less = (estimate_build(deep / "model.onnx", "ulx3s-12f", fps=75e6 / 256, parity=p) for p in (True, False))
    assert more["resources"]["lut"]["estimated"] > less["resources"]["lut"]["estimated"]


OWN = """
name: mine
device: lfe5u-12f
clock: {pin: G2, mhz: 50}
uart: {rx: M1, tx: L4, max_baud: 921600}
leds: [B2]
"""


def test_a_board_file_of_the_users_own_stays_with_the_build(small, tmp_path):
    (tmp_path / "mine.yaml").write_text(OWN)
    first = build(small / "model.onnx", str(tmp_path / "mine.yaml"), tmp_path / "b", fps=1e6, stop_after="rtl")
    assert first.image.transport.baud == 921600
    (tmp_path / "mine.yaml").write_text(OWN.replace("921600", "115200"))
    again = build(small / "model.onnx", str(tmp_path / "mine.yaml"), tmp_path / "b", fps=1e6, stop_after="rtl")
    assert {step.name for step in again.report.steps if step.cached} == {"lower", "emulate"}
    (tmp_path / "mine.yaml").unlink()
    assert again.image.transport.baud == 115200
    elsewhere = build(small / "model.onnx", "lfe5u-12f", tmp_path / "b", fps=1e6, stop_after="rtl")
    assert elsewhere.target.board is None
    with pytest.raises(BitfabricError, match="no image for a board"):
        _ = elsewhere.image


def test_flipped_bits_change_outputs_and_none_change_nothing(small, simulated):
    x, y = np.load(small / "x.npy"), np.load(small / "y.npy")
    result = sweep(simulated, x, y, [0, 200], trials=3)
    none, many = result["rows"]
    right = score(simulated.run(x), y)
    assert none == {
        "flips": 0,
        "changed": {"mean": 0, "least": 0, "greatest": 0},
        "accuracy": dict.fromkeys(("mean", "least", "greatest"), right),
    }
    assert many["changed"]["least"] > 0
    assert result["layers"]["fc0"] == 12 * 8
    assert set(sweep(simulated, x, None, [1], trials=1)["rows"][0]) == {"flips", "changed"}
    with pytest.raises(BitfabricError, match="bits to flip"):
        sweep(simulated, x, y, [10**6])


def test_flipped_bits_depend_on_the_seed_and_their_number_alone(small, simulated):
    x, y = np.load(small / "x.npy"), np.load(small / "y.npy")
    alone = sweep(simulated, x, y, [20], trials=2, seed=3)["rows"][0]
    listed = sweep(simulated, x, y, [1, 20, 5, 20], trials=2, seed=3)["rows"]
    assert alone == listed[1] == listed[3]
    assert alone != sweep(simulated, x, y, [20], trials=2, seed=4)["rows"][0]


SAID = [
    (127, "x: error while loading shared libraries: libusb-1.0.so.0: cannot open", "apt-get install libusb-1.0-0"),
    (1, "empty\nunable to open ftdi device: -3 (device not found)", "no board found"),
    (1, "unable to open ftdi device: -4 (unable to open device)", "udev rules"),
    (1, "DFU init failed with: No DFU compatible device found", "no board found"),
    (3, "Fatal: something else", "openFPGALoader: Fatal: something else"),
]


@pytest.mark.parametrize(("status", "said", "told"), SAID)
def test_a_programmer_that_fails_is_explained(simulated, tmp_path, monkeypatch, status, said, told):
    bit = tmp_path / "image.bit"
    bit.write_bytes(b"x")
    (tmp_path / "openFPGALoader").write_text(f"#!/bin/sh\necho '{said}' >&2\nexit {status}\n")
    (tmp_path / "openFPGALoader").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BitfabricError, match="cannot program ulx3s: ") as caught:
        program.program(bit, simulated.target)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    (tmp_path / "openFPGALoader").write_text('#!/bin/sh\necho "$@"\n')
    assert program.program(bit, simulated.target, flash=True) == f"-b ulx3s -f {bit}"


def test_what_cannot_be_programmed(simulated, tmp_path, monkeypatch):
    with pytest.raises(BitfabricError, match="has no bitstream"):
        simulated.program()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(program, "find_spec", lambda name: None)
    with pytest.raises(BitfabricError, match=r"pip install .bitfabric\[boards\]"):
        program.loader()
