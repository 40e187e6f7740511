"""Reading of model files: one regular file, and at most a second one with weights inside of the same folder."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx

from hw.host.errors import UsageError
from hw.host.files import opened
from hw.lowering.gate.boundary import one_line
from hw.lowering.gate.limits import DENSE_FILE_BYTES, MAX_FILE_BYTES, MAX_MESSAGES
from hw.lowering.gate.names import printable

EXTERNAL = onnx.TensorProto.EXTERNAL


def read_file(path: Path) -> tuple[onnx.ModelProto, bytes]:
    """The model in a file with all its weights, and the bytes of it.

    The bytes are those of the file; for a model with weights in a second file, those of one file with both. Raises
    UsageError for what is no regular file, too large, damaged, or lacks its second file.
    """
    if not os.path.lexists(path):
        raise UsageError(f"no file {path}; `bitfabric train` leaves a model.onnx")
    data = _regular(path, f"{path}", MAX_FILE_BYTES)
    if not data:
        raise UsageError(f"{path} is damaged or not an ONNX file (it is empty); export it again")
    if len(data) > DENSE_FILE_BYTES:
        _count_messages(data, path)
    try:
        proto = onnx.ModelProto.FromString(data)
    except Exception as error:
        raise UsageError(f"{path} is damaged or not an ONNX file ({one_line(error)}); export it again") from None
    if _load_second_file(proto, path):
        data = proto.SerializeToString()
    return proto, data


def _regular(
    path: Path, what: str, most: int, offset: int = 0, length: int | None = None, kind: str = "model"
) -> bytes:
    """The bytes of a regular file, or ``length`` of them from ``offset`` on; ``what`` names it in errors."""
    name = "export the model again"
    if kind == "model":
        inside = path / "model.onnx"  # of a run folder
        name = f"name the .onnx file{f', {inside}' if os.path.isfile(inside) else ''}"
    with opened(path, kind=kind, name=name) as file:
        end = os.fstat(file.fileno()).st_size
        size = end - offset if length is None else length
        if size > most:
            raise UsageError(f"{what} has {size:,} bytes; models of up to {most:,} bytes are read")
        if size < 0 or offset + size > end:
            raise UsageError(f"{what} ends at byte {end:,}, too early; export the model again")
        file.seek(offset)
        return file.read(size)


# --- weights in a second file ---


def tensors(proto: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """The constants of the main graph: initializers and tensors in attributes, each with what to call it."""
    for tensor in proto.graph.initializer:
        yield printable(tensor.name or "an initializer"), tensor
    for number, node in enumerate(proto.graph.node):
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield f"the constant of {printable(node.name or f'node {number}')}", attribute.t


def _load_second_file(proto: onnx.ModelProto, path: Path) -> bool:
    """Load the weights that a model keeps in other files of its folder; returns whether there are any."""
    folder = path.parent.resolve()
    total, found = 0, False
    for name, tensor in tensors(proto):
        if tensor.data_location != EXTERNAL:
            continue
        found = True
        place = f"{path} keeps its weights ({name}) in a second file that cannot be read"
        try:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            location, offset = entries.get("location", ""), int(entries.get("offset", "0") or "0")
            length = int(entries["length"]) if entries.get("length") else None
        except ValueError as error:
            raise UsageError(f"{place} ({one_line(error)}); export the model again") from None
        if not location or not location.isprintable() or offset < 0 or (length is not None and length < 0):
            raise UsageError(f"{place} (its place there is not given); export the model again")
        target = (folder / location).resolve()
        if os.path.isabs(location) or not target.is_relative_to(folder):
            raise UsageError(f"{place} ({location} is outside of the model's folder); put it beside the model")
        if not target.exists():
            raise UsageError(f"{place} ({location} is missing); put it beside the model")
        tensor.raw_data = _regular(
            target, f"{place}: {location}", MAX_FILE_BYTES - total, offset, length, f"second file of {path},"
        )
        total += len(tensor.raw_data)
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]
    return found


# --- the density of a large file ---


def _count_messages(data: bytes, path: Path) -> None:
    """Raise UsageError if a file has more entries than MAX_MESSAGES, or is no protocol buffer."""
    budget = MAX_MESSAGES
    view = memoryview(data)
    pending: list[tuple[int, int, Any]] = [(0, len(data), onnx.ModelProto.DESCRIPTOR)]
    try:
        while pending:
            at, end, descriptor = pending.pop()
            fields = descriptor.fields_by_number
            while at < end:
                budget -= 1
                if budget < 0:
                    raise UsageError(f"{path} has more than {MAX_MESSAGES:,} entries; no network is that large")
                key, at = _varint(view, at)
                wire = key & 7
                if wire == 2:
                    size, at = _varint(view, at)
                    if at + size > end:
                        raise IndexError
                    field = fields.get(key >> 3)
                    if field is not None and field.message_type is not None:
                        pending.append((at, at + size, field.message_type))
                    at += size
                elif wire == 0:
                    _, at = _varint(view, at)
                elif wire in (1, 5):
                    at += 8 if wire == 1 else 4
                else:
                    raise IndexError
    except IndexError:
        raise UsageError(f"{path} is damaged or not an ONNX file (it is no protocol buffer); export it again") from None


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """The number of variable length at a position, and the position after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise IndexError
