"""SystemVerilog of a pipeline: one module, with a line for every sum."""

from collections.abc import Iterator, Sequence
from textwrap import wrap

from qonnx.core.datatype import BaseDataType

from hw.kernels.constant_matrix.adders import bits, is_short
from hw.kernels.constant_matrix.pipeline import Pipeline
from hw.kernels.constant_matrix.plan import Term

SHORT = 4
"""Maximum number of inputs of a sum that are listed in a comment."""

HEAD = """\
`default_nettype none

module {name} #(
    parameter int PIXELS = 1  // positions at a time
) (
    input  wire logic                 clk,
    input  wire logic                 rst,
    input  wire logic                 s_valid,
    output      logic                 s_ready,
    input  wire logic [PIXELS*{entered}-1:0] s_data,
    output      logic                 m_valid,
    input  wire logic                 m_ready,
    output      logic [PIXELS*{left}-1:0] m_data
);
  localparam int STAGES = {stages};

  // A beat is taken where the output buffer has room for its result, and nothing stalls after that.
  logic credit, fire;
  logic [STAGES-1:0] fired;  // bit i: a beat was taken i cycles ago
  logic [PIXELS*{left}-1:0] sums;
  assign s_ready = credit;
  assign fire    = s_valid && credit;
"""
TAIL = """\
  bf_stream_out #(
      .WIDTH  (PIXELS * {left}),
      .CREDITS(STAGES + 1)
  ) out (
      .clk,
      .rst,
      .credit,
      .start(fire),
      .push (fired[STAGES-1]),
      .data (sums),
      .m_valid,
      .m_ready,
      .m_data
  );
endmodule
"""


def module(name: str, pipeline: Pipeline, output: BaseDataType, data: BaseDataType, short: bool, about: str) -> str:
    """The module ``name`` of a pipeline with inputs of the type ``data`` and outputs of the type ``output``. ``short``:
    adders of few bits have a module of their own."""
    return "".join(f"{line}\n" for line in _Module(pipeline, output, data, short).lines(name, about))


class _Module:
    def __init__(self, pipeline: Pipeline, output: BaseDataType, data: BaseDataType, short: bool) -> None:
        self.pipeline, self.plan, self.short = pipeline, pipeline.plan, short
        self.in_bits, self.out_bits = data.bitwidth(), output.bitwidth()
        self.meaning: dict[int, dict[int, int] | None] = {j: {j: 1} for j in range(self.plan.inputs)}

    def lines(self, name: str, about: str) -> Iterator[str]:
        plan, stages = self.plan, self.pipeline.stages
        text = (
            f"{about}. {len(plan.sums)} adders, {self.pipeline.depth} in series, in {stages} stages of at most "
            f"{self.pipeline.adders_per_stage}. s<i> is sum i, x<i> input i; x_<n>, s_<n> is the same n stages later. "
            f"Initiation interval: 1 beat per cycle. Latency: {stages} cycle{'s' if stages > 1 else ''}."
        )
        yield from (f"// {line}" for line in wrap(text, 116))
        left = len(plan.outputs) * self.out_bits
        yield HEAD.format(name=name, entered=plan.inputs * self.in_bits, left=left, stages=stages).rstrip()
        if stages == 1:
            yield "  assign fired = fire;"
        else:
            yield "  logic [STAGES-1:1] fired_q;"
            yield "  always_ff @(posedge clk) fired_q <= rst ? '0 : fired[STAGES-2:0];"
            yield "  assign fired = {fired_q, fire};"
        yield ""
        yield "  for (genvar p = 0; p < PIXELS; p++) begin : g_pixel"
        for line in self.body():
            yield f"    {line}" if line else ""
        yield "  end"
        yield ""
        yield TAIL.format(left=left).rstrip()

    def body(self) -> Iterator[str]:
        pipeline, plan = self.pipeline, self.plan
        used = sorted(pipeline.last)
        for j in (j for j in used if j < plan.inputs):
            low = f"p*{plan.inputs * self.in_bits}+{j * self.in_bits}"
            yield f"wire {self.type(j)} x{j} = s_data[{low}+:{max(1, bits(plan.low, plan.high))}];"
        by_stage: dict[int, list[int]] = {stage: [] for stage in range(1, pipeline.stages + 1)}
        for source in range(plan.inputs, plan.inputs + len(plan.sums)):
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
        yield "// Outputs."
        for row, term in enumerate(plan.outputs):
            low = f"p*{len(plan.outputs) * self.out_bits}+{row * self.out_bits}"
            yield f"assign sums[{low}+:{self.out_bits}] = {self.output(row, term)};"

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
        terms = sorted(each.terms, key=lambda term: -term.sign)
        if len(terms) > 2:
            yield from self.cell("bf_ternary_adder", source, width, terms, stage)
            return
        if self.short and is_short(terms, (each.low, each.high)):
            yield from self.cell("bf_short_adder", source, width, terms, stage)
            return
        text = ""
        for term in terms:
            sign = ("- " if term.sign < 0 else "+ ") if text else ("-" if term.sign < 0 else "")
            text += f"{' ' if text else ''}{sign}{self.operand(term, width, stage)}"
        # Yosys would merge these sums into wider ones, which take more lookup tables.
        yield f"(* keep *) {self.type(source)} {self.name(source)};{self.comment(source, each.terms)}"
        yield f"assign {self.name(source)} = {text};"

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
        yield f"{self.type(source)} {name};{self.comment(source, terms)}"
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

    def comment(self, source: int, terms: Sequence[Term]) -> str:
        """The inputs of a sum with their coefficients, where they are few."""
        total: dict[int, int] | None = {}
        for term in terms:
            part = self.meaning[term.source]
            if part is None or total is None:
                total = None
                break
            for j, factor in part.items():
                total[j] = total.get(j, 0) + term.sign * (factor << term.shift)
        if total is not None and len(total) > SHORT:
            total = None
        self.meaning[source] = total
        if total is None:
            return ""
        shown = " ".join(
            f"{'-' if factor < 0 else '+'} {abs(factor) if abs(factor) > 1 else ''}{' ' * (abs(factor) > 1)}x{j}"
            for j, factor in sorted(total.items())
            if factor
        )
        return f"  // {shown.removeprefix('+ ')}"
