"""The resources of a board's shell before synthesis: host link, frame buffers, and the benchmark.

Constants were counted by synthesising ``bf_link`` in several configurations for ECP5, iCE40 and 7 series, and every
transport for the first two (``tests/boards/test_shell_cost.py`` has the counts). Memories are those that Yosys makes of
them in the family.
"""

from collections.abc import Sequence

from hw.boards.targets import Target
from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.ir.stream import Stream
from hw.kernels.shared import cell_costs

LINK, LINK_OF_SIX = Resources(lut=825, ff=650), Resources(lut=350, ff=650)
"""Framing, checks, counters and replies, with one input and one output, and the reset at power-on; in lookup tables of
four inputs, and of six. There tags and times are in flip-flops, whose multiplexers ``cell_costs.ram`` overestimates."""
PORT = Resources(lut=100, ff=50)
"""Each further input or output: its buffer, but for the memory and the registers as wide as a beat."""
BENCHMARK, BENCHMARK_OF_SIX = Resources(lut=355, ff=137), Resources(lut=230, ff=137)
WORD, WORD_OF_SIX = Resources(lut=205, ff=65), Resources(lut=100, ff=65)
"""The replay and its counters, and the signature of 32 bits of a beat; in lookup tables of four inputs, and of six."""
TRANSPORTS = {
    "uart": Resources(lut=43, ff=41),
    "spi": Resources(lut=77, ff=105),
    "fifo": Resources(lut=58, ff=34),
    "fifo_sync": Resources(lut=170, ff=115),
    "ethernet": Resources(lut=1370, ff=835, bram=5),
}
"""By kind of transport. A FIFO takes 8 bits of an octet in a cycle, which makes the framing larger; in synchronous mode
it has two memories of ``CROSSING`` more. Those of Ethernet (ECP5 alone has it) are counted."""
CROSSING = 32, 8
"""Words and bits of the FIFOs between two clocks."""
TAG_BITS, TIME_BITS, FLIGHT = 16, 32, 8
"""Widths of the memories of tags and times of the frames under way, and their words."""
CELL_COST, BLOCK_COST, MUX_COST = 4, 128, 0.5
"""What Yosys's ``memory_libmap`` counts for a cell of lookup-table RAM, for a block RAM, and for each bit that is
chosen among two rows of cells, or written to one of them; it takes what costs less."""


def memory(words: int, width: int, family: Family) -> Resources:
    """The cost of a writable memory whose style Yosys chooses."""
    blocks = family.blocks(words, width)
    if family.lut_ram is None:
        in_blocks = family.takes_blocks(words, width)
    else:
        cell = family.lut_ram
        rows, columns = -(-words // cell.words), width / cell.bits if cell.scaled else -(-width // cell.bits)
        cost = CELL_COST * rows * columns + MUX_COST * (rows - 1) * (width + 1)
        in_blocks = cost > BLOCK_COST * blocks
    if in_blocks:
        return Resources(bram=blocks)
    return _in_logic(words, width, family)


def _in_logic(words: int, width: int, family: Family) -> Resources:
    """The cost of a writable memory in lookup tables, or in flip-flops."""
    return Resources(cell_costs.ram(words, width, family), cell_costs.ram_ff(words, width, family))


def shell_resources(
    target: Target, entries: Sequence[Stream], results: Sequence[Stream], benchmark: int = 0
) -> Resources:
    """The estimated cost of the shell of a board around an accelerator with these input and output streams, whose image
    can replay ``benchmark`` frames of each input; nothing for a bare device."""
    if target.board is None:
        return Resources()
    family, link = target.device.family, target.board.chosen_link
    kind = type(link).__name__.lower() + ("_sync" if getattr(link, "mode", "") == "synchronous" else "")
    six = family.lut_inputs >= 6
    used = (LINK_OF_SIX if six else LINK) + TRANSPORTS[kind]
    if kind == "fifo_sync":  # That to the chip is read without a clock.
        used += memory(*CROSSING, family) + _in_logic(*CROSSING, family)
    used += memory(FLIGHT, TAG_BITS, family) + memory(FLIGHT, TIME_BITS, family)
    for _ in range(len(entries) + len(results) - 2):
        used += PORT
    for entry in entries:
        used += memory(max(2, benchmark) * entry.beats, entry.width, family) + Resources(ff=3 * entry.width)
    for result in results:
        # Each of its two frames begins at a power of 2.
        used += memory(2 << (result.beats - 1).bit_length(), result.width, family) + Resources(ff=2 * result.width)
    if benchmark:
        used += BENCHMARK_OF_SIX if six else BENCHMARK
        for _ in range(sum(-(-result.width // 32) for result in results)):
            used += WORD_OF_SIX if six else WORD
    return used
