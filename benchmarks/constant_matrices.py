"""Constant matrix-vector products in logic: our plans against those of alkaid 0.8.2, the successor of da4ml.

Both have the same matrices (``constant_matrices.safetensors``), ranges of inputs, and outputs in full precision.
alkaid plans each matrix with each of its greedy methods (``METHODS``; each searches all depths of its decomposition),
and keeps what costs the fewest tables; on 7 series its adders are also fused to adders of three operands. The tables
are counted by ``hw.synth`` after the same synthesis, all matrices of a column in one design:

- as alkaid writes it: its own Verilog, combinational;
- (a): the adders of both plans, combinational, written in the same way (``hw/kernels/cells``); alkaid's plan in our
  adders takes fewer tables than alkaid's Verilog, so this is the stronger peer;
- (b): the same with a register behind every ``--adders-per-stage`` adders in series, and behind the outputs.

On 7 series an adder of three operands is LUT6_2 and CARRY4: a LUT6_2 is one table of which both outputs are used. Yosys
never makes it of ``a + b + c``, so alkaid's own Verilog has only adders of two operands there.
"""

import argparse
import hashlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from alkaid.codegen.rtl.verilog import comb as alkaid_verilog
from alkaid.trace import FVArray, HWConfig, trace
from alkaid.trace.passes import fuse_ternary_adders
from alkaid.types import _iter_sum_terms

import hw.kernels
from benchmarks import report
from hw import array_file
from hw.fabric.family import Family
from hw.families import find_device
from hw.kernels.constant_matrix import planner
from hw.kernels.constant_matrix.adders import bits, is_short
from hw.kernels.constant_matrix.plan import Plan, Term, from_tables
from hw.rtl.design import RtlDesign
from hw.synth.yosys import synthesise

FILE = Path(__file__).with_name("constant_matrices.safetensors")
SHA256 = "5b1ae9e3f0092ad58b48d8e6a218e8643505f63010e13b536737f0895f72e353"
DEVICES = {"xc7": "xc7z020", "ecp5": "lfe5u-85f"}
METHODS: tuple[dict[str, Any], ...] = tuple(
    {"method0": m} for m in ("wmc", "wmc-dc", "wmc-pdc", "mc", "mc-dc", "mc-pdc")
)
REST = "rest"
CELLS = ("bf_ternary_adder.sv", "bf_short_adder.sv")
MATRIX, NETWORK = 30.0, 2.0
"""Limits in seconds of CPU of a 256 x 256 matrix of 4-bit weights, and of the four matrices of jsc-mlp-w3a3."""
DA4ML = {"w8 100%": 7776, "w8 25%": 2404, "w4 100%": 3832, "w4 50%": 1963, "w4 25%": 1150, "w4 10%": 407, "w2 50%": 726}
"""Tables of ECP5 of da4ml 0.6 on matrices of 16 x 32 of these densities (other random weights, outputs registered)."""


def matrices(only: str) -> dict[str, tuple[np.ndarray, tuple[int, int]]]:
    """The matrices whose name contains ``only``, with the range of their inputs. Raises ValueError for another file."""
    content = FILE.read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != SHA256:
        raise ValueError(f"{FILE} has the SHA-256 {found}, expected {SHA256}")
    made = {}
    for key, weights in array_file.unpack(content).items():
        name, low, high = key.rsplit(" ", 2)
        if only in name:
            made[name] = np.asarray(weights, np.int64), (int(low), int(high))
    return made


def alkaid(weights: np.ndarray, bounds: tuple[int, int], family: Family) -> tuple[Plan, Any]:
    """alkaid's cheapest plan in our form, and its cheapest as it writes it."""
    inputs = weights.shape[1]
    made = []
    for options in METHODS:
        low, high = (np.full(inputs, float(v)) for v in bounds)
        x = FVArray.from_lhs(low, high, np.ones(inputs), hwconf=HWConfig(1, 1, -1), solver_options=options)
        made.append(trace(x, x @ weights.T.astype(np.float32)))
    forms = [*made, *map(fuse_ternary_adders, made)] if family.lut_inputs >= planner.TERNARY else made
    plans = [converted(each, inputs, bounds) for each in forms]
    return min(plans, key=lambda plan: plan.luts(family)), min(made, key=lambda each: each.cost)


