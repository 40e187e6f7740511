"""The page of a study: it says what the study holds, stands alone, and is legible in a browser."""

import math
import random
import re

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from flows.explore.importance import importance
from flows.explore.page import facts_of
from flows.explore.settings import Settings
from flows.explore.space import Space
from flows.explore.study import explore
from flows.explore.trial import WORST_LATENCY
from flows.explore.tried import Tried
from flows.report.axes import linear_axis, log_axis
from flows.report.study import layers, parallel, plot, write
from tests.flows.browser import layout
from tests.flows.test_report import Page

SECTIONS = {"front", "finished", "layers", "importance", "parallel", "again", "tried"}


def made(count, seed=0, objective="lut"):
    """Facts of a study of ``count`` networks, some of which were stopped, refused or failed, without trainings."""
    drawn = random.Random(seed)
    names = [f"{kind}.{layer}" for kind in ("bits", "acts") for layer in ("features.0.conv", "features.1.conv", "out")]
    networks = []
    for number in range(count):
        params = {name: drawn.choice((1, 2, 4, 8)) for name in names} | {"option.hidden": drawn.choice(("[8]", "[9]"))}
        size = sum(value for value in params.values() if isinstance(value, int))
        state = "trained" if number < 3 else drawn.choice(("trained", "trained", "stopped", "does not fit", "failed"))
        reached = state in ("trained", "stopped")
        cost = float(200 * size) if reached else WORST_LATENCY if objective == "latency" else 20_000.0
        hardware = {"lut": 200.0 * size, "ff": 1.0, "bram": 0.0, "dsp": 0.0, "fps": 1e5} if reached else {}
        parts = {layer: 60 * params[f"bits.{layer}"] for layer in ("features.0.conv", "features.1.conv", "out")}
        accuracy = round(1 - math.exp(-size / 12) * drawn.uniform(0.8, 1), 4) if reached else None
        values = () if state == "failed" else (accuracy or 0.0, cost)
        parts, excess, why = (parts, 0.0, "") if reached else ({}, 0.5, "20,000 LUT of at most 9,000")
        networks.append(Tried(number, params, state, accuracy, values, hardware, parts, excess, why, None))
    settings = Settings("cnv-w4a4", "xc7z020", "cifar10", Space(bits=(1, 2, 4, 8)), 1e5, ("accuracy", objective))
    return facts_of(settings, networks, [], {"accuracy": {names[0]: 0.7, names[1]: 0.3}, objective: {names[1]: 1.0}})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A study with a network that is too large and one that is finished."""
    space = Space(bits=(1, 4), acts=(2,), uniform=True, options={"hidden": ([6], [10], [200])})
    settings = {"fps": 1e6, "trials": 6, "epochs": (1,), "validation": 0.2, "limits": {"lut": 4000}, "clock_mhz": 80.0}
    study = explore("tfc-w4a4", "ulx3s-25f", tmp_path_factory.mktemp("study"), space, **settings)
    study.finish(1, seeds=2, stop_after="emulate")
    return study


def test_the_page_says_what_the_study_holds(finished):
    shown = CliRunner().invoke(app, ["report", str(finished.folder)])
    path = finished.folder / "report.html"
    assert shown.stdout.strip() == str(path)
    text = path.read_text()
    page = Page(text)
    assert set(page.ids) == SECTIONS
    assert not page.addresses
    assert not re.search(r"https?://|@import|url\(", text)  # it stands alone
    states = [each.state for each in finished.trials]
    assert {"trained", "does not fit"} <= set(states)
    for each in finished.trials:
        assert f"{each.why}" in page.texts["tried"]
        if each.accuracy is not None:
            assert f"{100 * each.accuracy:.2f} %" in page.texts["tried"]
    for each in finished.front:
        assert f"number {each.number}: " in page.texts["again"]
        for name, value in each.layers.items():
            assert f"{name}: {value:,} LUT" in text
    assert page.texts["again"].count("bitfabric train") == states.count("trained")
    [done] = finished.finished
    assert f"{100 * done.test:.2f} %" in page.texts["finished"]
    shares = importance(finished._study, finished.settings.objectives)
    assert set(shares) == {"accuracy", "lut"}
    for each in shares.values():
        assert sum(each.values()) == pytest.approx(1)


@pytest.mark.parametrize("objective", ["lut", "latency"])
def test_the_figures_hold_every_network(objective):
    facts = made(60, objective=objective)
    known = [each for each in facts.networks if each.accuracy is not None]
    drawn = plot(facts)
    assert len(drawn.dots) == len(known)
    assert len(drawn.refused) == (0 if objective == "latency" else
                                  sum(each.state == "does not fit" for each in facts.networks))  # fmt: skip
    for dot in (*drawn.dots, *drawn.refused):
        assert 80 <= dot.x <= 680
        assert 20 <= dot.y <= 320
    # A network of the front is not below or right of another one that is drawn as trained.
    trained = [dot for dot in drawn.dots if dot.kind == "trained"]
    for best in (dot for dot in drawn.dots if dot.kind == "front"):
        assert not any(dot.x < best.x and dot.y < best.y for dot in trained)
    lanes, lines = parallel(facts)
    assert len(lanes) == len(facts.choices) + 2
    assert len(lines) == len(known)
    _, stacks = layers(facts)
    for stack in stacks:
        assert stack.parts[-1].start + stack.parts[-1].size <= 100.001
        share = 100 * stack.total / max(each.total for each in stacks)
        assert sum(part.size for part in stack.parts) == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("count", [3, 80])
def test_nothing_overlaps_in_a_browser(count, tmp_path):
    page = write(made(count), tmp_path / "report.html")
    for width, dark in ((400, False), (1400, True)):
        seen = layout(page, width, dark)
        assert seen["overflow"] <= 0
        assert (seen["overlapping"], seen["beyond"], seen["empty"]) == ([], [], [])
        assert (seen["ground"] < 0.2, seen["ink"] > 0.8) == (dark, dark)


def test_a_study_without_results_has_a_page(tmp_path):
    settings = Settings("tfc-w4a4", "ulx3s-25f", "digits", Space(bits=(1, 2)), 1e5)
    text = write(facts_of(settings, [], [], {}), tmp_path / "empty.html").read_text()
    assert "No network was trained yet." in text


@pytest.mark.parametrize("values", [[443, 834], [7], [1, 2], [12, 90_000], [0.31, 0.46], [1e5, 3e6], [99, 101]])
@pytest.mark.parametrize("axis", [log_axis, linear_axis])
def test_axes_hold_their_values(axis, values):
    marks, place = axis(values)
    places = [mark.at for mark in marks]
    assert (places[0], places[-1]) == (pytest.approx(0), pytest.approx(100))
    assert places == sorted(places)
    assert 2 <= len({mark.text for mark in marks}) == len(marks) <= 9
    assert all(-1e-6 <= place(value) <= 100 + 1e-6 for value in values)
