"""CSV files of measured designs, one row a design; the first two columns name it."""

import csv
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, Generic, TypeVar, get_type_hints

Row = TypeVar("Row", bound=Any)


class Table(Generic[Row]):
    """A CSV file of ``Row``, a dataclass of str, int and float, written after each measurement.

    ``rows``: by the first two columns. With ``renew`` what is asked for is measured again, once.
    """

    def __init__(self, path: Path, row: type[Row], renew: bool = False) -> None:
        self.path, self._row = path, row
        self.rows: dict[tuple[str, str], Row] = {}
        if path.exists():
            with path.open(newline="") as file:
                types = get_type_hints(row)
                for line in csv.DictReader(file):
                    self._add(row(**{name: types[name](line[name]) for name in types}))
        self._old = set(self.rows) if renew else set[tuple[str, str]]()

    def _add(self, row: Row) -> None:
        first, second, *_ = vars(row).values()
        self.rows[first, second] = row

    def measure(self, first: str, second: str, make: Callable[[], Row]) -> Row:
        """What is known of a design, measured by ``make`` where nothing is. What ``make`` raises leaves the table."""
        key = first, second
        if key not in self.rows or key in self._old:
            self._add(make())
            self._old.discard(key)
            self.write()
            print(self.rows[key], flush=True)
        return self.rows[key]

    def write(self) -> None:
        self.path.parent.mkdir(exist_ok=True)
        with self.path.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([field.name for field in fields(self._row)])
            writer.writerows(vars(row).values() for _, row in sorted(self.rows.items()))


def error(estimated: float, measured: float) -> float:
    """In per cent of what was measured."""
    return 100 * (estimated - measured) / max(1, measured)
