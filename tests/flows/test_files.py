"""Files of the command line: hostile inputs, failing disks and unusual paths are one line that names the path."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flows import build
from flows.cli import main
from flows.cli.boundary import explain
from flows.cli.doctor import PROBES, _start, examine
from flows.step_cache import StepCache
from hw.host.errors import BitfabricError
from tests.builders.faulty_disk import file_size_limit, small_disk
from tests.host.test_files import DAMAGED

FAST = {"target": "ulx3s-12f", "fps": 1e6}


@pytest.fixture(scope="module")
def built(small, tmp_path_factory):
    return build(small / "model.onnx", out=tmp_path_factory.mktemp("built"), stop_after="rtl", **FAST).folder


@pytest.fixture
def refused(capsys, monkeypatch):
    """Run a command in this process; returns its exit status and the only line that it prints on standard error."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["bitfabric", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main.main()
        lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("  ")]
        assert len(lines) == 1, lines
        assert lines[0].startswith("error: ")
        return ended.value.code, lines[0]

    return call


# --- inputs ---


@pytest.mark.parametrize("what", DAMAGED)
@pytest.mark.parametrize("option", ["--input", "--labels"])
def test_damaged_frames_and_labels(what, option, built, small, tmp_path, refused):
    path = tmp_path / "x.npy"
    path.write_bytes(DAMAGED[what][0])
    given = {"--input": small / "x.npy", "--labels": small / "y.npy"} | {option: path}
    status, line = refused("run", built, *[each for pair in given.items() for each in pair])
    assert status == 2
    assert str(path) in line
    assert "numpy.save" in line


def test_frames_of_every_kind_give_the_same_outputs(built, small, tmp_path, monkeypatch, capsys):
    frames = np.load(small / "x.npy")
    kinds = {
        "float64": frames.astype(np.float64),
        "uint8": frames.astype(np.uint8),
        "big-endian": frames.astype(">i2"),
        "Fortran order": np.asfortranarray(frames),
    }
    found = []
    for name, array in {"float32": frames, **kinds}.items():
        np.save(tmp_path / "x.npy", array)
        out = tmp_path / f"ü {name}.npy"
        argv = ["bitfabric", "run", built, "--input", tmp_path / "x.npy", "-o", out]
        monkeypatch.setattr(sys, "argv", list(map(str, argv)))
        with pytest.raises(SystemExit) as ended:
            main.main()
        assert ended.value.code == 0, capsys.readouterr().err
        found.append(np.load(out))
    for outputs in found[1:]:
        np.testing.assert_array_equal(outputs, found[0])


def test_no_frames(built, tmp_path, refused):
    np.save(tmp_path / "none.npy", np.zeros((0, 12), np.float32))
    status, line = refused("run", built, "--input", tmp_path / "none.npy")
    assert (status, "(0, 12)" in line) == (2, True)


JSON = {
    "deep": "[" * 100_000,
    "half": '{"Defaults": {}, "fc0": {',
    "a number of 5000 digits": '{"fc0": {"PE": ' + "9" * 5000 + "}}",
    "UTF-16": '{"Defaults": {}}'.encode("utf-16"),
    "empty": "",
}


@pytest.mark.parametrize("what", JSON)
def test_a_damaged_folding(what, small, tmp_path, refused):
    path, content = tmp_path / "f.json", JSON[what]
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    status, line = refused("estimate", small / "model.onnx", "-t", "ulx3s-12f", "--folding", path)
    assert (status, str(path) in line) == (2, True)


