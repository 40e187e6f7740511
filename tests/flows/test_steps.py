import json

import pytest

from flows.step_cache import Steps, sha256
from hw.host.errors import BitfabricError


def steps(folder):
    return Steps(folder, lambda name, cached, seconds: None)


def write(text):
    def action(out):
        (out / "product").write_text(text)
        return {"text": text}

    return action


def refuse(out):
    raise AssertionError("must not run again")


def test_an_unchanged_step_is_not_run_again(tmp_path):
    assert steps(tmp_path).run("a", [1], write("x")) == {"text": "x"}
    again = steps(tmp_path)
    assert again.run("a", [1], refuse) == {"text": "x"}
    assert again.done == [{"name": "a", "seconds": 0.0, "cached": True}]


@pytest.mark.parametrize("damage", ["inputs", "product", "missing", "record"])
def test_anything_changed_runs_the_step_again(tmp_path, damage):
    steps(tmp_path).run("a", [1], write("x"))
    if damage == "product":
        (tmp_path / "a" / "product").write_text("y")
    elif damage == "missing":
        (tmp_path / "a" / "product").unlink()
    elif damage == "record":
        record = tmp_path / ".steps" / "a.json"
        record.write_text(record.read_text()[:-20])
    assert steps(tmp_path).run("a", [2 if damage == "inputs" else 1], write("z")) == {"text": "z"}
    assert (tmp_path / "a" / "product").read_text() == "z"
    assert json.loads((tmp_path / ".steps" / "a.json").read_text())["files"] == {
        "product": sha256(tmp_path / "a" / "product")
    }


def test_a_failed_step_leaves_its_logs_and_nothing_that_looks_whole(tmp_path):
    steps(tmp_path).run("a", [1], write("x"))

    def fail(out):
        (out / "log").write_text("why")
        raise BitfabricError(f"it broke; log: {out / 'log'}")

    with pytest.raises(BitfabricError, match=r"a\.failed/log"):
        steps(tmp_path).run("a", [2], fail)
    assert not (tmp_path / "a").exists()
    assert (tmp_path / "a.failed" / "log").read_text() == "why"
    assert steps(tmp_path).run("a", [2], write("z")) == {"text": "z"}
    assert not (tmp_path / "a.failed").exists()


def test_an_interrupt_leaves_nothing(tmp_path):
    def interrupted(out):
        (out / "half").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        steps(tmp_path).run("a", [1], interrupted)
    assert [p.name for p in tmp_path.iterdir()] == [".steps"]
    assert steps(tmp_path).run("a", [1], write("x")) == {"text": "x"}
