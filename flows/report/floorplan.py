"""Where place and route put the cells of each layer."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hw.host.errors import BitfabricError
from hw.host.files import read_json

_PLACE = re.compile(r"X(\d+)/?Y(\d+)")
_TURN = 137.5
"""Degrees of hue between two layers: the golden angle, so that neighbours differ."""


@dataclass(frozen=True)
class Run:
    """Neighbouring tiles in a row, most of whose cells are of one layer: their left end, row and number."""

    x: int
    y: int
    tiles: int
    layer: str
    hue: float


@dataclass(frozen=True)
class Area:
    """A layer in the plan: its cells, and its hue in degrees."""

    layer: str
    cells: int
    hue: float


@dataclass(frozen=True)
class Floorplan:
    """The device in tiles, ``width`` by ``height`` of them as far as cells are placed."""

    width: int
    height: int
    runs: tuple[Run, ...]
    areas: tuple[Area, ...]


def find(netlist: Path, owner: Callable[[str], str]) -> Floorplan | None:
    """The plan of a placed netlist of nextpnr; None where it names no places.

    ``owner`` gives the layer of a cell by its name. Raises BitfabricError where the file cannot be read.
    """
    try:
        modules: dict[str, Any] = read_json(netlist)["modules"]
        cells = max((module.get("cells", {}) for module in modules.values()), key=len)
        tiles: dict[tuple[int, int], Counter[str]] = defaultdict(Counter)
        totals: Counter[str] = Counter()
        for name, cell in cells.items():
            if place := _PLACE.match(str(cell.get("attributes", {}).get("NEXTPNR_BEL", ""))):
                layer = owner(name)
                tiles[int(place[2]), int(place[1])][layer] += 1
                totals[layer] += 1
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BitfabricError(f"{netlist} cannot be read ({error}); build again") from None
    if not tiles:
        return None
    hues = {layer: index * _TURN % 360 for index, layer in enumerate(totals)}
    runs: list[Run] = []
    for (y, x), found in sorted(tiles.items()):
        layer = found.most_common(1)[0][0]
        last = runs[-1] if runs else None
        if last and (last.y, last.x + last.tiles, last.layer) == (y, x, layer):
            runs[-1] = Run(last.x, y, last.tiles + 1, layer, last.hue)
        else:
            runs.append(Run(x, y, 1, layer, hues[layer]))
    areas = tuple(Area(layer, count, hues[layer]) for layer, count in totals.most_common())
    return Floorplan(max(x for _, x in tiles) + 1, max(y for y, _ in tiles) + 1, tuple(runs), areas)
