"""Prepares the ports of a netlist for nextpnr.

For an out-of-context run, ``detach`` removes every port except the clock. The ports' nets stay in the netlist, without
a driver or without a reader, so no logic is optimised away and the design needs no more pins than the package has.
``attach`` restores the ports in the placed netlist. For a family that needs pad cells, ``add_pads`` inserts them here
and not in synthesis, because the netlist of synthesis is also simulated.
"""

import json
from collections.abc import Mapping
from itertools import count
from pathlib import Path

from hw.host.files import write_text
from hw.synth.tool import read_output

CLOCK = "clk"


def detach(module: dict) -> dict:
    """Remove all ports except the clock from a Yosys JSON module; returns the removed ports.

    A net at a port keeps only the port's name, by which ``attach`` finds it.
    """
    ports = {name: port for name, port in module["ports"].items() if name != CLOCK}
    outside = {bit for port in ports.values() for bit in port["bits"]}
    names = module["netnames"]
    for name in [n for n, net in names.items() if n not in ports and outside & set(net["bits"])]:
        del names[name]
    module["ports"] = {CLOCK: module["ports"][CLOCK]}
    return ports


def attach(module: dict, ports: Mapping[str, dict]) -> None:
    """Restore the ports that ``detach`` removed, in a placed module."""
    known = {name: net["bits"][0] for name, net in module["netnames"].items()}
    fresh = count(1 + max(b for net in module["netnames"].values() for b in net["bits"] if isinstance(b, int)))
    numbers: dict[int, int] = {}
    for name, port in ports.items():
        bits: list[int | str] = []
        for i, bit in enumerate(port["bits"]):
            if isinstance(bit, int):
                found = known.get(name if len(port["bits"]) == 1 else f"{name}[{i}]")
                # An output on the net of another port has the name of that port; an input without a reader has none.
                bit = numbers.setdefault(bit, next(fresh) if found is None else found)
            bits.append(bit)
        module["ports"][name] = {"direction": port["direction"], "bits": bits}
        module["netnames"][name] = {"hide_name": 0, "bits": bits, "attributes": {}}


def add_pads(module: dict, pads: tuple[str, str]) -> None:
    """Insert a pad cell between each bit of each port and its net.

    ``pads``: the cell types of the input pad and of the output pad, both with the pins I and O.
    """
    input_pad, output_pad = pads
    used = [b for cell in module["cells"].values() for bits in cell["connections"].values() for b in bits]
    used += [b for net in module["netnames"].values() for b in net["bits"]]
    fresh = count(1 + max(b for b in used if isinstance(b, int)))
    for name, port in module["ports"].items():
        inner, outer = port["bits"], [next(fresh) for _ in port["bits"]]
        port["bits"] = outer
        into = port["direction"] == "input"
        for i, (net, pad) in enumerate(zip(inner, outer, strict=True)):
            module["cells"][f"{name}_{i}_pad"] = {
                "hide_name": 0,
                "type": input_pad if into else output_pad,
                "parameters": {},
                "attributes": {},
                "port_directions": {"I": "input", "O": "output"},
                "connections": {"I": [pad if into else net], "O": [net if into else pad]},
            }
        module["netnames"][f"{name}_pads"] = {"hide_name": 0, "bits": outer, "attributes": {}}


def prepare(netlist: Path, made: Path, detached: bool, pads: tuple[str, str] | None) -> tuple[dict[str, dict], int]:
    """Write ``netlist`` to ``made`` with the ports that nextpnr needs; returns the ports that ``detach`` removed, and
    the number of cells."""
    whole = read_output(netlist)
    (module,) = [m for m in whole["modules"].values() if int(str(m["attributes"].get("top", "0")), 2)]
    ports = detach(module) if detached else {}
    if pads:
        add_pads(module, pads)
    write_text(made, json.dumps(whole), durable=False)
    return ports, len(module["cells"])


def restore(placed: Path, ports: Mapping[str, dict]) -> None:
    """Apply ``attach`` to a file that contains one module."""
    whole = read_output(placed)
    (module,) = whole["modules"].values()
    attach(module, ports)
    write_text(placed, json.dumps(whole), durable=False)
