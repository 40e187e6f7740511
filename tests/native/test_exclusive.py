"""One process at a time in a folder, also where the file system has no locks."""

import errno
import os
from pathlib import Path

import pytest

from hw.host.errors import BitfabricError, UsageError
from hw.native import exclusive as module
from hw.native.exclusive import exclusive

pytestmark = pytest.mark.quick


def test_the_second_one_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    for _ in range(2):
        with exclusive(tmp_path / "new" / "out", "another build"):
            with (
                pytest.raises(BitfabricError, match=r"^another build is at work in .*/out; wait for its end$"),
                exclusive(tmp_path / "new" / "out", "another build"),
            ):
                pytest.fail("two at once")
            with exclusive(tmp_path / "other", "another build"):
                pass


def test_a_file_system_without_locks_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(module.fcntl, "flock", refuse)
    with exclusive(tmp_path, "another build"):
        (tmp_path / "made").touch()


def test_an_error_inside_is_not_that_of_the_lock(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), exclusive(tmp_path, "another build"):
        (tmp_path / "none").read_bytes()
    (tmp_path / "file").touch()
    with (
        pytest.raises(UsageError, match=r"^cannot write to .*file.*; move it$"),
        exclusive(tmp_path / "file", "x", "move it"),
    ):
        pytest.fail("it is a file")
