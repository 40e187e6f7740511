"""Makes the folder of FINN's build independent of the machine and the place where it was written."""

import os
import re
from pathlib import Path

import onnx

from hw.host.files import write_bytes, write_text

FINN_ROOT = "FINN_ROOT"
"""The environment variable that FINN's container sets to the place of FINN."""
TEXT = frozenset({".cpp", ".dat", ".hpp", ".json", ".log", ".sh", ".sv", ".svh", ".tcl", ".txt", ".v", ".vh", ".yaml"})
"""Endings of FINN's text files that can state paths."""


def make_portable(folder: Path) -> None:
    """Replace the absolute paths in FINN's files in ``folder``.

    Paths in the folder become relative: in text to the file that states them, in models to the folder. FINN's own
    become those of the variable FINN_ROOT.
    """
    import finn

    package = Path(next(iter(finn.__path__))).resolve()
    for root in {folder.resolve(), folder.absolute()}:
        for path in sorted(each for each in root.rglob("*") if each.is_file()):
            if path.suffix == ".onnx":
                _model(path, root)
            elif path.suffix in TEXT:
                _text(path, root, package)


def _pattern(root: Path) -> re.Pattern[str]:
    """A path in a folder; what follows the folder is the group."""
    return re.compile(rf"{re.escape(str(root))}((?:/[^\s\"';:,\\]*)?)(?![\w-])")


def _text(path: Path, root: Path, package: Path) -> None:
    text = path.read_text(errors="surrogateescape")
    variable = f"$::env({FINN_ROOT})" if path.suffix == ".tcl" else f"${FINN_ROOT}"
    made = _pattern(root).sub(lambda match: os.path.relpath(match[0], path.parent), text)
    made = _pattern(package).sub(lambda match: f"{variable}{match[1]}", made)
    if made != text:
        write_text(path, made, durable=False)


def _model(path: Path, root: Path) -> None:
    model = onnx.load(path)
    pattern, changed = _pattern(root), False

    def relative(text: str) -> str:
        nonlocal changed
        made = pattern.sub(lambda match: os.path.relpath(match[0], root), text)
        changed |= made != text
        return made

    for entry in model.metadata_props:
        entry.value = relative(entry.value)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.STRING:
                attribute.s = relative(attribute.s.decode(errors="surrogateescape")).encode(errors="surrogateescape")
    if changed:
        write_bytes(path, model.SerializeToString(), durable=False)
