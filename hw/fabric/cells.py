"""Cells of a netlist, and how a family's netlists differ from our models of its cells."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from hw.host.errors import BitfabricError

Bits = list[int | str]
"""Nets at a pin, the first at the lowest bit: a number, or a constant ``"0"``, ``"1"``, ``"x"``."""


@dataclass
class Cell:
    """One cell of a netlist while it becomes an instance of a model.

    Attributes:
        kind: name of the cell; ``CellDialect.adapt`` changes it to the name of the model.
        parameters: parameter -> value as Yosys writes it.
        pins: pin -> nets.
        outputs: the pins that are outputs.
        settings: parameter of the model -> value in Verilog.
    """

    kind: str
    parameters: dict[str, str]
    pins: dict[str, Bits]
    outputs: set[str]
    settings: dict[str, str] = field(default_factory=dict)

    def rename(self, pins: Mapping[str, str]) -> None:
        """Rename pins."""
        self.pins = {pins.get(pin, pin): bits for pin, bits in self.pins.items()}
        self.outputs = {pins.get(pin, pin) for pin in self.outputs}

    def drop(self, *pins: str) -> None:
        """Remove pins."""
        for pin in pins:
            self.pins.pop(pin, None)

    def default(self, pins: Mapping[str, str]) -> None:
        """Connect open pins to constants."""
        for pin, value in pins.items():
            if not self.pins.get(pin):
                self.pins[pin] = [value]

    def number(self, parameter: str, default: int = 0) -> int:
        """The value of a parameter as a number; undefined bits are 0."""
        return int(re.sub("[xz]", "0", self.parameters.get(parameter, f"{default:b}")) or "0", 2)

    def require(self, parameter: str, value: int | str) -> None:
        """Raises BitfabricError where a parameter is stated with another value (a number or a string)."""
        if parameter not in self.parameters:
            return
        found = string(self.parameters[parameter]) if isinstance(value, str) else self.number(parameter)
        if found != value:
            raise BitfabricError(f"no model of {self.kind} with {parameter} {found}")


def string(value: str) -> str | None:
    """The value of a string parameter, without the space that Yosys appends to strings that look like bits; None for
    bits."""
    if re.fullmatch(r"[01xz]+", value):
        return None
    return value[:-1] if re.fullmatch(r"[01xz]+ +", value) else value


def concatenate(cell: Cell, name: str, count: int, bits: int) -> str:
    """Remove the parameters ``name`` 0 to ``count`` - 1 of ``bits`` bits each; returns them as one Verilog literal, the
    first in the low bits."""
    rows = (re.sub("[xz]", "0", cell.parameters.pop(name.format(i), "0")).zfill(bits)[-bits:] for i in range(count))
    return f"{count * bits}'b" + "".join(reversed(list(rows)))


class CellDialect(ABC):
    """How the netlists of a family name the cells that its models describe, and what an open pin means.

    The meaning of open pins and of the pins' multiplexers is what nextpnr writes into the bitstream.
    """

    vector: ClassVar[re.Pattern[str]]
    """Name of one bit of a pin that the model declares as a vector: (vector, index)."""
    vectored: ClassVar[frozenset[str]] = frozenset()
    """Kinds of cells, as the models name them, whose pins are joined to vectors."""
    contents: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Kind of cell -> parameters that are ports of its model, so that one module serves all contents."""
    ignored: ClassVar[re.Pattern[str]]
    """Parameters that the models do not have."""

    def connect(self, cells: dict[str, dict]) -> None:  # noqa: B027
        """Add connections between cells that the netlist does not state; by default there are none."""

    @abstractmethod
    def adapt(self, cell: Cell) -> None:
        """Change a cell to the form of its model. Raises BitfabricError for a cell that the models do not cover."""

    def value(self, cell: Cell, pin: str, net: str | None) -> str:
        """The Verilog expression at a pin; ``net`` is None where the pin is open. By default an open pin is 0."""
        return "1'b0" if net is None else net
