"""What synthesis made of designs: CSV files in ``benchmarks/resources``."""

import csv
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.families import reference_device
from hw.ir.graph import Graph
from hw.rtl.design import generate
from hw.synth.yosys import synthesise

FOLDER = Path(__file__).parent / "resources"


@dataclass
class Measured:
    """One synthesised design."""

    family: str
    case: str
    lut: int
    ff: int
    bram: int
    dsp: int

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
                    self.rows[row["family"], row["case"]] = Measured(row["family"], row["case"], **counts)
        self._old = set(self.rows) if renew else set[tuple[str, str]]()

    def measure(self, case: str, family: Family, graph: Graph, beside: Resources | None = None) -> Measured:
        """What is known of a case, synthesised where it is not: its cost less that ``beside`` it."""
        key = family.name, case
        row = None if key in self._old else self.rows.get(key)
        if row is None:
            with TemporaryDirectory() as name:
                made = synthesise(generate(graph, family), reference_device(family), Path(name))
                row = Measured(family.name, case, **vars(made.resources - (beside or Resources())))
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
            writer.writerows(vars(row).values() for _, row in sorted(self.rows.items()))
