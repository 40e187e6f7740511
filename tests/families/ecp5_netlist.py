"""Values of the combinational nets of a netlist for ECP5 (Yosys JSON); cells as in the models of the family."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

Values = dict[Any, np.ndarray]
"""By net: its value in every sample, 0 or 1."""


def evaluate(module: Mapping[str, Any], inputs: Mapping[int, np.ndarray], floating: int = 0) -> Values:
    """The nets of a module of lookup tables and carry chains. ``inputs``: net -> (samples,) of 0 and 1; open pins are
    ``floating``. Raises ValueError for other cells, and for nets without a driver."""
    some = next(iter(inputs.values()))
    values: Values = {bit: np.full_like(some, value) for bit, value in (("0", 0), ("1", 1), ("x", floating))} | inputs
    waiting = [cell for cell in module["cells"].values() if cell["type"] != "$scopeinfo"]
    while waiting:
        later = []
        for cell in waiting:
            pins = {name: bits[0] for name, bits in cell["connections"].items() if bits}
            taken = [bit for name, bit in pins.items() if cell["port_directions"][name] == "input"]
            if all(bit in values for bit in taken):
                made = _outputs(cell, {name: values[bit] for name, bit in pins.items() if bit in values})
                values.update((pins[name], value) for name, value in made if pins.get(name, "x") != "x")
            else:
                later.append(cell)
        if len(later) == len(waiting):
            raise ValueError(f"no driver of an input of {later[0]}")
        waiting = later
    return values


def _outputs(cell: Mapping[str, Any], x: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    if cell["type"] == "LUT4":
        contents = int(cell["parameters"]["INIT"], 2)
        yield "Z", contents >> (x["A"] + 2 * x["B"] + 4 * x["C"] + 8 * x["D"]) & 1
    elif cell["type"] == "PFUMX":
        yield "Z", np.where(x["C0"], x["ALUT"], x["BLUT"])
    elif cell["type"] == "L6MUX21":
        yield "Z", np.where(x["SD"], x["D1"], x["D0"])
    elif cell["type"] == "CCU2C":
        carry = x["CIN"]
        for half in "01":
            contents = int(cell["parameters"][f"INIT{half}"], 2)
            low = x[f"A{half}"] + 2 * x[f"B{half}"]
            propagate = contents >> (low + 4 * x[f"C{half}"] + 8 * x[f"D{half}"]) & 1
            yield f"S{half}", propagate ^ carry
            carry = np.where(propagate, carry, contents >> low & 1)
        yield "COUT", carry
    else:
        raise ValueError(f"no model of {cell['type']}")
