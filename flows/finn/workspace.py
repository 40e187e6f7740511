"""Runs FINN with its settings, temporary files, log and printed text in one folder."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from hw.finn.execution import calling_finn, require_finn
from hw.host.errors import BitfabricError
from hw.host.files import make_folder, write_text


class _NoSimulation:
    """A stand-in for FINN's simulator, which needs Vivado; it raises an error that says so."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise BitfabricError("FINN simulates RTL with Vivado's XSI, and there is no Vivado; use `--engine rtl`")


def builder() -> Any:
    """The module of FINN's build flow. Its import needs a simulator class, which is missing without Vivado."""
    require_finn()
    from finn import xsi

    if "SimEngine" not in vars(xsi) and not has_vivado():
        xsi.SimEngine = _NoSimulation
    from finn.builder import build_dataflow

    return build_dataflow


def has_vivado() -> bool:
    """Whether Vivado is installed, according to the environment variable that FINN reads."""
    return bool(os.environ.get("XILINX_VIVADO"))


@contextmanager
def at(folder: Path, model: Path | str) -> Iterator[None]:
    """Run FINN on ``model`` with its generated files in ``folder/generated`` and its output in ``folder/finn.log``."""
    generated = (folder / "generated").resolve()
    make_folder(generated)
    chosen = {"FINN_BUILD_DIR": str(generated), "FINN_SETTINGS": str(folder.resolve() / "finn_settings.yaml")}
    before = {name: os.environ.get(name) for name in chosen}
    said = io.StringIO()
    os.environ.update(chosen)
    try:
        from finn.util import settings

        held, settings._SETTINGS = settings._SETTINGS, None
        try:
            with calling_finn(model) as messages, redirect_stdout(said), redirect_stderr(said):
                try:
                    yield
                finally:
                    lines = [*said.getvalue().splitlines(), *messages]
                    write_text(folder / "finn.log", "".join(f"{line}\n" for line in lines), durable=False)
        finally:
            settings._SETTINGS = held
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
