"""Compression of run folders: every method, what it records, resuming, and bad input."""

import json
import shutil
from functools import partial

import numpy as np
import pytest
import torch

from hw.lowering.lower import lower
from hw.verification.reference import compare
from quant import TrainConfig, compress_run, compression, load_checkpoint, train_run
from quant.compression.weights import find_layers, weight_of
from quant.cost import LayerCost
from quant.errors import QuantError
from quant.schemes.scheme import Scheme
from quant.training import slimming, soft_sharing
from quant.training.methods import METHODS
from tests.quant.compressed import convolutional, images
from tests.quant.test_train import PRODUCTS, content


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    train_run("tfc-w4a4", folder, TrainConfig(epochs=6))
    return folder


SHORT = {"soft-sharing": {"prior_epochs": 2, "tau": 0.05, "reach": 0.4, "deviation": 0.05, "zero": 0.5}}


@pytest.mark.parametrize("method", METHODS)
def test_each_method_makes_a_run_like_any_other(method, run, tmp_path):
    out = tmp_path / "small"
    trains = METHODS[method].trains
    result = compress_run(run, out, method, epochs=int(trains), options=SHORT.get(method))
    assert set(content(out)) == PRODUCTS - {"train.yaml"}  # the arguments of a training
    written = json.loads((out / "metrics.json").read_text())
    assert json.loads(json.dumps(result)) == {**written, "out": str(out), "cached": False, "rank": 0}
    made, source = written["compression"], json.loads((run / "metrics.json").read_text())
    assert (made["method"], made["source"]["path"], made["accuracy"]["before"]) == (
        method, str(run), source["accuracy"]["test"],
    )  # fmt: skip
    assert made["source"]["sha256"] == source["files"]["checkpoint.pt"]
    assert written["config"] == source["config"]
    assert made["accuracy"]["after"] == written["accuracy"]["test"]
    assert (made["accuracy"]["compressed"] is None) == trains
    model = load_checkpoint(out / "checkpoint.pt")
    counts = {name: int((weight_of(layer) != 0).sum()) for name, layer in find_layers(model).items()}
    for row in made["weights"]:  # the factors of a layer are named after it
        assert row["after"] == sum(
            n for name, n in counts.items() if name == row["name"] or name.startswith(row["name"] + ".")
        )
    if METHODS[method].counts == "weights" and method != "low-rank":
        for row in made["weights"]:
            assert row["after"] / row["weights"] <= 1 - METHODS[method].fraction + 1e-3
    compared = compare(lower(out / "model.onnx"), out / "model.onnx", np.load(out / "x_test.npy")[:50])
    assert compared.mismatches == compared.explained
    assert compress_run(run, out, method, epochs=int(trains), options=SHORT.get(method))["cached"] is True


def test_a_compressed_run_can_be_compressed_and_the_record_says_so(run, tmp_path):
    compress_run(run, tmp_path / "first", "merge", density=0.8, epochs=1)
    result = compress_run(tmp_path / "first", tmp_path / "second", "prune", fraction=0.5, epochs=0, layers=["hidden.*"])
    made = result["compression"]
    assert (made["method"], made["source"]["compression"]["method"]) == ("prune", "merge")
    assert made["config"]["epochs"] == 0
    assert result["fit"] is None
    assert [row["after"] <= row["weights"] / 2 for row in made["weights"]] == [True, True, True, False]
    ratio = compress_run(run, tmp_path / "third", "prune", options={"structure": "2:4"}, epochs=0)["compression"]
    assert ratio["fraction"] == 0.5


def test_weights_that_save_more_are_pruned_first(run, tmp_path):
    def cost(shape, bits, density=1.0, structure="unstructured"):
        lut = round(1000 * density * (10 if shape.inputs == 64 and shape.outputs == 64 else 1))
        return LayerCost(lut, 0, 0, 0, 1, 0)

    options = {"by": "lut"}
    made = compress_run(run, tmp_path / "a", "prune", options=options, density=0.5, epochs=0, cost=cost)["compression"]
    shares = {row["name"]: row["after"] / row["weights"] for row in made["weights"]}
    wanted = compression.prune(load_checkpoint(run / "checkpoint.pt"), 0.5, savings=made["savings"])
    for name, layer in find_layers(wanted).items():
        assert float((weight_of(layer) != 0).float().mean()) == pytest.approx(shares[name])
    assert made["savings"]["output"] < made["savings"]["hidden.0.linear"] * 640
    with pytest.raises(QuantError, match="by=lut needs a cost model"):
        compress_run(run, tmp_path / "b", "prune", options=options)
    with pytest.raises(QuantError, match="no criterion by='watts'"):
        compress_run(run, tmp_path / "b", "prune", options={"by": "watts"})


