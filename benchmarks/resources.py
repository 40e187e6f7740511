"""The resource model against synthesis: every kernel over a grid, and networks that it was not fitted to.

What synthesis counted is kept in ``benchmarks/resources/*.csv``; only what is not there yet is synthesised. The tables
hold the model as it is now against it: errors of LUT by kernel and family, blocks and multipliers that differ. With
``--renew`` everything is synthesised again, as after a change of a kernel's hardware or of the tools.
"""

import argparse
import csv
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks import networks, report
from benchmarks.kernels import alone, grid
from hw import fifo, folding
from hw.graph import Graph
from hw.kernels.kernel import Kernel, Resources
from hw.lower import lower
from hw.rtl import generate
from hw.synth.devices import DEVICES
from hw.synth.family import FAMILIES, Family
from hw.synth.nextpnr import place_and_route
from hw.synth.yosys import synthesise

FOLDER = Path(__file__).parent / "resources"
PLACED = {"ecp5": "lfe5u-85f"}
"""Families with a timing model, and the device that they are placed on."""


@dataclass
class Measured:
    """One synthesised design; ``fmax`` in MHz where it was placed."""

    family: str
    case: str
    lut: int
    ff: int
    bram: int
    dsp: int
    fmax: float | None = None

    @property
    def resources(self) -> Resources:
        return Resources(self.lut, self.ff, self.bram, self.dsp)


class Table:
    """A CSV file of measurements, written after each."""

    def __init__(self, name: str, renew: bool) -> None:
        self.path = FOLDER / f"{name}.csv"
        self.rows: dict[tuple[str, str], Measured] = {}
        if self.path.exists() and not renew:
            with self.path.open(newline="") as file:
                for row in csv.DictReader(file):
                    counts = {key: int(row[key]) for key in ("lut", "ff", "bram", "dsp")}
                    fmax = float(row["fmax"]) if row["fmax"] else None
                    self.rows[row["family"], row["case"]] = Measured(row["family"], row["case"], **counts, fmax=fmax)

    def measure(self, case: str, family: Family, graph: Callable[[], Graph], place: bool) -> Measured:
        """What is known of a case, synthesised (and placed) where it is not."""
        row = self.rows.get((family.name, case))
        place = place and family.name in PLACED
        if row is None or (place and row.fmax is None):
            with TemporaryDirectory() as name:
                made = synthesise(generate(graph(), family), family, Path(name))
                row = Measured(family.name, case, **vars(made.resources))
                if place:
                    part = DEVICES[PLACED[family.name]]
                    row.fmax = round(place_and_route(made.netlist, part, Path(name), 50, seeds=(1,)).fmax_mhz, 1)
            self.rows[family.name, case] = row
            self.write()
            print(row, flush=True)
        return row

    def write(self) -> None:
        FOLDER.mkdir(exist_ok=True)
        with self.path.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([field.name for field in fields(Measured)])
            for _, row in sorted(self.rows.items()):
                writer.writerow(["" if value is None else value for value in vars(row).values()])


def hardware(name: str, family: Family, folder: Path) -> Graph:
    """A network of ``benchmarks.networks`` as it is built for the largest device of a family, without FIFOs' sizing
    for more than its own rate."""
    path = folder / f"{name}.onnx"
    graph = lower(path if path.exists() else networks.make(name, folder))
    capacity = max((d.capacity for d in DEVICES.values() if d.family == family), key=lambda c: c.lut)
    table = folding.for_cycles(graph, networks.NETWORKS[name].cycles, family, capacity)
    connected = folding.connect(folding.apply(graph, table))
    return fifo.insert(connected, fifo.size(connected))


def error(estimated: float, measured: float) -> float:
    """In per cent of what was measured."""
    return 100 * (estimated - measured) / max(1, measured)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renew", action="store_true", help="synthesise everything again")
    parser.add_argument("--family", nargs="*", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--kernel", nargs="*", metavar="OP", help="these kernels (default: all; none after it: none)")
    parser.add_argument("--network", nargs="*", metavar="NAME", default=list(networks.NETWORKS), help="likewise")
    parser.add_argument("--place", action="store_true", help="place and route as well, for Fmax")
    parser.add_argument("--cases", action="store_true", help="show every case, not only every kernel")
    options = parser.parse_args()
    families = [FAMILIES[name] for name in options.family]

    table = Table("kernels", options.renew)
    cases = [(case, kernel) for case, kernel in grid() if options.kernel is None or kernel.op in options.kernel]
    found = [
        (table.measure(case, family, lambda kernel=kernel: alone(kernel), options.place), kernel)
        for family in families
        for case, kernel in cases
    ]
    if found:
        show_kernels(found, options.cases)
    table, rows = Table("networks", options.renew), []
    with TemporaryDirectory() as folder:
        for name in options.network:
            for family in families:
                graph = hardware(name, family, Path(folder))
                made = table.measure(name, family, lambda graph=graph: graph, options.place)
                rows.append((made, folding.estimate(graph, family)))
    if rows:
        show_networks(rows)


def show_kernels(found: Sequence[tuple[Measured, Kernel]], every: bool) -> None:
    """Errors by kernel and family, the largest ones named."""
    groups: dict[tuple[str, str], list[tuple[Measured, Resources]]] = defaultdict(list)
    for made, kernel in found:
        groups[made.family, kernel.op].append((made, kernel.resources(FAMILIES[made.family])))
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
        cases = [[m.case, m.family, m.lut, u.lut, f"{error(u.lut, m.lut):+.0f}", m.ff, u.ff, f"{m.bram} {u.bram}",
                  f"{m.dsp} {u.dsp}"] for group in groups.values() for m, u in group]  # fmt: skip
        columns = ["case", "family", "LUT", "estimated", "%", "FF", "estimated", "BRAM", "DSP"]
        report.show("every case", columns, cases)


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
