"""What synthesis, and place and route, made of designs: CSV files in ``benchmarks/resources``."""

import csv
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory

from hw.graph import Graph
from hw.kernels.kernel import Resources
from hw.rtl import generate
from hw.synth.devices import DEVICES
from hw.synth.family import Family
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
    """A CSV file of measurements, written after each. With ``renew`` what is asked for is measured again, once."""

    def __init__(self, name: str, renew: bool) -> None:
        self.path = FOLDER / f"{name}.csv"
        self.rows: dict[tuple[str, str], Measured] = {}
        if self.path.exists():
            with self.path.open(newline="") as file:
                for row in csv.DictReader(file):
                    counts = {key: int(row[key]) for key in ("lut", "ff", "bram", "dsp")}
                    fmax = float(row["fmax"]) if row["fmax"] else None
                    self.rows[row["family"], row["case"]] = Measured(row["family"], row["case"], **counts, fmax=fmax)
        self._old = set(self.rows) if renew else set[tuple[str, str]]()

    def measure(
        self, case: str, family: Family, graph: Graph, place: bool, beside: Resources | None = None
    ) -> Measured:
        """What is known of a case, synthesised (and placed) where it is not: its cost less that ``beside`` it."""
        key = family.name, case
        row = None if key in self._old else self.rows.get(key)
        place = place and family.name in PLACED
        if row is None or (place and row.fmax is None):
            with TemporaryDirectory() as name:
                made = synthesise(generate(graph, family), family, Path(name))
                row = Measured(family.name, case, **vars(made.resources - (beside or Resources())))
                if place:
                    part = DEVICES[PLACED[family.name]]
                    row.fmax = round(place_and_route(made.netlist, part, Path(name), 50, seeds=(1,)).fmax_mhz, 1)
            self.rows[key] = row
            self._old.discard(key)
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
