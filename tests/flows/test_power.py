"""The power figure of a build: counted by layer, estimated by published coefficients, called an estimate."""

import numpy as np
import pytest

from flows import Accelerator, build
from flows.explore.finish import counted_energy
from hw.families.ice40.energy import ENERGY
from hw.host.errors import UsageError


@pytest.fixture(scope="module")
def counted(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("power") / "build"
    options = {"fps": 1e6, "stop_after": "synthesise", "netlist_frames": 8, "rtl_frames": 2, "power": True}
    return build(small / "model.onnx", "ice40up5k", folder, frames=small / "x.npy", **options)


def test_every_layer_has_its_activity_and_the_sum_is_the_formula(counted):
    power, interval, clock = counted.report.power, counted.report.cycles.interval.estimated, counted.report.clock_mhz
    assert [layer.name for layer in power.layers] == [*(node.name for node in counted.hardware), "(rest)"]
    assert power.frames == 8
    # More than once a cycle and layer, and not more than each net in each cycle.
    assert all(0 < layer.toggles <= layer.transitions for layer in power.layers)
    clocked = sum(layer.clocked for layer in power.layers)
    assert clocked >= counted.resources.ff.used
    transitions = sum(layer.transitions for layer in power.layers)
    np.testing.assert_allclose(power.transitions, transitions + 2 * interval * clocked, rtol=1e-12)
    layers_pj = clocked * interval * ENERGY.clocked_pj + transitions * ENERGY.transition_pj
    frame_pj = layers_pj + interval * ENERGY.cycle_pj + ENERGY.static_mw * 1e3 * interval / clock
    np.testing.assert_allclose(power.estimate.microjoules, frame_pj / 1e6, rtol=1e-9)
    np.testing.assert_allclose(power.estimate.milliwatts, frame_pj * clock / interval / 1e3, rtol=1e-9)
    assert "estimated" in power.summary


def test_a_study_has_the_counted_energy_at_its_own_rate(counted):
    report, power = counted.report, counted.report.power
    full = counted_energy(report, power, ENERGY, report.fps)
    np.testing.assert_allclose(full, power.estimate.microjoules, rtol=1e-9)
    np.testing.assert_allclose(counted_energy(report, power, None, report.fps), power.transitions, rtol=1e-9)
    # Between frames the clock runs, and nothing else changes.
    clocked, cycles = sum(layer.clocked for layer in power.layers), report.clock_mhz * 1e6 * (2 / report.fps)
    waiting = cycles / 2 * (clocked * ENERGY.clocked_pj + ENERGY.cycle_pj + ENERGY.static_mw * 1e3 / report.clock_mhz)
    np.testing.assert_allclose(counted_energy(report, power, ENERGY, report.fps / 2), full + waiting / 1e6, rtol=1e-9)
    rest = power.transitions + cycles * clocked
    np.testing.assert_allclose(counted_energy(report, power, None, report.fps / 2), rest, rtol=1e-9)


def test_the_figure_is_read_again_and_shown_as_an_estimate(counted):
    again = Accelerator(counted.folder)
    assert again.report.power == counted.report.power
    page = again.write_report().read_text()
    assert "Energies are estimates" in page
    assert f"{again.report.power.estimate.milliwatts:.3g}" in page


def test_power_needs_a_netlist(small, tmp_path):
    with pytest.raises(UsageError, match=r"--power counts the toggles of a netlist; give no --stop-after before synth"):
        build(small / "model.onnx", "ice40up5k", tmp_path, stop_after="simulate", power=True)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["icebreaker", "xc7z020"])
def test_a_board_counts_its_accelerator_alone_and_other_devices_have_no_energies(small, counted, tmp_path, target):
    options = {"fps": 1e6, "stop_after": "synthesise", "netlist_frames": 8, "rtl_frames": 2, "power": True}
    other = build(small / "model.onnx", target, tmp_path, frames=small / "x.npy", clock_mhz=40, **options)
    if target == "icebreaker":
        assert other.report.power.layers == counted.report.power.layers
    else:
        assert other.report.power.estimate is None
        assert "no estimate in mW" in other.report.power.summary
