"""Networks on small devices and boards: whole builds down to the netlist, and the bitstream."""

import numpy as np
import pytest

from flows.build import build
from quant.train import train_run


def test_a_network_on_an_ice40_without_a_board(small, tmp_path):
    made = build(small / "model.onnx", "ice40up5k", tmp_path, fps=1e6, frames=small / "x.npy", netlist_frames=8)
    assert made.report["clock_mhz"] == 40
    assert made.report["fmax_mhz"] >= 40
    assert made.report["verified"]["netlist"]["stage"] == "placed"
    assert made.report["verified"]["netlist"]["frames"] == 8
    assert made.bitstream is None
    x = np.load(small / "x.npy")[:3]
    np.testing.assert_array_equal(made.run(x, "netlist"), made.run(x, "qonnx"))


@pytest.mark.slow
def test_a_network_on_a_gowin_without_a_board(small, tmp_path):
    made = build(small / "model.onnx", "gw1nr-9c", tmp_path, fps=1e6, netlist_frames=8)
    assert made.report["verified"]["netlist"]["stage"] == "mapped"
    assert made.report["fmax_mhz"] >= made.report["clock_mhz"] == 75


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A trained tfc-w1a1 with its test frames."""
    run = tmp_path_factory.mktemp("digits")
    train_run("tfc-w1a1", data="digits", epochs=30, seed=0, out=run, progress=False)
    return run


@pytest.mark.slow
@pytest.mark.parametrize(("board", "fmax", "stage"), [("icebreaker", 40, "placed"), ("tangnano9k", 75, "mapped")])
def test_digits_on_the_smallest_boards(digits, tmp_path, board, fmax, stage):
    frames, labels = digits / "x_test.npy", digits / "y_test.npy"
    made = build(digits / "model.onnx", board, tmp_path, frames=frames, labels=labels, netlist_frames=16)
    report = made.report
    assert report["fmax_mhz"] >= fmax
    assert {name: check["mismatches"] for name, check in report["verified"].items()} == dict.fromkeys(
        ("qonnx", "emulator", "rtl", "netlist"), 0
    )
    assert report["verified"]["rtl"]["accuracy"] > 0.93
    assert report["verified"]["netlist"]["stage"] == stage
    assert made.bitstream.stat().st_size > 50_000