def converted(made: Any, inputs: int, bounds: tuple[int, int]) -> Plan:
    """A plan of alkaid's operations: -1 input, -2 negation, 0 and 1 sum and difference, 11 sum of three, 5 zero."""
    values: list[Term | None] = []
    sums: list[list[Term]] = []

    def scaled(term: Term | None, sign: int, shift: int) -> Term:
        assert term is not None
        return Term(term.source, term.shift + shift, term.sign * sign)

    for op in made.ops:
        if op.opcode == -1:
            values.append(Term(op.data[0], made.inp_shifts[op.data[0]], 1))
        elif op.opcode == -2:
            values.append(scaled(values[op.addr[0]], -1, 0))
        elif op.opcode == 5:
            values.append(None)
        else:
            raw = [(op.addr[0], True, 0), (op.addr[1], op.opcode == 0, op.data[0])] if op.opcode in (0, 1) else None
            terms = [scaled(values[a], 1 if plus else -1, int(k)) for a, plus, k in raw or _iter_sum_terms(op)]
            shift, sign = min(t.shift for t in terms), max(t.sign for t in terms)
            sums.append([Term(t.source, t.shift - shift, t.sign * sign) for t in terms])
            values.append(Term(inputs + len(sums) - 1, shift, sign))
    outputs: list[Term | None] = []
    for index, shift, negated in zip(made.out_idxs, made.out_shifts, made.out_negs, strict=True):
        value = values[index] if index >= 0 else None
        outputs.append(None if value is None else scaled(value, -1 if negated else 1, int(shift)))
    return from_tables(inputs, bounds, sums, outputs)


def adders(plan: Plan, name: str, per_stage: int) -> str:
    """SystemVerilog of the adders of a plan; with ``per_stage`` a register behind so many in series."""
    width = [max(1, bits(*plan.range(s))) for s in range(plan.inputs + len(plan.sums))]
    rows = [max(1, bits(*plan.output_range(r))) for r in range(len(plan.outputs))]
    stages = plan.stages(per_stage) if per_stage else 0

    def stage(source: int) -> int:
        return plan.stage(source, per_stage) if per_stage else 0

    def kind(source: int) -> str:
        return f"logic {'signed ' if plan.range(source)[0] < 0 else ''}[{width[source] - 1}:0]"

    last = [stage(s) for s in range(len(width))]
    for number, each in enumerate(plan.sums):
        for term in each.terms:
            last[term.source] = max(last[term.source], stage(plan.inputs + number))
    for out in plan.outputs:
        if out is not None:
            last[out.source] = max(stages - 1, 0)

    def lines() -> Iterator[str]:
        each_bits = width[0] if plan.inputs else 1
        yield f"module {name} (input wire logic clk, input wire logic [{plan.inputs * each_bits - 1}:0] s,"
        yield f"  output logic [{sum(rows) - 1}:0] m);"
        for j in range(plan.inputs):
            yield f"  {kind(j)} v{j}_0; assign v{j}_0 = s[{j * each_bits}+:{each_bits}];"
        for source in range(len(width)):
            for at in range(stage(source), last[source]):
                yield f"  {kind(source)} v{source}_{at + 1};"
        for number, each in enumerate(plan.sums):
            source = plan.inputs + number
            value, at = f"v{source}_{stage(source)}", stage(source)
            yield f"  (* keep *) {kind(source)} {value};"
            terms = sorted(each.terms, key=lambda t: -t.sign)
            cell = "ternary" if len(terms) == 3 else "short" if is_short(terms, (each.low, each.high)) else ""
            if cell:
                settings, ports = [f".WIDTH({width[source]})"], []
                for port, t in zip("abc", terms, strict=False):
                    p = port.upper()
                    settings += [f".{p}_BITS({width[t.source]})", f".{p}_SHIFT({t.shift})"]
                    settings += [f".{p}_SIGNED({int(plan.range(t.source)[0] < 0)})"]
                    settings += [f".{p}_MINUS(1)"] * (t.sign < 0)
                    ports.append(f".{port}(v{t.source}_{at})")
                yield f"  bf_{cell}_adder #({', '.join(settings)}) u{source} ({', '.join(ports)}, .y({value}));"
            else:
                parts = [f"({width[source]}'(v{t.source}_{at}) << {t.shift})" for t in terms]
                yield f"  assign {value} = {parts[0]} {'-' if terms[1].sign < 0 else '+'} {parts[1]};"
        place = 0
        for row, out in enumerate(plan.outputs):
            value = "'0"
            if out is not None:
                value = f"{rows[row]}'(v{out.source}_{last[out.source]}) << {out.shift}"
                value = f"-({value})" if out.sign < 0 else value
            target = f"m[{place}+:{rows[row]}]"
            yield f"  always_ff @(posedge clk) {target} <= {value};" if stages else f"  assign {target} = {value};"
            place += rows[row]
        for source in range(len(width)):
            for at in range(stage(source), last[source]):
                yield f"  always_ff @(posedge clk) v{source}_{at + 1} <= v{source}_{at};"
        yield "endmodule\n"

    return "\n".join(lines())


