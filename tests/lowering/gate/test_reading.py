"""Files: what is no whole model file is refused in one line that names it."""

import os
import socket
from pathlib import Path

import onnx
import pytest

from hw.host.errors import BitfabricError, UsageError
from hw.lowering.gate import limits, reading
from hw.lowering.qonnx import load
from hw.model import Model
from tests.lowering.gate.small_models import dense


def whole() -> bytes:
    return dense().SerializeToString()


def pipe(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    socket.socket(socket.AF_UNIX).bind(str(path))


FILES = {
    "missing": (lambda path: None, "no file .*m.onnx"),
    "empty": (lambda path: path.touch(), "m.onnx is damaged .*it is empty"),
    "folder": (lambda path: path.mkdir(), "m.onnx is a folder; name the .onnx file$"),
    "run folder": (
        lambda path: (path.mkdir(), (path / "model.onnx").touch()),
        "m.onnx is a folder; name the .onnx file, .*m.onnx/model.onnx$",
    ),
    "named pipe": (pipe, "m.onnx is a named pipe"),
    "socket": (unix_socket, "m.onnx is a socket"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "m.onnx is a device"),
    "dangling link": (lambda path: path.symlink_to("nothing"), "cannot read the model .*m.onnx .*No such file"),
    "text": (lambda path: path.write_text("{}"), "m.onnx is damaged or not an ONNX file"),
    "half": (lambda path: path.write_bytes(whole()[: len(whole()) // 2]), "m.onnx is damaged or not an ONNX file"),
    "huge": (
        lambda path: (path.touch(), os.truncate(path, limits.MAX_FILE_BYTES + 1)),
        "m.onnx has 1,073,741,825 bytes; models of up to",
    ),
}


@pytest.mark.quick
@pytest.mark.parametrize("what", FILES)
@pytest.mark.parametrize("opened", [load, Model.open])
def test_files(tmp_path, what, opened):
    make, message = FILES[what]
    make(tmp_path / "m.onnx")
    with pytest.raises(UsageError, match=message) as caught:
        opened(tmp_path / "m.onnx")
    assert str(caught.value).isprintable()


@pytest.mark.quick
def test_a_large_file_is_scanned_before_it_is_parsed(tmp_path, monkeypatch):
    """A file of many empty nodes would take a hundred bytes of memory for each of its own."""
    path = tmp_path / "m.onnx"
    monkeypatch.setattr(reading, "DENSE_FILE_BYTES", 0)
    path.write_bytes(whole())
    assert load(path).graph.node
    graph = b"\x0a\x00" * 5000
    path.write_bytes(b"\x3a" + bytes([len(graph) % 128 + 128, len(graph) // 128]) + graph)
    monkeypatch.setattr(reading, "MAX_MESSAGES", 4000)
    with pytest.raises(UsageError, match="has more than 4,000 entries"):
        load(path)
    path.write_bytes(b"\x3a\xff\xff\xff\x7f")
    with pytest.raises(UsageError, match="no protocol buffer"):
        load(path)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"location": "/etc/passwd"}, r"\(initializer c\d|\(c\d\).*/etc/passwd is outside of the model's folder"),
        ({"location": "../secret"}, r"\.\./secret is outside of the model's folder"),
        ({"location": "link"}, "link is outside of the model's folder"),
        ({"location": "missing"}, r"missing is missing\); put it beside the model"),
        ({"location": "pipe"}, "pipe is a named pipe"),
        ({"location": "."}, "is a folder"),
        ({"location": ""}, "its place there is not given"),
        ({"length": "9999999"}, "weights ends at byte .* too early"),
        ({"length": "-1"}, "its place there is not given"),
        ({"offset": "x"}, "invalid literal for int"),
        ({"length": "3"}, "initializer c0 holds 0.75 elements, but its shape"),
    ],
)
def test_weights_in_a_second_file(tmp_path, change, message):
    folder = tmp_path / "models"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(4096))
    (folder / "link").symlink_to(tmp_path / "secret")
    pipe(folder / "pipe")
    onnx.save(dense(), folder / "m.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    proto = onnx.load(folder / "m.onnx", load_external_data=False)
    entries = proto.graph.initializer[0].external_data
    kept = {entry.key: entry.value for entry in entries} | change
    del entries[:]
    entries.extend(onnx.StringStringEntryProto(key=key, value=value) for key, value in kept.items())
    (folder / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(BitfabricError, match=message) as caught:
        load(folder / "m.onnx")
    assert str(caught.value).isprintable()
