"""Clock and fit, said before place and route: warnings, what ends a build, and what the default takes."""

from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
import torch
from typer.main import get_command

from flows import build
from flows.candidate import CLOCK_MARGIN, DEFAULT_UTILISATIONS
from flows.cli import render
from flows.cli.main import app
from flows.config import BuildConfig
from flows.estimates import estimate_build
from flows.explore.cost_table import CostTable
from flows.facts.design import Counts
from flows.planner import Plan
from flows.steps.place import Place
from hw.fabric.resources import Resources
from hw.folding import choose
from hw.folding.search import fits
from hw.host.errors import BitfabricError, UsageError
from hw.model import Model
from hw.synth import nextpnr, tool
from quant import create_model, export
from tests.golden.networks import _branches


def test_a_clock_above_the_estimated_fmax_is_a_warning_and_far_above_it_ends_a_build(small, tmp_path):
    model = small / "model.onnx"
    fmax = estimate_build(model, "lfe5u-12f", fps=1e6)["fmax_mhz"]["estimated"]
    near, far = round(1.2 * fmax), round(1.4 * fmax)
    for clock in (near, far):
        (warning,) = estimate_build(model, "lfe5u-12f", fps=1e6, clock_mhz=clock)["warnings"]
        assert warning.startswith(f"the clock of {clock} MHz is {clock / fmax:.2f} times the estimated Fmax of ")
        assert f"--clock {int(CLOCK_MARGIN * fmax)} is likely to be met" in warning
    assert estimate_build(model, "lfe5u-12f", fps=1e6)["warnings"] == []
    options = {"fps": 1e6, "stop_after": "fold"}
    made = build(model, "lfe5u-12f", tmp_path, clock_mhz=near, **options)
    assert made.report.warnings == tuple(estimate_build(model, "lfe5u-12f", fps=1e6, clock_mhz=near)["warnings"])
    for _ in range(2):  # also where the step is not run again
        with pytest.raises(BitfabricError, match=r"^lfe5u-12f: the clock of .*, and --force-clock places") as caught:
            build(model, "lfe5u-12f", tmp_path, clock_mhz=far, **options)
        assert "\n" not in str(caught.value)
    forced = build(model, "lfe5u-12f", tmp_path, clock_mhz=far, force_clock=True, **options)
    assert forced.report.clock_mhz == far
    assert len(forced.report.warnings) == 1


@pytest.mark.parametrize(("target", "by"), [("lfe5u-85f", "half"), ("lfe5u-45f", "most")])
def test_where_a_quarter_holds_nothing_the_default_takes_half_and_then_what_fits(big, target, by, capsys):
    plan = Plan(Model.open(big / "model.onnx"), BuildConfig(target))
    estimate = plan.estimate()
    assert estimate.choice.by == by
    used = choose.estimate_resources(plan.point.hardware, plan.device.family)
    for share, utilisation in DEFAULT_UTILISATIONS.items():
        assert fits(used, plan.best.budget(utilisation)) == (
            share in ("half", "most") if by == "half" else share == "most"
        )
        if share == by:
            break
    assert estimate.clock_mhz <= estimate.fmax_mhz  # a larger design than a quarter may miss the default clock
    assert estimate.warnings == ()
    interval = max(node.kernel.interval for node in plan.point.hardware)
    slower, faster = estimate.choice.slower, estimate.choice.faster
    assert slower.interval >= 1.05 * interval
    assert faster.interval <= interval / 1.05
    assert slower.fps < estimate.fps < faster.fps
    render.estimated(estimate_build(plan.model, target))
    said = capsys.readouterr().out
    assert f"next slower: {slower.fps:,.0f} frames/s" in said
    assert f"next faster: {faster.fps:,.0f} frames/s" in said
    assert "quarter holds none" in said or "half of the device holds none" in said


def test_the_default_says_a_quarter_where_a_quarter_holds_the_design(small):
    assert estimate_build(small / "model.onnx", "lfe5u-12f")["choice"]["by"] == "quarter"
    asked = estimate_build(small / "model.onnx", "lfe5u-12f", fps=1e6)["choice"]
    assert asked == {"by": "rate", "in_dsps": False, "slower": None, "faster": None}