@pytest.mark.parametrize("what", JSON)
@pytest.mark.parametrize("file", ["build.json", ".steps/fold.json", "lower/graph.json"])
def test_a_damaged_build_folder(what, file, built, small, tmp_path, refused):
    folder, content = tmp_path / "copy", JSON[what]
    shutil.copytree(built, folder)
    (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    status, line = refused("run", folder, "--input", small / "x.npy")
    assert (status, str(folder) in line) == (2, True)


# --- outputs ---


def test_where_nothing_can_be_written(built, small, tmp_path, refused):
    (tmp_path / "file").touch()
    model, frames = small / "model.onnx", small / "x.npy"
    build_in = ("build", model, "-t", "ulx3s-12f", "--stop-after", "fold", "-o")
    run_to = ("run", built, "--input", frames, "-o")
    before = model.read_bytes()
    for command in (
        (*build_in, tmp_path / "file"),
        (*build_in, tmp_path / "file" / "below"),
        (*build_in, model),
        (*build_in, "/proc/none"),
        (*build_in, tmp_path / ("n" * 300)),
        (*run_to, tmp_path / "file" / "y.npy"),
        (*run_to, "/proc/y.npy"),
        (*run_to, Path(f"{tmp_path / ('n' * 300)}.npy")),
        ("report", built, "-o", "/dev/null"),
        ("report", built, "-o", tmp_path),
        ("train", "tfc-w1a1", "--epochs", 1, "-o", tmp_path / "file"),
        ("train", "tfc-w1a1", "--epochs", 1, "-o", "/proc/none"),
    ):
        status, line = refused(*command)
        assert status == 2, line
        assert f"cannot write {command[-1]} " in line or f"cannot write to {command[-1]}" in line
        assert "choose another" in line or "name a file" in line
    assert model.read_bytes() == before
    assert (tmp_path / "file").read_bytes() == b""
    assert Path("/dev/null").is_char_device()


def test_a_cache_that_cannot_be_written(small, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("BITFABRIC_CACHE", str(tmp_path / "file"))
    program = "import sys; from flows.cli.main import main; main()"
    command = [sys.executable, "-c", program, "estimate", str(small / "model.onnx"), "-t", "ulx3s-12f"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode in (1, 2)
    [line] = done.stderr.splitlines()
    assert str(tmp_path / "file") in line
    assert "set BITFABRIC_CACHE to another folder" in line


@pytest.mark.parametrize("size", [100, 2_000, 6_000])
def test_a_build_without_space_leaves_nothing_that_looks_whole(size, small, tmp_path):
    options = {"model": small / "model.onnx", "out": tmp_path, "stop_after": "rtl", **FAST}
    with file_size_limit(size), pytest.raises(BitfabricError) as caught:
        build(**options)
    assert str(tmp_path) in str(caught.value)
    assert "ulimit -f" in str(caught.value)
    assert not (tmp_path / "build.json").exists()
    report = build(**options).report
    assert json.loads((tmp_path / "build.json").read_text())["steps"][-1]["name"] == "rtl"
    assert report.verified["emulator"].mismatches == 0


def test_a_build_on_a_full_disk(small):
    with small_disk(96 << 10) as disk:
        with pytest.raises(BitfabricError) as caught:
            build(small / "model.onnx", out=disk / "out", stop_after="rtl", **FAST)
        assert f"{disk / 'out'}" in str(caught.value)
        assert "free some space there" in str(caught.value)
        assert not (disk / "out" / "build.json").exists()


def test_no_memory_in_a_step_names_it(tmp_path, small, monkeypatch):
    def no_memory(*_):
        raise MemoryError("Unable to allocate 8.00 TiB")

    monkeypatch.setattr("flows.steps.rtl.Rtl.run", no_memory)
    with pytest.raises(BitfabricError, match=r"^step rtl needs more memory .*8\.00 TiB.*use fewer frames") as caught:
        build(small / "model.onnx", out=tmp_path, stop_after="rtl", **FAST)
    assert caught.value.status == 1
    assert StepCache(tmp_path, lambda *_: None).done == []


# --- the last boundary ---

UNEXPECTED = {
    "no memory": (MemoryError("Unable to allocate 954. GiB"), 1, "bitfabric run build/: Unable to allocate 954. GiB"),
    "a deep recursion": (RecursionError("maximum"), 1, "bitfabric run build/: the model or one of the files is nested"),
    "a folder": (IsADirectoryError(errno.EISDIR, "Is a directory", "/a/b"), 2, "cannot use /a/b (Is a directory)"),
    "open files": (OSError(errno.EMFILE, "Too many open files", "/a/b"), 1, "/a/b (Too many open files); raise the"),
}


@pytest.mark.quick
@pytest.mark.parametrize("what", UNEXPECTED)
def test_what_nobody_expects_is_one_line(what, monkeypatch, refused):
    error, status, text = UNEXPECTED[what]

    def fail(**_):
        raise error

    monkeypatch.setattr(main, "app", fail)
    found, line = refused("run", "build/")
    assert (found, text in line) == (status, True), line


@pytest.mark.quick
def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch):
    def fail(**_):
        raise KeyError("x")

    monkeypatch.setattr(main, "app", fail)
    with pytest.raises(KeyError):
        main.main()


@pytest.mark.quick
def test_an_output_that_is_full():
    program = "from flows.cli.main import main; main()"
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-c", program, "targets", "--json"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: cannot write to the standard output (No space left on device); "
        "free some space there, or write to a file with -o"
    ]


@pytest.mark.quick
def test_closed_standard_streams(tmp_path):
    """A service may start a program without them. The first files that it opens must not become its streams."""
    run = "from flows.cli.main import main; main()"
    for closed in ("<&- >&- 2>&-", ">&-"):
        command = f'"{sys.executable}" -c "{run}" targets --json {closed}'
        assert subprocess.run(["/bin/sh", "-c", command], stdin=subprocess.DEVNULL).returncode == 0
        assert subprocess.run(["/bin/sh", "-c", command.replace("targets", "nosuch")]).returncode == 2


@pytest.mark.quick
def test_a_full_disk_without_a_name_is_found(monkeypatch, tmp_path):
    monkeypatch.setattr("flows.cli.boundary.is_full", lambda folder: folder == tmp_path)
    monkeypatch.setenv("BITFABRIC_CACHE", str(tmp_path))
    line = str(explain(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
    assert line.startswith(
        f"cannot write to {tmp_path} (No space left on device); free some space there, or use another"
    )


# --- unusual paths ---


def test_a_folder_with_spaces_and_letters_of_other_languages(small, tmp_path):
    folder = tmp_path / "Straße nach Łódź, 東京 'n $HOME"
    folder.mkdir()
    for name in ("model.onnx", "x.npy", "y.npy"):
        shutil.copy(small / name, folder / f"ä {name}")
    before = sorted(os.listdir(folder))
    made = build(
        folder / "ä model.onnx", out=folder, frames=folder / "ä x.npy", labels=folder / "ä y.npy",
        stop_after="simulate", **FAST,
    )  # fmt: skip
    assert made.report.verified["rtl"].mismatches == 0
    assert made.write_report().exists()
    assert set(before) < set(os.listdir(folder))


@pytest.mark.slow
def test_every_tool_in_a_folder_with_spaces_and_letters_of_other_languages(small, tmp_path, monkeypatch):
    folder = tmp_path / "Straße nach Łódź, 東京"
    for variable, name in (("BITFABRIC_CACHE", "Zwischen Speicher ß"), ("TMPDIR", "für kurze Zeit")):
        (folder / name).mkdir(parents=True)
        monkeypatch.setenv(variable, str(folder / name))
    monkeypatch.setattr("tempfile.tempdir", None)
    shutil.copy(small / "model.onnx", folder / "ä model.onnx")
    made = build(folder / "ä model.onnx", "ulx3s-12f", folder / "aus gabe", fps=1e5)
    assert made.report.verified["netlist"].mismatches == 0
    assert made.bitstream is not None
    assert made.bitstream.exists()


# --- doctor ---


def test_doctor_starts_what_it_calls_ok(tmp_path, monkeypatch):
    lame = tmp_path / "openFPGALoader"
    lame.write_text(
        "#!/bin/sh\necho 'openFPGALoader: error while loading shared libraries: libftdi1.so.2: no' >&2\nexit 127\n"
    )
    lame.chmod(0o755)
    (tmp_path / "file").touch()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("BITFABRIC_CACHE", str(tmp_path / "file"))
    chosen = [probe for probe in PROBES if probe[0] in ("openFPGALoader", "cache", "C++ compiler", "pyserial")]
    monkeypatch.setattr("flows.cli.doctor.PROBES", chosen)
    found = {each["name"]: each for each in examine()}
    assert found["openFPGALoader"]["found"] is None
    assert "libftdi1.so.2" in found["openFPGALoader"]["remedy"]
    assert found["cache"]["found"] is None
    assert "set BITFABRIC_CACHE" in found["cache"]["remedy"]
    assert found["C++ compiler"]["found"]
    assert found["pyserial"]["found"]


@pytest.mark.quick
def test_doctor_of_a_user_without_a_home_folder(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr("flows.cli.doctor.PROBES", [probe for probe in PROBES if probe[0] == "home"])
    assert [each["remedy"] for each in examine()] == ["this user has no home folder: set HOME to a folder"]
    monkeypatch.setattr("flows.cli.boundary.is_full", lambda folder: False)
    assert "No space left" in str(explain(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))


@pytest.mark.quick
def test_a_tool_that_does_not_start_is_said_with_its_reason(tmp_path):
    (tmp_path / "truncated").write_bytes(b"\x7fELF")
    (tmp_path / "truncated").chmod(0o755)
    for command, reason in (
        ([sys.executable, "-c", "import nothing_like_it"], "No module named 'nothing_like_it'"),
        ([str(tmp_path / "truncated")], "Exec format error"),
        (["/bin/sh", "-c", "kill -11 $$"], "killed by signal 11"),
    ):
        with pytest.raises(BitfabricError, match=rf"^it fails: .*{reason}.*; mend it$"):
            _start(command, "it fails", "mend it")
