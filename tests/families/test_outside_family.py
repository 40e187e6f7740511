"""A family of another package (``tests/data/toy_family``), which an entry point alone makes known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from qonnx.core.datatype import DataType
from typer.testing import CliRunner

from flows.cli.main import app
from flows.estimates import estimate_build
from hw import families, plugins
from hw.boards.targets import find_target
from hw.families.ecp5 import ECP5
from hw.host.errors import BitfabricError, UsageError
from hw.ir.stream import Stream
from hw.kernels.calibration import grid
from hw.kernels.width_converter.kernel import WidthConverter
from hw.rtl.design import generate
from hw.synth import pll, yosys
from tests.builders.qonnx_builder import Builder
from tests.kernels.kernel_bench import alone

PACKAGE = Path(__file__).parents[1] / "data" / "toy_family"


@pytest.fixture
def toy(monkeypatch):
    """The package is installed."""
    monkeypatch.syspath_prepend(str(PACKAGE))
    return families.find_family("toy")


@pytest.fixture
def model(tmp_path) -> Path:
    b = Builder((1, 24))
    weights = np.random.default_rng(0).integers(-3, 4, (24, 8)).astype(np.float32)
    last = np.random.default_rng(1).integers(-1, 2, (8, 4)).astype(np.float32)
    hidden = b.quant(b.node("MatMul", b.quant("x", 1.0, 4), b.quant(weights, 1.0, 3)), 4.0, 3)
    made = b.model((b.node("MatMul", hidden, b.quant(last, 1.0, 2)), (1, 4)))
    onnx.save(made, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_without_the_package_there_is_no_such_family():
    with pytest.raises(UsageError, match=r"^no family 'toy'; known: ecp5, gowin, ice40, xc7$"):
        families.find_family("toy")
    with pytest.raises(UsageError, match=r"^no target 'toy-10k'"):
        find_target("toy-10k")


def test_with_the_package_its_devices_are_targets(toy):
    assert list(families.families()) == ["ecp5", "gowin", "ice40", "xc7", "toy"]
    device = families.reference_device(toy)
    assert find_target("TOY-10k").device == families.find_device("toy-10k") == device
    assert families.spec_of(toy).devices == (device,)


def test_a_build_for_it_is_estimated_and_says_what_is_not_calibrated(toy, model):
    here, there = (estimate_build(model, target, fps=1e6) for target in ("toy-10k", "lfe5u-25f"))
    assert here["resources"]["lut"]["available"] == 10_000
    assert 0 < here["resources"]["lut"]["estimated"] != there["resources"]["lut"]["estimated"]
    assert 0 < here["fmax_mhz"]["estimated"] < there["fmax_mhz"]["estimated"]
    operators = {layer["operator"] for layer in here["layers"]}
    assert {name.split()[0] for name in here["fmax_mhz"]["uncalibrated"]} == operators
    assert "uncalibrated" not in there["fmax_mhz"]
    printed = CliRunner().invoke(app, ["estimate", str(model), "--target", "toy-10k", "--fps", "1000000"]).stdout
    assert f"uncalibrated: {', '.join(here['fmax_mhz']['uncalibrated'])} (" in printed
    printed = CliRunner().invoke(app, ["estimate", str(model), "--target", "lfe5u-25f", "--fps", "1000000"]).stdout
    assert "uncalibrated" not in printed


def test_every_kernel_has_a_cost_and_hardware_in_it(toy):
    """Five inputs a lookup table, six a slice, and no DSP: no built-in family is like that."""
    for name, kernel in grid():
        used = kernel.resources(toy)
        assert used.lut > 0, name
        assert used.dsp == 0, name
        assert generate(alone(kernel), toy).top, name


def test_it_is_synthesised_and_has_a_pll(toy, tmp_path):
    device = families.reference_device(toy)
    kernel = WidthConverter(Stream((6,), DataType["INT3"], 2), 6)
    made = yosys.synthesise(generate(alone(kernel), toy), device, tmp_path)
    assert made.resources.ff >= 18
    setting = pll.solve(25, 60, device)
    assert (setting.mhz, setting.vco_mhz) == (60, pytest.approx(240))
    assert "EHXPLLL" in pll.instance(setting, device, "clk_in", "clk_out", "locked")


def test_an_entry_point_must_name_a_family_of_its_own_name(monkeypatch, toy):
    spec = families.spec_of(toy)
    for outside, complaint in (
        ({"other": spec}, "^other: the entry point of bitfabric.families must be the FamilySpec of family 'other'$"),
        ({"toy": toy}, "^toy: the entry point of bitfabric.families must be the FamilySpec of family 'toy'$"),
        (
            {"ecp5": replace(spec, family=ECP5)},
            "^ecp5: a package provides an FPGA family of the name of a built-in one",
        ),
    ):
        monkeypatch.setattr(plugins, "find_all", lambda group, outside=outside: outside)
        with pytest.raises(BitfabricError, match=complaint):
            families.families()
