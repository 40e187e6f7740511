"""The step cache: what runs again, what does not, and what a failure leaves."""

import json

import pytest

from flows.build_report import StepTime
from flows.evidence import Record
from flows.facts.fact import Facts
from flows.step_cache import StepCache
from flows.steps.step import Step
from hw.host.errors import BitfabricError, UsageError
from hw.host.files import sha256


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
    first = steps(tmp_path)
    assert first.run(Write("x")) == Text(text="x")
    [made] = first.done
    assert not made.cached
    again = steps(tmp_path)
    assert again.run(Refuse("x")) == Text(text="x")
    assert again.done == [StepTime(name="a", seconds=made.seconds, cached=True)]  # the seconds of the run that made it
    assert again.records == first.records
    assert again.products == {"a/product": sha256(tmp_path / "a" / "product")}


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
    record = Record.model_validate(json.loads(path.read_text()) | {"result": {"text": 1}})
    path.write_text(json.dumps(record.sealed()))


def forge_name(folder):
    """The record of another step, under a seal that matches it."""
    path = folder / ".steps" / "a.json"
    record = Record.model_validate(json.loads(path.read_text()) | {"step": "b"})
    path.write_text(json.dumps(record.sealed()))


def link_product(folder):
    """The product is a link to an equal file elsewhere."""
    (folder / "a" / "product").rename(folder / "elsewhere")
    (folder / "a" / "product").symlink_to(folder / "elsewhere")


@pytest.mark.parametrize(
    "damage",
    [
        damage_inputs,
        damage_product,
        damage_missing,
        damage_record,
        edit_result,
        forge_result,
        forge_name,
        link_product,
    ],
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


class Read(Write):
    """Reads the product of the step ``a``."""

    name = "b"

    def reads(self):
        return ("a/product",)


@pytest.mark.parametrize(("reads", "runs"), [(("a/product",), True), (("a",), True), ((), False)])
def test_a_step_runs_again_where_a_product_that_it_reads_has_changed(tmp_path, monkeypatch, reads, runs):
    monkeypatch.setattr(Read, "reads", lambda self: reads)
    first = steps(tmp_path)
    first.run(Write("x"))
    first.run(Read("one"))
    assert set(first.records["b"].reads) == set(reads)
    again = steps(tmp_path)
    again.run(Write("y", key=2))
    assert again.run(Read("two")) == Text(text="two" if runs else "one")


def test_a_step_cannot_read_what_no_step_has_made(tmp_path):
    with pytest.raises(KeyError):
        steps(tmp_path).run(Read("x"))


@pytest.mark.parametrize(
    ("owner", "name"), [("flows.step_cache.compiler", "version"), ("flows.step_cache.platform", "python_version")]
)
def test_another_compiler_or_python_runs_the_step_again(tmp_path, monkeypatch, owner, name):
    steps(tmp_path).run(Write("x"))
    monkeypatch.setattr(f"{owner}.{name}", lambda: "other")
    assert steps(tmp_path).run(Write("z")) == Text(text="z")


@pytest.mark.parametrize("package", ["numpy", "scipy"])
def test_another_solver_runs_the_step_again(tmp_path, monkeypatch, package):
    steps(tmp_path).run(Write("x"))
    monkeypatch.setattr("flows.step_cache.installed", lambda name: "9" if name == package else "1")
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
