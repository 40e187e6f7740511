"""A user's own images, tables and arrays: every form, what is refused, and a value's way to the accelerator."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hw.lowering.lower import lower
from hw.simulation.emulator import Emulator
from quant import create_model, export, fit, load_checkpoint, load_data, save_checkpoint, train_run
from quant.errors import QuantError
from quant.models.network import model_inputs
from quant.training.config import TrainConfig

EXAMPLES = settings(max_examples=25, deadline=None)


def write_table(path: Path, header: list[str] | None, rows, delimiter: str = ",") -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([*([header] if header else []), *rows])
    return path


def write_images(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    for name, images in arrays.items():
        (folder / name).mkdir(parents=True)
        for index, image in enumerate(images):
            Image.fromarray(image).save(folder / name / f"{index:03}.png")
    return folder


def joined(data):
    """All samples and labels of a data set, in an order that does not depend on its split."""
    x, y = np.concatenate([data.x_train, data.x_test]), np.concatenate([data.y_train, data.y_test])
    order = np.lexsort((*x.reshape(len(x), -1).T, y))
    return x[order], y[order]


@EXAMPLES
@given(
    seed=st.integers(0, 2**32 - 1),
    labels=st.sampled_from([["a", "b"], ["0", "1", "2"], ["-1", "1"], ["3", "7"], ["x y", "ü", "1"]]),
    kind=st.sampled_from(["float", "int", "tiny"]),
    header=st.booleans(),
    delimiter=st.sampled_from([",", ";", "\t"]),
    features=st.integers(1, 4),
)
def test_tables(tmp_path_factory, seed, labels, kind, header, delimiter, features):
    random = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp("table")
    y = np.repeat(labels, 10)
    x = {"float": random.normal(5, 3, (len(y), features)), "int": random.integers(-40, 3000, (len(y), features)),
         "tiny": random.integers(-3, 90, (len(y), features))}[kind]  # fmt: skip
    names = [f"f{i}" for i in range(features)]
    place = int(random.integers(features + 1)) if header else features
    rows = [[*map(repr, row[:place]), label, *map(repr, row[place:])] for row, label in zip(x.tolist(), y, strict=True)]
    head = [*names[:place], "Class", *names[place:]] if header else None
    data = load_data(write_table(folder / "own.csv", head, rows, delimiter), seed=seed % 7, test_share=0.3)
    assert (len(data.x_test), data.shape) == (3 * len(labels), (features,))
    numbers = all(label.lstrip("-").isdigit() for label in labels)
    ordered = sorted(labels, key=int if numbers else str)
    assert data.class_names == (None if labels == ["0", "1", "2"] else tuple(ordered))
    assert data.feature_names == (tuple(names) if header else None)
    codes = np.array([ordered.index(label) for label in y])
    wanted = x.astype(np.float32) if kind != "tiny" else x.astype(data.x_train.dtype)
    order = np.lexsort((*wanted.T, codes))
    found = joined(data)
    np.testing.assert_array_equal(found[0], wanted[order])
    np.testing.assert_array_equal(found[1], codes[order])
    assert (data.scale is None) == (kind == "tiny")
    np.testing.assert_array_equal(np.bincount(data.y_test), [3] * len(labels))


@EXAMPLES
@given(
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from([np.uint8, np.int64, np.float32, np.float64, np.uint16, bool]),
    shape=st.sampled_from([(5, 6), (5, 6, 3), (3, 5, 6), (7, 5, 6), (9, 9, 2), (4,)]),
    form=st.sampled_from(["x.npz", "X.npz", "x.npy", "folder", "split.npz"]),
)
def test_arrays(tmp_path_factory, seed, dtype, shape, form):
    random, folder = np.random.default_rng(seed), tmp_path_factory.mktemp("arrays")
    x = (random.uniform(0, 1, (20, *shape)) * (1 if dtype is bool else 200)).astype(dtype)
    y = np.repeat(["no", "yes"], 10)
    if form == "split.npz":
        np.savez(folder / form, x_train=x[::2], y_train=y[::2], x_test=x[1::2], y_test=y[1::2])
    elif form.endswith(".npz"):
        np.savez(folder / form, **{form[0]: x, "y" if form[0] == "x" else "Y": y})
    else:
        np.save(folder / "x.npy", x)
        np.save(folder / "y.npy", y)
    data = load_data(folder if form == "folder" else folder / form)
    frames = x[:, None] if x.ndim == 3 else x.transpose(0, 3, 1, 2) if shape in ((5, 6, 3), (9, 9, 2)) else x
    assert (data.shape, data.classes, data.class_names) == (frames.shape[1:], 2, ("no", "yes"))
    codes = (y == "yes").astype(int)
    found = joined(data)
    frames = frames.astype(data.x_train.dtype)
    order = np.lexsort((*frames.reshape(20, -1).T, codes))
    np.testing.assert_array_equal(found[0], frames[order])
    np.testing.assert_array_equal(found[1], codes[order])
    floats = dtype in (np.float32, np.float64)
    assert (data.scale is None) == (not floats)
    if floats:
        assert data.scale.shape == data.offset.shape == ((shape[0],) if len(shape) == 1 else (data.shape[0], 1, 1))


@EXAMPLES
@given(
    seed=st.integers(0, 2**32 - 1),
    mode=st.sampled_from(["L", "RGB", "RGBA", "P", "I;16"]),
    channels=st.sampled_from([None, 1, 3]),
    parted=st.booleans(),
)
def test_image_folders(tmp_path_factory, seed, mode, channels, parted):
    random, folder = np.random.default_rng(seed), tmp_path_factory.mktemp("photos")
    depth = {"L": (), "RGB": (3,), "RGBA": (4,), "P": (), "I;16": ()}[mode]
    dtype = np.uint16 if mode == "I;16" else np.uint8
    made = {name: random.integers(0, np.iinfo(dtype).max, (5, 6, 7, *depth), dtype=dtype) for name in ("b", "a")}
    for part in ("train", "test") if parted else (".",):
        write_images(folder / part, made)
    if mode == "P":
        for path in folder.rglob("*.png"):
            Image.open(path).convert("P").save(path)
    if mode == "I;16" and channels == 3:
        with pytest.raises(QuantError, match="16 bits"):
            load_data(folder, channels=channels)
        return
    data = load_data(folder, channels=channels)
    assert (data.class_names, data.classes) == (("a", "b"), 2)
    depth_wanted = channels or (1 if mode in ("L", "I;16") else 3)
    assert data.shape == (depth_wanted, 6, 7)
    assert len(data.x_train) == (10 if parted else 8)
    if mode in ("L", "RGB", "I;16") and channels is None:
        wanted = np.concatenate([made["a"], made["b"]])
        wanted = wanted[:, None] if wanted.ndim == 3 else wanted.transpose(0, 3, 1, 2)
        x = data.x_train if parted else joined(data)[0]
        assert sorted(map(bytes, x)) == sorted(map(bytes, wanted.astype(x.dtype)))
    assert (data.scale is None) == (mode != "I;16")


def test_images_of_other_sizes_are_scaled(tmp_path):
    write_images(tmp_path, {"a": np.zeros((2, 6, 6), np.uint8), "b": np.full((2, 9, 12, 3), 255, np.uint8)})
    data = load_data(tmp_path, image_size=(4, 5), test_share=0.5)
    assert data.shape == (3, 4, 5)
    np.testing.assert_array_equal(np.unique(data.x_train[data.y_train == 1]), [255])


TABLE = "width,height,label\n1.5,2,cat\n3,4,dog\n2,2,cat\n5,1,dog\n"


@pytest.mark.quick
@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (TABLE.replace("3,4", "3,tall"), {}, r"own\.csv line 3, column 'height': 'tall' is no number: leave the"),
        (TABLE.replace("3,4", "3,"), {}, r"own\.csv line 3, column 'height': is missing: fill it in"),
        (TABLE.replace("3,4", "nan,4"), {}, r"own\.csv line 3, column 'width': nan is no finite number"),
        (TABLE.replace("2,2,cat", "2,2"), {}, r"own\.csv line 4 has 2 columns, and line 1 3"),
        (TABLE.replace("2,2,cat", "2,2,"), {}, r"own\.csv line 4, column 'label': the label is missing"),
        (TABLE.replace("height", "width"), {}, r"has the column 'width' twice"),
        (TABLE.replace("cat", '"ca"t'), {}, r"own\.csv line 2: "),
        (TABLE, {"target": "color"}, r"has no column 'color': its columns are width, height, label"),
        (TABLE, {"drop": ["width", "height"]}, r"has no column of features"),
        (TABLE, {"test_share": 1.5}, r"test_share=1\.5 is not above 0"),
        (TABLE, {"test_share": 0.01}, r"leaves 0 for the test and 4"),
        (TABLE, {"image_size": (4, 4)}, r"image_size \(--image-size\) is for folders of images, not for .*own\.csv"),
        (TABLE, {"normalize": "maybe", "test_share": 0.5}, r"no normalization 'maybe': choose auto"),
        (TABLE.replace("dog", "cat"), {}, r"samples of one class only"),
        ("width,label\n", {}, r"has a header and no rows"),
        ("", {}, r"own\.csv is empty"),
        (b"a,b\n1,\xff\n", {}, r"own\.csv line 2 is not UTF-8"),
        (b"a,b\n1,2\n\0,3\n", {}, r"own\.csv line 3 holds a zero byte"),
        ("a,y\n" + "".join(f"{i},{i * 7}\n" for i in range(100)), {}, r"too many for classes: choose the label"),
        ("a,y\n1,0.5\n2,1\n", {}, r"labels must be whole numbers or strings"),
        ("a,y\n1e39,0\n2,1\n3,0\n4,1\n", {"test_share": 0.5}, r"not all finite in float32: 1e\+39"),
    ],
)
def test_bad_tables(tmp_path, content, options, message):
    path = tmp_path / "own.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(QuantError, match=message) as caught:
        load_data(path, **options)
    assert caught.value.status == 2
    assert "\n" not in str(caught.value)


@pytest.mark.quick
def test_bad_images_and_arrays(tmp_path):
    good = {"a": np.zeros((4, 6, 6), np.uint8), "b": np.ones((4, 6, 6), np.uint8)}
    photos = write_images(tmp_path / "photos", good)
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(photos / "b/004.png")
    with pytest.raises(QuantError, match=r"b/004\.png is 3x3, and .*a/000\.png 6x6: .*--image-size 6x6"):
        load_data(photos)
    (photos / "b/004.png").write_bytes((photos / "b/003.png").read_bytes()[:40])
    with pytest.raises(QuantError, match=r"b/004\.png is damaged"):
        load_data(photos)
    (photos / "b/004.png").write_text("no image")
    with pytest.raises(QuantError, match=r"b/004\.png is damaged or no image: remove it"):
        load_data(photos)
    (photos / "b/004.png").unlink()
    (photos / "c").mkdir()
    with pytest.raises(QuantError, match=r"photos/c holds no images \(\.png"):
        load_data(photos)
    (photos / "c").rmdir()
    with pytest.raises(QuantError, match=r"target \(--target-column\) is for tables, not for .*photos"):
        load_data(photos, target="label")
    for options, message in (({"channels": 2}, "channels=2"), ({"image_size": (0, 4)}, "no height and width")):
        with pytest.raises(QuantError, match=message):
            load_data(photos, **options)
    np.save(tmp_path / "x.npy", np.zeros((4, 3)))
    with pytest.raises(QuantError, match=r"x\.npy has no labels beside it"):
        load_data(tmp_path / "x.npy")
    np.save(tmp_path / "y.npy", np.array(["a", None, "b", "c"], dtype=object), allow_pickle=True)
    with pytest.raises(QuantError, match=r"y\.npy is no array of numbers or strings \(it holds Python objects\)"):
        load_data(tmp_path / "x.npy")
    np.savez(tmp_path / "own.npz", x=np.zeros((4, 3)), y=np.array(["a", None], dtype=object))
    with pytest.raises(QuantError, match=r"own\.npz: y holds Python objects"):
        load_data(tmp_path / "own.npz")
    np.savez(tmp_path / "own.npz", x=np.zeros((4, 3)), y=["a", "b", "c", "a"], classes=["a", "b"])
    with pytest.raises(QuantError, match="label 'c' is none of the classes a, b"):
        load_data(tmp_path / "own.npz")
    (tmp_path / "own.parquet").write_bytes(b"PAR1")
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        with pytest.raises(QuantError, match=r"needs pyarrow: run pip install 'bitfabric\[parquet\]'"):
            load_data(tmp_path / "own.parquet")


def test_a_network_takes_the_values_of_the_table(tmp_path):
    """A row's values as they are in the file give the same class in torch and in the emulator of the exported file."""
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 240)
    x = random.normal(size=(240, 3)) * [1, 40, 1e-3] + np.array([[0, 2, 4], [100, 300, 0], [0.004, 0, 0.01]]).T[y]
    rows = [
        [index, *map(repr, row), "abc"[label]] for index, (row, label) in enumerate(zip(x.tolist(), y, strict=True))
    ]
    path = write_table(tmp_path / "own.csv", ["id", "width", "mass", "depth", "species"], rows)
    results = train_run(
        "tfc-w4a4",
        tmp_path / "run",
        TrainConfig(epochs=8),
        data=path,
        data_options={"drop": ["id"], "test_share": 0.25},
    )
    assert results["accuracy"]["test"] > 0.9
    assert (results["class_names"], results["feature_names"]) == (("a", "b", "c"), ("width", "mass", "depth"))
    assert results["dataset"]["options"] == {"drop": ["id"], "test_share": 0.25}
    written = json.loads((tmp_path / "run/metrics.json").read_text())
    assert len(written["input"]["scale"]) == 3
    frames = x.astype(np.float32)
    network = load_checkpoint(tmp_path / "run/checkpoint.pt")
    assert network.class_names == ("a", "b", "c")
    logits = network(torch.from_numpy(frames)).detach().numpy()
    found = Emulator(lower(tmp_path / "run/model.onnx")).run(frames)
    np.testing.assert_array_equal(found.argmax(1), logits.argmax(1))
    stored = np.load(tmp_path / "run/x_test.npy")
    assert {row.tobytes() for row in stored} <= {row.tobytes() for row in frames}


