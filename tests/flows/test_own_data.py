"""A table's rows on their way to classes: network, emulator, command line, report, and the driver of a board."""

import csv
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from flows import build
from flows.accelerator import Accelerator
from flows.frames import confusion
from hw.boards import driver_folder
from hw.boards.pty_board import PtyBoard
from hw.boards.virtual import VirtualBoard
from hw.host.errors import UsageError
from hw.host.meaning import Meaning, classes
from hw.host.tables import load_frames
from hw.model import Model
from quant import TrainConfig, load_checkpoint, train_run

NAMES = ("width", "mass", "depth")


@pytest.fixture(scope="module")
def flowers(tmp_path_factory):
    """A folder with ``flowers.csv``, the run of a network trained on it, and its build up to the emulator."""
    folder = tmp_path_factory.mktemp("flowers")
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 150)
    x = random.normal(size=(150, 3)) * [1, 40, 1e-3] + np.array([[0, 2, 4], [100, 300, 0], [0.004, 0, 0.01]]).T[y]
    with (folder / "flowers.csv").open("w", newline="") as file:
        rows = (
            [i, *map(repr, row), ("iris", "rose", "tulip")[c]]
            for i, (row, c) in enumerate(zip(x.tolist(), y, strict=True))
        )
        csv.writer(file).writerows([["id", *NAMES, "species"], *rows])
    options = {"drop": ["id"], "test_share": 0.4}
    config = TrainConfig(epochs=6, batch_size=20)
    train_run("tfc-w2a2", folder / "run", config, data=folder / "flowers.csv", data_options=options,
              model_options={"hidden": [16]})  # fmt: skip
    build(folder / "run/model.onnx", "ulx3s-85f", folder / "build", stop_after="emulate",
          frames=folder / "run/x_test.npy", labels=folder / "run/y_test.npy")  # fmt: skip
    np.save(folder / "x.npy", x.astype(np.float32))
    return folder


def wanted(folder):
    """The class of every row in torch, by name."""
    network = load_checkpoint(folder / "run/checkpoint.pt")
    predicted = network(torch.from_numpy(np.load(folder / "x.npy"))).argmax(1)
    return [("iris", "rose", "tulip")[c] for c in predicted.tolist()]


