"""Synthesis settings of an FPGA family: the Yosys script, and the cost of each cell type."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hw.fabric.resources import Resources


@dataclass(frozen=True)
class SynthesisSpec:
    """Synthesis for one family.

    Attributes:
        passes: the Yosys script after the sources are read. Its last line is the ``synth_`` command of the family, to
            which the options of the device (``Device.synthesis``) and ``-top`` are appended.
        cost: cell type -> its resources.
        free: cell types without cost: no resource counts them, or the cost of another cell includes them.
        carry: those of ``cost`` whose lookup tables lie on a carry chain.
        memory: those of ``cost`` whose lookup tables are RAM or shift registers.
        defines: macros that choose the structures of this family in the sources.
        files: name -> content of files that scripts read.
        finish: changes the synthesised module, as Yosys writes it in JSON, and returns whether it did.
    """

    passes: str
    cost: Mapping[str, Resources]
    free: frozenset[str]
    carry: frozenset[str] = frozenset()
    memory: frozenset[str] = frozenset()
    defines: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    finish: Callable[[dict[str, Any]], bool] | None = None

    def use(self, kind: str) -> str:
        """What the lookup tables of a cell type do: ``carry``, ``memory`` or ``logic``."""
        return "carry" if kind in self.carry else "memory" if kind in self.memory else "logic"