@pytest.fixture(scope="module")
def branches(tmp_path_factory):
    """A network with fewer lookup tables and flip-flops than an iCE40 has, and more logic cells."""
    path = tmp_path_factory.mktemp("branches") / "branches.onnx"
    onnx.save(_branches(), path)
    return path


def test_logic_cells_are_counted_as_the_packer_fills_them(branches, tmp_path):
    found = estimate_build(branches, "ice40up5k", clock_mhz=20)
    cells, used = found["logic_cells"], found["resources"]
    assert max(used["lut"]["estimated"], used["ff"]["estimated"]) < cells["available"] == 5280 < cells["estimated"]
    assert found["choice"]["by"] == "smallest"
    assert found["warnings"][0].startswith(f"the estimate does not fit the device: ICESTORM_LC {cells['estimated']} of")
    build(branches, "ice40up5k", tmp_path, clock_mhz=20, stop_after="fold")  # what is not placed goes on
    with pytest.raises(BitfabricError, match=r"does not fit ice40up5k as folded: .* it is still ICESTORM_LC \d+ of"):
        build(branches, "ice40up5k", tmp_path, clock_mhz=20)


LOG = """\
Info: Device utilisation:
Info: 	         ICESTORM_LC:    5804/   5280   109%
Info: 	        ICESTORM_RAM:      30/     30   100%
ERROR: {}
"""
FULL = ["Failed to expand region (0, 0) |_> (25, 31) of 5822 ICESTORM_LCs",
        "Unable to place cell 'a_LC', no BELs remaining to implement cell type 'ICESTORM_LC'",
        "Unable to find legal placement for all cells, design is probably at utilisation limit."]  # fmt: skip


@pytest.mark.parametrize("said", FULL)
def test_the_packers_message_becomes_layers_and_a_rate_that_fits(small, tmp_path, monkeypatch, said):
    """A message of nextpnr with the real one's words; the design itself is small."""

    def full(commands, folder, what, jobs):
        for _, log in commands:
            log.write_text(LOG.format(said))
        raise BitfabricError(f"{what} failed: {said}; log: {commands[0][1]}")

    monkeypatch.setattr(tool, "run_all", full)
    monkeypatch.setattr(nextpnr.tool, "command", lambda tools: ["nextpnr"])
    monkeypatch.setattr(nextpnr.ports, "prepare", lambda netlist, source, *_: (source.write_text("{}"), 1000))
    plan = Plan(Model.open(small / "model.onnx"), BuildConfig("ice40up5k", fps=1e6))
    made = SimpleNamespace(
        image=None, clock_mhz=40.0, device=plan.device, folder=tmp_path, hardware=plan.point.hardware
    )
    layers = {name: Counts(lut=n, ff=n, bram=0, dsp=0) for n, name in enumerate(("least", "third", "second", "first"))}
    synthesised = SimpleNamespace(netlist="image.json", layers=layers, logic_cells=5700)
    with pytest.raises(BitfabricError, match=r"^the design does not fit ice40up5k: ICESTORM_LC 5804 of 5280") as caught:
        Place(made, plan, synthesised, (1,)).run(Path(tmp_path / "out"))
    message = str(caught.value)
    assert "its largest layers are first (3 LUT, 3 FF), second (2 LUT, 2 FF), third (1 LUT, 1 FF)" in message
    assert "--fps " in message or "even the smallest folding does not fit" in message
    assert "least" not in message


@pytest.fixture(scope="module")
def four_bits(tmp_path_factory):
    """A network of 4 bits, and its estimated resources at 500,000 frames/s."""
    path = tmp_path_factory.mktemp("limits") / "model.onnx"
    torch.manual_seed(0)
    export(create_model("tfc-w4a4", input_shape=(1, 8, 8), in_range=(0, 15), hidden=(32, 16)), path)
    return path, _estimated(path, {})


def _estimated(path, limits, **rate):
    made = estimate_build(path, "ulx3s-12f", limits=limits, **(rate or {"fps": 5e5}))
    return {name: each["estimated"] for name, each in made["resources"].items()}


