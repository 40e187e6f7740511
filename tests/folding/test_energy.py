"""The energy proxy: more of anything takes more, the sum is that of the layers, and it is close to counted toggles."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from hw.boards.targets import find_target
from hw.fabric.resources import Resources
from hw.families import find_device
from hw.families.ice40.energy import ENERGY
from hw.folding.energy import RATES, Part, estimate_energy, parts_of_choice, parts_of_hardware, unit_of
from hw.folding.search import Search
from hw.passes.fold import apply_folding
from hw.passes.lanes import connected
from tests.builders.networks import perceptron
from tests.measured import energy as measured

WIDTHS = [16, 24, 5], [("INT3", "INT3"), ("UINT3", "INT3")]
COUNT = st.integers(0, 5000)
RESOURCES = st.builds(Resources, COUNT, COUNT, st.integers(0, 100), st.integers(0, 100))
PARTS = st.lists(
    st.builds(Part, st.uuids().map(str), st.sampled_from(sorted(RATES)), RESOURCES, st.integers(1, 10_000)),
    min_size=1, max_size=5,
)  # fmt: skip
MODELS = st.sampled_from([None, ENERGY])
FPS = st.floats(1, 1e6)


@given(PARTS, MODELS, FPS)
def test_the_energy_is_the_sum_over_layers_and_the_base(parts, model, fps):
    whole = estimate_energy(parts, model, 20.0, fps)
    alone = [estimate_energy([each], model, 20.0, fps) for each in parts]
    assert sum(each.layers[part.name] for each, part in zip(alone, parts, strict=True)) == pytest.approx(
        sum(whole.layers.values())
    )
    assert whole.value == pytest.approx(whole.base + sum(whole.layers.values()))
    assert whole.unit == ("transitions" if model is None else "uJ")
    assert (whole.milliwatts is None) == (model is None)


@given(PARTS, MODELS, FPS, st.data())
def test_more_resources_or_cycles_take_more(parts, model, fps, data):
    before = estimate_energy(parts, model, 20.0, fps).value
    at = data.draw(st.integers(0, len(parts) - 1))
    name = data.draw(st.sampled_from(["lut", "ff", "bram", "dsp"]))
    used = parts[at].used
    more = [*parts]
    more[at] = replace(more[at], used=replace(used, **{name: getattr(used, name) + 1}))
    assert estimate_energy(more, model, 20.0, fps).value > before
    longer = [replace(each, cycles=each.cycles + 1) for each in parts]
    assert estimate_energy(longer, model, 20.0, fps).value >= before


@given(PARTS, MODELS, FPS, st.floats(1.01, 100))
def test_a_lower_rate_takes_more_energy_a_frame_and_less_power(parts, model, fps, times):
    fast, slow = (estimate_energy(parts, model, 20.0, rate) for rate in (fps, fps / times))
    assert slow.value >= fast.value
    if model is not None:
        assert slow.value > fast.value
        assert slow.milliwatts <= fast.milliwatts * (1 + 1e-9)


def test_a_folding_has_the_energy_of_its_hardware():
    """But for FIFOs, which it does not have: what is resources and cycles of width converters is bounded by theirs."""
    graph = perceptron(np.random.default_rng(0), *WIDTHS)
    device = find_device("ice40up5k")
    search = Search(graph, device.family, device.capacity)
    for cycles in (16, 100, 1000):
        choice = search.cheapest(cycles)
        parts = parts_of_choice(graph, choice)
        assert sum((each.used for each in parts), Resources()) == choice.used
        hardware = connected(apply_folding(graph, choice.folding))
        exact = {each.name: each for each in parts_of_hardware(hardware, device)}
        for part in parts[:-1]:
            assert part == exact.pop(part.name)
        assert sum(each.transitions for each in exact.values()) <= parts[-1].transitions
        assert sum(each.clocked for each in exact.values()) == parts[-1].clocked


def test_only_devices_with_an_energy_model_have_microjoules():
    assert unit_of(find_target("icebreaker").device) == "uJ"
    assert unit_of(find_target("ulx3s-25f").device) == "transitions"


@pytest.mark.parametrize("held_out", [False, True])
def test_the_proxy_ranks_networks_as_counted_toggles_do(held_out):
    """Networks of one family, with the resources as estimated."""
    found = [each for each in measured.networks() if each.held_out <= held_out]
    errors = []
    for family in {each.family for each in found}:
        mine = [each for each in found if each.family == family]
        guess, true = (np.array([getattr(each, name) for each in mine]) for name in ("estimated", "counted"))
        if len(mine) > 2:
            assert spearmanr(guess, true).statistic >= 0.9
        errors += list(np.abs(guess / true - 1))
    assert np.mean(errors) <= 0.25