def synthesised(
    modules: dict[str, tuple[str, int, int]], files: dict[str, str], device: str
) -> dict[str, tuple[int, int]]:
    """Tables and flip-flops of each module (its text, and bits of its input and output), all in one design.

    Cells that are not attributed to a module are under REST."""
    body, inputs, outputs = [], 0, 0
    for name, (_, entering, leaving) in modules.items():
        own = name.startswith("own")
        ports = f".model_inp(s[{inputs}+:{entering}]), .model_out(m[{outputs}+:{leaving}])" if own else (
            f".clk, .s(s[{inputs}+:{entering}]), .m(m[{outputs}+:{leaving}])")  # fmt: skip
        body.append(f"  {name} u_{name} ({ports});")
        inputs, outputs = inputs + entering, outputs + leaving
    top = f"module top (input wire logic clk, input wire logic [{inputs - 1}:0] s, output logic [{outputs - 1}:0] m);"
    text = "\n".join((*(t for t, _, _ in modules.values()), top, *body, "endmodule\n"))
    with TemporaryDirectory() as folder:
        made = synthesise(RtlDesign("top", {}, {}, {**files, "top.sv": text}), find_device(device), Path(folder))
    counted = {name: made.instances.get(f"u_{name}") for name in modules}
    result = {name: (each.lut, each.ff) if each else (0, 0) for name, each in counted.items()}
    lut, ff = (sum(column) for column in zip(*result.values(), strict=True))
    print(f"{device}: {len(modules)} matrices, {made.resources.lut:,} tables, {made.seconds:.0f} s", flush=True)
    return result | {REST: (made.resources.lut - lut, made.resources.ff - ff)}


def cpu(work: Callable[[], Any]) -> tuple[Any, float]:
    """A result, and the seconds of CPU that it took."""
    started = time.process_time()
    return work(), time.process_time() - started


