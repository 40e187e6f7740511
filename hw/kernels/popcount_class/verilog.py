"""SystemVerilog of popcounts: a module for each number of bits, and one that joins the classes."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from qonnx.core.datatype import BaseDataType

from hw.kernels.popcount_class.plan import Count, plan
from hw.kernels.shared.pipeline import Stage, header, named


class Popcounts(Protocol):
    """What the modules know of the kernel."""

    @property
    def wires(self) -> np.ndarray: ...
    @property
    def groups(self) -> np.ndarray: ...
    @property
    def offsets(self) -> np.ndarray: ...
    @property
    def channels(self) -> int: ...
    @property
    def adders_per_stage(self) -> int: ...
    @property
    def table_inputs(self) -> int: ...
    @property
    def output_dtype(self) -> BaseDataType: ...
    @property
    def registers(self) -> int: ...
    @property
    def about(self) -> str: ...


def stage(kernel: Popcounts) -> Stage:
    """The sums of all classes."""
    adjusted = bool(kernel.offsets.any())
    registers, bits = kernel.registers - adjusted, kernel.output_dtype.bitwidth()
    lines, sources = [], {}
    for number, offset in enumerate(kernel.offsets.tolist()):
        wires = kernel.wires[kernel.groups == number].tolist()
        value = "'0"
        if wires:
            module, text = count_module(len(wires), kernel.table_inputs, kernel.adders_per_stage, registers)
            sources[f"{module}.sv"] = text
            value, width = f"count_{number}", len(wires).bit_length()
            given = ", ".join(f"x[{wire}]" for wire in reversed(wires))
            lines += [
                f"  logic [{width - 1}:0] {value};",
                f"  {module} class_{number} (.clk, .x({{{given}}}), .y({value}));",
            ]
            value = f"{bits}'({value})" if width != bits else value
        at = f"y[{number * bits}+:{bits}]"
        if adjusted:
            sign, size = "-" if offset < 0 else "+", abs(offset)
            lines.append(f"  always_ff @(posedge clk) {at} <= {value} {sign} {bits}'d{size};")
        else:
            lines.append(f"  assign {at} = {value};")
    width = bits * len(kernel.offsets)
    module, text = named("popcount_stage", "\n".join([
        f"{header(f'{kernel.about}. Latency: {kernel.registers} cycles.')}`default_nettype none", "",
        "module NAME (",
        "    input  wire logic clk,",
        f"    input  wire logic [{kernel.channels - 1}:0] x,",
        f"    output      logic [{width - 1}:0] y",
        ");", *lines, "endmodule", "",
    ]))  # fmt: skip
    return Stage(module, width, kernel.registers, sources | {f"{module}.sv": text})


def count_module(bits: int, table_inputs: int, adders: int, registers: int) -> tuple[str, str]:
    """The name and the text of a module that counts ``bits`` bits in ``registers`` cycles."""
    tree = plan(bits, table_inputs)
    text = "".join(f"{line}\n" for line in _Count(tree, adders, registers).lines())
    return named(f"count_{bits}", text)


class _Count:
    """The module of one tree. A count of level n is computed in stage ceil(n / adders), from values at the beginning of
    that stage; ``<value>_<k>`` is the value k registers later."""

    def __init__(self, tree: Count, adders: int, registers: int) -> None:
        self.tree, self.adders, self.registers = tree, adders, registers
        self.taken, self.counts = 0, 0
        self.delays: dict[str, tuple[int, int]] = {}  # value -> its bits, and how often it is delayed

    def lines(self) -> Iterator[str]:
        body: list[str] = []
        name, stage = self.count(self.tree, body)
        last = self.later(name, self.tree.width, self.registers - stage + 1)
        yield header(
            f"The number of ones among {self.tree.bits} bits: {self.counts} sums, {self.tree.level} in series, with "
            f"registers after {self.adders}. n<i> is a count, b<i> bit i; n<i>_<k> is n<i> k registers later. "
            f"Latency: {self.registers} cycle{'s' if self.registers > 1 else ''}."
        ).rstrip()
        yield "`default_nettype none"
        yield ""
        yield "module NAME ("
        yield "    input  wire logic clk,"
        yield f"    input  wire logic [{self.tree.bits - 1}:0] x,"
        yield f"    output      logic [{self.tree.width - 1}:0] y"
        yield ");"
        for value, (width, most) in self.delays.items():
            size = f"[{width - 1}:0] " if width > 1 else ""
            yield f"  logic {size}{', '.join(f'{value}_{k}' for k in range(1, most + 1))};"
        yield from body
        if self.delays:
            yield "  always_ff @(posedge clk) begin"
            for value, (_, most) in self.delays.items():
                for k in range(1, most + 1):
                    yield f"    {value}_{k} <= {value if k == 1 else f'{value}_{k - 1}'};"
            yield "  end"
        yield f"  assign y = {last};"
        yield "endmodule"

    def stage_of(self, count: Count) -> int:
        return max(1, -(-count.level // self.adders))

    def later(self, value: str, width: int, registers: int) -> str:
        """A value ``registers`` cycles later."""
        if registers:
            _, most = self.delays.get(value, (0, 0))
            self.delays[value] = width, max(most, registers)
        return f"{value}_{registers}" if registers else value

    def bit(self, stage: int, body: list[str]) -> str:
        """The next bit, in a stage."""
        number, self.taken = self.taken, self.taken + 1
        if stage == 1 and self.tree.bits > 1:
            return f"x[{number}]"
        body += [f"  logic b{number};", f"  assign b{number} = x[{number}];"]
        return self.later(f"b{number}", 1, stage - 1)

    def count(self, count: Count, body: list[str]) -> tuple[str, int]:
        """The value of a count, and the stage in which it is computed."""
        stage = self.stage_of(count)
        if count.bits == 1:
            return self.bit(1, body), 1
        operands = []
        if count.parts:
            for part in count.parts:
                if part.bits == 1:
                    operands.append(self.bit(stage, body))
                else:
                    value, made = self.count(part, body)
                    operands.append(self.later(value, part.width, stage - made))
            if count.carry:
                operands.append(self.bit(stage, body))
        else:
            operands = [self.bit(stage, body) for _ in range(count.bits)]
        name = f"n{self.counts}"
        self.counts += 1
        body.append(f"  logic [{count.width - 1}:0] {name};")
        terms = " + ".join(f"{count.width}'({each})" for each in operands)
        body.append(f"  assign {name} = {terms};")
        return name, stage
