"""Cells of a netlist, and the adaptation of a family's cells to their simulation models."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hw.host.errors import BitfabricError

Bits = list[int | str]
"""Nets at a pin, lowest bit first. A net is a number, or a constant ``"0"``, ``"1"`` or ``"x"``."""


@dataclass
class Cell:
    """One cell of a netlist, which ``CellDialect.adapt`` changes to an instance of its model.

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
        """Rename pins; ``pins``: old name -> new name."""
        self.pins = {pins.get(pin, pin): bits for pin, bits in self.pins.items()}
        self.outputs = {pins.get(pin, pin) for pin in self.outputs}

    def drop(self, *pins: str) -> None:
        """Remove pins."""
        for pin in pins:
            self.pins.pop(pin, None)

    def default(self, pins: Mapping[str, str]) -> None:
        """Connect open pins to constants; ``pins``: pin -> constant."""
        for pin, value in pins.items():
            if not self.pins.get(pin):
                self.pins[pin] = [value]

    def number(self, parameter: str, default: int = 0) -> int:
        """The value of a parameter as a number; undefined bits are 0."""
        return int(re.sub("[xz]", "0", self.parameters.get(parameter, f"{default:b}")) or "0", 2)

    def require(self, parameter: str, value: int | str) -> None:
        """Check a parameter: raises BitfabricError where it is present and is not ``value``, a number or a string."""
        if parameter not in self.parameters:
            return
        found = string(self.parameters[parameter]) if isinstance(value, str) else self.number(parameter)
        if found != value:
            raise BitfabricError(f"no model of {self.kind} with {parameter} {found}")


def string(value: str) -> str | None:
    """The value of a string parameter; None for a vector of bits.

    Yosys appends a space to a string that consists of bit characters; it is removed here.
    """
    if re.fullmatch(r"[01xz]+", value):
        return None
    return value[:-1] if re.fullmatch(r"[01xz]+ +", value) else value


def concatenate(cell: Cell, name: str, count: int, bits: int) -> str:
    """Remove ``count`` numbered parameters of ``bits`` bits each; returns them as one Verilog literal.

    ``name`` is their format string; parameter 0 is in the lowest bits. A parameter that is absent counts as 0.
    """
    rows = (re.sub("[xz]", "0", cell.parameters.pop(name.format(i), "0")).zfill(bits)[-bits:] for i in range(count))
    return f"{count * bits}'b" + "".join(reversed(list(rows)))


class CellDialect(ABC):
    """Adapts the cells of a family's netlists to the models of the family, and defines the value of an open pin.

    Open pins and pin multiplexers have the meaning that nextpnr writes to the bitstream.
    """

    vector: ClassVar[re.Pattern[str]]
    """Matches the name of one bit of a pin that the model declares as a vector; its groups are (vector, index)."""
    vectored: ClassVar[frozenset[str]] = frozenset()
    """Names of the models whose numbered pins are joined to vectors."""
    contents: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Kind of cell -> parameters that are ports of its model, so that one Verilog module serves all their values."""
    ignored: ClassVar[re.Pattern[str]]
    """Matches the names of parameters that the models do not have."""
    library: ClassVar[str] = ""
    """A file in Yosys's folder of data that has the models of ``library_cells``."""
    library_cells: ClassVar[frozenset[str]] = frozenset()
    """Cells that are simulated with Yosys's own models."""

    def connect(self, cells: dict[str, dict[str, Any]]) -> None:  # noqa: B027
        """Add connections between cells that the netlist does not state; by default there are none."""

    @abstractmethod
    def adapt(self, cell: Cell) -> None:
        """Change a cell in place to an instance of its model. Raises BitfabricError for a cell that no model covers."""

    def value(self, cell: Cell, pin: str, net: str | None) -> str:
        """The Verilog expression at a pin; ``net`` is None where the pin is open. By default an open pin is 0."""
        return "1'b0" if net is None else net