def measure(family: str, only: str, per_stage: int) -> dict[str, Any]:
    """Prints the table of a family; its rows."""
    device = find_device(DEVICES[family])
    cells = {name: (Path(str(hw.kernels.__path__[0])) / "cells" / name).read_text() for name in CELLS}
    shipped = Path(alkaid_verilog.__file__).parent / "source"
    own = {f"{p.stem}.sv": p.read_text() for p in shipped.glob("*.v")}
    plans: dict[str, tuple[Plan, Plan]] = {}
    native, seconds = {}, {}
    for i, (name, (weights, bounds)) in enumerate(matrices(only).items()):
        tables, seconds[name] = cpu(partial(planner.tables, weights, bounds, device.family.lut_inputs))
        ours = planner.from_arrays(weights.shape[1], bounds, *tables)
        theirs, made = alkaid(weights, bounds, device.family)
        x = np.random.default_rng(0).integers(*bounds, (20, weights.shape[1]), endpoint=True)
        for plan in (ours, theirs):
            np.testing.assert_array_equal(plan.evaluate(x), x @ weights.T)
        plans[name] = ours, theirs
        text = alkaid_verilog.comb_logic_gen(made, f"own{i}").replace("`default_nettype none", "")
        native[f"own{i}"] = text, int(made.inp_kifs.sum()), int(made.out_kifs.sum())
    columns: dict[str, dict[str, tuple[int, int]]] = {}
    for side, who in enumerate(("ours", "alkaid")):
        for kind, stage in (("a", 0), ("b", per_stage)):
            modules = {}
            for i, each in enumerate(plans.values()):
                plan = each[side]
                leaving = sum(max(1, bits(*plan.output_range(r))) for r in range(len(plan.outputs)))
                entering = plan.inputs * max(1, bits(plan.low, plan.high))
                modules[f"m{i}"] = adders(plan, f"m{i}", stage), entering, leaving
            columns[f"{who} {kind}"] = synthesised(modules, cells, DEVICES[family])
    columns["own"] = synthesised(native, own, DEVICES[family])
    rows: list[list[Any]] = []
    table = []
    for i, name in enumerate([*plans, "cells of none"]):
        numbers = {
            key: found.get(f"{'own' if key == 'own' else 'm'}{i}", found[REST]) for key, found in columns.items()
        }
        row = [name, numbers["own"][0], numbers["alkaid a"][0], numbers["ours a"][0], *numbers["alkaid b"], 0]
        row += [*numbers["ours b"], 0, 0]
        if name in plans:
            ours, theirs = plans[name]
            row[6], row[9:] = theirs.stages(per_stage), (ours.stages(per_stage), ours.luts(device.family))
            table.append({"matrix": name, "cpu_s": seconds[name], "depth": ours.depth, **numbers})
        rows.append(row)
    totals = ["total", *(sum(row[i] for row in rows) for i in range(1, 11))]
    report.show(
        f"{family}: tables (LUT) and flip-flops; (b) with a register behind every {per_stage} adders",
        ["matrix", "alkaid's Verilog", "(a) alkaid", "(a) ours", "(b) alkaid", "FF", "cycles", "(b) ours", "FF",
         "cycles", "our model"],
        [*rows, totals],
    )  # fmt: skip
    for kind, theirs_at, ours_at in (("(a)", 2, 3), ("(b)", 4, 7)):
        better = sum(row[ours_at] < row[theirs_at] for row in rows[:-1])
        print(f"{kind} total {totals[ours_at]:,} of {totals[theirs_at]:,}; better on {better} of {len(plans)} matrices")
    if family == "ecp5":
        registered = {row[0].removeprefix("16x32 "): row[3] for row in rows if str(row[0]).startswith("16x32")}
        report.show("16 x 32, against da4ml 0.6", ["matrix", "da4ml", "ours"],
                    [[name, DA4ML.get(name, "-"), lut] for name, lut in registered.items()])  # fmt: skip
    network = sum(s for name, s in seconds.items() if name.startswith("jsc"))
    print(f"planning of jsc-mlp-w3a3: {network:.2f} s of CPU (limit {NETWORK:.0f} s)")
    return {"rows": table, "network_cpu_s": network}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", choices=DEVICES, action="append", help="by default all")
    parser.add_argument("--only", default="", help="only matrices whose name contains this")
    parser.add_argument("--adders-per-stage", type=int, default=2)
    options = parser.parse_args()
    results: dict[str, Any] = {}
    for family in options.family or DEVICES:
        results[family] = measure(family, options.only, options.adders_per_stage)
    weights = np.random.default_rng(0).integers(-7, 8, (256, 256))
    planner.tables(weights[:2, :2], (0, 15), 4)  # compiles
    _, seconds = cpu(lambda: planner.tables(weights, (0, 15), 4))
    print(f"planning of a 256 x 256 matrix of 4-bit weights: {seconds:.1f} s of CPU (limit {MATRIX:.0f} s)")
    report.save("constant_matrices", {**results, "matrix_cpu_s": seconds, "sha256": SHA256})


if __name__ == "__main__":
    main()
