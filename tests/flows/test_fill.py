"""``--fill``: the most frames a second that the device and the clock allow, as estimated."""

import pytest

from flows.candidate import CLOCK_MARGIN, MAX_UTILISATION
from flows.config import BuildConfig
from flows.planner import Plan
from hw.folding import choose, fmax
from hw.folding.search import fits
from hw.model import Model
from hw.passes.fold import apply_folding
from hw.passes.lanes import connected


@pytest.mark.parametrize("clock", [None, 60, 110, 400])
def test_fill_gives_the_most_frames_a_second_that_the_clock_allows(clock, small):
    plan = Plan(Model.open(small / "model.onnx"), BuildConfig("lfe5u-12f", fill=True, clock_mhz=clock))
    design = plan.point
    budget = plan.best.budget(MAX_UTILISATION)
    assert fits(choose.estimate_resources(design.hardware, plan.device.family), budget)
    rates = {}
    for choice in filter(None, (plan.search.cheapest(cycles, budget) for cycles in plan.search.intervals)):
        hardware = connected(apply_folding(plan.graph, choice.folding))
        mhz = fmax.estimate_fmax(hardware, plan.device).mhz
        rates[choice.interval] = (CLOCK_MARGIN * mhz if clock is None else clock * (mhz >= clock)) / choice.interval
    mine = max(node.kernel.interval for node in design.hardware)
    if clock == 400:  # out of reach: the fastest folding, for place and route to judge
        assert design.clock_mhz == 400
        assert mine == min(rates)
    else:
        assert design.clock_mhz <= design.fmax.mhz
        assert design.clock_mhz / mine >= 0.94 * max(rates.values()) - 1 / mine
