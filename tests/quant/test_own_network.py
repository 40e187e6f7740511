"""Networks of a user's own, ``module.py:function``: trained, resumed, loaded, exported; what fails is one line."""

import json
import re
import shutil
from pathlib import Path

import brevitas.nn as qnn
import numpy as np
import pytest
import torch

from hw.lowering.lower import lower
from hw.simulation.emulator import Emulator
from quant import TrainConfig, compression, create_model, load_checkpoint, train_run
from quant.compression.weights import compression_of, find_layers
from quant.cost import LayerCost
from quant.errors import QuantError
from quant.training.compress import compress_run
from quant.training.lightning_module import Training

FACTS = {"input_shape": (1, 8, 8), "classes": 10, "in_range": (0, 16)}
NET = """
import brevitas.nn as qnn
from torch import nn

from parts import activation


def make_net(classes, width=4):
    return nn.Sequential(
        qnn.QuantConv2d(1, width, 3, weight_bit_width=4, bias=False),
        nn.BatchNorm2d(width),
        activation(4),
        nn.Flatten(),
        qnn.QuantLinear(36 * width, classes, weight_bit_width=4, bias=True),
    )
"""
PARTS = """
import brevitas.nn as qnn


def activation(bits):
    return qnn.QuantReLU(bit_width=bits)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "net.py").write_text(NET)
    (folder / "parts.py").write_text(PARTS)
    config = TrainConfig(epochs=2, learning_rate=(1e-2, 1e-3))
    name = f"{folder / 'net.py'}:make_net"
    return folder, name, train_run(name, folder / "run", config, model_options={"width": 3})


def test_the_run_folder_is_whole(trained):
    folder, name, results = trained
    run = folder / "run"
    assert (run / "network.py").read_text() == NET
    metrics = json.loads((run / "metrics.json").read_text())
    assert (metrics["model"], metrics["scheme"], metrics["accuracy"]["test"] > 0.3) == (name, {"name": "own"}, True)
    assert set(metrics["files"]) == {"checkpoint.pt", "network.py", "x_test.npy", "y_test.npy"}
    assert train_run(name, run, TrainConfig(epochs=2, learning_rate=(1e-2, 1e-3)), model_options={"width": 3})["cached"]
    # The digits reach the first layer as they are: integers of five bits.
    x = np.load(run / "x_test.npy")[:20]
    graph = lower(run / "model.onnx")
    assert graph.inputs[0].dtype == "UINT5"
    expected = load_checkpoint(run / "checkpoint.pt")(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_array_equal(Emulator(graph).run(x).argmax(1), expected.argmax(1))
    assert results["verification"]["max_abs_diff"] < 1e-4


def test_another_file_is_another_run_and_the_copy_is_what_was_trained(trained):
    folder, name, _ = trained
    file = folder / "net.py"
    file.write_text(NET.replace("weight_bit_width=4", "weight_bit_width=3"))
    try:
        assert load_checkpoint(folder / "run/checkpoint.pt").net[0].quant_weight().bit_width == 4
        config = TrainConfig(epochs=1)
        assert not train_run(name, folder / "other", config, model_options={"width": 2})["cached"]
        other = load_checkpoint(folder / "other/checkpoint.pt")
        assert (other.net[0].quant_weight().bit_width, other.net[0].out_channels) == (3, 2)
        (folder / "other/network.py").unlink()
        file.write_text(NET)
        with pytest.raises(QuantError, match=r"net\.py is not what it was at the training, .*no copy.*restore"):
            load_checkpoint(folder / "other/checkpoint.pt")
    finally:
        file.write_text(NET)


def test_an_interrupted_training_goes_on(trained, monkeypatch):
    folder, name, _ = trained
    from quant.training import run as module

    write = module.write_network
    config = TrainConfig(epochs=2, learning_rate=(1e-2, 1e-3))

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_network", stop)
    with pytest.raises(KeyboardInterrupt):
        train_run(name, folder / "stopped", config)
    monkeypatch.setattr(module, "write_network", write)
    assert train_run(name, folder / "stopped", config, resume=True)["fit"]["epochs"] == 2


def test_a_network_class_is_taken_as_it_is(tmp_path):
    (tmp_path / "net.py").write_text(
        "from quant.models.mlp import tfc\n\ndef make(scheme, **given):\n    return tfc(scheme, name='mine', **given)\n"
    )
    network = create_model(f"{tmp_path / 'net.py'}:make", "integer", **FACTS, hidden=(8,))
    assert network.scheme.name == "integer"
    assert network(torch.zeros(2, 1, 8, 8).flatten(1)).shape == (2, 10)


BODY = "import torch\nfrom torch import nn\n\ndef make(classes, width=1):\n"


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("import nothing_of_this_name\n", {}, ("net.py, line 1: ModuleNotFoundError: No module named",)),
        ("x = 1\ndef make(:\n", {}, ("net.py, line 2: SyntaxError",)),
        ("x = 1\ny = x / 0\n", {}, ("net.py, line 2: ZeroDivisionError: division by zero",)),
        ("raise SystemExit(3)\n", {}, ("net.py, line 1: SystemExit: 3",)),
        ("x = 1\n", {}, ("has no function make",)),
        (f"{BODY}    return wrong\n", {}, ("net.py, line 5: NameError",)),
        (f"{BODY}    return 3\n", {}, ("returns int, no network", "torch.nn.Module")),
        (f"{BODY}    return nn.Linear(3, 4)\n", {}, ("net.py", "RuntimeError")),
        (f"{BODY}    return nn.Flatten()\n", {}, ("output of shape (2, 64)", "return (2, 10)")),
        (f"{BODY}    return nn.LSTM(8, 10)\n", {}, ("net.py",)),
        (f"{BODY}    return nn.Flatten()\n", {"depth": 3}, ("has no option 'depth': its options are width",)),
        (
            f"{BODY.replace('=1', ', depth')}    return nn.Flatten()\n",
            {"width": 3},
            ("needs depth: give --model-option depth=VALUE",),
        ),
        (f"{BODY}    return nn.Flatten()\n", {"early_exit": 1}, ("'early_exit', which networks by name have", "width")),
    ],
)
def test_what_fails_is_one_line(text, options, words, tmp_path):
    (tmp_path / "net.py").write_text(text)
    with pytest.raises(QuantError, match=".*".join(map(re.escape, words))) as caught:
        create_model(f"{tmp_path / 'net.py'}:make", **FACTS, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [("net.py", "lacks a function"), ("net.py:", "lacks a function"), ("net.py:make-it", "lacks a function"),
     ("none.py:make", "no file none.py")],
)  # fmt: skip
def test_names_of_files(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text("")
    with pytest.raises(QuantError, match=message) as caught:
        create_model(name, **FACTS)
    assert caught.value.status == 2


def test_compression_of_a_network_of_ones_own(trained):
    """What needs no scheme prunes and is exported; what makes layers of a scheme says that there is none."""
    folder, _, _ = trained
    pruned = compress_run(folder / "run", folder / "pruned", "prune", fraction=0.5, epochs=1)
    assert pruned["totals"]["nonzeros"] <= 0.6 * pruned["totals"]["weights"]
    assert (folder / "pruned" / "network.py").read_text() == NET
    with pytest.raises(QuantError, match="has quantizers of its own and no scheme"):
        compress_run(folder / "run", folder / "factored", "low-rank", epochs=1)


def test_a_layer_that_reads_the_data_has_their_width(trained):
    """The width in the summary is that of the exported file's input, so the layer has a cost in hardware."""
    folder, _, made = trained
    assert [(row["act_bits"], row["signed_inputs"]) for row in made["layers"]] == [(5, False), (4, False)]
    [port] = lower(folder / "run" / "model.onnx").inputs
    assert lower(folder / "run" / "model.onnx").edges[port.edge].dtype.name == "UINT5"

    def cost(shape, bits, density=1.0, structure="unstructured"):
        return LayerCost(int(bits.inputs * density * np.prod(shape.weights)), 0, 0, 0, 1, 0)

    pruned = compress_run(
        folder / "run", folder / "by-lut", "prune", fraction=0.5, options={"by": "lut"}, cost=cost, epochs=0
    )
    assert pruned["totals"]["nonzeros"] <= 0.51 * pruned["totals"]["weights"]