@pytest.mark.parametrize("name", ["tfc-w4a4", "vgg-small-w2a2", "lookup-s", "tfc-float"])
def test_normalized_images_are_one_network(tmp_path, name):
    random = np.random.default_rng(1)
    x = random.uniform(-3, 5, (80, 2, 8, 8)) * np.array([1, 100])[:, None, None]
    y = np.repeat([0, 1], 40)
    x[y == 1] += np.array([1, 100])[:, None, None]
    np.savez(tmp_path / "own.npz", x=x, y=y)
    data = load_data(tmp_path / "own.npz")
    torch.manual_seed(0)
    options = {"tables": [40]} if name == "lookup-s" else {"width": 0.25} if name.startswith("vgg") else {}
    model = create_model(name, **data.options, **options)
    fit(model, data, TrainConfig(epochs=1, batch_size=16))
    frames = model_inputs(model, data.x_test)
    codes = np.clip(np.rint((data.x_test - data.offset) / data.scale), data.low, data.high)
    if name != "tfc-float":
        quantized = model.input[:2](torch.from_numpy(frames)).numpy()
        if name == "tfc-w4a4":
            np.testing.assert_array_equal(quantized.reshape(codes.shape), codes)
        export(model, tmp_path / "model.onnx")  # with random frames
        export(model, tmp_path / "model.onnx", frames)
        found = Emulator(lower(tmp_path / "model.onnx")).run(frames)
        np.testing.assert_allclose(found, model(torch.from_numpy(frames)).detach().numpy(), rtol=1e-4, atol=1e-4)
    save_checkpoint(model, tmp_path / "checkpoint.pt")
    again = load_checkpoint(tmp_path / "checkpoint.pt")
    torch.testing.assert_close(again(torch.from_numpy(frames)), model(torch.from_numpy(frames)), rtol=0, atol=0)


