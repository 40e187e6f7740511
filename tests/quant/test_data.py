import gzip
import io
import pickle
import struct

import numpy as np
import pytest

from quant.data import FOLDER_VARIABLE, load_data, stratified
from quant.errors import QuantError

pytestmark = pytest.mark.quick


def test_digits():
    data = load_data("digits", seed=3)
    assert (data.shape, data.classes, data.low, data.high) == ((1, 8, 8), 10, 0, 16)
    assert len(data.x_train) + len(data.x_test) == 1797
    assert data.x_train.max() == 16
    share = np.bincount(data.y_test) / np.bincount(np.concatenate([data.y_train, data.y_test]))
    assert np.abs(share - 0.2).max() < 0.01
    np.testing.assert_array_equal(data.x_test, load_data("digits", seed=3).x_test)
    assert not np.array_equal(data.y_test, load_data("digits", seed=4).y_test)


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    table = load_digits()
    data = load_data("digits")
    frames = np.concatenate([data.x_train, data.x_test]).reshape(-1, 64)
    np.testing.assert_array_equal(np.sort(frames, axis=0), np.sort(table.data.astype(np.uint8), axis=0))


def test_stratified_parts_are_disjoint_and_proportional():
    labels = np.repeat([0, 1, 2], [10, 20, 40])
    chosen = stratified(labels, 0.3, seed=1)
    np.testing.assert_array_equal(np.bincount(labels[chosen]), [3, 6, 12])


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 5, 4), dtype=np.uint8)


def write_idx(folder, compress=False):
    folder.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", 6), ("t10k", 3)):
        for kind, array in (
            ("images-idx3-ubyte", images(count)),
            ("labels-idx1-ubyte", np.arange(count, dtype=np.uint8)),
        ):
            content = idx(array)
            name = f"{part}-{kind}" + (".gz" if compress else "")
            (folder / name).write_bytes(gzip.compress(content) if compress else content)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("place", ["mnist", "MNIST/raw"])
def test_idx_folders(tmp_path, monkeypatch, compress, place):
    write_idx(tmp_path / place, compress)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    for source in ("mnist", tmp_path / place):
        data = load_data(source)
        assert (data.shape, data.classes, data.high) == ((1, 5, 4), 6, 255)
        np.testing.assert_array_equal(data.x_train[:, 0], images(6))
        np.testing.assert_array_equal(data.y_test, [0, 1, 2])


def test_npz(tmp_path):
    color = np.random.default_rng(0).integers(0, 256, (4, 6, 6, 3), dtype=np.uint8)
    path = tmp_path / "own.npz"
    np.savez(path, x_train=color, y_train=np.arange(4)[:, None], x_test=color[:2], y_test=[1, 0])
    data = load_data(path)
    assert (data.name, data.shape, data.classes) == ("own", (3, 6, 6), 4)
    np.testing.assert_array_equal(data.x_train, color.transpose(0, 3, 1, 2))


def write_cifar(folder, content):
    folder.mkdir()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))


def test_cifar_batches(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3072), dtype=np.uint8)
    write_cifar(tmp_path / "cifar-10-batches-py", {b"data": pixels, b"labels": [3, 9]})
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    data = load_data("cifar10")
    assert (data.x_train.shape, data.classes) == ((10, 3, 32, 32), 10)
    np.testing.assert_array_equal(data.x_test.reshape(2, -1), pixels)


class Attack:
    def __reduce__(self):
        return exec, ("raise SystemExit('ran')",)


def test_a_pickle_cannot_run_code(tmp_path):
    write_cifar(tmp_path / "bad", {b"data": Attack(), b"labels": []})
    with pytest.raises(QuantError, match="exec, which no data set needs"):
        load_data(tmp_path / "bad")


