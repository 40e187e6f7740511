"""Builds of lookup networks."""

import onnx
import pytest

from flows.estimates import estimate_build
from flows.pipeline import build
from hw.host.errors import BitfabricError
from tests.builders.lookup_models import LookupModel

TARGET = "lfe5u-85f"
SPEC = LookupModel(layers=((24, 4), (12, 3)), features=6, levels=3, bits=4, seed=3, end="arg max", temperature=3.0)

LARGE = LookupModel(layers=((1000, 4),), features=32, levels=3, bits=4, seed=3, end="arg max", classes=10)


def saved(spec: LookupModel, folder) -> str:
    path = str(folder / "model.onnx")
    onnx.save(spec.model(), path)
    return path


def test_a_lookup_network_is_built_and_counted(tmp_path):
    path = saved(SPEC, tmp_path)
    made = build(path, TARGET, tmp_path / "out", stop_after="simulate", rtl_frames=32)
    report = made.report
    assert {name: check.mismatches for name, check in report.verified.items()} == dict.fromkeys(
        ("onnxruntime", "emulator", "rtl"), 0
    )
    assert (report.cycles.interval.estimated, report.cycles.interval.simulated) == (1, 1)
    assert report.cycles.latency.simulated == report.cycles.latency.estimated
    assert [layer.operator for layer in report.layers if layer.operator != "fifo"] == ["lookup_network"]
    directed, removal = report.verified["emulator"].directed, report.verified["emulator"].removal
    assert directed.layers == 5 - 1
    assert directed.covered == directed.decision_points > 0
    assert removal.layers == 5
    assert report.lookup is not None
    assert report.removed is not None
    left = {each.name: each.channels - each.constant - each.equal - each.unused for each in report.removed.layers}
    assert report.lookup.tables <= left.get("lookup0", 24) + left.get("lookup1", 12)
    assert report.lookup.encoder_bits == left.get("thermometer0", 18)
    page = made.write_report().read_text()
    assert report.lookup.summary.startswith(f"{report.lookup.tables} tables, ")
    assert f'<dd class="value">{report.lookup.tables}</dd>' in page
    assert f'<dd class="what">of the network: {report.lookup.bits}</dd>' in page


def test_an_estimate_states_the_tables(tmp_path):
    found = estimate_build(saved(SPEC, tmp_path), TARGET)["lookup"]
    assert found["table_bits"] <= 24 * 16 + 12 * 8
    assert found["encoder_bits"] <= 18


def test_a_low_rate_is_built_with_a_fraction_of_the_logic(tmp_path):
    """A table a cycle where a thousand frames a second are asked for, and a frame a cycle where no rate is."""
    path = saved(LARGE, tmp_path)
    slow, fast = (estimate_build(path, "gw1nr-9c", fps=fps) for fps in (1000, None))
    assert [layer["operator"] for layer in slow["layers"]] == ["folded_lookup_network"]
    assert [layer["operator"] for layer in fast["layers"]] == ["lookup_network"]
    assert 4 * slow["resources"]["lut"]["estimated"] < fast["resources"]["lut"]["estimated"]
    checked = build(path, "gw1nr-9c", tmp_path / "out", fps=1000, stop_after="emulate").report.verified
    assert {name: check.mismatches for name, check in checked.items()} == {"onnxruntime": 0, "emulator": 0}


@pytest.mark.slow
@pytest.mark.parametrize(("board", "stage"), [("icebreaker", "placed"), ("tangnano9k", "mapped")])
def test_a_folded_network_on_a_board(tmp_path, board, stage):
    report = build(saved(LARGE, tmp_path), board, tmp_path / "out", fps=1000, netlist_frames=8).report
    assert report.folding["thermometer0"]["implementation"] == "folded_lookup_network"
    assert {name: check.mismatches for name, check in report.verified.items()} == dict.fromkeys(
        ("onnxruntime", "emulator", "rtl", "netlist"), 0
    )
    assert report.verified["netlist"].stage == stage
    assert report.cycles.interval.simulated == report.cycles.interval.estimated > 500
    assert report.cycles.latency.simulated == report.cycles.latency.estimated


def test_a_network_without_an_effect_is_refused(tmp_path):
    constant = LookupModel(features=1, levels=1, bits=1, layers=((3, 2),), seed=2)
    path = saved(constant, tmp_path)
    with pytest.raises(BitfabricError, match="no output depends on any input: the tables of lookup0"):
        estimate_build(path, TARGET)
    with pytest.raises(BitfabricError, match="no output depends on any input: the tables of lookup0"):
        build(path, TARGET, tmp_path / "out")
    assert not (tmp_path / "out" / "build.json").exists()
