"""The cache of compiled programs: what is not whole is made again, once."""

import os
import threading

import pytest

from hw.host.errors import ToolError
from hw.native import cache

pytestmark = pytest.mark.quick


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BITFABRIC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Maker:
    """Makes an entry of two files and counts how often."""

    def __init__(self):
        self.calls = 0

    def __call__(self, folder):
        self.calls += 1
        (folder / "obj").mkdir()
        (folder / "obj" / "part").write_bytes(b"x" * 1000)
        (folder / "sim").write_bytes(b"program")


def truncate(place):
    os.truncate(place / "obj" / "part", 500)


def replace_by_file(place):
    import shutil

    shutil.rmtree(place)
    place.write_text("no folder")


DAMAGE = {
    "zero bytes": lambda place: (place / "sim").write_bytes(b""),
    "truncated": truncate,
    "another content": lambda place: (place / "sim").write_bytes(b"Program"),
    "a missing file": lambda place: (place / "sim").unlink(),
    "no seal": lambda place: (place / cache.SEAL).unlink(),
    "half a seal": lambda place: os.truncate(place / cache.SEAL, 20),
    "another seal": lambda place: (place / cache.SEAL).write_text("[1, 2]"),
    "an empty seal": lambda place: (place / cache.SEAL).write_text("{}"),
    "a deep seal": lambda place: (place / cache.SEAL).write_text("[" * 100_000),
    "a file in place of the folder": replace_by_file,
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_entry_is_made_again(folder, what):
    make = Maker()
    place = cache.entry("kind", "key", make)
    assert (cache.entry("kind", "key", make), make.calls) == (place, 1)
    DAMAGE[what](place)
    assert (cache.entry("kind", "key", make), make.calls) == (place, 2)
    assert (place / "sim").read_bytes() == b"program"
    assert os.listdir(folder / "kind") == ["key"]


def test_others_may_read_an_entry_if_the_umask_lets_them(folder):
    """A cache that is made once, as by root in a container, serves all users."""
    before = os.umask(0o022)
    try:
        place = cache.entry("kind", "key", Maker())
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in (place, place / "obj", place / "sim")] == [0o755, 0o755, 0o644]


def test_a_user_without_a_home_folder_is_told_to_name_one(monkeypatch, tmp_path):
    """Such a user has a number and no name, as in a container; ~ stays as it is, and would be a folder's name."""
    monkeypatch.chdir(tmp_path)
    for name in ("BITFABRIC_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(ToolError, match=r"^no home folder for the cache: set HOME, or BITFABRIC_CACHE to a folder$"):
        cache.entry("kind", "key", Maker())
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_nothing(folder):
    def fail(work):
        (work / "half").touch()
        raise ToolError("no")

    with pytest.raises(ToolError, match=r"^no$"):
        cache.entry("kind", "key", fail)
    assert os.listdir(folder / "kind") == []


def test_what_a_killed_process_left_goes_away(folder):
    old, young = (folder / "kind" / f".making-{name}" for name in ("old", "young"))
    for work in (old, young):
        work.mkdir(parents=True)
    os.utime(old, (0, 0))
    (folder / "kind" / ".key.lock").touch()
    cache.entry("kind", "key", Maker())
    assert sorted(os.listdir(folder / "kind")) == [".making-young", "key"]


def test_threads_make_an_entry_once(folder):
    make, places = Maker(), []
    threads = [threading.Thread(target=lambda: places.append(cache.entry("kind", "key", make))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(places), len(set(places)), make.calls) == (8, 1, 1)


def test_an_entry_in_a_folder_without_access_is_used_and_a_missing_one_is_refused(folder, monkeypatch):
    place = cache.entry("kind", "key", Maker())

    def read_only(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(cache.tempfile, "mkdtemp", read_only)
    assert cache.entry("kind", "key", Maker()) == place
    line = r"^cannot write to .*/kind \(Read-only file system\); set BITFABRIC_CACHE to another folder$"
    with pytest.raises(ToolError, match=line):
        cache.entry("kind", "other", Maker())