def test_a_network_without_the_normalization_is_refused(tmp_path):
    np.savez(tmp_path / "own.npz", x=np.random.default_rng(0).normal(size=(40, 3)), y=np.repeat([0, 1], 20))
    data = load_data(tmp_path / "own.npz")
    with pytest.raises(QuantError, match=r"own needs a normalization, .* was created without one: take create_model"):
        fit(create_model("tfc-w1a1", input_shape=(3,), classes=2, in_range=(-128, 127)), data, TrainConfig(epochs=1))


def test_parquet_tables(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"width": [1.5, 2.5, 3.5, 4.5], "count": [1, 2, 3, 4], "label": ["a", "b", "a", "b"]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "own.parquet")
    data = load_data(tmp_path / "own.parquet", test_share=0.5)
    assert (data.feature_names, data.class_names) == (("width", "count"), ("a", "b"))
    np.testing.assert_array_equal(joined(data)[0], [[1.5, 1], [3.5, 3], [2.5, 2], [4.5, 4]])
    for name, values, message in (
        ("count", [1, None, 3, 4], r"own\.parquet row 2, column 'count' is missing"),
        ("width", [1.0, 2.0, float("inf"), 4.0], r"own\.parquet row 3, column 'width': inf is no finite"),
        ("width", ["1", "x", "3", "4"], r"own\.parquet row 2, column 'width': 'x' is no number"),
    ):
        parquet.write_table(pyarrow.table({**columns, name: values}), tmp_path / "own.parquet")
        with pytest.raises(QuantError, match=message):
            load_data(tmp_path / "own.parquet", test_share=0.5)


