"""The memory of tied weights: a table of words, which of them each word is, and wires from the table's bits to the
weights'."""

from dataclasses import dataclass, replace

import numpy as np

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.ir.kernel import Memory
from hw.kernels.shared import cell_costs
from hw.kernels.shared.weight_memory import WeightMemory
from hw.kernels.tied_matrix_vector.codebook import Codebook, Decoder
from hw.kernels.tied_matrix_vector.ties import Ties
from hw.kernels.tied_matrix_vector.turns import Loop


@dataclass(frozen=True)
class TurnedWords:
    """The module ``bf_tied_address``, and the choice of turned bits behind the table.

    ``parts``: of how many parts the table is. ``turns``: their number. ``choices``: how many bits choose among how many
    of the table, in pairs (choices, bits); ``bits`` are all.
    """

    loop: Loop
    parts: int
    turns: int
    bits: int
    choices: tuple[tuple[int, int], ...]

    @property
    def latency(self) -> int:
        """Cycles beside those of the table."""
        return 1 + (self.turns > 1)

    def resources(self, table: WeightMemory, family: Family) -> Resources:
        """Cost of the loops, of the turns' numbers until the table has been read, and of the choices."""
        loop, entry = self.loop, (table.depth - 1).bit_length()
        turn = (self.turns - 1).bit_length()
        counted = (loop.first, loop.inner, loop.last)
        made = sum((cell_costs.counter(each, family) for each in counted if each > 1), Resources())
        word = cell_costs.counter(loop.words, family)
        made += word + Resources(ff=entry + turn + (turn * table.latency if turn else 0))
        if loop.first > 1:  # the word at which the inner loop begins, and the way back to it
            made += Resources(word.ff, word.ff)
        if self.parts > 1:
            made += Resources(cell_costs.add(entry, family) + cell_costs.rom(loop.phases, entry, family) // 2)
        made += Resources(cell_costs.rom(loop.phases, turn, family) if turn else 0)
        if self.turns > 1:
            lut = sum(cell_costs.choice(n, family) * bits for n, bits in self.choices)
            made += Resources(round(lut), self.bits)
        return made


@dataclass(frozen=True)
class TiedMemory:
    """The module ``bf_tied_memory``, in the place of a ``WeightMemory`` of ``depth`` words.

    ``table`` is a memory of words. Which of them a word is says ``index``, a memory of their numbers, or ``turned``;
    without both word t of the table is for word t. With a ``decoder`` the words are codes.
    """

    depth: int
    table: WeightMemory
    index: WeightMemory | None = None
    turned: TurnedWords | None = None
    decoder: Decoder | None = None

    @classmethod
    def of(cls, depth: int, ties: Ties) -> "TiedMemory":
        """The memory of ``depth`` words with these ties."""
        words, columns = ties.table.shape
        index = None if ties.index is None else WeightMemory(depth, ties.index_bits)
        turned, turns = None, ties.turns
        if turns is not None:
            parts, bits = words // turns.loop.words, turns.wires.shape[1]
            turned = TurnedWords(turns.loop, parts, len(turns.wires), bits, turns.choices)
        decoder = None if ties.codes is None else _decoder(len(ties.sources) // ties.codes.code_bits, ties.codes)
        return cls(depth, WeightMemory(words, columns), index, turned, decoder)

    @classmethod
    def coded(cls, depth: int, lanes: int, codes: Codebook) -> "TiedMemory":
        """The memory of ``depth`` words of the codes of ``lanes`` weights, without ties."""
        return cls(depth, WeightMemory(depth, lanes * codes.code_bits), decoder=_decoder(lanes, codes))

    @property
    def width(self) -> int:
        """Bits of a word of the table."""
        return self.table.width

    @property
    def latency(self) -> int:
        """Cycles from the address to the weights."""
        parts = 0 if self.index is None else self.index.latency, 0 if self.turned is None else self.turned.latency
        return sum(parts) + self.table.latency + (self.decoder is not None)

    @property
    def parity(self) -> bool:
        """Whether a part has parity bits."""
        return self.table.parity or (self.index is not None and self.index.parity)

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
        if self.turned is not None:
            used += self.turned.resources(self.table, family)
        if self.decoder is not None:
            used += self.decoder.resources(family)
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
        if self.turned is not None:
            loop = self.turned.loop
            made |= {"LOOP_WORDS": loop.words, "LOOP_FIRST": loop.first, "LOOP_INNER": loop.inner,
                     "LOOP_LAST": loop.last, "TURNS": self.turned.turns, "TURNED": self.turned.bits}  # fmt: skip
        if self.decoder is not None:
            made["CODE_BITS"] = self.decoder.code_bits
        return made

    def wires(self, ties: Ties) -> dict[str, tuple[int, ...]]:
        """Verilog parameters of the instance: the wires, the plan of the phases, and the weights of the codes."""
        made = {"SOURCES": tuple(ties.sources.tolist())}
        if (turns := ties.turns) is not None:
            plan = np.stack((turns.part * turns.loop.words, turns.turn), axis=1)
            made |= {"LOOP_PLAN": tuple(plan.ravel().tolist()), "TURN_SOURCES": tuple(turns.wires.ravel().tolist())}
        if ties.codes is not None:
            powers = np.int64(1) << np.arange(ties.codes.weight_bits, dtype=np.int64)
            made["CODES"] = tuple((ties.codes.weights.astype(np.int64) @ powers).tolist())
        return made

    def contents(self, ties: Ties, family: Family) -> dict[str, tuple[Memory, ...]]:
        """The memory files of the module, by parameter."""
        made = {"WEIGHTS": self.table.contents(ties.table, family)}
        if self.index is not None and ties.index is not None:
            bits = (ties.index[:, None] >> np.arange(ties.index_bits) & 1).astype(np.uint8)
            made["INDEX"] = self.index.contents(bits, family)
        return made


def _decoder(lanes: int, codes: Codebook) -> Decoder:
    return Decoder(lanes, codes.code_bits, codes.weight_bits, codes.tables)
