"""Activity of a netlist: counters of transitions, which its simulation reads at the end.

A net toggles where its values at two successive clock edges differ. The simulation has no delays, so glitches within a
cycle are not counted. A toggle of a net is a transition at each of its pins: at that of the cell that drives it and at
those of the cells that read it. The clock is no such net: ``Part.clocked`` counts its pins.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hw.fabric.family import Family
from hw.families import spec_of
from hw.host.errors import BitfabricError
from hw.ir.stream import Stream
from hw.rtl.design import RtlDesign
from hw.synth import netlist, yosys

CLOCK, RESET = "clk", "rst"
COUNTS = ("toggles", "transitions", "reads", "multiplications")
"""The counters of a part: toggles of its nets, transitions at their pins, and the cycles in which an input of one of
its block RAMs, or of its multipliers, has changed."""
CHUNK = 64
"""Nets that are compared at once."""


@dataclass
class Part:
    """The nets and cells of one instance.

    ``nets``: number of pins -> the nets that have as many. ``clocked``: pins at the clock. ``memories`` and
    ``multipliers``: the nets at the inputs of each block RAM and of each multiplier.
    """

    nets: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    clocked: int = 0
    memories: list[list[int]] = field(default_factory=list)
    multipliers: list[list[int]] = field(default_factory=list)


def parts(module: dict[str, Any], family: Family, scope: str = "") -> dict[str, Part]:
    """The parts of a module of a Yosys JSON file by instance under ``scope``; ``""``: everything else, and the ports.

    A net belongs to the instance of the cell that drives it. Raises BitfabricError for a module without a clock.
    """
    ports = module["ports"]
    if CLOCK not in ports:
        raise BitfabricError(f"the netlist has no port {CLOCK}: its activity cannot be counted")
    (clock,) = ports[CLOCK]["bits"]
    pins: dict[int, int] = defaultdict(int)
    drivers: dict[int, str] = {}
    for name, port in ports.items():
        if port["direction"] == "input" and name != CLOCK:
            drivers |= dict.fromkeys((bit for bit in port["bits"] if isinstance(bit, int)), "")
    found: dict[str, Part] = defaultdict(Part)
    cost = spec_of(family).synthesis.cost
    owners = yosys.owners(module, scope)
    for name, cell in module["cells"].items():
        if cell["type"] == "$scopeinfo":
            continue
        part, inputs = found[owners[name]], list[int]()
        for pin, bits in cell["connections"].items():
            nets = [bit for bit in bits if isinstance(bit, int)]
            if cell["port_directions"][pin] == "input":
                inputs += nets
            else:
                drivers |= dict.fromkeys(nets, owners[name])
        part.clocked += inputs.count(clock)
        inputs = [net for net in inputs if net != clock]
        for net in inputs:
            pins[net] += 1
        resources = cost.get(cell["type"])
        if resources is not None and resources.bram:
            part.memories.append(sorted(set(inputs)))
        if resources is not None and resources.dsp:
            part.multipliers.append(sorted(set(inputs)))
    for net, owner in sorted(drivers.items()):
        if net != clock:
            found[owner].nets[1 + pins[net]].append(net)
    return dict(found)


def design(
    path: Path, family: Family, inputs: Mapping[str, Stream], outputs: Mapping[str, Stream]
) -> tuple[RtlDesign, dict[str, Part]]:
    """The netlist of an accelerator as a design with counters, and its parts.

    The counters are those of ``names``. Raises what ``hw.synth.netlist.design`` does.
    """
    _, module = netlist.load(path)
    found = parts(module, family)
    made = netlist.design(path, family, inputs, outputs, _source(found, module))
    return replace(made, counters=tuple(names(found).values())), found


def names(found: Mapping[str, Part]) -> dict[tuple[str, str], str]:
    """(instance, one of ``COUNTS``) -> name of the counter in the design."""
    return {(part, what): f"count{i}_{what}" for i, part in enumerate(found) for what in COUNTS}


def _source(found: Mapping[str, Part], module: dict[str, Any]) -> netlist.Addition:
    """The counters as SystemVerilog."""
    (clock,), (reset,) = (module["ports"][name]["bits"] for name in (CLOCK, RESET))
    edge = f"always_ff @(posedge n{clock})"
    counters = names(found)
    body: list[str] = []

    def differs(nets: Sequence[int]) -> str:
        """The expression of the nets that have changed since the last clock edge."""
        index = len(body)
        listed = ", ".join(f"n{net}" for net in nets)
        body.append(
            f"  wire [{len(nets) - 1}:0] now{index} = {{{listed}}};\n  logic [{len(nets) - 1}:0] before{index};\n"
            f"  {edge} before{index} <= now{index};\n"
        )
        return f"now{index} ^ before{index}"

    for part, nets in found.items():
        terms: dict[str, list[str]] = {what: [] for what in COUNTS}
        for count, members in sorted(nets.nets.items()):
            for start in range(0, len(members), CHUNK):
                changed = f"64'($countones({differs(members[start : start + CHUNK])}))"
                terms["toggles"].append(changed)
                terms["transitions"].append(f"64'd{count} * {changed}")
        for what, cells in (("reads", nets.memories), ("multiplications", nets.multipliers)):
            terms[what] += [f"64'(|({differs(pins)}))" for pins in cells if pins]
        for what, added in terms.items():
            name = counters[part, what]
            total = " + ".join([name, *added])
            body.append(f"  {edge} {name} <= n{reset} ? 64'd0 : {total};\n")
    ports = tuple(f"    output logic [63:0] {name}" for name in counters.values())
    return netlist.Addition(ports, "".join(body))
