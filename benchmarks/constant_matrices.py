"""Constant matrix-vector products in logic: our plans against those of alkaid 0.8.2, the successor of da4ml.

Both have the same matrices (``constant_matrices.safetensors``), ranges of inputs, and outputs in full precision.
alkaid plans each matrix with each of its greedy methods, and keeps what costs the fewest tables; on 7 series its adders
are also fused to adders of three operands. The tables are counted by ``hw.synth`` after the same synthesis:

- as alkaid writes it: its own Verilog, combinational;
- (a): the adders of both plans, combinational, written in the same way (``hw/kernels/cells``), so that they
  differ in the plans alone;
- (b): the same with a register behind every ``--adders-per-stage`` adders in series, and behind the outputs.

On 7 series an adder of three operands is LUT6_2 and CARRY4: a LUT6_2 is one table of which both outputs are used. Yosys
never makes it of ``a + b + c``, so alkaid's own Verilog has only adders of two operands there.

``--da4ml PYTHON`` also compares with da4ml 0.6 as it writes its plans, on ECP5; PYTHON is an interpreter that has it.
Plans of the peers and counts are kept in the cache: an interrupted run goes on where it was. The results so far are in
``constant_matrices.json``, and ``CONSTANT_MATRICES.md`` is made of them.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from qonnx.core.datatype import DataType

import hw.kernels
from benchmarks import report
from benchmarks.constant_matrices_peers import OWN, Module, alkaid, alkaid_files, da4ml
from benchmarks.kept import kept
from hw import array_file
from hw.families import find_device
from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding, Kernel
from hw.kernels.calibration import separate
from hw.kernels.constant_matrix import planner
from hw.kernels.constant_matrix.adders import bits, is_short
from hw.kernels.constant_matrix.kernel import ConstantMatrix
from hw.kernels.constant_matrix.plan import Plan
from hw.kernels.constant_matrix.verilog import passed_bits
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.rtl.design import RtlDesign, generate
from hw.synth import yosys

FILE = Path(__file__).with_name("constant_matrices.safetensors")
SHA256 = "305a7d29a9c935455696aef2bb3529b66ecf0129e34ee39563f6f17d88733f27"
DEVICES = {"xc7": "xc7z020", "ecp5": "lfe5u-85f"}
CELLS = ("bf_ternary_adder.sv", "bf_short_adder.sv")
MATRIX, NETWORK = 30.0, 2.0
"""Limits in seconds of CPU of a 256 x 256 matrix of 4-bit weights, and of the four matrices of jsc-mlp-w3a3."""
SAME = "16x32 "
"""Matrices that are also counted as whole kernels: unrolled, and folded 16 times."""
CONSTANT_OUTPUT = "is connected to constants"
"""What Yosys says where it has replaced an output of an adder by an equal signal, and left the adder's output as x."""
RESULTS = Path(__file__).with_name("constant_matrices.json")
PAGE = Path(__file__).with_name("CONSTANT_MATRICES.md")
NAME = "m"
"""Name of a module of adders."""


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


def adders(plan: Plan, per_stage: int) -> Module:
    """The adders of a plan; with ``per_stage`` a register behind so many in series."""
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
        yield f"module {NAME} (input wire logic clk, input wire logic [{plan.inputs * each_bits - 1}:0] s,"
        yield f"  output logic [{sum(rows) - 1}:0] m);"
        for j in range(plan.inputs):
            yield f"  {kind(j)} v{j}_0; assign v{j}_0 = s[{j * each_bits}+:{each_bits}];"
        for source in range(len(width)):
            for at in range(stage(source), last[source]):
                yield f"  {kind(source)} v{source}_{at + 1};"
        for number, each in enumerate(plan.sums):
            source = plan.inputs + number
            value, at = f"v{source}_{stage(source)}", stage(source)
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
                yield f"  {kind(source)} {value};"
                yield f"  bf_{cell}_adder #({', '.join(settings)}) u{source} ({', '.join(ports)}, .y({value}));"
                continue
            # As in the kernel: low bits that pass are outside of what is kept.
            passed = passed_bits(terms)
            high = width[source] - passed
            parts = [
                f"({high}'(v{t.source}_{at} >>> {passed}))" if t.shift == 0 and passed
                else f"({high}'(v{t.source}_{at}) << {t.shift - passed})" for t in terms
            ]  # fmt: skip
            yield f"  (* keep *) logic {'signed ' if each.low < 0 else ''}[{high - 1}:0] h{source};"
            yield f"  assign h{source} = {parts[0]} {'-' if terms[1].sign < 0 else '+'} {parts[1]};"
            low = next((t.source for t in terms if t.shift == 0), 0)
            joined = f"{{h{source}, {passed}'(v{low}_{at})}}" if passed else f"h{source}"
            yield f"  {kind(source)} {value}; assign {value} = {joined};"
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

    return Module("\n".join(lines()), plan.inputs * max(1, bits(plan.low, plan.high)), sum(rows))


