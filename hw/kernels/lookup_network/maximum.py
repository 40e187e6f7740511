"""The last stage of a lookup network: the class with the largest number."""

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.kernels.arg_max.kernel import ArgMax
from hw.kernels.shared import cell_costs
from hw.kernels.shared.pipeline import Stage, header, named


def registers(kernel: ArgMax) -> int:
    """Registers of the tree: one for each of its levels."""
    return (kernel.classes - 1).bit_length()


def stage(kernel: ArgMax) -> Stage:
    """The tree of ``bf_max_tree`` for all classes at a time; its numbers are compared in offset binary."""
    bits, index = kernel.input_dtype.bitwidth(), kernel.outputs()[0].dtype.bitwidth()
    signed = kernel.input_dtype.signed() and kernel.input_dtype.name != "BIPOLAR"
    values = f"x ^ {{{kernel.classes}{{{bits}'d{1 << bits - 1}}}}}" if signed else "x"
    text = f"""\
{header(f"Arg-max of {kernel.classes} numbers, the lowest index on a tie. Latency: {registers(kernel)} cycles.")}\
`default_nettype none

module NAME (
    input  wire logic clk,
    input  wire logic [{kernel.classes * bits - 1}:0] x,
    output      logic [{index - 1}:0] y
);
  bf_max_tree #(
      .COUNT     ({kernel.classes}),
      .BITS      ({bits}),
      .INDEX_BITS({index})
  ) tree (
      .clk,
      .values({values}),
      .value (),
      .index (y)
  );
endmodule
"""
    module, text = named("arg_max_stage", text)
    return Stage(module, index, registers(kernel), {f"{module}.sv": text})


def logic(kernel: ArgMax, family: Family) -> Resources:
    """Cost of the tree."""
    bits, levels = kernel.input_dtype.bitwidth(), registers(kernel)
    nodes = [-(-kernel.classes // (1 << level)) for level in range(1, levels + 1)]
    lut = (kernel.classes - 1) * (cell_costs.compare(bits, family) + bits)
    lut += sum(n * level for level, n in enumerate(nodes, 1))
    return Resources(lut, sum(n * (bits + level) for level, n in enumerate(nodes, 1)))