def test_a_network_of_ones_own_takes_the_values_too(tmp_path):
    (tmp_path / "net.py").write_text(
        "from quant import layers\nimport torch\n"
        "def make(scheme, input_shape, classes):\n"
        "    quant = layers.InputQuant(8, -128, 127)\n"
        "    return torch.nn.Sequential(quant, layers.linear(scheme, input_shape[0], classes, True))\n"
    )
    random = np.random.default_rng(0)
    x = random.normal(size=(80, 3)) * [1, 100, 0.01] + [0, 500, 0]
    np.savez(tmp_path / "own.npz", x=x, y=3 * x[:, 0] - x[:, 1] / 50)
    data = load_data(tmp_path / "own.npz", task="regression")
    torch.manual_seed(0)
    model = create_model(f"{tmp_path / 'net.py'}:make", "integer", **data.options)
    assert model.normalizes
    config = TrainConfig(epochs=30, batch_size=10, learning_rate=3e-2)
    assert fit(model, data, config).figures["test"]["r2"] > 0.8
    frames = model_inputs(model, data.x_test)
    export(model, tmp_path / "model.onnx", frames)
    found = Emulator(lower(tmp_path / "model.onnx")).run(frames)
    np.testing.assert_allclose(found, model(torch.from_numpy(frames)).detach().numpy(), rtol=1e-4)
