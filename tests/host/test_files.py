"""The writer and the readers of files: whole files or none, and one line that names the path and the remedy."""

import errno
import io
import json
import os
import pickle
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from hw.host import files
from hw.host.arrays import load_array, save_array, save_arrays
from hw.host.errors import BitfabricError, UsageError
from tests.builders.faulty_disk import failing, file_size_limit, small_disk

pytestmark = pytest.mark.quick


def line(caught, path, *words):
    text = str(caught.value)
    assert "\n" not in text
    for word in (str(path)[:900], *words):
        assert word in text, text


# --- writing ---


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "deep" / "folder" / "x.json"
    files.write_json(path, {"a": 1})
    files.write_json(path, {"a": 2})
    assert files.read_json(path) == {"a": 2}
    with pytest.raises(KeyError), files.replacing(path) as part:
        raise KeyError(part.write_text("half"))
    assert files.read_json(path) == {"a": 2}
    assert os.listdir(path.parent) == ["x.json"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    files.write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


def a_folder(tmp_path):
    (tmp_path / "x").mkdir()
    return tmp_path / "x"


def below_a_file(tmp_path):
    (tmp_path / "file").touch()
    return tmp_path / "file" / "x"


def a_pipe(tmp_path):
    os.mkfifo(tmp_path / "x")
    return tmp_path / "x"


def a_circle(tmp_path):
    (tmp_path / "x").symlink_to("x")
    return tmp_path / "x"


WRONG = {
    "a folder": (a_folder, "Is a directory"),
    "below a file": (below_a_file, "a file is where a folder should be"),
    "a pipe": (a_pipe, "pipe or socket"),
    "a device": (lambda _: Path("/dev/full"), "pipe or socket"),
    "a long name": (lambda tmp_path: tmp_path / ("n" * 300), "File name too long"),
    "a long path": (lambda tmp_path: tmp_path.joinpath(*["n" * 200] * 30), "File name too long"),
    "a circle of links": (a_circle, "ymbolic link"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_written_is_named(what, tmp_path):
    make, reason = WRONG[what]
    path = make(tmp_path)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(UsageError) as caught:
        files.write_text(path, "text")
    line(caught, path, reason)
    assert sorted(os.listdir(tmp_path)) == before


FAULTS = {
    errno.ENOSPC: (1, "free some space there, or choose another place with -o"),
    errno.EDQUOT: (1, "free some space there"),
    errno.EIO: (1, "check the disk"),
    errno.EMFILE: (1, "ulimit -n"),
    errno.EROFS: (2, "choose another place with -o"),
    errno.EACCES: (2, "choose another place with -o"),
}


@pytest.mark.parametrize("number", FAULTS, ids=errno.errorcode.get)
@pytest.mark.parametrize("call", ["open", "write", "replace", "fsync"])
def test_a_fault_of_the_system_is_one_line_and_leaves_the_old_file(number, call, tmp_path, monkeypatch):
    status, remedy = FAULTS[number]
    path = tmp_path / "x.txt"
    path.write_text("old")
    with failing(monkeypatch, call, number), pytest.raises(BitfabricError) as caught:
        files.write_text(path, "new")
    line(caught, path, os.strerror(number), remedy)
    assert caught.value.status == status
    assert os.listdir(tmp_path) == ["x.txt"]
    assert path.read_text() == "old"


def test_a_write_protected_file_stays(tmp_path, monkeypatch):
    path = tmp_path / "x.txt"
    path.write_text("old")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everything
    with pytest.raises(UsageError) as caught:
        files.write_text(path, "new")
    line(caught, path, "Permission denied")
    assert path.read_text() == "old"


def test_a_limit_on_the_size_of_files(tmp_path):
    path = tmp_path / "x.npy"
    save_array(path, np.arange(3))
    with file_size_limit(1000), pytest.raises(BitfabricError) as caught:
        save_array(path, np.zeros(1000))
    line(caught, path, "File too large", "ulimit -f")
    with file_size_limit(1000), pytest.raises(BitfabricError) as caught:
        save_arrays(tmp_path / "x.npz", {"a": np.zeros(1000)})
    line(caught, tmp_path / "x.npz", "ulimit -f")
    np.testing.assert_array_equal(load_array(path), np.arange(3))
    assert os.listdir(tmp_path) == ["x.npy"]


def test_a_full_disk():
    with small_disk(64 << 10) as disk:
        save_array(disk / "x.npy", np.arange(3))
        with pytest.raises(BitfabricError) as caught:
            save_array(disk / "x.npy", np.zeros(100_000))
        line(caught, disk / "x.npy", "No space left on device", "free some space there")
        np.testing.assert_array_equal(load_array(disk / "x.npy"), np.arange(3))
        assert os.listdir(disk) == ["x.npy"]


def test_no_memory_is_one_line(tmp_path):
    with pytest.raises(BitfabricError) as caught, files.using(tmp_path):
        raise MemoryError
    line(caught, tmp_path, "not enough memory", "close other programs")


def test_another_file_is_named_by_its_own_path(tmp_path):
    with pytest.raises(UsageError) as caught, files.using(tmp_path / "a"):
        Path("/nowhere/b").read_text()
    line(caught, "/nowhere/b", "No such file")


# --- arrays ---


def header(text, version=(1, 0)):
    data = text.encode("latin1")
    size = len(data).to_bytes(2 if version == (1, 0) else 4, "little")
    return b"\x93NUMPY" + bytes(version) + size + data


def described(shape, dtype="<f4", fortran=False):
    return header(f"{{'descr': {dtype!r}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n")


def saved(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def zipped():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(1 << 24))
    return file.getvalue()


DAMAGED = {
    "954 GiB": (described((2**38,)) + bytes(100), "claims float32 numbers of shape (274877906944,), 1,099,511,627,776"),
    "more than any machine": (described((2**62, 2**62)), "claims"),
    "none of very many": (described((0, 2**62, 2**62)), "not a whole .npy file"),
    "a negative shape": (described((-1, 4)) + bytes(64), "shape (-1, 4)"),
    "a shape of bools": (described((True, 4)) + bytes(64), "shape"),
    "truncated": (saved(np.zeros(1000))[:-8], "8,000 bytes, and 7,992 follow"),
    "a truncated header": (saved(np.zeros(10))[:40], "not a whole .npy file"),
    "empty": (b"", "it is empty"),
    "a text": (b"1, 2, 3\n", "does not begin like one"),
    "a pickle": (pickle.dumps([1, 2]), "a pickle"),
    "a zip bomb": (zipped(), "a .npz archive"),
    "objects": (saved(np.array([{}, None]), allow_pickle=True), "Python objects"),
    "words": (saved(np.array(["a", "b"])), "holds <U1"),
    "fields": (saved(np.zeros(3, [("a", "f4"), ("b", "i2")])), "not numbers"),
    "complex": (saved(np.zeros(3, complex)), "holds complex128"),
    "dates": (saved(np.zeros(3, "M8[s]")), "not numbers"),
    "another version": (b"\x93NUMPY\x09\x00" + bytes(100), "version (9, 0)"),
    "no header": (header("__import__('os')"), "not a whole .npy file"),
    "a deep header": (header("(" * 9000), "not a whole .npy file"),
    "a long header": (header("1" + " " * 60_000), "not a whole .npy file"),
    "a dtype of objects in fields": (described((1,), "[('a', 'O')]") + bytes(64), "not"),
    "a huge item": (described((1,), "|V2147483647") + bytes(64), "not numbers"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_what_is_no_array_of_numbers_is_refused(what, tmp_path):
    data, reason = DAMAGED[what]
    path = tmp_path / "x.npy"
    path.write_bytes(data)
    with pytest.raises(UsageError) as caught:
        load_array(path)
    line(caught, path, reason, "numpy.save")


def test_no_pipe_is_waited_for_and_no_folder_read(tmp_path):
    for path, reason in ((a_pipe(tmp_path), "pipe"), (tmp_path, "folder"), (tmp_path / "none", "no file")):
        with pytest.raises(UsageError) as caught:
            load_array(path)
        line(caught, path, reason)


@pytest.mark.parametrize("dtype", ["u1", "i1", "<i8", ">i4", ">f4", "<f8", "f2", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_every_type_and_order(dtype, order, tmp_path):
    values = np.asarray(np.arange(24).reshape(2, 3, 4) % 2, dtype, order=order)
    for array in (values, values[:0], values[:, ::2]):
        path = tmp_path / "x.npy"
        np.save(path, array)
        found = load_array(path)
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype.newbyteorder("=")
        assert found.flags.c_contiguous
        save_array(path, array)
        np.testing.assert_array_equal(np.load(path), array)


# --- texts ---


def test_texts_that_are_none(tmp_path):
    for data, reason in ((b"\xff\xfe", "not UTF-8"), (b" " * 200, "more than 100 bytes")):
        (tmp_path / "x").write_bytes(data)
        with pytest.raises(UsageError) as caught:
            files.read_text(tmp_path / "x", 100)
        line(caught, tmp_path / "x", reason)


@pytest.mark.parametrize("text", ["[" * 100_000, "{", '{"a": 1}}', "9" * 5000, "", '"\ud800', "nul"])
def test_json_that_is_none(text):
    with pytest.raises(ValueError, match=r".") as caught:
        files.parse_json(text)
    assert "\n" not in str(caught.value)
    assert json.loads("[]") == []


def test_a_folder_that_was_made_for_nothing_goes(tmp_path):
    (tmp_path / "there").mkdir()
    for name, kept in (("made", False), ("there", True), ("filled", True)):
        with suppress(UsageError), files.filled_folder(tmp_path / name) as folder:
            if name == "filled":
                (folder / "x").touch()
            raise UsageError("it fails")
        assert (tmp_path / name).exists() == kept
