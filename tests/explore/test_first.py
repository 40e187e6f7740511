"""The networks that a study begins with, and what a sensitivity front gives it."""

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from flows.explore import study as studies
from flows.explore.first import first_networks, sensitive_networks
from flows.explore.sensitivity import sensitivity
from flows.explore.settings import Settings
from flows.explore.space import Dimensions, Space
from flows.explore.study import Study, explore
from flows.explore.trial import Trials
from hw.host.errors import UsageError
from quant import TrainConfig, train_run

TARGET, FPS = "ulx3s-25f", 100_000.0
OPTIONS = {"hidden": ([10, 8],)}
SPACE = Space(bits=(1, 2, 8), acts=(2, 4), prune=(0.5, 0.0), options=OPTIONS)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train_run("tfc-w4a4", folder, TrainConfig(epochs=2, validation=0.2), model_options={"hidden": [10, 8]})
    return folder


def networks(space=SPACE, model="tfc-w4a4", **settings):
    return Trials(Settings(model, TARGET, "digits", space, FPS, **settings))


def test_widths_of_a_front_are_those_of_the_space(run):
    made = networks(trials=40)
    starting = sensitive_networks(run, made)
    found = sensitivity(run, TARGET, fps=FPS, weight_widths=SPACE.bits, activation_widths=SPACE.acts)
    fronts = [{f"bits.{n}": w for n, w in p["layers"].items()} | {f"acts.{n}": w for n, w in p["activations"].items()}
              for p in found["front"]]  # fmt: skip
    assert 1 < len(starting) <= 10
    for params in starting:
        assert set(params) == set(made.dimensions.choices)
        assert all(value in made.dimensions.choices[name] for name, value in params.items())
        assert params["prune"] == 0.0
        # 4 bits, as trained, are not in the space, and as near to 2 as to 8.
        near = [{name: 8 if width == 4 and name.startswith("bits") else width for name, width in each.items()} for each
                in fronts]  # fmt: skip
        assert {name: value for name, value in params.items() if "." in name and "option" not in name} in near
        made.options(params)
    # The most accurate point is among them: with the widths nearest to those of the training.
    assert starting[-1]["bits.output"] == 8
    assert len(sensitive_networks(run, networks(trials=4))) == 1


def test_a_study_starts_with_them_once(run, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(studies, "work", lambda *given: None)
    monkeypatch.setattr(
        studies, "sensitive_networks", lambda *given: (asked.append(given), sensitive_networks(*given))[1]
    )
    settings = {"fps": FPS, "trials": 8, "start_from": run}
    for _ in range(2):
        explore("tfc-w4a4", TARGET, tmp_path, SPACE, **settings)
    waiting = [each.params for each in Study(tmp_path).trials]
    assert len(asked) == 1
    assert waiting[:4] == first_networks(networks(trials=8).dimensions, 8)
    assert waiting[4:] == [each for each in sensitive_networks(run, networks(trials=8)) if each not in waiting[:4]]


def test_few_trials_leave_room_for_them(run, tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "work", lambda *given: None)
    explore("tfc-w4a4", TARGET, tmp_path, SPACE, fps=FPS, trials=4, start_from=run)
    waiting = [each.params for each in Study(tmp_path).trials]
    few = networks(trials=4)
    assert waiting == [*first_networks(few.dimensions, 4)[:3], *sensitive_networks(run, few)]


def test_a_small_space_needs_none(tmp_path):
    dimensions = Dimensions(Space(bits=(1, 2)), ("a", "b"), ())
    assert first_networks(dimensions, 4) == list(dimensions.every())
    assert len(first_networks(dimensions, 3)) == 2


def test_wrong_use(run, tmp_path):
    for space in (Space(prune=(0.0, 0.5)), Space(bits=(1, 2), uniform=True)):
        with pytest.raises(UsageError, match="--start-from gives widths by layer"):
            sensitive_networks(run, networks(space))
    with pytest.raises(
        UsageError, match=r"is a network with the layers hidden\.0\.linear, hidden\.1\.linear, output, and"
    ):
        sensitive_networks(run, networks(Space(bits=(2, 4)), trials=10))
    call = ["explore", "tfc-w4a4", "-t", TARGET, "--fps", "100000", "-o", str(tmp_path / "s"), "--trials", "1"]
    shown = CliRunner().invoke(app, [*call, "--start-from", str(tmp_path)], standalone_mode=False)
    assert "is no run of a quantized network" in str(shown.exception)
