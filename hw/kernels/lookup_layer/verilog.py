"""SystemVerilog of a lookup layer: a line for each table."""

from collections.abc import Iterator, Sequence

from hw.kernels.lookup_layer.support import Table
from hw.kernels.shared.pipeline import Stage, header, named


def stage(tables: Sequence[Table], channels: int, about: str) -> Stage:
    """The tables of ``channels`` inputs, each behind one register. Synthesis merges equal ones."""
    text = "".join(f"{line}\n" for line in _lines(tables, channels))
    module, text = named("lookup_stage", header(f"{about}. Latency: 1 cycle.") + text)
    return Stage(module, len(tables), 1, {f"{module}.sv": text})


def _lines(tables: Sequence[Table], channels: int) -> Iterator[str]:
    yield "`default_nettype none"
    yield ""
    yield "module NAME ("
    yield "    input  wire logic clk,"
    yield f"    input  wire logic [{channels - 1}:0] x,"
    yield f"    output      logic [{len(tables) - 1}:0] y"
    yield ");"
    for number, table in enumerate(tables):
        if table.wires:
            size = 1 << len(table.wires)
            contents = f"{size}'h{table.contents:0{max(1, size // 4)}x}"
            yield f"  localparam logic [{size - 1}:0] T{number} = {contents};"
    yield "  always_ff @(posedge clk) begin"
    for number, table in enumerate(tables):
        yield f"    y[{number}] <= {_value(number, table)};"
    yield "  end"
    yield "endmodule"


def _value(number: int, table: Table) -> str:
    """A table at its address. (Yosys takes a time that grows with the square of their number for constants that are
    shifted right.)"""
    address = ", ".join(f"x[{wire}]" for wire in reversed(table.wires))
    return f"T{number}[{{{address}}}]" if table.wires else f"1'b{table.contents}"
