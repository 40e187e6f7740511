"""Waveforms of a graph's RTL: a VCD file whose signals are named after the layers.

Every stream between two kernels has the signals ``EDGE_valid``, ``EDGE_ready`` and ``EDGE_data`` (an edge has the name
of the layer that writes it). Every layer is a scope with its ports (``s`` in, ``m`` out) and signals. The clock period
is that of the build.
"""

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from hw.host.errors import BitfabricError, UsageError
from hw.host.files import replacing, scratch_folder
from hw.native import process
from hw.rtl.design import RtlDesign
from hw.simulation import verilator

LEVELS = 2
"""The depth of scopes that contain the streams: Verilator's own scope, and the design's."""
_SCOPE = re.compile(r"(\s*\$scope module )u\d+_(.*)")
_SIGNAL = re.compile(r"(\s*\$var wire \d+ \S+ )(\S+)(.*)")
_EDGE = re.compile(r"e\d+_")


def record(
    design: RtlDesign, frames: Mapping[str, np.ndarray], path: Path, ports: Mapping[str, str], clock_mhz: float
) -> verilator.Simulation:
    """Simulate integer ``frames`` (by port, ``(N, *shape)``) and write the waveform to ``path``.

    ``path`` ends in ``.vcd`` or, if GTKWave's ``vcd2fst`` is installed, in ``.fst``. ``ports``: port of the design ->
    the edge that it carries, as an identifier. Raises UsageError for another ending or a file that cannot be written,
    and BitfabricError if the simulation or the conversion fails.
    """
    converter = shutil.which("vcd2fst")
    if path.suffix not in (".vcd", ".fst"):
        raise UsageError(f"{path}: a waveform ends in .vcd or .fst")
    if path.suffix == ".fst" and converter is None:
        raise UsageError(f"{path}: FST needs vcd2fst; apt-get install gtkwave, or give a .vcd")
    simulator = verilator.build(design, waveform=True)
    with scratch_folder() as scratch:
        raw, named = scratch / "raw.vcd", scratch / "named.vcd"
        result = simulator.run(dict(frames), waveform=raw, period_ps=round(1e6 / clock_mhz))
        with raw.open() as source, named.open("w") as target:
            target.writelines(_renamed(source, ports))
            shutil.copyfileobj(source, target)
        with replacing(path, "choose another file") as part:
            if converter is not None and path.suffix == ".fst":
                done = process.run([converter, named, part])
                if done.returncode:
                    raise BitfabricError(f"vcd2fst failed: {done.stderr.strip()}")
            else:
                shutil.copyfile(named, part)
    return result


def _renamed(lines: Iterator[str], ports: Mapping[str, str]) -> Iterator[str]:
    """The header of a VCD with the generated names replaced by those of layers and edges."""
    names = {f"{port}_{part}": f"{edge}_{part}" for port, edge in ports.items()
             for part in ("valid", "ready", "data")}  # fmt: skip
    depth = 0
    for line in lines:
        depth += line.lstrip().startswith("$scope") - line.lstrip().startswith("$upscope")
        if depth <= LEVELS and (signal := _SIGNAL.match(line)):
            name = names.get(signal[2]) or _EDGE.sub("", signal[2], count=1)
            line = f"{signal[1]}{name}{signal[3]}\n"
        yield _SCOPE.sub(r"\1\2", line)
        if line.startswith("$enddefinitions"):
            return
