"""The objective ``energy`` of a study: known before a training, and never called more than a proxy."""

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from flows.estimates import estimate_build
from flows.explore.cost_table import CostTable
from flows.explore.page import PROXY, title
from flows.explore.space import Space
from flows.explore.study import explore
from flows.explore.variants import lowered, new_network
from hw.host.errors import UsageError
from quant.data import load_data

SPACE = Space(bits=(1, 4), acts=(2,), uniform=True, options={"hidden": ([6], [10])})


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    settings = {"fps": 10_000.0, "trials": 4, "epochs": (1,), "validation": 0.2}
    return explore(
        "tfc-w4a4", "icebreaker", tmp_path_factory.mktemp("study"), SPACE, objectives=("accuracy", "energy"), **settings
    )


def test_the_front_is_that_of_the_estimated_energy(study):
    done = [each for each in study.trials if each.state == "trained"]
    assert len(done) == 4
    for each in done:
        estimate = estimate_build(each.folder / "model.onnx", "icebreaker", fps=10_000)["energy"]
        assert each.values[1] == each.hardware["energy"] == estimate["value"]
        assert (estimate["unit"], estimate["fps"]) == ("uJ", 10_000)
        assert estimate["milliwatts"] == pytest.approx(estimate["value"] * 10)
        assert 0 < sum(estimate["layers"].values()) < estimate["value"]
    front = study.front
    assert [each.values[1] for each in front] == sorted(each.values[1] for each in front)
    assert front[0].values[1] == min(each.values[1] for each in done)
    # Of the same hidden outputs, weights of 4 bits take more than those of 1 bit.
    by_choice = {tuple(sorted(each.params.items())): each.values[1] for each in done}
    values = sorted(by_choice, key=lambda key: by_choice[key])
    assert dict(values[0])["bits"] == 1
    assert dict(values[-1])["bits"] == 4
    assert study.best(energy=front[0].values[1]).number == front[0].number


def test_what_is_printed_calls_it_a_proxy(study):
    shown = CliRunner().invoke(app, ["report", str(study.folder)])
    assert shown.exit_code == 0
    text = (study.folder / "report.html").read_text()
    assert "uJ a frame, estimated" in text
    assert PROXY in text


def test_the_cost_table_has_the_energy_without_fifos(study):
    table = CostTable("icebreaker", fps=10_000)
    data = load_data("digits", 0)
    made = {"hidden": [10], "weight_widths": [4, 4], **data.options}
    graph = lowered(new_network("tfc-w4a4", made, data.x_train[:64]))
    assert 0 < table.cost(graph).energy < CostTable("icebreaker", fps=1000).cost(graph).energy
    # A device without published measurements has transitions of pins.
    assert CostTable("ulx3s-25f", fps=10_000).cost(graph).energy > 1e4
    assert title("energy", "ulx3s-25f") == "pin transitions a frame, estimated"


def test_it_needs_a_rate(tmp_path):
    with pytest.raises(UsageError, match="--objective accuracy,energy needs --fps"):
        explore("tfc-w4a4", "icebreaker", tmp_path, SPACE, objectives=("accuracy", "energy"))