def command(*arguments):
    done = subprocess.run(
        [sys.executable, "-c", "from flows.cli.main import main; main()", *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_row_has_one_class_everywhere(flowers):
    told = json.loads(command("run", flowers / "build", "--input", flowers / "flowers.csv", "--json"))
    assert told["classes"] == wanted(flowers)
    outputs = np.array(told["outputs"]["global_out"])
    np.testing.assert_array_equal(outputs, Accelerator(flowers / "build").run(np.load(flowers / "x.npy")))
    made = Accelerator(flowers / "build")
    meaning = made.model.meaning
    assert meaning == Meaning("classification", ("iris", "rose", "tulip"), NAMES)
    assert Meaning.from_json(json.loads(json.dumps(meaning.to_json()))) == meaning
    frames = load_frames(flowers / "flowers.csv", made.graph.inputs[0].shape, meaning.feature_names)
    np.testing.assert_array_equal(frames.astype(np.float32), np.load(flowers / "x.npy"))


def test_classes_in_run_and_report(flowers):
    report = Accelerator(flowers / "build").report
    assert (report.model.class_names, report.model.feature_names) == (("iris", "rose", "tulip"), NAMES)
    matrix = np.array(report.verified["emulator"].confusion)
    labels = np.load(flowers / "run/y_test.npy")
    np.testing.assert_array_equal(matrix.sum(1), np.bincount(labels))
    assert matrix.trace() / matrix.sum() == pytest.approx(report.verified["emulator"].accuracy)
    shown = command("run", flowers / "build", "-i", flowers / "run/x_test.npy", "--labels", flowers / "run/y_test.npy")
    assert re.search(r"classes: \w+ \d+, \w+ \d+, \w+ \d+", shown)
    assert re.search(r"iris +\d+ +[\d-]+ +[\d-]+", shown)
    page = Accelerator(flowers / "build").write_report().read_text()
    assert 'id="classes"' in page
    assert "<th>tulip</th>" in page
    assert 'id="training"' in page
    assert page.count('class="curve"') == 4  # loss, accuracy, rate, flips: there is no validation part
    history = json.loads((flowers / "run/metrics.json").read_text())["fit"]["history"]
    assert f"{history[-1]['loss']:.4g}" in page


@pytest.mark.quick
def test_confusion():
    scores = np.eye(4)[[0, 1, 1, 3]]
    assert confusion(scores, np.array([0, 1, 2, 2])) == ((1, 0, 0, 0), (0, 1, 0, 0), (0, 1, 0, 1), (0, 0, 0, 0))
    assert confusion(np.array([[2], [0]]), np.array([2, 1])) == ((0, 0, 0), (1, 0, 0), (0, 0, 1))
    assert confusion(np.eye(100), np.arange(100)) is None
    np.testing.assert_array_equal(classes({"y": np.array([[0.5, 1.0]]), "top": np.array([[7]])}), [7])


@pytest.mark.quick
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("width,mass\n1,2\n", r"x\.csv has 2 columns, and a frame 3 numbers; it has no column 'depth'"),
        ("1,2,3\n4,five,6\n", r"x\.csv line 2, column '2': 'five' is no number"),
        ("depth,mass,width,id\n4,,6,1\n", r"x\.csv line 2, column 'mass': '' is no number"),
        ("1,2,3\n1,2\n", r"x\.csv line 2 has 2 columns, not 3"),
        ("1,2,3\n1,2,nan\n", r"x\.csv line 2: number 3 of the frame is not finite"),
        ("width,mass,depth\n", r"x\.csv has no rows"),
        ('1,2,"3\n', r"x\.csv line 1: unexpected end of data"),
    ],
)
def test_tables_that_are_no_frames(tmp_path, text, message):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        load_frames(tmp_path / "x.csv", (3,), NAMES)
    assert "\n" not in str(caught.value)


@pytest.mark.quick
def test_columns_of_a_table(tmp_path):
    (tmp_path / "x.csv").write_text("depth;label;width;mass\n3;a;1;2\n\n6.5;b;4;5\n")
    np.testing.assert_array_equal(load_frames(tmp_path / "x.csv", (3, 1), NAMES), [[[1], [2], [3]], [[4], [5], [6.5]]])
    (tmp_path / "x.csv").write_text("1,2,3\n")
    np.testing.assert_array_equal(load_frames(tmp_path / "x.csv", (3,)), [[1, 2, 3]])


def test_a_damaged_meaning_is_one_line(flowers, tmp_path):
    import onnx

    proto = onnx.load(flowers / "run/model.onnx")
    for text in ("{", "[]", '{"class_names": "iris"}', '{"task": "cooking"}'):
        proto.metadata_props[-1].value = text
        onnx.save(proto, tmp_path / "model.onnx")
        with pytest.raises(UsageError, match=r"its metadata bitfabric\.data is damaged"):
            _ = Model.open(tmp_path / "model.onnx").meaning


@pytest.mark.slow
def test_the_driver_takes_the_table(flowers, tmp_path):
    """The copied driver runs the user's own file on the image of the network, behind a pseudo-terminal."""
    made = build(flowers / "run/model.onnx", "ulx3s-85f", tmp_path / "build", stop_after="rtl", fps=1e5)
    driver_folder.write(tmp_path / "driver", made.implementation.interface())
    with VirtualBoard(made.image) as board, PtyBoard(board) as terminal:
        done = subprocess.run(
            [sys.executable, tmp_path / "driver", flowers / "flowers.csv", "--port", terminal.port,
             "-o", tmp_path / "y.npy"], capture_output=True, text=True, check=False, timeout=250,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), made.run(np.load(flowers / "x.npy"), "emulator"))
    assert done.stdout.split()[:41] == ["classes", *wanted(flowers)[:40]]
