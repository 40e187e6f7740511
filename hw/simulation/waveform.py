"""Waveforms of a graph's RTL: a VCD file whose signals are named after the layers.

Every stream between two kernels has the signals ``EDGE_valid``, ``EDGE_ready`` and ``EDGE_data`` (an edge has the name
of the layer that writes it). Every layer is a scope with its ports (``s`` in, ``m`` out) and signals. Layers with names
of the user's (modules, or nodes of the model) are also in a scope of that name, with the same signals: the kernels of
``blocks.0.conv`` are in ``blocks_0_conv``. Comments at the head state the names in full. The clock period is that of
the build.
"""

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from hw.fabric.identifiers import identifiers
from hw.host.errors import BitfabricError, UsageError
from hw.host.files import replacing, scratch_folder
from hw.host.text import one_line
from hw.native import process
from hw.rtl.design import RtlDesign
from hw.simulation import verilator

LEVELS = 2
"""The depth of scopes that contain the streams: Verilator's own scope, and the design's."""
_SCOPE = re.compile(r"(\s*\$scope module )u\d+_(.*)")
_SIGNAL = re.compile(r"(\s*\$var wire \d+ \S+ )(\S+)(.*)")
_EDGE = re.compile(r"e\d+_")


def record(
    design: RtlDesign,
    frames: Mapping[str, np.ndarray],
    path: Path,
    ports: Mapping[str, str],
    origins: Mapping[str, str],
    clock_mhz: float,
) -> verilator.Simulation:
    """Simulate integer ``frames`` (by port, ``(N, *shape)``) and write the waveform to ``path``.

    ``path`` ends in ``.vcd`` or, if GTKWave's ``vcd2fst`` is installed, in ``.fst``. ``ports``: port of the design ->
    the edge that it carries, as an identifier; ``origins``: layer, as an identifier -> the user's name for it. Raises
    UsageError for another ending or a file that cannot be written, and BitfabricError if the simulation or the
    conversion fails.
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
            target.writelines(_renamed(source, ports, origins))
            shutil.copyfileobj(source, target)
        with replacing(path, "choose another file") as part:
            if converter is not None and path.suffix == ".fst":
                done = process.run([converter, named, part])
                if done.returncode:
                    raise BitfabricError(f"vcd2fst failed: {done.stderr.strip()}")
            else:
                shutil.copyfile(named, part)
    return result


def _renamed(lines: Iterator[str], ports: Mapping[str, str], origins: Mapping[str, str]) -> Iterator[str]:
    """The header of a VCD with the generated names replaced by those of layers and edges, and with scopes of the
    user's names."""
    names = {f"{port}_{part}": f"{edge}_{part}" for port, edge in ports.items()
             for part in ("valid", "ready", "data")}  # fmt: skip
    for layer, own in origins.items():
        yield f"$comment {layer} is {_plain(own)} $end\n"
    depth, layer = 0, ""
    scopes: dict[str, list[str]] = {}
    for line in lines:
        before = depth
        depth += line.lstrip().startswith("$scope") - line.lstrip().startswith("$upscope")
        if depth <= LEVELS and (signal := _SIGNAL.match(line)):
            name = names.get(signal[2]) or _EDGE.sub("", signal[2], count=1)
            line = f"{signal[1]}{name}{signal[3]}\n"
        if scope := _SCOPE.match(line):
            layer = scope[2].removesuffix("$end").strip() if depth == LEVELS + 1 else layer
            line = f"{scope[1]}{scope[2]}\n"
        if before > LEVELS or depth > LEVELS:
            scopes.setdefault(layer, []).append(line)
        elif before == LEVELS > depth:
            yield from _aliases(scopes, origins)
        yield line
        if line.startswith("$enddefinitions"):
            return


def _aliases(scopes: Mapping[str, list[str]], origins: Mapping[str, str]) -> Iterator[str]:
    """Scopes of the user's names; each repeats those of its layers. ``scopes``: lines by layer."""
    for own, alias in identifiers(dict.fromkeys(origins.values()), prefixed=True).items():
        layers = [layer for layer in scopes if origins.get(layer) == own]
        while alias in scopes:
            alias += "_"
        if layers:
            yield f"  $scope module {alias} $end\n"
            for layer in layers:
                yield from scopes[layer]
            yield "  $upscope $end\n"


def _plain(name: str) -> str:
    """A name in a comment, which ends at the next keyword."""
    return one_line(name).replace("$", "\\x24")
