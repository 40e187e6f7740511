import gzip
import pickle
import struct

import numpy as np
import pytest

from quant.data import FOLDER_VARIABLE, load_data, stratified
from quant.errors import QuantError


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
        ("imagenet", "or a folder or .npz file"),
        (tmp_path, "copy the four IDX files"),
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
    with pytest.raises(QuantError, match="5 images for 6 labels"):
        load_data(tmp_path / "cut")

    (tmp_path / "a.npz").write_bytes(b"PK no zip")
    with pytest.raises(QuantError, match="damaged"):
        load_data(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x_train=images(2), y_train=[0, 1])
    with pytest.raises(QuantError, match="no array x_test, y_test"):
        load_data(tmp_path / "b.npz")
    x = images(2).astype(np.float32)
    np.savez(tmp_path / "c.npz", x_train=x, y_train=[0, 1], x_test=x, y_test=[0, 1])
    with pytest.raises(QuantError, match="not uint8"):
        load_data(tmp_path / "c.npz")
