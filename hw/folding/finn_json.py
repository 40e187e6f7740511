"""Foldings as FINN's JSON files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hw.host.errors import UsageError
from hw.host.files import parse_json, read_text, write_json
from hw.ir.graph import Graph
from hw.ir.kernel import Folding
from hw.passes.fold import FoldingTable

FINN_KEYS = frozenset({
    "PE", "SIMD", "M", "parallel_window", "ram_style", "ram_style_thresholds", "resType", "mem_mode", "mvau_wwidth_max",
    "runtime_writeable_weights", "inFIFODepths", "outFIFODepths", "depth_trigger_uram", "depth_trigger_bram",
    "preferred_impl_style", "impl_style", "implementation",
})  # fmt: skip
"""The keys of a layer in FINN's folding files; ``implementation`` is our own."""


def save(table: FoldingTable, path: Path) -> None:
    """Write FINN's folding JSON."""
    layers = {name: folding.attributes for name, folding in table.items()}
    write_json(path, {"Defaults": {}, **layers})


def load(path: Path, graph: Graph) -> FoldingTable:
    """Read FINN's folding JSON: layer -> {"PE": n, "SIMD": n}; "Defaults" may hold {"PE": [n, ["all"]]}.

    "M" is the number of image positions that are processed at a time, as in FINN's ConvolutionInputGenerator; its
    default is 1. "implementation" names the kernel that computes the layer (see Folding). FINN's keys without a meaning
    here (memory styles, FIFO depths) are ignored. Raises UsageError for a file that is missing or not JSON, and for
    unknown layers and keys, by name.
    """
    try:
        table = parse_json(read_text(path, kind="folding file"))
    except ValueError as error:
        raise UsageError(f"{path} is not a folding JSON: {error}") from None
    if not isinstance(table, dict) or not all(isinstance(entry, dict) for entry in table.values()):
        raise UsageError(f'{path}: a folding file is {{"layer": {{"PE": n, "SIMD": n}}, ...}}')
    defaults = table.pop("Defaults", {})
    result = {}
    for name, entry in table.items():
        if unknown := sorted(set(entry) - FINN_KEYS):
            raise UsageError(f"{path}: layer {name}: unknown key {', '.join(unknown)}; use PE, SIMD and M")
        now = graph.node(name).kernel.folding
        before = {"PE": now.pe, "SIMD": now.simd, "M": now.pixels}
        values = {key: _default(defaults, key, value) for key, value in before.items()} | entry
        for key in before:
            if not isinstance(values[key], int) or isinstance(values[key], bool) or values[key] < 1:
                raise UsageError(f"{path}: layer {name}: {key} must be a positive integer, not {values[key]!r}")
        result[name] = Folding.of(values)
    return result


def _default(defaults: Mapping[str, Any], key: str, otherwise: int) -> int:
    """FINN's form of a default is [value, ["all"]]."""
    value = defaults.get(key, otherwise)
    return value[0] if isinstance(value, list) and value else value
