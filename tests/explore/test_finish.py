"""Finished networks of a study: nothing is repeated, the test set is one and the same, and a failure loses one."""

import itertools
import json
import re
import shlex
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from flows.cli.main import app
from flows.explore.commands import build_command, train_command
from flows.explore.finish import Finisher
from flows.explore.space import Space
from flows.explore.study import Study, explore
from flows.explore.trial import Trials
from flows.explore.tried import representatives
from hw.host.errors import BitfabricError, UsageError
from hw.native.exclusive import exclusive

SPACE = Space(bits=(4,), prune=(0.5,), scheme=("learned_step",), uniform=True, options={"hidden": ([4], [16])})
SETTINGS = {
    "fps": 100_000.0,
    "trials": 2,
    "epochs": (1,),
    "validation": 0.2,
    "augment": "shift",
    "limits": {"lut": 9_000},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return explore("tfc-w4a4", "ulx3s-25f", tmp_path_factory.mktemp("study"), SPACE, **SETTINGS)


@pytest.fixture
def copied(study, tmp_path):
    return Study(shutil.copytree(study.folder, tmp_path / "study"))


def test_networks_are_measured_beside_their_estimates(copied):
    trained = copied.front
    [found] = copied.finish(1, seeds=2, stop_after="emulate")
    assert (found.number, found.why, [run.seed for run in found.runs]) == (trained[-1].number, "", [0, 1])
    assert found.estimated["accuracy"] == trained[-1].accuracy
    place = copied.folder / "finished" / f"{found.number:04}"
    metrics = [json.loads((place / run.folder / "metrics.json").read_text()) for run in found.runs]
    assert [run.test for run in found.runs] == [each["accuracy"]["test"] for each in metrics]
    assert found.test == np.mean([run.test for run in found.runs])
    assert found.spread == pytest.approx(np.std([run.test for run in found.runs], ddof=1))
    # The seeds have other weights, and the same test frames, none of which the search has trained or chosen on.
    assert len({each["onnx"]["sha256"] for each in metrics}) == 2
    frames = [np.load(place / run.folder / "x_test.npy") for run in found.runs]
    np.testing.assert_array_equal(*frames)
    np.testing.assert_array_equal(frames[0], np.load(trained[-1].folder / "x_test.npy"))
    assert found.built == max(found.runs, key=lambda run: run.validation).seed
    assert (found.measured.mismatches, found.measured.frames) == (0, len(frames[0]))
    assert found.measured.resources is None
    assert copied.finished == [found]
    [folded] = copied.finish(1, seeds=2, stop_after="fold")
    assert folded.runs == found.runs
    assert (folded.measured.test, folded.measured.mismatches) == (None, None)  # no engine has run


def test_a_disk_that_fills_up_is_one_line(copied, monkeypatch):
    def full(source, place):
        raise OSError(28, "No space left on device", str(place))

    monkeypatch.setattr(shutil, "copy2", full)
    [found] = copied.finish(1, seeds=1, stop_after="fold")
    assert re.fullmatch(
        r"cannot write \S+/\.seed-0/\S+ \(No space left on device\); free some space there, or make .* writable",
        found.why,
    )


def test_an_interrupted_call_goes_on_without_repeating(copied, monkeypatch):
    run, trained = Trials.run, []

    def counted(self, params, folder, epochs, seed, **rest):
        if len(trained) == 2:
            raise KeyboardInterrupt
        result = run(self, params, folder, epochs, seed, **rest)
        if not result["cached"]:
            trained.append((folder.parents[1].name, seed))
        return result

    monkeypatch.setattr(Trials, "run", counted)
    count = len(copied.front)
    assert count >= 2
    with pytest.raises(KeyboardInterrupt):
        copied.finish(count, seeds=3, stop_after="lower")
    assert len(trained) == 2
    trained.append("went on")
    found = copied.finish(count, seeds=3, stop_after="lower")
    # Seed 0 of each network is of the search; the others are trained once.
    numbers = [f"{each.number:04}" for each in found]
    done = [each for each in trained if each != "went on"]
    assert sorted(done) == sorted(itertools.product(numbers, (1, 2)))
    assert copied.finish(count, seeds=3, stop_after="lower") == found
    assert len(trained) == 2 * count + 1


def test_a_failure_loses_one_network(copied, monkeypatch):
    run = Trials.run
    lost = copied.front[0]

    def fails(self, params, folder, epochs, seed, **rest):
        if params == lost.params and seed == 1:
            raise OSError(28, "No space left on device")
        return run(self, params, folder, epochs, seed, **rest)

    monkeypatch.setattr(Trials, "run", fails)
    numbers = [each.number for each in copied.front[:2]]
    bad, good = copied.finish(numbers, seeds=2, stop_after="fold")
    assert (bad.why, len(bad.runs), bad.measured) == ("[Errno 28] No space left on device", 1, None)
    assert good.why == ""
    assert {each.number: each for each in copied.finished} == {bad.number: bad, good.number: good}
    shown = CliRunner().invoke(app, ["explore", "--finish", "9", "--seeds", "2", "--stop-after", "fold", "-o",
                                     str(copied.folder)])  # fmt: skip
    assert shown.exit_code == 1
    assert f"number {lost.number} is not finished: [Errno 28]" in shown.output
    monkeypatch.undo()
    [mended] = copied.finish([lost.number], seeds=2, stop_after="fold")
    assert (mended.why, len(mended.runs)) == ("", 2)


def test_wrong_use(copied, tmp_path):
    for call, message in (
        ({"networks": 0}, "--finish 0"),
        ({"networks": [99]}, "number 99 of .* was not trained"),
        ({"networks": 1, "seeds": 0}, "--seeds 0"),
        ({"networks": 1, "epochs": 0}, "--full-epochs 0"),
        ({"networks": 1, "stop_after": "board"}, "no step board; the steps are lower"),
    ):
        with pytest.raises(UsageError, match=message):
            copied.finish(**call)
    with pytest.raises(UsageError, match=r"number 99 of .* was not trained"):
        copied.build(99)
    place = copied.folder
    for call, message in (
        (["--finish", "1"], "--finish needs -o STUDY/"),
        (["--finish", "1", "-o", str(tmp_path / "none")], "holds no study"),
        (["--finish", "1", "-o", str(place), "--fps", "3"], "takes the study's own settings: leave --fps out"),
        (["--join", str(place), "--finish", "1"], "leave --finish out"),
        (["--seeds", "2", "-o", str(place)], "--seeds needs --finish"),
        (["--finish", "0", "-o", str(place)], "are numbers from 1"),
    ):
        shown = CliRunner().invoke(app, ["explore", *call], standalone_mode=False)
        assert message in str(shown.exception)
        assert "\n" not in str(shown.exception)
    finisher = Finisher(place, copied.settings, None, None)
    (place / "finished").mkdir()
    with exclusive(place / "finished", "another"), pytest.raises(BitfabricError, match="another --finish is at work"):
        finisher.finish([])
    (place / "finished" / "0000").mkdir()
    (place / "finished" / "0000" / "finished.json").write_text("{}")
    with pytest.raises(BitfabricError, match=r"finished\.json cannot be read"):
        _ = copied.finished
    content = json.loads((place / "study.json").read_text())
    (place / "study.json").write_text(json.dumps({**content, "code": "code 0, torch 1.0"}))
    with pytest.raises(BitfabricError, match="is not that of the study"):
        Study(place).finish(1)


def test_the_commands_make_the_same_network(study, tmp_path):
    """The printed line is run, and leaves the run of the study: equal arguments, data and code, and an equal file."""
    pruned = study.front[0]
    assert pruned.params["prune"] == 0.5
    line = shlex.split(train_command(pruned.folder, str(tmp_path / "again")))
    shown = CliRunner().invoke(app, [*line[1:], "--json"])
    assert shown.exit_code == 0, shown.output
    mine, its = (json.loads((place / "metrics.json").read_text()) for place in (tmp_path / "again", pruned.folder))
    assert mine["key"] == its["key"]
    assert mine["onnx"] == its["onnx"]
    line = shlex.split(build_command(study.settings, pruned, str(pruned.folder)))
    assert line[-1] == "build/"
    shown = CliRunner().invoke(app, [*line[1:-1], str(tmp_path / "built"), "--stop-after", "fold", "--json"])
    report = json.loads(shown.stdout)
    assert report["resources"]["lut"]["estimated"] == pruned.hardware["lut"]
    assert report["cycles"]["interval"]["estimated"] == pruned.hardware["interval"]


def test_a_network_is_built(study, tmp_path):
    best = study.best(lut=1e6)
    built = study.build(best.number, tmp_path / "build", stop_after="rtl")
    assert built.report.stopped_after == "rtl"
    assert (tmp_path / "build" / "rtl" / "accelerator.sv").is_file()
    assert built.resources.lut.estimated == best.hardware["lut"]


@pytest.mark.slow
def test_an_image_is_built_and_measured(copied):
    [found] = copied.finish(1, seeds=2)
    assert (found.why, found.measured.mismatches) == ("", 0)
    assert found.measured.bitstream.endswith(".bit")
    assert found.measured.fmax_mhz > copied.settings.fps * found.measured.interval / 1e6
    assert found.measured.resources["lut"] < found.measured.image["lut"]
    assert found.measured.resources["lut"] == pytest.approx(found.estimated["lut"], rel=0.15)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=7),
    st.integers(1, 7),
)
def test_representatives_dominate_the_most(steps, count):
    """Against all choices of as many points with the last one."""
    points = [(float(sum(a for a, _ in steps[: i + 1])), float(sum(b for _, b in steps[: i + 1]))) for i in
              range(len(steps))]  # fmt: skip

    def area(places):
        ends = [*(points[i][0] for i in places), points[-1][0]]
        return sum((points[i][1] - points[0][1]) * (ends[k + 1] - ends[k]) for k, i in enumerate(places))

    chosen = representatives(points, count)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(count, len(points))
    assert chosen[-1] == len(points) - 1
    others = itertools.combinations(range(len(points)), len(chosen))
    assert area(chosen) == max(area(each) for each in others if each[-1] == len(points) - 1)
