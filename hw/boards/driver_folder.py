"""The driver folder of a build: a copy of ``hw.host`` that runs wherever Python, NumPy and pyserial are installed."""

import json
from importlib.resources import files
from pathlib import Path

from hw.host.interface import Interface


def write(folder: Path, interface: Interface) -> Path:
    """Write the host driver and the model's ``interface`` (model.json) into ``folder``; returns ``folder``.

    ``python folder X.npy`` runs the frames in X.npy on the board.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file in files("hw.host").iterdir():
        if file.name.endswith(".py"):
            (folder / file.name).write_text(file.read_text())
    (folder / "model.json").write_text(json.dumps(interface.to_json(), indent=1) + "\n")
    return folder
