"""The resource model against synthesis: every kernel over a grid, and networks that it was not fitted to.

What synthesis counted is kept in ``tests/measured/resources/*.csv``; only what is not there yet is synthesised. The
tables hold the model as it is now against it: errors of LUT by kernel and family, blocks and multipliers that differ.
With ``--renew`` what is asked for is synthesised again, as after a change of a kernel's hardware or of the tools.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks import report
from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.families import families, find_family, reference_device
from hw.folding import choose
from hw.ir.graph import Graph
from hw.ir.kernel import Kernel
from hw.kernels.calibration import COMPANION, grid, separate
from hw.rtl.design import generate
from hw.synth.yosys import synthesise
from tests.measured import resources
from tests.measured.networks import NETWORKS
from tests.measured.resources import Measured
from tests.measured.table import error


def synthesised(case: str, family: Family, graph: Graph, beside: Resources | None = None) -> Measured:
    """The cost of a graph, less that ``beside`` it."""
    with TemporaryDirectory() as name:
        made = synthesise(generate(graph, family), reference_device(family), Path(name))
    return Measured(family.name, case, **vars(made.resources - (beside or Resources())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renew", action="store_true", help="synthesise all that is asked for again")
    parser.add_argument("--family", nargs="*", choices=list(families()), default=list(families()))
    parser.add_argument("--kernel", nargs="*", metavar="OP", help="these kernels (default: all; none after it: none)")
    parser.add_argument("--network", nargs="*", metavar="NAME", default=list(NETWORKS), help="likewise")
    parser.add_argument("--cases", action="store_true", help="show every case, not only every kernel")
    options = parser.parse_args()
    chosen = [find_family(name) for name in options.family]

    table = resources.kernels(options.renew)
    cases = [(case, kernel) for case, kernel in grid() if options.kernel is None or kernel.op in options.kernel]
    found = []
    for family in chosen:
        alone = separate(COMPANION)
        beside = table.measure(
            family.name, "the companion", partial(synthesised, "the companion", family, alone)
        ).resources
        for case, kernel in cases:
            both = separate(kernel, COMPANION)
            made = table.measure(family.name, case, partial(synthesised, case, family, both, beside))
            found.append((made, kernel))
    if found:
        show_kernels(found, options.cases)
    table, rows = resources.whole_networks(options.renew), []
    with TemporaryDirectory() as folder:
        for name in options.network:
            graph = resources.hardware(name, Path(folder), keep=True)
            for family in (f for f in chosen if f.name in NETWORKS[name].families):
                made = table.measure(family.name, name, partial(synthesised, name, family, graph))
                rows.append((made, choose.estimate_resources(graph, family)))
    if rows:
        show_networks(rows)


def show_kernels(found: Sequence[tuple[Measured, Kernel]], every: bool) -> None:
    """Errors by kernel and family, the largest ones named."""
    groups: dict[tuple[str, str], list[tuple[Measured, Resources]]] = defaultdict(list)
    for made, kernel in found:
        groups[made.family, kernel.op].append((made, resources.synthesised(kernel, find_family(made.family))))
    rows = []
    for (family, op), cases in groups.items():
        errors = {made.case: error(used.lut, made.lut) for made, used in cases}
        worst = max(errors, key=lambda case: abs(errors[case]))
        total = error(sum(used.lut for _, used in cases), sum(made.lut for made, _ in cases))
        flops = error(sum(used.ff for _, used in cases), sum(made.ff for made, _ in cases))
        wrong = sum((made.bram, made.dsp) != (used.bram, used.dsp) for made, used in cases)
        mean = np.mean([abs(e) for e in errors.values()])
        rows.append([op, family, len(cases), f"{mean:.1f}", f"{total:+.1f}", f"{flops:+.1f}", wrong,
                     f"{errors[worst]:+.0f} {worst.removeprefix(op).strip()}"])  # fmt: skip
    columns = ["kernel", "family", "cases", "LUT %", "sum %", "FF sum %", "BRAM/DSP wrong", "worst LUT %"]
    report.show("the model's errors on kernels: mean of LUT, of the sums of LUT and FF", columns, rows)
    if every:
        lines = [[m.case, m.family, m.lut, u.lut, f"{error(u.lut, m.lut):+.0f}", m.ff, u.ff, f"{m.bram} {u.bram}",
                  f"{m.dsp} {u.dsp}"] for group in groups.values() for m, u in group]  # fmt: skip
        columns = ["case", "family", "LUT", "estimated", "%", "FF", "estimated", "BRAM", "DSP"]
        report.show("every case", columns, lines)


def show_networks(rows: Sequence[tuple[Measured, Resources]]) -> None:
    """Estimate against synthesis, and the errors' place in ``build/bench/resources.json``."""
    shown = [
        [m.case, m.family, m.lut, u.lut, f"{error(u.lut, m.lut):+.1f}", m.ff, u.ff, f"{m.bram} {u.bram}",
         f"{m.dsp} {u.dsp}"] for m, u in rows
    ]  # fmt: skip
    columns = ["network", "family", "LUT", "estimated", "%", "FF", "estimated", "BRAM", "DSP"]
    report.show("networks that the model was not fitted to, synthesised whole", columns, shown)
    report.save("resources", {"networks": [
        {"name": m.case, "family": m.family, "measured": vars(m.resources), "estimated": vars(u)} for m, u in rows
    ]})  # fmt: skip


if __name__ == "__main__":
    main()