def synthesised(module: Module, files: dict[str, str], device: str) -> tuple[int | None, int | None]:
    """Tables and flip-flops of a module of adders, or of one that a peer has written.

    None for a design on which Yosys ends with the error ``CONSTANT_OUTPUT``."""
    own = f"module {OWN} " in module.text
    name, ports = (OWN, ".model_inp(s), .model_out(m)") if own else (NAME, ".clk, .s, .m")
    top = (
        f"module top (input wire logic clk, input wire logic [{module.entering - 1}:0] s,"
        f" output logic [{module.leaving - 1}:0] m);\n  {name} u ({ports});\nendmodule\n"
    )

    def make() -> tuple[int | None, int | None]:
        with TemporaryDirectory() as folder:
            design = RtlDesign("top", {}, {}, {**files, "top.sv": module.text + top})
            try:
                used = yosys.synthesise(design, find_device(device), Path(folder)).resources
            except BitfabricError as error:
                if CONSTANT_OUTPUT not in str(error):
                    raise
                return None, None
        return used.lut, used.ff

    lut, ff = kept(["synthesis", yosys.version(), device, files, module.text, top], make)
    return lut, ff


def whole(kernel: Kernel, device: str) -> int:
    """Tables of a kernel as it is generated, with its buffers."""
    family = find_device(device).family
    design = generate(separate(kernel), family)

    def make() -> int:
        with TemporaryDirectory() as folder:
            return yosys.synthesise(design, find_device(device), Path(folder)).resources.lut

    return kept(["kernel", yosys.version(), device, design.files], make)


def cpu(work: Callable[[], Any]) -> tuple[Any, float]:
    """A result, and the seconds of CPU that it took."""
    started = time.process_time()
    return work(), time.process_time() - started


def measure(family: str, only: str, per_stage: int, interpreter: str | None, results: dict[str, Any]) -> None:
    """Fills ``results``, by matrix the tables and flip-flops of each column, and keeps them as they come.

    First what must be compared; then alkaid's own Verilog, and whole kernels."""
    device = find_device(DEVICES[family])
    cells = {name: (Path(str(hw.kernels.__path__[0])) / "cells" / name).read_text() for name in CELLS}
    chosen = matrices(only)
    own = {}
    for name, (weights, bounds) in chosen.items():
        tables, seconds = cpu(partial(planner.tables, weights, bounds, device.family.lut_inputs))
        ours = planner.from_arrays(weights.shape[1], bounds, *tables)
        theirs, own[name] = alkaid(weights, bounds, device.family)
        x = np.random.default_rng(0).integers(*bounds, (20, weights.shape[1]), endpoint=True)
        for plan in (ours, theirs):
            np.testing.assert_array_equal(plan.evaluate(x), x @ weights.T)
        row: dict[str, Any] = {"cpu_s": seconds, "depth": ours.depth, "model": ours.luts(device.family)}
        for who, plan in (("ours", ours), ("alkaid", theirs)):
            row[f"{who} (a)"] = synthesised(adders(plan, 0), cells, device.name)[0]
            row[f"{who} (b)"], row[f"{who} FF"] = synthesised(adders(plan, per_stage), cells, device.name)
            row[f"{who} cycles"] = plan.stages(per_stage)
        if interpreter and family == "ecp5":
            row["da4ml"] = synthesised(*da4ml(weights, bounds, interpreter), device.name)[0]
        results[name] = results.get(name, {}) | row
        write(results, family)
        print(name, *(f"{key} {value}" for key, value in row.items()), sep=", ", flush=True)
    for name, (weights, _) in chosen.items():
        row = {"alkaid's Verilog": synthesised(own[name], alkaid_files(), device.name)[0]}
        if name.startswith(SAME) and family == "ecp5":
            kind = "BIPOLAR" if "w1" in name else f"INT{name.split()[1].removeprefix('w')}"
            product = MatrixVector(weights, DataType[kind], DataType["UINT4"], ())
            row["non-zero"] = int(np.count_nonzero(weights))
            row["kernel"] = whole(ConstantMatrix(product, 1, per_stage, device.family.lut_inputs), device.name)
            row["folded"] = whole(product.fold(Folding(4, 8)), device.name)
        results[name] |= row
        write(results, family)


