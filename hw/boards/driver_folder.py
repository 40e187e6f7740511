"""The driver folder of a build: a copy of ``hw.host`` that runs wherever Python, NumPy and pyserial are installed."""

from importlib.resources import files
from pathlib import Path

from hw.host.files import write_json, write_text
from hw.host.interface import Interface


def write(folder: Path, interface: Interface) -> Path:
    """Write the host driver and the model's ``interface`` (model.json) into ``folder``; returns ``folder``.

    ``python folder X.npy`` runs the frames in X.npy on the board.
    """
    for file in files("hw.host").iterdir():
        if file.name.endswith(".py"):
            write_text(folder / file.name, file.read_text(encoding="utf-8"))
    write_json(folder / "model.json", interface.to_json())
    return folder