def test_missing_and_damaged(tmp_path, monkeypatch):
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    for source, message in (
        ("mnist", "set BITFABRIC_DATA"),
        ("digit", "did you mean digits"),
        ("imagenet", "or a folder of images by class, a .csv"),
        (tmp_path, "holds no data set: give a folder of images"),
    ):
        with pytest.raises(QuantError, match=message) as caught:
            load_data(source)
        assert caught.value.status == 2
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(QuantError, match="holds no mnist and no MNIST/raw"):
        load_data("mnist")

    write_idx(tmp_path / "cut", compress=True)
    whole = (tmp_path / "cut/train-images-idx3-ubyte.gz").read_bytes()
    for content in (whole[:-10], gzip.compress(idx(images(6))[:-7]), gzip.compress(b"hello"), b"plain"):
        (tmp_path / "cut/train-images-idx3-ubyte.gz").write_bytes(content)
        with pytest.raises(QuantError, match="damaged"):
            load_data(tmp_path / "cut")
    (tmp_path / "cut/train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images(5))))
    with pytest.raises(QuantError, match="5 samples for 6 labels"):
        load_data(tmp_path / "cut")

    (tmp_path / "a.npz").write_bytes(b"PK no zip")
    with pytest.raises(QuantError, match="damaged"):
        load_data(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x_train=images(2), y_train=[0, 1])
    with pytest.raises(QuantError, match="leaves 0 for the test and 2 for the training"):
        load_data(tmp_path / "b.npz")
    np.savez(tmp_path / "b.npz", x_train=images(2), y_train=[0, 1], x_test=images(2))
    with pytest.raises(QuantError, match="no array y_test"):
        load_data(tmp_path / "b.npz")


def test_float_features_are_normalized(tmp_path):
    random = np.random.default_rng(0)
    x = (random.normal(size=(400, 3)) * [1.0, 1e-3, 50.0] + [0.0, 5.0, -7.0]).astype(np.float32)
    x[:, 2] = 3.0  # says nothing
    y = np.eye(5)[random.integers(0, 5, 400)]
    np.savez(tmp_path / "jets.npz", x_train=x[:300], y_train=y[:300], x_test=x[300:], y_test=y[300:])
    data = load_data(tmp_path / "jets.npz")
    assert (data.shape, data.classes, data.low, data.high) == ((3,), 5, -128, 127)
    np.testing.assert_array_equal(data.y_test, y[300:].argmax(1))
    np.testing.assert_allclose(data.scale[:2], x[:300, :2].astype(np.float64).std(0) / 32, rtol=1e-6)
    np.testing.assert_allclose(data.offset, x[:300].astype(np.float64).mean(0), rtol=1e-6)
    np.testing.assert_array_equal(data.x_test, x[300:])  # the source's own values


@pytest.mark.parametrize(
    ("values", "ends"),
    [([0, 200], (0, 255)), ([-3, 100], (-128, 127)), ([0, 300], (0, 65535)), ([-3, 300], (-32768, 32767))],
)
def test_integer_features_stay(tmp_path, values, ends):
    x = np.array([values, values[::-1]])
    np.savez(tmp_path / "own.npz", x_train=x, y_train=[0, 1], x_test=x, y_test=[1, 0])
    data = load_data(tmp_path / "own.npz")
    assert (data.low, data.high, data.scale) == (*ends, None)
    np.testing.assert_array_equal(data.x_train, x)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_test": np.array([[0.0, np.nan]] * 2)}, "not all finite"),
        ({"x_test": np.zeros((2, 3))}, "no numbers"),
        ({"x_train": np.array([[0, 1 << 20]] * 2)}, "16 bits do not hold"),
        ({"y_train": [0.5, 1]}, "whole numbers or strings; numbers to predict"),
        ({"y_train": [0, 0], "y_test": [0, 0]}, "one class only"),
        ({"y_test": [[1, 1], [0, 1]]}, "not one-hot"),
    ],
)
def test_unusable_features(tmp_path, changes, message):
    x = np.array([[0, 1], [2, 3]])
    np.savez(tmp_path / "own.npz", **{"x_train": x, "y_train": [0, 1], "x_test": x, "y_test": [1, 0], **changes})
    with pytest.raises(QuantError, match=message) as caught:
        load_data(tmp_path / "own.npz")
    assert caught.value.status == 2


def test_jpegs(tmp_path):
    from PIL import Image

    files, shades = [], [10, 90, 170, 250]
    for shade in shades:
        file = io.BytesIO()
        Image.fromarray(np.full((8, 8, 3), shade, np.uint8)).save(file, "jpeg")
        files.append(file.getvalue())
    path = tmp_path / "pictures.npz"
    np.savez(
        path,
        jpeg=np.frombuffer(b"".join(files), np.uint8),
        offset=np.cumsum([0, *map(len, files)]),
        label=[0, 1, 2, 1],
        is_train=[1, 0, 1, 0],
    )
    data = load_data(path)
    assert (data.shape, data.classes, data.low, data.high) == ((3, 8, 8), 3, 0, 255)
    np.testing.assert_array_equal(data.y_test, [1, 1])
    assert np.abs(data.x_train[:, :, 4, 4].astype(int) - [[10], [170]]).max() <= 2