def read() -> dict[str, dict[str, dict[str, Any]]]:
    """The results so far: by family and matrix."""
    content = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return content.get("families", {}) if content.get("sha256") == SHA256 else {}


def write(results: dict[str, Any], family: str) -> None:
    """Keeps the results of a family, and makes the page again."""
    every = read() | {family: results}
    RESULTS.write_text(json.dumps({"sha256": SHA256, "families": every}, indent=1) + "\n")
    lines = ["# Constant matrices in logic, as counted by `python -m benchmarks.constant_matrices --da4ml PYTHON`", ""]
    for paragraph in (__doc__ or "").split("\n\n")[1:]:
        lines += [paragraph.replace("``", "`"), ""]
    lines += [f'Synthesis: {yosys.version()}. "-": not counted yet; "error": Yosys ends with one.', ""]
    for name, rows in every.items():
        for shown in tables_of(name, rows):
            lines += report.markdown(*shown)
        lines += [*verdicts(rows), ""]
    PAGE.write_text("\n".join(lines).rstrip() + "\n")


def tables_of(family: str, rows: dict[str, dict[str, Any]]) -> Iterator[tuple[str, list[str], list[list[object]]]]:
    """The tables of a family."""
    columns = ["alkaid's Verilog", "alkaid (a)", "ours (a)", "alkaid (b)", "alkaid FF", "alkaid cycles", "ours (b)",
               "ours FF", "ours cycles", "model", *["da4ml"] * (family == "ecp5")]  # fmt: skip
    title = f"{family}: tables (LUT) and flip-flops"
    yield title, ["matrix", *columns], [[name, *(cell(row, c) for c in columns)] for name, row in rows.items()]
    same = {name: row for name, row in rows.items() if "non-zero" in row}
    if same:
        columns = ["non-zero", "da4ml", "alkaid (a)", "ours (a)", "kernel", "folded"]
        title = (
            f"{SAME.strip()}, inputs of 4 bits: tables; the kernel with its buffers; matrix_vector with PE 4, SIMD 8"
        )
        yield title, ["matrix", *columns], [[name, *(cell(row, c) for c in columns)] for name, row in same.items()]


def cell(row: dict[str, Any], column: str) -> object:
    """A cell; "-" where nothing was counted yet, "error" where Yosys ends with one."""
    if column not in row:
        return "-"
    return "error" if row[column] is None else row[column]


def verdicts(rows: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Ours against each peer, over the matrices that are counted for both."""
    for peer in ("alkaid's Verilog", "alkaid (a)", "alkaid (b)", "da4ml"):
        mine = "ours (b)" if peer.endswith("(b)") else "ours (a)"
        both = [(row[mine], row[peer]) for row in rows.values() if row.get(mine) and row.get(peer)]
        if both:
            ours, theirs = (sum(side) for side in zip(*both, strict=True))
            fewer, more = sum(o < t for o, t in both), sum(o > t for o, t in both)
            yield (
                f"- {mine} against {peer}: {ours:,} and {theirs:,} tables over the {len(both)} of {len(rows)} matrices "
                f"counted for both; fewer on {fewer}, more on {more}."
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=DEVICES, action="append", help="by default all")
    parser.add_argument("--only", default="", help="only matrices whose name contains this; no limits")
    parser.add_argument("--adders-per-stage", type=int, default=2)
    parser.add_argument("--da4ml", metavar="PYTHON", help="an interpreter that has da4ml 0.6")
    parser.add_argument("--table", action="store_true", help="only print the results so far")
    options = parser.parse_args()
    for family in options.family or DEVICES:
        results = read().get(family, {})
        if not options.table:
            measure(family, options.only, options.adders_per_stage, options.da4ml, results)
        for shown in tables_of(family, results):
            report.show(*shown)
        print("\n".join(verdicts(results)))
    if options.table or options.only:
        return
    weights = np.random.default_rng(0).integers(-7, 8, (256, 256))
    planner.tables(weights[:2, :2], (0, 15), 4)  # compiles
    _, seconds = cpu(lambda: planner.tables(weights, (0, 15), 4))
    network = max(sum(row["cpu_s"] for name, row in rows.items() if name.startswith("jsc")) for rows in read().values())
    print(f"planning of jsc-mlp-w3a3: {network:.2f} s of CPU (limit {NETWORK:.0f} s); of a 256 x 256 matrix of 4-bit "
          f"weights: {seconds:.1f} s (limit {MATRIX:.0f} s)")  # fmt: skip
    report.save("constant_matrices", {**read(), "network_cpu_s": network, "matrix_cpu_s": seconds, "sha256": SHA256})


if __name__ == "__main__":
    main()
