"""Studies: the same front from one process and from several, limits told before training, and bad input."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from flows.explore import leases
from flows.explore import study as studies
from flows.explore.commands import build_command, train_command
from flows.explore.settings import Settings, code_version, from_anywhere, write_settings
from flows.explore.space import Dimensions, Space
from flows.explore.study import Study, explore
from flows.explore.trial import Trials
from flows.explore.work import work
from hw.host.errors import BitfabricError, UsageError

MODEL, TARGET = "tfc-w4a4", "ulx3s-25f"
SPACE = Space(bits=(2, 4), uniform=True, options={"hidden": ([8], [10, 6])})
SETTINGS = {"fps": 100_000.0, "trials": 4, "epochs": (1,), "validation": 0.2}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return explore(MODEL, TARGET, tmp_path_factory.mktemp("study"), SPACE, **SETTINGS)


def points(study):
    return [(each.params, each.values, dict(each.hardware)) for each in study.front]


def test_small_space_is_tried_completely(study):
    assert [each.state for each in study.trials] == ["trained"] * 4
    assert len({json.dumps(each.params) for each in study.trials}) == 4
    accuracies = [each.accuracy for each in study.front]
    assert accuracies == sorted(set(accuracies))
    for each in study.trials:
        metrics = json.loads((each.folder / "metrics.json").read_text())
        assert metrics["fit"]["validation_accuracy"] == each.accuracy
        assert metrics["model_options"]["hidden"] == json.loads(each.params["option.hidden"])
    best = study.best(lut=1e6)
    assert best.accuracy == max(accuracies)
    with pytest.raises(UsageError, match="the nearest is number"):
        study.best(lut=1)


def test_two_processes_have_the_same_front(study, tmp_path):
    other = explore(MODEL, TARGET, tmp_path / "two", SPACE, jobs=2, **SETTINGS)
    assert points(other) == points(study)


def test_goes_on_and_takes_up_what_was_lost(study, tmp_path, monkeypatch):
    folder = tmp_path / "copy"
    shutil.copytree(study.folder, folder)
    lost = Study(folder)
    trial = lost._study.ask()  # a worker that is killed after it has begun
    trial.suggest_categorical("bits", (2, 4))
    trial.suggest_categorical("option.hidden", ("[8]", "[10, 6]"))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    path = leases.lease_file(folder, trial.number)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"host": os.uname().nodename, "pid": ended.pid}))
    trained = []
    monkeypatch.setattr(Trials, "train", lambda *arguments: trained.append(arguments))
    work(folder, 0)
    assert not trained  # all four are known, and none is trained twice
    assert points(Study(folder)) == points(study)
    states = {each.number: each.state.name for each in Study(folder)._study.get_trials()}
    assert states[trial.number] == "FAIL"
    assert not any(state in ("RUNNING", "WAITING") for state in states.values())


def test_a_space_that_more_trials_cover_is_tried_completely(study, tmp_path):
    """Also where a call before was interrupted while it told the storage which networks there are."""
    write_settings(tmp_path, replace(_settings(), trials=3, code=code_version()))
    Study(tmp_path)._study.enqueue_trial(study.trials[1].params)
    found = explore(MODEL, TARGET, tmp_path, SPACE, **SETTINGS)
    assert [each.state for each in found.trials] == ["trained"] * 4
    assert points(found) == points(study)


def test_a_storage_holds_one_study(tmp_path, monkeypatch):
    """Networks of another study are none of this one, and a storage that is refused leaves no study behind."""
    monkeypatch.setattr(studies, "work", lambda *given: None)
    url = f"sqlite:///{tmp_path}/study.db"
    first = explore(MODEL, TARGET, tmp_path / "a", SPACE, storage=url, **SETTINGS)
    for _ in range(2):
        with pytest.raises(UsageError, match=r"holds networks of another study than .*/b, and a storage holds one"):
            explore(MODEL, TARGET, tmp_path / "b", Space(bits=(1, 2)), storage=url, **SETTINGS)
    assert not (tmp_path / "b").exists()
    again = explore(MODEL, TARGET, tmp_path / "a", SPACE, storage=url, **SETTINGS)
    assert [each.params for each in again.trials] == [each.params for each in first.trials]
    (tmp_path / "a" / "study.json").unlink()
    with pytest.raises(UsageError, match="another study"):
        explore(MODEL, TARGET, tmp_path / "a", SPACE, storage=url, **SETTINGS)


def test_a_storage_that_is_lost_is_no_empty_study(study, tmp_path):
    folder = shutil.copytree(study.folder, tmp_path / "copy")
    (folder / "journal.log").unlink()
    for again in (lambda: Study(folder), lambda: explore(MODEL, TARGET, folder, SPACE, **SETTINGS)):
        with pytest.raises(UsageError, match=r"journal\.log is empty, and .*copy has networks: restore it, or start"):
            again()


@pytest.mark.parametrize(
    ("url", "module", "package"),
    [
        ("mysql://u:secret@h/x", "MySQLdb", "mysqlclient"),
        ("mysql+pymysql://u:secret@h/x", "pymysql", "pymysql"),
        ("postgresql+psycopg2://u:secret@h/x", "psycopg2", "psycopg2-binary"),
    ],
)
def test_a_missing_driver_is_named_with_its_package(tmp_path, monkeypatch, url, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BitfabricError, match=f"module {module}, is not installed; pip install '{package}'") as caught:
        explore(MODEL, TARGET, tmp_path / "s", SPACE, storage=url, **SETTINGS)
    assert "u:***@h/x" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "s").exists()


def test_leases(tmp_path):
    now = time.time()
    assert leases.abandoned(tmp_path, 1, now - 1000)
    assert not leases.abandoned(tmp_path, 1, now)
    with leases.leased(tmp_path, 1):
        assert not leases.abandoned(tmp_path, 1, now - 1000)
        os.utime(leases.lease_file(tmp_path, 1), (now - 1000, now - 1000))
        assert leases.abandoned(tmp_path, 1, now)


def test_one_failure_loses_one_network(tmp_path, monkeypatch):
    train = Trials.train

    def fails(self, params, folder, epochs):
        if params["bits"] == 2 and params["option.hidden"] == "[8]":
            raise OSError(28, "No space left on device")
        return train(self, params, folder, epochs)

    monkeypatch.setattr(Trials, "train", fails)
    found = explore(MODEL, TARGET, tmp_path, SPACE, **SETTINGS)
    assert sorted(each.state for each in found.trials) == ["failed", "trained", "trained", "trained"]
    assert [each.why for each in found.trials if each.state == "failed"] == ["[Errno 28] No space left on device"]


def test_what_does_not_fit_is_never_trained(tmp_path, monkeypatch):
    trained = []
    train = Trials.train
    monkeypatch.setattr(
        Trials, "train", lambda self, params, *rest: (trained.append(params), train(self, params, *rest))[1]
    )
    costs = [Trials(_settings()).cost(params).lut for params in Dimensions(SPACE, (), ()).every()]
    limit = (min(costs) + max(costs)) // 2
    found = explore(MODEL, TARGET, tmp_path, SPACE, limits={"lut": limit}, **SETTINGS)
    out = [each for each in found.trials if each.state == "does not fit"]
    assert 0 < len(trained) < 4
    assert len(out) + len(trained) >= 4
    assert all("LUT of at most" in each.why for each in out)


def _settings():
    return Settings(model=MODEL, target=TARGET, data="digits", space=SPACE, **SETTINGS)


def test_impossible_limits_name_the_nearest(tmp_path):
    with pytest.raises(UsageError, match=r"no network of the space.* of 4 that .*misses them: \d+ LUT of at most 20"):
        explore(MODEL, TARGET, tmp_path / "x", SPACE, limits={"lut": 20}, **SETTINGS)
    assert not (tmp_path / "x").exists()


def test_other_versions_and_settings_are_refused(study, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(study.folder, folder)
    with pytest.raises(UsageError, match=r"other settings \(fps\)"):
        explore(MODEL, TARGET, folder, SPACE, **{**SETTINGS, "fps": 1000.0})
    content = json.loads((folder / "study.json").read_text())
    (folder / "study.json").write_text(json.dumps({**content, "code": "code 0, torch 1.0"}))
    for again in (lambda: work(folder, 1), lambda: explore(MODEL, TARGET, folder, SPACE, **SETTINGS)):
        with pytest.raises(BitfabricError, match=r"this worker's version .* is not that of the study"):
            again()


def test_damaged_studies_are_one_line(tmp_path):
    for text in ("{", "[]", '{"space": 3}', '{"space": {"bits": [1, 2]}, "model": "tfc-w4a4", "wide": 1}'):
        (tmp_path / "study.json").write_text(text)
        with pytest.raises(BitfabricError, match=r"study\.json is no study of this version") as caught:
            Study(tmp_path)
        assert "\n" not in str(caught.value)
    write_settings(tmp_path, _settings())
    (tmp_path / "journal.log").write_text("no journal\n{}\n")
    with pytest.raises(BitfabricError, match=r"the storage .*journal\.log cannot be .*; restore the file") as caught:
        Study(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (["--search", "bots"], "no dimension 'bots'"),
        (["--search", ""], "one network only"),
        (["--objective", "accuracy,lut"], "needs --fps"),
        (["--objective", "lut,accuracy", "--fps", "1000"], "--objective is accuracy and one"),
        (["--epochs", "20,5", "--fps", "1000"], "not increasing"),
        (["--fps", "1000", "--storage", "sqlite:////nowhere/at/all.db"], "cannot be used"),
        (["--fps", "1000", "--storage", "nonsense"], "cannot be used"),
        (["--fps", "1000", "--storage", "sqlite://"], "a database in memory"),
        (["--fps", "1000", "--storage", "grpc://nowhere"], "no host and port"),
        (["--fps", "1000", "--jobs", "0"], "is not at least 1"),
        (["--fps", "1000", "--jobs", "rays"], "not ray or ray:N"),
        (["--fps", "1000", "--jobs", "ray:0"], "is not at least ray:1"),
        (["--fps", "1000", "--ray-gpus", "1"], "is for --jobs ray"),
        (["--fps", "1000", "--jobs", "ray", "--ray-gpus", "1.5"], "neither a fraction"),
        (["--fps", "1000", "--join", "x"], "leave MODEL"),
    ],
)
def test_wrong_use(tmp_path, call, message):
    _refused(tmp_path, MODEL, call, message)


@pytest.mark.parametrize(
    ("model", "text", "message"),
    [
        ("lookup-s", "bits: [1, 2]", "model lookup-s has no layers whose width could be chosen: leave bits out"),
        ("lookup-s", "acts: [1, 2]", "model lookup-s has no activations whose width could be chosen: leave acts out"),
        ("tfc-w1a1", "scheme: [learned_step, integer]", "8; leave learned_step out of scheme (--space)"),
        ("tfc-float", "bits: [1, 2]", "model tfc-float is float and has no hardware"),
        ("tfc-w4a4", "options: {early_exit: [[1], [2]]}", "model tfc-w4a4 has early exits"),
        (MODEL, "bits: [1, 2]\nuniform: yes please", "uniform='yes please' of the space is neither true nor false"),
    ],
)
def test_networks_without_widths_to_choose(tmp_path, model, text, message):
    (tmp_path / "space.yaml").write_text(text)
    _refused(tmp_path, model, ["--fps", "1000", "--space", str(tmp_path / "space.yaml")], message)


def test_data_of_ones_own_are_those_of_train_from_any_folder(tmp_path, monkeypatch):
    """A table whose label is not its last column; the worker and the repeated training are in another folder."""
    (tmp_path / "table.csv").write_text("kind,a,id,b\n" + "x,1.5,7,2\ny,-3,8,4.5\n" * 30)
    monkeypatch.chdir(tmp_path)
    call = ["explore", MODEL, "-t", TARGET, "--fps", "1000", "-o", f"{tmp_path}/s", "--epochs", "1", "--trials", "2",
            "--data", "table.csv", "--target-column", "kind", "--drop-column", "id", "--normalize", "range",
            "--test-share", "0.3", "--search", "scheme"]  # fmt: skip
    shown = CliRunner().invoke(app, call, catch_exceptions=False)
    assert "2 trained" in shown.stdout
    monkeypatch.chdir("/")
    study = Study(tmp_path / "s")
    assert Trials(study.settings).dataset.shape == (2,)
    run = study.front[0].folder
    words = shlex.split(train_command(run, str(tmp_path / "again")))
    CliRunner().invoke(app, words[1:], catch_exceptions=False)
    assert (tmp_path / "again" / "model.onnx").read_bytes() == (run / "model.onnx").read_bytes()
    shown = CliRunner().invoke(app, [*call, "--normalize", "standard"], standalone_mode=False)
    assert "other settings (data, data_options)" in str(shown.exception)


def test_networks_of_ones_own_are_found_from_any_folder(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text("def make(): pass\n")
    monkeypatch.chdir(tmp_path)
    assert from_anywhere("net.py:make") == f"{tmp_path}/net.py:make"
    assert [from_anywhere(name) for name in ("tfc-w4a4", "digits", "no.py:make")] == [
        "tfc-w4a4",
        "digits",
        "no.py:make",
    ]


def test_a_clock_that_no_build_goes_on_with_does_not_fit(study):
    settings = replace(_settings(), clock_mhz=400.0)
    reached = Trials(settings).measured(study.front[0].folder, 0.9)
    assert reached.excess > 0.3
    assert re.fullmatch(r"a clock of 400 MHz, and an estimated Fmax of \d+ MHz", reached.why)


def test_layers_of_one_bit_are_not_pruned():
    with pytest.raises(UsageError, match="model tfc-w1a1 has no layers of at least 2 bits, which could be pruned"):
        Trials(Settings(model="tfc-w1a1", target=TARGET, data="digits", space=Space(prune=(0.0, 0.5)), **SETTINGS))


def test_only_images_are_augmented(tmp_path):
    (tmp_path / "features.csv").write_text("a,b,label\n" + "1,2,x\n3,4,y\n" * 20)
    call = ["--fps", "1000", "--data", str(tmp_path / "features.csv"), "--augment", "shift"]
    _refused(tmp_path, MODEL, call, r"augment='shift' is for images, but features has inputs of shape (2,)")


def test_a_space_file_alone_is_the_whole_space_and_widths_are_those_of_one_expert():
    space = Space(width=(0.5, 1.0), options={"experts": (1, 3)})
    networks = Trials(Settings(model="tfc-w4a4", target=TARGET, data="digits", space=space, **SETTINGS))
    for experts in (1, 3):
        assert networks.options({"option.experts": experts, "width": 0.5}) == {
            "experts": experts, "hidden": [32, 32, 32],
        }  # fmt: skip
    tables = Space(options={"tables": ([40], [80, 20])})
    lookup = Trials(Settings(model="lookup-s", target=TARGET, data="digits", space=tables, **SETTINGS))
    params = {"option.tables": "[80, 20]"}
    assert lookup.options(params) == {"tables": [80, 20]}
    assert lookup.cost(params).lut > 0


def _refused(tmp_path, model, call, message):
    shown = CliRunner().invoke(
        app, ["explore", model, "-t", TARGET, "-o", str(tmp_path / "s"), *call], standalone_mode=False
    )
    assert message in str(shown.exception)


def test_factors_have_the_width_of_their_layer():
    """A dense layer of lower rank is two layers; one lowering serves all networks with the same ranks."""
    space = Space(bits=(2, 4), rank=(0.5, 1.0), width=(1.0, 2.0), options={"hidden": ([8, 4],)})
    networks = Trials(Settings(model=MODEL, target=TARGET, data="digits", space=space, **SETTINGS))
    params = networks.dimensions.uniform(4, 4) | {"bits.hidden.0.linear": 2, "rank": 0.5}
    assert params["rank"] == 0.5
    assert networks.options(params) == {
        "hidden": [8, 4], "low_rank": 0.5, "weight_widths": [2, 2, 4, 4, 4],
    }  # fmt: skip
    assert networks.options({**params, "rank": 1.0, "width": 2.0}) == {"hidden": [16, 8], "weight_widths": [2, 4, 4]}
    layers = networks.cost(params).layers
    assert {"hidden.0.linear.factor0", "hidden.0.linear.factor1", "output"} <= set(layers)
    networks.cost({**params, "bits.output": 2})
    assert networks.lowerings == 1
    assert networks.cost({**params, "rank": 1.0}).lut != networks.cost(params).lut
    assert networks.lowerings == 2


def test_space_files(tmp_path):
    file = tmp_path / "space.yaml"
    for text, message in (
        ("bits: []", "no choices"),
        ("bits: [0]", "are 1 to 16"),
        ("bots: [1]", "no dimension 'bots'"),
        ("[1]", "no mapping"),
        ("prune: [1.0]", "from 0 to below 1"),
        ("rank: [0, 1]", "shares above 0, up to 1"),
        ("bits: [4]", "one network only"),
        (": :", "cannot be read"),
        ("bits: [1]\nbits: [2]", "line 2: the key bits is given twice"),
    ):
        file.write_text(text)
        with pytest.raises(UsageError, match=message):
            Space.of([], file)
    file.write_text("bits: [1, ternary]\noptions: {in_bits: [1, 8]}")
    assert Dimensions(Space.of(["acts"], file), ("a", "b"), ("c",)).size == 2 * 2 * 4 * 2


@pytest.mark.parametrize("objective", ["fps", "latency"])
def test_what_is_fastest_within_limits_can_be_built_so(tmp_path, objective):
    """With its FIFOs, of which the cost before a training knows nothing."""
    study = explore(
        MODEL, TARGET, tmp_path / "study", Space(bits=(1, 2), acts=(2,), uniform=True),
        objectives=("accuracy", objective), trials=2, epochs=(1,), validation=0.2, limits={"lut": 1300},
    )  # fmt: skip
    assert study.front
    for each in study.front:
        built = study.build(each.number, stop_after="fold")
        assert built.resources.lut.estimated == each.hardware["lut"] <= 1300
        assert built.report.fps == each.hardware["fps"]
        words = shlex.split(build_command(study.settings, each, str(each.folder)))
        shown = CliRunner().invoke(app, [*words[1:-1], str(tmp_path / "again"), "--stop-after", "fold", "--json"])
        assert json.loads(shown.stdout)["resources"]["lut"]["estimated"] == each.hardware["lut"]
