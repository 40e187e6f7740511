"""The parameters of a family with which ``hw.folding.fmax`` estimates the clock frequency of a design."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

from hw.host.files import write_text

SMALL = 256
"""Lookup tables of the kernel for which a calibration states periods of logic."""
COLUMNS = ("of", "name", "period_ns", "growth")


class Period(NamedTuple):
    """The period of a path.

    Attributes:
        ns: nanoseconds of the path in a kernel of one block RAM or DSP, or of ``SMALL`` lookup tables.
        growth: of a path through block RAM or DSPs, nanoseconds for each doubling of their number; of a path through
            logic, the exponent of the number of lookup tables.
    """

    ns: float
    growth: float

    def at(self, lut: float) -> float:
        """Nanoseconds of a path through logic, in a kernel of ``lut`` lookup tables."""
        return self.ns * (max(1, lut) / SMALL) ** self.growth


@dataclass(frozen=True)
class Calibration:
    """The measured delays of a family, stored in its file ``calibration.csv``.

    Attributes:
        bram: the path out of a block RAM into the register behind it.
        dsp: the path through a multiplier.
        kernels: the path through the logic of a kernel, by ``Kernel.variant``.
        roles: the figures of the slowest kernel of each role, for kernels of the role that are not calibrated.
    """

    bram: Period
    dsp: Period
    kernels: Mapping[str, Period]
    roles: Mapping[str, Period]

    @classmethod
    def read(cls, file: Traversable | Path) -> "Calibration":
        """Read a calibration from a CSV file with the columns COLUMNS; column ``of`` is path, kernel or role."""
        rows = csv.DictReader(file.read_text().splitlines())
        found: dict[str, dict[str, Period]] = {"path": {}, "kernel": {}, "role": {}}
        for row in rows:
            found[row["of"]][row["name"]] = Period(float(row["period_ns"]), float(row["growth"]))
        return cls(found["path"]["bram"], found["path"]["dsp"], found["kernel"], found["role"])

    def write(self, path: Path) -> None:
        """Write the calibration as a CSV file."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([("path", "bram", *self.bram), ("path", "dsp", *self.dsp)])
        writer.writerows(("kernel", name, *period) for name, period in sorted(self.kernels.items()))
        writer.writerows(("role", name, *period) for name, period in sorted(self.roles.items()))
        write_text(path, text.getvalue())


@dataclass(frozen=True)
class FmaxModel:
    """The Fmax model of one family, for its slowest speed grade.

    Attributes:
        calibration: the periods of the paths in kernels.
        shell_ns: period of the host link and the other parts around the accelerator, with small buffers.
        room: number of lookup tables at which every period is twice that in a small design.
        grades: speed grade -> the factor of periods through block RAM, and the factor of all others.
        with_bram: factor of the period of a kernel with block RAM among other kernels to that of the kernel alone.
    """

    calibration: Calibration
    shell_ns: float
    room: float
    grades: Mapping[str, tuple[float, float]]
    with_bram: float = 1.0

    def at(self, grade: str) -> "FmaxModel":
        """The model for a speed grade; that of the slowest grade where the factors are unknown."""
        if grade not in self.grades:
            return self
        block, rest = self.grades[grade]

        def scaled(periods: Mapping[str, Period]) -> dict[str, Period]:
            return {name: Period(rest * period.ns, period.growth) for name, period in periods.items()}

        old = self.calibration
        new = Calibration(
            Period(block * old.bram.ns, block * old.bram.growth),
            Period(rest * old.dsp.ns, rest * old.dsp.growth),
            scaled(old.kernels),
            scaled(old.roles),
        )
        return replace(self, calibration=new, shell_ns=rest * self.shell_ns)
