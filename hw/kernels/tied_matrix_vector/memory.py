"""The memory of tied weights: a table of words, an index of them, and wires from the table's bits to the weights'."""

from dataclasses import dataclass, replace

import numpy as np

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.ir.kernel import Memory
from hw.kernels.shared.weight_memory import WeightMemory
from hw.kernels.tied_matrix_vector.ties import Ties


@dataclass(frozen=True)
class TiedMemory:
    """The module ``bf_tied_memory``, in the place of a ``WeightMemory`` of ``depth`` words.

    ``table`` is a memory of words; ``index`` one of their numbers, or None where word t of the table is for word t.
    """

    depth: int
    table: WeightMemory
    index: WeightMemory | None

    @classmethod
    def of(cls, depth: int, columns: int, words: int) -> "TiedMemory":
        """A table of ``words`` words of ``columns`` bits, with an index where it has fewer than ``depth`` words."""
        indexed = words < depth
        return cls(
            depth, WeightMemory(words, columns), WeightMemory(depth, (words - 1).bit_length()) if indexed else None
        )

    @property
    def _parts(self) -> tuple[WeightMemory, ...]:
        return (self.table,) if self.index is None else (self.table, self.index)

    @property
    def width(self) -> int:
        """Bits of a word of the table."""
        return self.table.width

    @property
    def latency(self) -> int:
        """Cycles from the address to the weights."""
        return sum(part.latency for part in self._parts)

    @property
    def parity(self) -> bool:
        """Whether a part has parity bits."""
        return any(part.parity for part in self._parts)

    def with_parity(self, family: Family) -> "TiedMemory":
        """The memory with a parity bit in each word of a part in block RAM."""
        index = None if self.index is None else self.index.with_parity(family)
        return replace(self, table=self.table.with_parity(family), index=index)

    def style(self, family: Family) -> str:
        """``block`` or ``logic``: that of the table, whose words the products read."""
        return self.table.style(family)

    def resources(self, family: Family, columns: int | None = None) -> Resources:
        """Cost, including the output registers; ``columns`` as for ``WeightMemory``, of the table."""
        used = self.table.resources(family, columns)
        return used if self.index is None else used + self.index.resources(family)

    def parameters(self, family: Family) -> dict[str, int | str]:
        """Verilog parameters of the instance, but for the wires."""
        made: dict[str, int | str] = {
            **self.table.parameters(family),
            "TABLE_BITS": self.table.width - self.table.parity,
            "TABLE_WORDS": self.table.depth,
            "TABLE_PARITY": int(self.table.parity),
            "WEIGHT_LATENCY": self.latency,
            "PARITY": int(self.parity),
        }
        if self.index is not None:
            index = self.index.parameters(family)
            names = {"INDEX_STYLE": "STYLE", "INDEX_ROW": "ROW", "INDEX_BITS": "BITS", "INDEX_LAST_BITS": "LAST_BITS"}
            made |= {name: index[its] for name, its in names.items()} | {"INDEX_PARITY": index["PARITY"]}
        return made

    def contents(self, ties: Ties, family: Family) -> dict[str, tuple[Memory, ...]]:
        """The memory files of the module, by parameter."""
        made = {"WEIGHTS": self.table.contents(ties.table, family)}
        if self.index is not None and ties.index is not None:
            bits = (ties.index[:, None] >> np.arange(ties.index_bits) & 1).astype(np.uint8)
            made["INDEX"] = self.index.contents(bits, family)
        return made