TWICE = """
import brevitas.nn as qnn
from torch import nn


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.first = qnn.QuantLinear(64, 16, weight_bit_width=4, bias=True)
        self.twice = qnn.QuantLinear(16, 16, weight_bit_width=4, bias=False)
        self.last = qnn.QuantLinear(16, classes, weight_bit_width=4, bias=True)
        self.act, self.unused = qnn.QuantReLU(bit_width=4), qnn.QuantReLU(bit_width=4)

    def forward(self, x):
        x = self.act(self.first(x.flatten(1)))
        return self.last(self.act(self.twice(self.act(self.twice(x)))))


def make_net(classes):
    return Net(classes)
"""


def test_unused_quantizers_and_layers_that_run_twice(tmp_path, monkeypatch):
    """A quantizer that no frame reaches has no scale: runs with one are resumed, loaded and compressed like others."""
    (tmp_path / "net.py").write_text(TWICE)
    name, config = f"{tmp_path / 'net.py'}:make_net", TrainConfig(epochs=3, validation=0.1)
    whole = train_run(name, tmp_path / "whole", config)
    original, count = Training.on_train_batch_end, 0

    def interrupted(self, *arguments):
        nonlocal count
        count += 1
        if count > 20:
            raise KeyboardInterrupt
        original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "on_train_batch_end", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_run(name, tmp_path / "cut", config)
    assert list((tmp_path / "cut" / ".checkpoint").iterdir())
    assert train_run(name, tmp_path / "cut", config, resume=True)["onnx"] == whole["onnx"]
    network = load_checkpoint(tmp_path / "whole" / "checkpoint.pt")
    sharing = compression.share_weights(network, 4)
    again = compression.decode(compression.encode(sharing), load_checkpoint(tmp_path / "whole" / "checkpoint.pt"))
    frames = torch.randint(0, 17, (5, 1, 8, 8)).float()
    assert torch.equal(again.eval()(frames), sharing.eval()(frames))
    made = compress_run(tmp_path / "whole", tmp_path / "pruned", "prune", fraction=0.5, epochs=0)["compression"]
    assert [(row["name"], row["weights"], row["after"]) for row in made["weights"]] == [
        ("net.first", 1024, 512), ("net.twice", 256, 128), ("net.last", 160, 80),
    ]  # fmt: skip
    changed = torch.load(tmp_path / "whole" / "checkpoint.pt", weights_only=True)
    del changed["parameters"]["net.first.bias"]
    torch.save(changed, tmp_path / "changed.pt")
    shutil.copy(tmp_path / "whole" / "network.py", tmp_path)
    with pytest.raises(QuantError, match=r"no checkpoint of this version: it has no net\.first\.bias"):
        load_checkpoint(tmp_path / "changed.pt")


