"""The driver that a build leaves: a copy of ``hw.host``, for any machine with NumPy and pyserial."""

import json
from importlib.resources import files
from pathlib import Path

from hw.host.interface import Interface


def write(folder: Path, interface: Interface) -> Path:
    """Write the driver of a model into ``folder``; ``python folder X.npy`` runs it."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files("hw.host").iterdir():
        if file.name.endswith(".py"):
            (folder / file.name).write_text(file.read_text())
    (folder / "model.json").write_text(json.dumps(interface.to_json(), indent=1) + "\n")
    return folder
