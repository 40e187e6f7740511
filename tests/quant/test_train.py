"""Run folders: whole or untouched, reused when nothing changed."""

import hashlib
import json
import subprocess
import sys
import time

import numpy as np
import pytest

from quant import load_checkpoint, train_run
from quant.errors import QuantError

PRODUCTS = {"model.onnx", "metrics.json", "x_test.npy", "y_test.npy", "checkpoint.pt"}


def run(folder, **changes):
    return train_run(**{"model": "tfc-w1a1", "epochs": 2, "out": folder, **changes})


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
    assert json.loads(json.dumps(results)) == {**written, "out": str(folder), "cached": False}
    assert (results["cached"], results["model"], results["scheme"], results["data"], results["epochs"]) == (
        False,
        "tfc-w1a1",
        {"name": "binarynet"},
        "digits",
        2,
    )
    assert written["onnx"]["sha256"] == content(folder)["model.onnx"]
    x, y = np.load(folder / "x_test.npy"), np.load(folder / "y_test.npy")
    assert (x.shape, x.dtype, len(y)) == ((results["frames"]["test"], 64), np.float32, len(x))
    import torch

    predicted = load_checkpoint(folder / "checkpoint.pt")(torch.from_numpy(x)).argmax(1).numpy()
    assert (predicted == y).mean() == pytest.approx(results["accuracy"]["test"])


def test_an_equal_run_is_reused_and_another_is_not(finished, tmp_path):
    folder, results = finished
    before = content(folder)
    start = time.perf_counter()
    again = run(folder)
    assert time.perf_counter() - start < 1
    assert again["cached"] is True
    assert again["accuracy"] == results["accuracy"]
    assert content(folder) == before
    other = run(tmp_path / "other")
    assert other["cached"] is False
    assert other["onnx"] == results["onnx"]  # the same seed gives the same file
    (tmp_path / "other/model.onnx").write_bytes(b"damaged")
    assert run(tmp_path / "other")["cached"] is False
    assert run(tmp_path / "other", seed=1)["cached"] is False


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


def test_bad_requests(tmp_path):
    for changes, message in (
        ({"model": "tfx-w1a1"}, "did you mean tfc-w1a1"),
        ({"scheme": "binary"}, "did you mean binarynet"),
        ({"data": "digts"}, "did you mean digits"),
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
    code = "import sys, quant, quant.train; print({'torch', 'brevitas', 'lightning', 'hw'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