def test_transposed_convolutions_are_refused_or_kept(tmp_path):
    """Their weights are (in, out, *kernel): what reads rows of outputs leaves them alone, or says so."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        qnn.QuantConv2d(1, 6, 3, stride=2, padding=1, weight_bit_width=4, bias=False),
        qnn.QuantReLU(bit_width=4),
        qnn.QuantConvTranspose2d(6, 6, 4, stride=2, padding=1, weight_bit_width=4, bias=False),
        qnn.QuantReLU(bit_width=4),
        qnn.QuantConv2d(6, 8, 3, stride=2, weight_bit_width=4, bias=True),
        qnn.QuantReLU(bit_width=4),
        torch.nn.Flatten(),
        qnn.QuantLinear(72, 3, weight_bit_width=4, bias=True),
    )
    x = torch.randint(0, 17, (8, 1, 8, 8)).float()
    model(x)
    model.eval()
    pruned = compression.prune(model, 0.5)
    assert int((find_layers(pruned)["2"].quant_weight().value != 0).sum()) <= 6 * 6 * 16 / 2
    with torch.no_grad():
        model[2].weight[:, 1] *= 1e-3  # an output that goes first, but for one weight
    kept = compression_of(compression.prune(model, 0.98, layers="2")[2]).mask
    assert kept.sum() == 12  # of 6 x 6 x 16
    assert kept.transpose(0, 1).flatten(1).any(1).all()
    for structure in ("2:4", "columns", "blocks:2x2", "bank-balanced:2x2"):
        with pytest.raises(QuantError, match="layer 2 is a transposed convolution, for whose weights"):
            compression.prune(model, structure=structure)
    for method in (compression.obs, compression.obq):
        with pytest.raises(QuantError, match="layer 2 is a transposed convolution, whose outputs"):
            method(model, x)
        method(model, x, layers=["0", "4", "7"])
    with pytest.raises(QuantError, match="the channels of 0 must all stay: transposed convolution 2 reads it"):
        compression.slim(model, {"0": 3}, frame=x[:1])
    with pytest.raises(QuantError, match="the channels of 2 must all stay: it is a transposed convolution"):
        compression.slim(model, {"2": 3}, frame=x[:1])
    assert len(compression.slim(model, {"4": 4}, frame=x[:1])(x)) == 8
    merged = compression.merge_neurons(model, 0.5, frame=x[:1])
    assert torch.equal(find_layers(merged)["2"].weight, model[2].weight)
    assert not int(compression.slim_by_lasso(model, x)[0].weight.shape[0]) < 6
    with pytest.raises(QuantError, match="circulant:2 ties no weights of layer 2"):
        compression.tie(model, "circulant:2", layers="2")
    with pytest.raises(QuantError, match="layer 2 cannot be factored"):
        compression.low_rank(model, budget=0.5, layers="2")


@pytest.mark.quick
def test_the_network_of_the_documentation(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "own-networks.md").read_text()
    [text] = re.findall("```python\n(.*?)```", page, re.S)
    (tmp_path / "net.py").write_text(text)
    assert create_model(f"{tmp_path / 'net.py'}:make_net", **FACTS, width=8)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_what_a_network_takes_has_to_be_said(tmp_path):
    (tmp_path / "net.py").write_text(f"{BODY}    return nn.Flatten()\n")
    with pytest.raises(QuantError, match="needs the options input_shape, classes, in_range"):
        create_model(f"{tmp_path / 'net.py'}:make")


def test_what_cannot_be_exported_is_refused_before_the_training(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(NET.replace("nn.BatchNorm2d", "nn.InstanceNorm2d"))
    monkeypatch.setattr("quant.training.loop.fit", None)
    with pytest.raises(QuantError, match=r"its layer net\.1 \(InstanceNorm2d\) needs .*: use BatchNorm"):
        train_run(f"{tmp_path / 'net.py'}:make_net", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_float_network_is_a_teacher_and_not_exported(tmp_path):
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n\n"
        "def make_net(classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n"
    )
    results = train_run(f"{tmp_path / 'net.py'}:make_net", tmp_path / "run", TrainConfig(epochs=2))
    assert (results["scheme"], results["onnx"], results["verification"]) == ({"name": "float"}, None, None)
    assert not (tmp_path / "run" / "model.onnx").exists()
    assert not load_checkpoint(tmp_path / "run" / "checkpoint.pt").scheme.quantizes
    student = train_run("tfc-w1a1", tmp_path / "student", TrainConfig(epochs=2), teacher=tmp_path / "run")
    assert student["onnx"]


QUANT_TENSORS = """
import brevitas.nn as qnn
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.first = qnn.QuantIdentity(bit_width=5, return_quant_tensor=True)
        self.conv = qnn.QuantConv2d(1, 4, 3, weight_bit_width=4, bias=False, return_quant_tensor=True)
        self.relu = qnn.QuantReLU(bit_width=3, return_quant_tensor=True)
        self.left = qnn.QuantConv2d(4, 4, 3, padding=1, weight_bit_width=2, bias=False)
        self.right = qnn.QuantConv2d(4, 4, 1, weight_bit_width=4, bias=False)
        self.shared = qnn.QuantIdentity(bit_width=4, return_quant_tensor=True)
        self.pool = nn.MaxPool2d(2)
        self.output = qnn.QuantLinear(72, classes, bias=True, return_quant_tensor=True)

    def forward(self, x):
        x = self.relu(self.conv(self.first(x)))
        left, right = self.shared(self.left(x)), self.shared(self.right(x))
        x = torch.cat([self.relu(left), self.relu(left + right)], 1)
        return self.output(self.pool(x).flatten(1))
