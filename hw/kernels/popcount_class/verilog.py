"""SystemVerilog of popcounts: a module for each number of bits, and one that joins the classes."""

from collections.abc import Iterator
from functools import cache
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
    text = "".join(f"{line}\n" for line in _Count(plan(bits, table_inputs), adders, registers).lines())
    return named(f"count_{bits}", text)


@cache
def flip_flops(bits: int, table_inputs: int, adders: int, registers: int) -> int:
    """The flip-flops of that module."""
    made = _Count(plan(bits, table_inputs), adders, registers)
    list(made.lines())
    return sum(width * most for width, most in made.delays.values())


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
        if count.parts:
            first, second = count.parts
            operands = [self.operand(first, stage, body)]
            if count.counts:
                bits = [self.bit(stage, body) for _ in range(second.bits)]
                operands.append(f"{{{', '.join(bits)}}}")
            else:
                operands.append(self.operand(second, stage, body))
            operands.append(self.bit(stage, body) if count.carry else "1'b0")
            width = second.bits if count.counts else second.width
            settings = (
                f".WIDTH({count.width}), .A_BITS({first.width}), .B_BITS({width}), .B_COUNTED({int(count.counts)})"
            )
        else:
            operands = [self.bit(stage, body) for _ in range(count.bits)]
        name = f"n{self.counts}"
        self.counts += 1
        body.append(f"  logic [{count.width - 1}:0] {name};")
        if count.parts:
            a, b, carry = operands
            body.append(f"  bf_count_adder #({settings}) sum_{name} (.a({a}), .b({b}), .carry({carry}), .y({name}));")
        else:
            body.append(f"  assign {name} = {_leaf(operands)};")
        return name, stage

    def operand(self, part: Count, stage: int, body: list[str]) -> str:
        """A part's value in a later stage."""
        if part.bits == 1:
            return self.bit(stage, body)
        value, made = self.count(part, body)
        return self.later(value, part.width, stage - made)


def _leaf(bits: list[str]) -> str:
    """The number of ones among two to six bits, each of its bits as one table of them: a constant, shifted right."""
    count, address = len(bits), f"{{{', '.join(reversed(bits))}}}"
    contents = [sum((n.bit_count() >> k & 1) << n for n in range(1 << count)) for k in range(count.bit_length())]
    size = 1 << count
    parts = [f"1'({size}'h{each:0{size // 4}x} >> {address})" for each in reversed(contents)]
    return f"{{{', '.join(parts)}}}"