@pytest.mark.parametrize("limits", [{"bram": 0}, {"bram": 1}, {"dsp": 0, "bram": 3}, {"lut": 6000, "bram": 2}])
def test_limits_of_resources_are_kept(limits, four_bits):
    path, free = four_bits
    used = _estimated(path, limits)
    assert all(used[name] <= most for name, most in limits.items())
    assert used["lut"] > free["lut"] or used == free  # memories in lookup tables
    filled = _estimated(path, {"lut": 3000, "bram": 4}, fill=True)
    assert filled["lut"] <= 3000
    assert filled["bram"] <= 4


@pytest.mark.parametrize("limits", [{"lut": 900}, {"lut": 1500, "bram": 2}, {"ff": 1}])
def test_limits_that_the_rate_exceeds_are_named(limits, four_bits):
    path, free = four_bits
    with pytest.raises(BitfabricError, match=r"estimated to need more than the limits on ulx3s-12f: ") as caught:
        _estimated(path, limits)
    assert all(f"{name.upper()} {free[name]} of {most}" in str(caught.value) for name, most in limits.items())
    assert "is estimated to fit" in str(caught.value) or "even the smallest folding" in str(caught.value)


def test_eight_bits_need_no_dsps_where_they_are_limited(tmp_path):
    """Without a limit nothing changes; without enough DSP blocks lookup tables take their place, also in a study."""
    path, target = tmp_path / "model.onnx", "ulx3s-85f"
    export(create_model("tfc-w8a8", input_shape=(1, 8, 8), hidden=(24, 16)), path)
    free, none = (estimate_build(path, target, fps=3e5, limits=limits) for limits in ({}, {"dsp": 0}))
    assert free["resources"]["dsp"]["estimated"] > 0 == none["resources"]["dsp"]["estimated"]
    used = [{layer["operator"] for layer in made["layers"]} for made in (free, none)]
    assert used[1] - used[0] == {"plane_matrix_vector"}
    few = estimate_build(path, "ulx3s-12f", fps=5e6)
    assert 0 < few["resources"]["dsp"]["estimated"] <= 28  # as far as they go
    assert {"matrix_vector", "plane_matrix_vector"} <= {layer["operator"] for layer in few["layers"]}
    cost = CostTable(target, 3e5, limits={"dsp": 0}).cost(Model.open(path).graph)
    assert (cost.dsp, cost.excess) == (0, 0)
    # A design that the device decides keeps to DSP blocks, and says so.
    said = [estimate_build(path, target, limits=limits)["choice"]["in_dsps"] for limits in ({}, {"dsp": 0})]
    assert said == [True, False]


def test_layers_that_cannot_do_without_dsps_are_named(tmp_path):
    path = tmp_path / "model.onnx"
    export(create_model("tfc-w8a8", input_shape=(1, 8, 8), hidden=(8, 4), experts=2), path)
    with pytest.raises(BitfabricError, match=r"more than the limits on ulx3s-85f: DSP \d+ of 0; even the ") as caught:
        estimate_build(path, "ulx3s-85f", limits={"dsp": 0})
    assert str(caught.value).endswith(
        " of 0: at least 1 for experts0 (hidden.1.linear) by expert_matrix_vector); "
        "give --max-dsp 1 or more, or take a smaller network"
    )
    assert estimate_build(path, "ulx3s-85f", limits={"dsp": 1})["resources"]["dsp"]["estimated"] == 1


def test_limits_out_of_range_are_refused():
    for limits, message in (
        ({"bram": -1}, "a limit bram=-1"),
        ({"ram": 3}, "a limit ram=3"),
        ({"lut": 2.5}, "lut=2.5"),
    ):
        with pytest.raises(UsageError, match=message):
            BuildConfig("ulx3s-12f", limits=limits)


@pytest.mark.parametrize("command", ["build", "estimate", "explore"])
def test_every_resource_has_an_option_for_its_limit(command):
    """A study prints the limits of its networks as options."""
    options = {name for each in get_command(app).commands[command].params for name in each.opts}
    assert {f"--max-{name}" for name in vars(Resources())} <= options