"""


def test_layers_may_pass_quant_tensors_and_the_output_may_be_one(tmp_path):
    (tmp_path / "net.py").write_text(QUANT_TENSORS)
    results = train_run(f"{tmp_path / 'net.py'}:Net", tmp_path / "run", TrainConfig(epochs=1))
    rows = {row["name"].removeprefix("net."): row for row in results["layers"]}
    widths = {name: (row["weight_bits"], row["act_bits"], row["macs"]) for name, row in rows.items()}
    assert widths == {
        "conv": (4, 5, 36 * 36),
        "left": (2, 3, 36 * 144),
        "right": (4, 3, 36 * 16),
        "output": (8, 3, 720),
    }
    assert results["verification"]["max_abs_diff"] < 1e-4


BY_NAME = """
import brevitas.nn as qnn
from torch import nn


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        options = {"weight_bit_width": 4, "bias": True}
        self.first, self.norm = qnn.QuantLinear(64, 12, **options), nn.BatchNorm1d(12)
        self.act, self.last = qnn.QuantReLU(bit_width=4), qnn.QuantLinear(12, classes, **options)

    def forward(self, x):
        return self.last(input=self.act(input=self.norm(input=self.first(input=x.flatten(1)))))


def make_net(classes):
    return Net(classes)
"""


def test_layers_may_be_called_by_name(tmp_path):
    (tmp_path / "net.py").write_text(BY_NAME)
    made = train_run(f"{tmp_path / 'net.py'}:make_net", tmp_path / "run", TrainConfig(epochs=1))
    assert [row["act_bits"] for row in made["layers"]] == [5, 4]
    for method, options in (("slim", {"criterion": "lasso"}), ("merge", {}), ("obs", {})):
        done = compress_run(tmp_path / "run", tmp_path / method, method, fraction=0.5, options=options, epochs=0)
        assert done["totals"]["nonzeros"] <= 0.7 * made["totals"]["nonzeros"], method  # 8 neurons of 12 for slim
