"""The estimated Fmax, held against designs that were placed and routed (kept in ``tests/measured/clocks``)."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from hw.boards.targets import find_target
from hw.fabric.fmax import SMALL, Calibration, FmaxModel
from hw.families import families, find_device, find_family, reference_device, spec_of
from hw.folding import fmax
from hw.host.errors import BitfabricError
from hw.ir.kernel import Role
from hw.kernels.calibration import grid
from tests.builders.networks import perceptron
from tests.measured import clocks
from tests.measured.table import error

PLACED = [name for name, family in families().items() if spec_of(family).fmax]
SLOW = ("lenet", "resnet", "vgg", "cnv", "mnist")


@pytest.mark.parametrize("name", PLACED)
def test_kernels_are_as_fast_as_placed(name):
    """Four of five within 20 %, in the mean within 12 %."""
    rows, kernels = clocks.kernels().rows, dict(grid())
    family, errors = find_family(name), []
    calibration = spec_of(family).fmax.calibration
    for (target, case), made in rows.items():
        if target == reference_device(family).name:
            kernel = kernels[case]
            errors.append(error(1000 / fmax.period(kernel, kernel.resources(family), calibration, family), made.fmax))
    assert len(errors) > 40
    assert set(calibration.kernels) == {kernel.variant for kernel in kernels.values()}
    assert set(calibration.roles) == set(get_args(Role))
    assert np.mean(np.abs(errors)) < 12
    assert np.mean(np.abs(errors) <= 20) > 0.8


def test_large_pipelines_are_as_fast_as_placed():
    """In the mean within 10 %: three seeds of one design were placed at 120 to 138 MHz."""
    errors = []
    for made in clocks.pipelines().rows.values():
        model = fmax.model_of(find_target(made.target).device)
        guess = 1000 / (model.calibration.kernels[made.variant].at(made.lut) * fmax.crowding(made.lut, model))
        errors.append(error(guess, made.fmax))
    assert np.mean(np.abs(errors)) < 10
    assert np.abs(errors).max() <= 20


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=pytest.mark.slow if c.network.startswith(SLOW) else (), id=" ".join(map(str, c)))
     for c in clocks.CASES],
)  # fmt: skip
def test_networks_are_as_fast_as_placed(case, tmp_path):
    """Within 20 %, but for what is a matter of luck: a design of 5,600 lookup tables was placed at 149 and 184 MHz."""
    target = find_target(case.target)
    made = clocks.whole_networks().rows[target.name, f"{case.network} {case.cycles}"]
    hardware, _ = clocks.folded(case, made, tmp_path)
    guess = fmax.estimate_fmax(hardware, target.device, shell=target.board is not None)
    lucky = case == ("lfe5u-85f", "tfc-w1a1", 8)
    assert abs(error(guess.mhz, made.fmax)) <= (25 if lucky else 20)


def test_what_makes_a_design_slower():
    graph = perceptron(np.random.default_rng(5), [32, 16, 4], [("UINT4", "BIPOLAR"), ("UINT2", "INT2")])
    names = ("lfe5u-85f", "lfe5um5g-85f", "ice40up5k", "gw1nr-9c")
    found = {name: fmax.estimate_fmax(graph, find_device(name)).mhz for name in names}
    faster = replace(find_device("lfe5u-85f"), speed="8")
    assert found["lfe5um5g-85f"] > fmax.estimate_fmax(graph, faster).mhz > found["lfe5u-85f"] > found["ice40up5k"]
    for name, mhz in found.items():
        shelled = fmax.estimate_fmax(graph, find_device(name), shell=True)
        assert shelled.mhz <= mhz
        assert shelled.slowest in {"the shell", *(node.name for node in graph)}
    assert fmax.estimate_fmax(graph, find_device("xc7z020")) is None


def uncalibrated(model: FmaxModel, kernel: str, role: str = "") -> FmaxModel:
    """A model without the rows of a kernel and of a role."""
    old = model.calibration
    kernels = {name: figures for name, figures in old.kernels.items() if name != kernel}
    roles = {name: figures for name, figures in old.roles.items() if name != role}
    return replace(model, calibration=Calibration(old.bram, old.dsp, kernels, roles))


def test_a_kernel_without_figures_has_those_of_its_role_and_is_named(monkeypatch):
    graph = perceptron(np.random.default_rng(5), [32, 16, 4], [("UINT4", "BIPOLAR"), ("UINT2", "INT2")])
    device = find_device("lfe5u-85f")
    model = fmax.model_of(device)
    known = fmax.estimate_fmax(graph, device)
    assert known.uncalibrated == ()
    assert model.calibration.roles["quantize"] > model.calibration.kernels["threshold"]
    monkeypatch.setattr(fmax, "model_of", lambda device: uncalibrated(model, "threshold"))
    guess = fmax.estimate_fmax(graph, device)
    assert guess.uncalibrated == ("threshold",)
    assert guess.mhz <= known.mhz
    kernel = next(node.kernel for node in graph if node.kernel.op == "threshold")
    some = replace(kernel.resources(device.family), bram=0, dsp=0, lut=SMALL)
    assert (
        fmax.period(kernel, some, fmax.model_of(device).calibration, device.family)
        == model.calibration.roles["quantize"].ns
    )
    monkeypatch.setattr(fmax, "model_of", lambda device: uncalibrated(model, "threshold", "quantize"))
    with pytest.raises(BitfabricError, match=r"no Fmax figures of kernel threshold nor of its role quantize; "):
        fmax.estimate_fmax(graph, device)


def test_a_calibration_is_read_as_it_was_written(tmp_path):
    for name in PLACED:
        calibration = spec_of(find_family(name)).fmax.calibration
        calibration.write(tmp_path / "calibration.csv")
        assert Calibration.read(tmp_path / "calibration.csv") == calibration
