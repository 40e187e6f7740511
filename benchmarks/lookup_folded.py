"""Forms of a folded lookup layer by synthesis: where wires, tables and bits are, and what that costs.

The network has 600 random tables of 4 inputs of 96 bits. At full rate and in its folded kernel it is whole: encoder,
tables, popcount and arg-max. The forms with multiplexers for wires are the layer alone, bits to bits.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from qonnx.core.datatype import DataType

from benchmarks import report
from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.families import families, find_family, reference_device
from hw.ir.kernel import Kernel, Rtl
from hw.ir.stream import Stream
from hw.kernels.calibration import separate
from hw.kernels.folded_lookup_network.cases import folded
from hw.kernels.folded_lookup_network.kernel import FoldedLookupNetwork
from hw.kernels.lookup_layer.kernel import LookupLayer
from hw.kernels.lookup_network.cases import classifier, named
from hw.rtl.design import RtlDesign, generate
from hw.synth.yosys import synthesise

FEATURES, TABLES, INPUTS, CLASSES = 32, 600, 4, 10


class InRegisters(FoldedLookupNetwork):
    """The folded kernel with its bits in registers, one copy of which all multiplexers read."""

    def rtl(self, family: Family) -> Rtl:
        made = super().rtl(family)
        return replace(made, parameters={**made.parameters, "BITS_STYLE": "logic"})


def multiplexed(layer: LookupLayer, pe: int) -> RtlDesign:
    """The layer, ``pe`` tables a cycle: a multiplexer of steps for each wire and for the tables, bits in registers."""
    steps = len(layer.wires) // pe
    count = max(1, (steps - 1).bit_length())
    lines = [
        "module accelerator (input wire logic clk, rst, input wire logic x_valid, output logic x_ready,",
        f"  input wire logic [{pe - 1}:0] x_data, output logic y_valid, input wire logic y_ready,",
        f"  output logic [{pe - 1}:0] y_data);",
        f"  logic [{layer.channels - 1}:0] x;",
        f"  logic [{count - 1}:0] step;",
        "  logic looking;",
        "  assign x_ready = !looking;",
        f"  logic [{(layer.channels // pe - 1).bit_length() - 1}:0] load;",
        "  always_ff @(posedge clk) begin",
        f"    if (x_valid && !looking) x <= {{x_data, x[{layer.channels - 1}:{pe}]}};",
        "    if (rst) begin step <= '0; load <= '0; looking <= 1'b0; y_valid <= 1'b0; end",
        "    else if (!looking && x_valid) begin load <= load + 1'b1;",
        f"      looking <= load == {layer.channels // pe - 1}; end",
        f"    else if (looking && y_ready) begin step <= step == {steps - 1} ? '0 : step + 1'b1; load <= '0;",
        f"      looking <= step != {steps - 1}; end",
        "    if (!rst) y_valid <= looking;",
        "  end",
    ]
    for lane in range(pe):
        for j in range(layer.wires.shape[1]):
            picked = ", ".join(f"x[{wire}]" for wire in layer.wires[lane::pe, j][::-1])
            lines.append(f"  logic [{steps - 1}:0] p{lane}_{j};")
            lines.append(f"  assign p{lane}_{j} = {{{picked}}};")
        words = [int("".join(map(str, table[::-1])), 2) for table in layer.tables[lane::pe].tolist()]
        size = layer.tables.shape[1]
        text = ", ".join(f"{size}'d{word}" for word in words[::-1])
        lines.append(f"  localparam logic [{steps - 1}:0][{size - 1}:0] T{lane} = {{{text}}};")
        address = ", ".join(f"p{lane}_{j}[step]" for j in range(layer.wires.shape[1]))
        lines.append(f"  always_ff @(posedge clk) y_data[{lane}] <= T{lane}[step][{{{address}}}];")
    lines.append("endmodule\n")
    stream = Stream((len(layer.wires),), DataType["BINARY"], pe)
    return RtlDesign("accelerator", {"x": stream}, {"y": stream}, {"accelerator.sv": "\n".join(lines)})


def measured(design: RtlDesign, family: Family) -> Resources:
    with TemporaryDirectory() as name:
        return synthesise(design, reference_device(family), Path(name)).resources


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", nargs="*", choices=list(families()), default=["ecp5"])
    chosen = [find_family(name) for name in parser.parse_args().family]
    layers = classifier(np.random.default_rng(0), FEATURES, (TABLES,), INPUTS, CLASSES)
    layer = layers[1]
    assert isinstance(layer, LookupLayer)
    whole: dict[str, Kernel] = {"every table in logic, one frame a cycle": named(*layers)}
    for pe in (1, 4):
        kernel = folded(pe, *layers)
        whole[f"wires, tables and bits in memories, {pe} a cycle"] = kernel
        whole[f"wires and tables in memories, bits in registers, {pe} a cycle"] = InRegisters(kernel.layers, pe)
    rows: list[tuple[str, str, int, int, int, int]] = []
    for family in chosen:
        for name, each in whole.items():
            used = measured(generate(separate(each), family), family)
            rows.append((name, family.name, each.interval, used.lut, used.ff, used.bram))
        for pe in (1, 4):
            used = measured(multiplexed(layer, pe), family)
            cycles = (layer.channels + TABLES) // pe
            rows.append((f"the layer in logic, {pe} a cycle", family.name, cycles, used.lut, used.ff, used.bram))
    report.show("folded lookup layers", ("form", "family", "cycles", "LUT", "FF", "BRAM"), rows)
    report.save("lookup_folded", {"rows": rows})


if __name__ == "__main__":
    main()
