"""Files of training: whole or not at all, and one line for damaged or hostile ones."""

import gzip
import os
import zipfile

import numpy as np
import pytest

from quant import QuantError, files
from quant.data import load_data
from tests.builders.faulty_disk import failing, file_size_limit
from tests.host.test_files import described


def test_a_file_is_replaced_as_a_whole(tmp_path, monkeypatch):
    path = tmp_path / "x.pt"
    files.write_bytes(path, b"old")
    with file_size_limit(100), pytest.raises(QuantError, match=r"cannot write .*x\.pt: File too large; .*ulimit -f"):
        files.write_bytes(path, bytes(1000))
    with failing(monkeypatch, "write", 28), pytest.raises(QuantError, match=r"No space left .*; free some space") as no:
        files.write_bytes(path, b"new")
    assert no.value.status == 1
    with pytest.raises(QuantError, match="Is a directory") as wrong:
        files.write_bytes(tmp_path, b"new")
    assert wrong.value.status == 2
    assert (os.listdir(tmp_path), path.read_bytes()) == (["x.pt"], b"old")


def archive(path, content):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name in ("x_train", "y_train", "x_test", "y_test"):
            made.writestr(f"{name}.npy", content)


def test_archives_that_would_exhaust_the_memory(tmp_path, monkeypatch):
    path = tmp_path / "bomb.npz"
    archive(path, described((2**38,)) + bytes(100))
    with pytest.raises(QuantError, match=r"bomb\.npz: the header of x_train\.npy claims shape \(274877906944,\)"):
        load_data(path)
    archive(path, described((2**22,)) + bytes(2**24))
    assert path.stat().st_size < 2**18
    monkeypatch.setattr(files.os, "sysconf", lambda _: 1024)
    monkeypatch.setattr(files.Path, "read_text", lambda *_: "")
    with pytest.raises(
        QuantError, match=r"bomb\.npz holds 67,109,\d+ bytes unpacked, and 1,048,576 of memory are free"
    ):
        load_data(path)


def test_images_that_claim_more_than_follows(tmp_path):
    for part in ("train", "t10k"):
        for kind, ndim in (("images-idx3-ubyte", 3), ("labels-idx1-ubyte", 1)):
            header = bytes([0, 0, 8, ndim]) + b"".join(size.to_bytes(4, "big") for size in (2**32 - 1,) * ndim)
            (tmp_path / f"{part}-{kind}.gz").write_bytes(gzip.compress(header + bytes(100)))
    with pytest.raises(QuantError, match=r"unpacked, and .* of memory are free") as caught:
        load_data(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", np.random.default_rng(0).bytes(1000)])
def test_archives_that_are_none(content, tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(QuantError, match=r"x\.npz is damaged or no data set") as caught:
        load_data(path)
    assert "\n" not in str(caught.value)
