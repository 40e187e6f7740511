"""Run folders: whole or untouched, reused when nothing changed."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import quant
from quant import TrainConfig, load_checkpoint, load_data, schemes, train_run
from quant.distillation import Distillation
from quant.errors import QuantError
from quant.schemes.scheme import Scheme
from quant.training import run_folder

PRODUCTS = {"model.onnx", "metrics.json", "x_test.npy", "y_test.npy", "checkpoint.pt", "train.yaml"}


def run(folder, epochs=2, seed=0, temperature=4.0, **options):
    config = TrainConfig(epochs=epochs, seed=seed, distill=Distillation(temperature=temperature))
    return train_run(out=folder, config=config, **options)


def content(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "new" / "folder"
    return folder, run(folder)


def test_products(finished):
    folder, results = finished
    assert set(content(folder)) == PRODUCTS
    written = json.loads((folder / "metrics.json").read_text())
    assert json.loads(json.dumps(results)) == {**written, "out": str(folder), "cached": False, "rank": 0}
    assert (results["cached"], results["model"], results["scheme"], results["data"], results["config"]["epochs"]) == (
        False,
        "tfc-w1a1",
        schemes.get("binarynet").describe(),
        "digits",
        2,
    )
    assert written["totals"]["weights"] == sum(layer["weights"] for layer in written["layers"]) == 12_928
    assert written["input"] == {"low": 0, "high": 16, "scale": None, "offset": None}
    assert [epoch["epoch"] for epoch in written["fit"]["history"]] == [1, 2]
    assert written["onnx"]["sha256"] == content(folder)["model.onnx"]
    x, y = np.load(folder / "x_test.npy"), np.load(folder / "y_test.npy")
    assert (x.shape, x.dtype, len(y)) == ((results["frames"]["test"], 64), np.float32, len(x))
    import torch

    predicted = load_checkpoint(folder / "checkpoint.pt")(torch.from_numpy(x)).argmax(1).numpy()
    assert (predicted == y).mean() == pytest.approx(results["accuracy"]["test"])


def test_an_equal_run_is_reused_and_another_is_not(finished, tmp_path, monkeypatch):
    folder, results = finished
    before = content(folder)
    with monkeypatch.context() as patch:
        patch.setattr("quant.training.run._train", None)  # a call would fail
        again = run(folder)
    assert again["cached"] is True
    assert again["accuracy"] == results["accuracy"]
    assert content(folder) == before
    other = run(tmp_path / "other")
    assert other["cached"] is False
    assert other["onnx"] == results["onnx"]  # the same seed gives the same file
    (tmp_path / "other/model.onnx").write_bytes(b"damaged")
    assert run(tmp_path / "other")["cached"] is False
    assert run(tmp_path / "other", seed=1)["cached"] is False


def test_a_run_is_reused_only_by_the_same_code(tmp_path, monkeypatch):
    key = run_folder._key({}, {}, load_data("digits"))
    copy = tmp_path / "quant"
    shutil.copytree(Path(quant.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(run_folder, "_PACKAGE", copy)
    assert run_folder._key({}, {}, load_data("digits")) == key
    (copy / "schemes" / "scheme.py").write_text("")
    assert run_folder._key({}, {}, load_data("digits")) != key


def test_an_interrupted_run_leaves_the_folder_as_it_was(finished, tmp_path, monkeypatch):
    folder, _ = finished
    before = content(folder)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("quant.schemes.scheme.Scheme.after_step", interrupted)
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    abandoned = tmp_path / f".partial-{process.pid}-x"  # of a run that was killed outright
    abandoned.mkdir()
    for out in (folder, tmp_path):
        with pytest.raises(KeyboardInterrupt):
            run(out, epochs=3)
    assert content(folder) == before
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "new", epochs=3)
    assert list(tmp_path.iterdir()) == []


def test_one_run_at_a_time_in_a_folder(tmp_path, monkeypatch):
    """Two would mix their checkpoints, and the files of the later one would stand behind the words of the earlier."""
    data, made = load_data("digits"), []

    def produce(make):
        return run_folder.produce(tmp_path / "run", {}, data, make)

    def other(work, *_):
        made.append(work)
        raise KeyboardInterrupt

    def first(work, *_):
        with pytest.raises(QuantError, match=r"^another run is at work in .*run; wait for its end, or choose another"):
            produce(other)
        assert made == []
        monkeypatch.setenv("LOCAL_RANK", "1")  # a further process of a training on several devices
        with pytest.raises(KeyboardInterrupt):
            produce(other)
        assert len(made) == 1
        assert work.is_dir()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        produce(first)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_run_can_be_resumed(tmp_path, monkeypatch):
    wanted = run(tmp_path / "whole", epochs=4)
    original, count = Scheme.after_step, 0

    def interrupted(self, layers, optimizer):
        nonlocal count
        count += 1
        if count > 20:  # in the second epoch
            raise KeyboardInterrupt
        original(self, layers, optimizer)

    folder = tmp_path / "cut"
    with monkeypatch.context() as patch:
        patch.setattr(Scheme, "after_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(folder, epochs=4)
    assert [path.name for path in folder.iterdir()] == [".checkpoint"]
    with pytest.raises(QuantError, match="batch_size=100 instead of 50"):
        train_run(out=folder, config=TrainConfig(epochs=4, batch_size=50), resume=True)
    found = run(folder, epochs=4, resume=True)
    assert found["onnx"] == wanted["onnx"]
    assert set(content(folder)) == PRODUCTS
    assert run(folder, epochs=4)["cached"] is True


def test_a_float_network_and_its_student(tmp_path):
    teacher = run(tmp_path / "teacher", model="tfc-float")
    assert set(content(tmp_path / "teacher")) == PRODUCTS - {"model.onnx"}
    assert (teacher["onnx"], teacher["verification"]) == (None, None)
    assert run(tmp_path / "teacher", model="tfc-float")["cached"] is True
    student = run(tmp_path / "student", teacher=tmp_path / "teacher", temperature=2.0)
    assert student["accuracy"] != run(tmp_path / "alone")["accuracy"]
    assert run(tmp_path / "student", teacher=tmp_path / "teacher", temperature=2.0)["cached"] is True
    # another teacher in the same place is another request
    run(tmp_path / "teacher", model="tfc-float", epochs=3)
    again = run(tmp_path / "student", teacher=tmp_path / "teacher", temperature=2.0)
    assert again["cached"] is False
    # an earlier run's model does not stay beside the results of one that has none
    run(tmp_path / "student", model="tfc-float")
    assert not (tmp_path / "student/model.onnx").exists()


def test_features_of_your_own(tmp_path):
    random = np.random.default_rng(0)
    y = random.integers(0, 5, 300)
    x = random.normal(size=(300, 16)) * 0.3 + np.eye(5, 16)[y]
    np.savez(tmp_path / "jets.npz", x_train=x[:250], y_train=y[:250], x_test=x[250:], y_test=y[250:])
    results = run(tmp_path / "run", model="jsc-mlp-w4a4", data=tmp_path / "jets.npz", epochs=8)
    assert results["accuracy"]["test"] > 0.8
    assert len(results["input"]["scale"]) == len(results["input"]["offset"]) == 16
    np.testing.assert_array_equal(np.load(tmp_path / "run/x_test.npy"), x[250:].astype(np.float32))


def test_the_schemes_options(tmp_path):
    results = run(tmp_path, model="tfc-w4a4", scheme="fixed_point", scheme_options={"rounding": "floor"})
    assert (results["scheme"]["weight_bits"], results["scheme"]["rounding"]) == (4, "floor")


def test_bad_requests(tmp_path):
    for changes, message in (
        ({"model": "tfx-w1a1"}, "did you mean tfc-w1a1"),
        ({"scheme": "binary"}, "did you mean binarynet"),
        ({"data": "digts"}, "did you mean digits"),
        ({"teacher": "nowhere"}, "no teacher nowhere"),
        ({"scheme_options": {"bits": 3}}, "no parameter 'bits'"),
        ({"epochs": 0}, "epochs=0"),
        ({"model_options": {"in_bits": {1}}}, "plain JSON values"),
    ):
        with pytest.raises(QuantError, match=message) as caught:
            run(tmp_path / "out", **changes)
        assert caught.value.status == 2
    (tmp_path / "file").write_text("")
    with pytest.raises(QuantError, match="choose another folder"):
        run(tmp_path / "file")


def test_importing_quant_is_light():
    code = "import sys, quant, quant.training.run; print({'torch', 'brevitas', 'lightning', 'hw'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
