"""The driver that a build leaves: a folder with copies of the few modules that it needs, for any machine with NumPy and
pyserial."""

import json
import re
from importlib.resources import files
from pathlib import Path

from hw.boards.interface import Interface

MODULES = {
    "hw": ("errors", "operators", "host"),
    "hw.boards": ("protocol", "session", "packing", "interface", "driver", "ports"),
}


def write(folder: Path, interface: Interface) -> Path:
    """Write the driver of a model into ``folder``; ``python folder X.npy`` runs it."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = [(f"{name}.py", package, name) for package, names in MODULES.items() for name in names]
    for target, package, name in [*sources, ("__main__.py", "hw.boards", "standalone")]:
        text = files(package).joinpath(f"{name}.py").read_text()
        # In the folder they are no package.
        (folder / target).write_text(
            re.sub(r"^(\s*)from hw\.(?:boards\.)?(\w+) import", r"\1from \2 import", text, flags=re.M)
        )
    (folder / "model.json").write_text(json.dumps(interface.to_json(), indent=1) + "\n")
    return folder
