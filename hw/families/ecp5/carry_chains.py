"""Carry chains of ECP5 whose ends need no cells of their own.

nextpnr puts a cell before a chain whose carry input is connected, even to a constant, and one behind a chain whose
carry output is. Yosys connects both. In a chain of ``bf_count_adder`` neither has an effect: the first bit gives its
operand A as the carry, whatever comes in.
"""

from typing import Any

OPEN = "bf_open_ends"
"""The attribute of the cells of such chains."""


def open_ends(module: dict[str, Any]) -> bool:
    """Disconnect the ends of marked chains in a Yosys JSON module; whether there were any."""
    chains = [cell for cell in module["cells"].values() if cell["type"] == "CCU2C" and OPEN in cell["attributes"]]
    carried = {cell["connections"]["CIN"][0] for cell in chains}
    for cell in chains:
        pins = cell["connections"]
        if isinstance(pins["CIN"][0], str):
            pins["CIN"] = ["x"]
        if pins["COUT"][0] not in carried:
            pins["COUT"] = ["x"]
    return bool(chains)
