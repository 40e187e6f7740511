"""The step cache: what runs again, what does not, and what a failure leaves."""

import json

import pytest

from flows.build_report import Facts, StepTime
from flows.files import sha256
from flows.step_cache import StepCache, key_of
from flows.steps.step import Step
from hw.host.errors import BitfabricError, UsageError


class Text(Facts):
    text: str


class Write(Step[Text]):
    """Writes a text into a file."""

    name = "a"
    result = Text

    def __init__(self, text, key=1):
        self.text = text
        self.key = key

    def inputs(self):
        return [self.key]

    def run(self, out):
        (out / "product").write_text(self.text)
        return Text(text=self.text)


class Refuse(Write):
    """Must not run."""

    def run(self, out):
        raise AssertionError("must not run again")


class Fail(Write):
    """Fails behind a log."""

    error = BitfabricError

    def run(self, out):
        (out / "log").write_text("why")
        raise self.error(f"it broke; log: {out / 'log'}")


def steps(folder):
    return StepCache(folder, lambda name, cached, seconds: None)


def test_an_unchanged_step_is_not_run_again(tmp_path):
    assert steps(tmp_path).run(Write("x")) == Text(text="x")
    again = steps(tmp_path)
    assert again.run(Refuse("x")) == Text(text="x")
    assert again.done == [StepTime(name="a", seconds=0.0, cached=True)]


def damage_inputs(folder):
    return 2


def damage_product(folder):
    (folder / "a" / "product").write_text("y")


def damage_missing(folder):
    (folder / "a" / "product").unlink()


def damage_record(folder):
    record = folder / ".steps" / "a.json"
    record.write_text(record.read_text()[:-20])


def edit_result(folder):
    """By hand: another result under the old seal."""
    record = folder / ".steps" / "a.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"result": {"text": "forged"}}))


def forge_result(folder):
    """A result that is none of the step's type, under a seal that matches it."""
    path = folder / ".steps" / "a.json"
    record = json.loads(path.read_text()) | {"result": {"text": 1}}
    path.write_text(json.dumps(record | {"seal": key_of(record["key"], record["result"], record["files"])}))


@pytest.mark.parametrize(
    "damage", [damage_inputs, damage_product, damage_missing, damage_record, edit_result, forge_result]
)
def test_anything_changed_runs_the_step_again(tmp_path, damage):
    steps(tmp_path).run(Write("x"))
    key = damage(tmp_path) or 1
    assert steps(tmp_path).run(Write("z", key)) == Text(text="z")
    assert (tmp_path / "a" / "product").read_text() == "z"
    assert json.loads((tmp_path / ".steps" / "a.json").read_text())["files"] == {
        "product": sha256(tmp_path / "a" / "product")
    }


def test_changed_code_runs_the_step_again(tmp_path, monkeypatch):
    steps(tmp_path).run(Write("x"))
    monkeypatch.setattr("flows.step_cache.code_of", lambda modules: "other")
    assert steps(tmp_path).run(Write("z")) == Text(text="z")


@pytest.mark.parametrize("error", [BitfabricError, UsageError])
def test_a_failed_step_leaves_its_logs_and_nothing_that_looks_whole(tmp_path, monkeypatch, error):
    steps(tmp_path).run(Write("x"))
    monkeypatch.setattr(Fail, "error", error)
    with pytest.raises(error, match=r"a\.failed/log") as caught:
        steps(tmp_path).run(Fail("y", key=2))
    assert type(caught.value) is error
    assert not (tmp_path / "a").exists()
    assert (tmp_path / "a.failed" / "log").read_text() == "why"
    assert steps(tmp_path).run(Write("z", key=2)) == Text(text="z")
    assert not (tmp_path / "a.failed").exists()


def test_an_interrupt_leaves_nothing(tmp_path):
    class Interrupted(Write):
        def run(self, out):
            (out / "half").write_text("")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        steps(tmp_path).run(Interrupted("x"))
    assert [p.name for p in tmp_path.iterdir()] == [".steps"]
    assert steps(tmp_path).run(Write("x")) == Text(text="x")
