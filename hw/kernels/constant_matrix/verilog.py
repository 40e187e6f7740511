"""SystemVerilog of a pipeline: one module, with a line for every sum."""

from collections.abc import Iterator, Sequence
from textwrap import wrap

from qonnx.core.datatype import BaseDataType

from hw.kernels.constant_matrix.adders import FAST_SHORT, bits, is_short
from hw.kernels.constant_matrix.pipeline import Pipeline
from hw.kernels.constant_matrix.plan import Term
from hw.kernels.shared.pipeline import Stage, named

SHORT = 4
"""Maximum number of inputs of a sum that are listed in a comment."""


def stage(pipeline: Pipeline, output: BaseDataType, data: BaseDataType, short: bool, about: str) -> Stage:
    """The module of a pipeline for one position, with inputs of the type ``data`` and outputs of the type ``output``.
    ``short``: adders of few bits have a module of their own. The outputs have no registers behind them."""
    text = "".join(f"{line}\n" for line in _Module(pipeline, output, data, short).lines(about))
    module, text = named("constant_matrix_stage", text)
    width = pipeline.raw_bits if pipeline.raw else len(pipeline.plan.outputs) * output.bitwidth()
    return Stage(module, width, pipeline.stages - 1, {f"{module}.sv": text})


def passed_bits(terms: Sequence[Term]) -> int:
    """The number of low bits of a sum of two terms that are those of one of them."""
    unshifted = [term for term in terms if not term.shift]
    if len(unshifted) != 1 or unshifted[0].sign < 0:
        return 0
    return min(term.shift for term in terms if term.shift)


