"""The instance that each cell of a flattened netlist belongs to."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import cache

_INPUT = re.compile(r"s\d*_(valid|data)|m\d*_ready")


def owners(module: dict, scope: str = "") -> dict[str, str]:
    """Cell -> instance that it belongs to, in a flattened module (``""``: no instance under ``scope``).

    A cell belongs to the instance whose signal it drives. Where the net has several names, the deepest in the hierarchy
    decides, except names of instance inputs (``s*_valid``, ``s*_data``, ``m*_ready``). Nets that technology mapping
    created have no name: then the cell's name decides, which ``autoname`` derives from the nearest named net. A cell
    that is named after a net of the top module belongs to the instance of the majority of the cells that it drives.
    """
    prefix = f"{scope}." if scope else ""

    def instance(name: str) -> str:
        head, dot, rest = name.removeprefix(prefix).partition(".")
        return head if name.startswith(prefix) and dot and not _INPUT.fullmatch(rest) else ""

    named: dict[int, tuple[int, str]] = {}
    for name, net in module["netnames"].items():
        if "hdlname" in net["attributes"] and "." in name and (owner := instance(name)):
            for bit in net["bits"]:
                named[bit] = max(named.get(bit, (0, "")), (name.count("."), owner))
    result: dict[str, str] = {}
    readers: dict[int, list[str]] = defaultdict(list)
    drives: dict[str, list[int]] = {}
    for name, cell in module["cells"].items():
        directions = cell["port_directions"]
        drives[name] = []
        for port, bits in cell["connections"].items():
            nets = [bit for bit in bits if isinstance(bit, int)]  # constants and open pins left out
            if directions.get(port) == "input":
                for bit in nets:
                    readers[bit].append(name)
            elif directions.get(port) == "output":
                drives[name] += nets
        votes = Counter(named[bit][1] for bit in drives[name] if bit in named)
        if votes:
            result[name] = votes.most_common(1)[0][0]
        elif "." in name:
            result[name] = instance(name)
    waiting = [name for name in module["cells"] if name not in result]
    while waiting:
        found = {}
        for name in waiting:
            around = Counter(result[n] for bit in drives[name] for n in readers[bit] if n in result)
            if around:
                found[name] = around.most_common(1)[0][0]
        if not found:
            break
        result |= found
        waiting = [name for name in waiting if name not in found]
    return {name: result.get(name, "") for name in module["cells"]}


def finder(module: dict, scope: str = "") -> Callable[[str], str]:
    """The instance under ``scope`` of a cell of place and route; ``""`` where it belongs to none.

    ``module`` is the synthesised netlist. nextpnr names a cell after one of it, followed by how it was packed, as in
    ``count_LUT4_Z$CCU2_COMB0``.
    """
    known = owners(module, scope)

    @cache
    def find(cell: str) -> str:
        name = cell.removeprefix("$gbuf$")
        while name not in known:
            cut = max(name.rfind("$"), name.rfind("_"))
            if cut < 1:
                return ""
            name = name[:cut]
        return known[name]

    return find