@pytest.mark.parametrize(
    ("method", "steps"),
    [
        ("obs", 20),
        *(pytest.param(*each, marks=pytest.mark.slow) for each in (("deep-compression", 34), ("soft-sharing", 20))),
    ],
)
def test_an_interrupted_compression_resumes_to_the_same_files(method, steps, run, tmp_path, monkeypatch):
    arguments = {"epochs": 2, "options": SHORT.get(method)}
    wanted = compress_run(run, tmp_path / "whole", method, **arguments)
    original, count = Scheme.after_step, 0

    def interrupted(self, layers, optimizer):
        nonlocal count
        count += 1
        if count > steps:
            raise KeyboardInterrupt
        original(self, layers, optimizer)

    folder = tmp_path / "cut"
    with monkeypatch.context() as patch:
        patch.setattr(Scheme, "after_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            compress_run(run, folder, method, **arguments)
    assert [path.name for path in folder.iterdir()] == [".checkpoint"]
    with pytest.raises(QuantError, match="is the state of another run"):
        compress_run(run, folder, method, epochs=1, resume=True)
    found = compress_run(run, folder, method, **arguments, resume=True)
    assert found["onnx"] == wanted["onnx"]
    assert found["compression"]["accuracy"] == wanted["compression"]["accuracy"]
    assert set(content(folder)) == PRODUCTS - {"train.yaml"}


def test_a_resumed_compression_that_is_impossible_leaves_no_folder(run, tmp_path, monkeypatch):
    """It is interrupted, goes on from there, and ends in an error: neither its state nor an empty folder is left."""
    for error in (KeyboardInterrupt(), QuantError("the integers are not those of torch")):
        monkeypatch.setattr("quant.training.compress._compress", partial(_fail, error))
        with pytest.raises(type(error)):
            compress_run(run, tmp_path / "out", "prune", resume=isinstance(error, QuantError))
        assert (tmp_path / "out" / ".checkpoint").is_dir() == isinstance(error, KeyboardInterrupt)
    assert not (tmp_path / "out").exists()
    (tmp_path / "users").mkdir()
    with pytest.raises(QuantError):
        compress_run(run, tmp_path / "users", "prune")
    assert (tmp_path / "users").is_dir()


def _fail(error, *_arguments):
    raise error


def test_bad_input(run, tmp_path):
    binary = tmp_path / "binary"
    train_run("tfc-w1a1", binary, TrainConfig(epochs=1))
    lost = tmp_path / "lost"
    shutil.copytree(run, lost)
    (lost / "checkpoint.pt").unlink()
    edited = tmp_path / "edited"
    shutil.copytree(run, edited)
    (edited / "checkpoint.pt").write_bytes(b"x")
    out = tmp_path / "out"
    for source, method, options, words in (
        (lost, "prune", {}, "is no finished run, it has no checkpoint.pt"),
        (tmp_path, "prune", {}, "is no finished run, it has no checkpoint.pt"),
        (edited, "prune", {}, "is not the one that metrics.json records"),
        (binary, "prune", {}, "layer hidden.0.linear has 1-bit weights .* ternary"),
        (binary, "share", {}, "layer hidden.0.linear has 1-bit weights .* only two values: take method slim or tie"),
        (binary, "low-rank", {}, "which are no sums of products: take method slim"),
        (run, "scratch", {"layers": ["output"]}, "method scratch changes all layers: leave out the choice of layers"),
        (run, "prune", {"epochs": 0, "learning_rate": 0.1}, "is that of the training, and epochs=0 has none"),
        (run, "slim", {"options": {"strength": 0.1}}, "criterion l1 has no penalty, and strength=0.1 is that of one"),
        (run, "slim", {"options": {"mixture": 0.1}}, "mixture=0.1 is for criterion neurons, not l1"),
        (run, "low-rank", {"options": {"frames": -5}}, "frames=-5 is not at least 1"),
        (run, "purne", {}, "no method 'purne': did you mean prune"),
        (run, "prune", {"density": 0.0}, "density=0.0 is not above 0"),
        (run, "prune", {"density": 1.5}, "density=1.5 is not above 0"),
        (run, "prune", {"fraction": 1.0}, "fraction=1.0 is not from 0"),
        (run, "prune", {"fraction": 0.5, "density": 0.5}, "say the same"),
        (run, "obq", {"density": 0.5}, "method obq has no density"),
        (run, "prune", {"density": 0.001}, "leaves an output without an input"),
        (run, "obs", {"density": 0.001}, "leaves an output without an input"),
        (run, "merge", {"density": 0.001}, "leaves no neuron"),
        (run, "low-rank", {"options": {"rank": 4, "energy": 0.5}}, "rank=4 and energy=0.5 each say how much is left"),
        (run, "low-rank", {"options": {"rank": 4}, "density": 0.5}, "rank=4 and density each say how much is left"),
        (run, "obs", {"options": {"structure": "2:4"}}, "method obs has no option 'structure'"),
        (run, "obs", {"options": {"frames": "many"}}, "frames='many' of method obs is not a whole number"),
        (run, "prune", {"options": {"structure": "3 of 4"}}, "no structure '3 of 4'"),
        (run, "prune", {"layers": ["nothing"]}, "layers='nothing' matches none"),
        (run, "prune", {"epochs": -1}, "epochs=-1"),
        (run, "deep-compression", {"epochs": 0}, "trains the network"),
        (run, "prune", {"data": "digits.npz"}, "no data set 'digits.npz'"),
    ):
        with pytest.raises(QuantError, match=words) as caught:
            compress_run(source, out, method, **options)
        assert "\n" not in str(caught.value)
        assert not out.exists()
    with pytest.raises(QuantError, match="is the run to compress"):
        compress_run(run, run, "prune")
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["dataset"]["sha256"] = "0"
    other = tmp_path / "other"
    shutil.copytree(run, other)
    (other / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(QuantError, match="digits has changed since"):
        compress_run(other, out, "prune")


def test_compressed_weights_are_compressed_again_or_refused_by_name(run, tmp_path):
    """What a method would undo is refused with the layer, its weights, and what to do."""
    compress_run(run, tmp_path / "tied", "tie", epochs=0)
    compress_run(run, tmp_path / "shared", "share", epochs=0)
    for kind in ("tied", "shared"):
        for method in ("prune", "obd", "obs", "obq", "merge", "low-rank", "soft-sharing", "deep-compression"):
            with pytest.raises(
                QuantError,
                match=rf"layer hidden\.0\.linear has {kind} weights, which .* would undo: choose other layers, or take",
            ):
                compress_run(tmp_path / kind, tmp_path / "out", method)
    train_run("lookup-s", tmp_path / "tables", TrainConfig(epochs=1), model_options={"tables": 50})
    with pytest.raises(QuantError, match=r"tables is a lookup network, .*: train one of fewer tables"):
        compress_run(tmp_path / "tables", tmp_path / "out", "prune")


@pytest.mark.parametrize(
    ("method", "options"),
    [("slim", {"criterion": "slimming", "penalty_epochs": 1}), ("soft-sharing", {**SHORT["soft-sharing"]})],
)
def test_trainings_of_a_method_have_the_teacher_of_the_run(method, options, run, tmp_path, monkeypatch):
    train_run("tfc-w2a2", tmp_path / "student", TrainConfig(epochs=1), teacher=run)
    module, teachers = {"slim": slimming, "soft-sharing": soft_sharing}[method], []
    original = module.fit

    def noted(*arguments, teacher=None, **others):
        teachers.append(teacher)
        return original(*arguments, teacher=teacher, **others)

    monkeypatch.setattr(module, "fit", noted)
    compress_run(tmp_path / "student", tmp_path / "small", method, options=options, epochs=0)
    assert teachers == [[str(run / "checkpoint.pt")]]


def test_the_saliency_of_optimal_brain_damage_is_the_formula():
    model, x = convolutional(), images(6)
    y = torch.arange(6)
    s = compression.saliency(model, x, y, frames=4)
    total = torch.zeros_like(model[6].weight)
    for frame, label in zip(x[:4], y[:4], strict=True):
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(frame[None]), label[None]).backward()
        total += model[6].weight.grad ** 2
    torch.testing.assert_close(s["6"], total / 4 * model[6].weight.detach() ** 2 / 2)
    small = compression.prune(model, 0.5, score=lambda name, _layer: s[name])
    gone = weight_of(small[6]) == 0
    assert s["6"][gone].max() <= s["6"][~gone].min()