class _Module:
    def __init__(self, pipeline: Pipeline, output: BaseDataType, data: BaseDataType, short: bool) -> None:
        self.pipeline, self.plan, self.short = pipeline, pipeline.plan, short
        self.in_bits, self.out_bits = data.bitwidth(), output.bitwidth()
        self.meanings: dict[int, dict[int, int] | None] = {j: {j: 1} for j in range(self.plan.inputs)}

    def lines(self, about: str) -> Iterator[str]:
        plan, stages = self.plan, self.pipeline.stages
        text = (
            f"{about}. {len(plan.sums)} adders, {self.pipeline.depth} in series, in {stages} stages of at most "
            f"{self.pipeline.adders_per_stage}. s<i> is sum i, x<i> input i; x_<n>, s_<n> is the same n stages later. "
            f"Latency: {stages - 1} cycle{'s' if stages != 2 else ''}."
        )
        yield from (f"// {line}" for line in wrap(text, 116))
        yield "`default_nettype none"
        yield ""
        yield "module NAME ("
        yield "    input  wire logic clk,"
        yield f"    input  wire logic [{plan.inputs * self.in_bits - 1}:0] x,"
        left = self.pipeline.raw_bits if self.pipeline.raw else len(plan.outputs) * self.out_bits
        yield f"    output      logic [{left - 1}:0] y"
        yield ");"
        for line in self.body():
            yield f"  {line}" if line else ""
        yield "endmodule"

    def body(self) -> Iterator[str]:
        pipeline, plan = self.pipeline, self.plan
        used = sorted(pipeline.last)
        for j in (j for j in used if j < plan.inputs):
            yield f"wire {self.type(j)} x{j} = x[{j * self.in_bits}+:{max(1, bits(plan.low, plan.high))}];"
        by_stage: dict[int, list[int]] = {stage: [] for stage in range(1, pipeline.stages + 1)}
        for source in (source for source in used if source >= plan.inputs):
            by_stage[pipeline.stage(source)].append(source)
        for stage, sources in by_stage.items():
            if sources:
                yield ""
                yield f"// Stage {stage}."
            for source in sources:
                yield from self.sum(source, stage)
            if stage < pipeline.stages:
                yield from self.registers([s for s in used if pipeline.stage(s) <= stage < pipeline.last[s]], stage)
        yield ""
        if pipeline.raw:
            yield "// Sums, each once; what reads them knows their shifts, signs and offsets."
            for source, low in pipeline.places.items():
                width = max(1, bits(*plan.range(source)))
                yield f"assign y[{low}+:{width}] = {self.at(source, pipeline.stages)};"
            if not pipeline.places:
                yield "assign y = 1'd0;"
            return
        yield "// Outputs."
        for row, term in enumerate(plan.outputs):
            yield f"assign y[{row * self.out_bits}+:{self.out_bits}] = {self.output(row, term)};"

    def name(self, source: int) -> str:
        return f"x{source}" if source < self.plan.inputs else f"s{source - self.plan.inputs}"

    def at(self, source: int, stage: int) -> str:
        """The name of a value in a stage."""
        late = stage - self.pipeline.stage(source)
        return f"{self.name(source)}_{late}" if late else self.name(source)

    def type(self, source: int) -> str:
        low, high = self.plan.range(source)
        return f"logic {'signed ' if low < 0 else ''}[{max(1, bits(low, high)) - 1}:0]"

    def sum(self, source: int, stage: int) -> Iterator[str]:
        each = self.plan.sums[source - self.plan.inputs]
        width = max(1, bits(each.low, each.high))
        terms = sorted(each.added, key=lambda term: -term.sign)
        if len(terms) > 2:
            yield from self.cell("bf_ternary_adder", source, width, terms, stage)
            return
        if self.short and is_short(terms, (each.low, each.high), FAST_SHORT):
            yield from self.cell("bf_short_adder", source, width, terms, stage)
            return
        name = self.name(source)
        if len(terms) == 1 and terms[0].sign > 0:
            yield f"{self.type(source)} {name};{self.comment(source)}"
            yield f"assign {name} = {self.operand(terms[0], width, stage)};"
            return
        passed = passed_bits(terms) if len(terms) > 1 else 0
        # Yosys would merge these sums into wider ones, which take more lookup tables. Low bits that pass are outside of
        # what is kept: ABC9 takes a kept bit that another adder drives for a conflict of drivers.
        if passed:
            high, whole = width - passed, next(term for term in terms if not term.shift)
            rest = next(term for term in terms if term.shift)
            shifted = Term(rest.source, rest.shift - passed, rest.sign)
            above = f"{high}'({self.operand(whole, width, stage)} >>> {passed})"
            yield f"(* keep *) logic [{high - 1}:0] {name}_high;"
            yield f"assign {name}_high = {above} {'-' if rest.sign < 0 else '+'} {self.operand(shifted, high, stage)};"
            yield f"{self.type(source)} {name};{self.comment(source)}"
            yield f"assign {name} = {{{name}_high, {passed}'({self.at(whole.source, stage)})}};"
            return
        text = ""
        for term in terms:
            sign = ("- " if term.sign < 0 else "+ ") if text else ("-" if term.sign < 0 else "")
            text += f"{' ' if text else ''}{sign}{self.operand(term, width, stage)}"
        yield f"(* keep *) {self.type(source)} {name};{self.comment(source)}"
        yield f"assign {name} = {text};"

    def cell(self, module: str, source: int, width: int, terms: Sequence[Term], stage: int) -> Iterator[str]:
        """The sum of ``terms``, those that are subtracted last, by an adder of its own module."""
        name, settings, ports = self.name(source), [f".WIDTH({width})"], []
        for port, term in zip("abc", terms, strict=False):
            low, high = self.plan.range(term.source)
            given = {
                "BITS": max(1, bits(low, high)), "SHIFT": term.shift, "SIGNED": int(low < 0),
                "MINUS": int(term.sign < 0),
            }  # fmt: skip
            settings += [f".{port.upper()}_{key}({value})" for key, value in given.items() if value or key == "BITS"]
            ports.append(f".{port}({self.at(term.source, stage)})")
        yield f"{self.type(source)} {name};{self.comment(source)}"
        yield f"{module} #({', '.join(settings)})"
        yield f"sum_{name} ({', '.join(ports)}, .y({name}));"

    def operand(self, term: Term, width: int, stage: int) -> str:
        value = f"{width}'({self.at(term.source, stage)})"
        return f"({value} << {term.shift})" if term.shift else value

    def registers(self, sources: list[int], stage: int) -> Iterator[str]:
        for source in sources:
            yield f"{self.type(source)} {self.at(source, stage + 1)};"
        if sources:
            yield "always_ff @(posedge clk) begin"
            for source in sources:
                yield f"  {self.at(source, stage + 1)} <= {self.at(source, stage)};"
            yield "end"

    def output(self, row: int, term: Term | None) -> str:
        if term is None:
            return f"{self.out_bits}'d0"
        value, offset = self.operand(term, self.out_bits, self.pipeline.stages), self.pipeline.offsets[row]
        constant = f"{self.out_bits}'d{abs(offset)}"
        if term.sign < 0:
            return f"{'-' * (offset > 0)}{constant} - {value}" if offset else f"-{value}"
        return f"{value} {'-' if offset > 0 else '+'} {constant}" if offset else value

    def meaning(self, source: int) -> dict[int, int] | None:
        """The coefficients of a value by input; None for many. They are those of all terms of a sum, which is equal to
        the sum of those that are added, modulo its width."""
        if source not in self.meanings:
            total: dict[int, int] | None = {}
            for term in self.plan.sums[source - self.plan.inputs].terms:
                part = self.meaning(term.source)
                if part is None or total is None:
                    total = None
                    break
                for j, factor in part.items():
                    total[j] = total.get(j, 0) + term.sign * (factor << term.shift)
            self.meanings[source] = None if total is not None and len(total) > SHORT else total
        return self.meanings[source]

    def comment(self, source: int) -> str:
        """The inputs of a sum with their coefficients, where they are few."""
        total = self.meaning(source)
        if total is None:
            return ""
        shown = " ".join(
            f"{'-' if factor < 0 else '+'} {abs(factor) if abs(factor) > 1 else ''}{' ' * (abs(factor) > 1)}x{j}"
            for j, factor in sorted(total.items())
            if factor
        )
        return f"  // {shown.removeprefix('+ ')}"
