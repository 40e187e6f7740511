"""Published jet taggers (16 features, 5 classes), beside which our own are to be read. ``python -m
benchmarks.published_jets`` prints a table for each convention; ``--together NAME ...`` one table of the methods whose
names contain one of these, which is refused where their conventions differ.

The data set has two releases, on which the same method differs by about one percent in accuracy and, for
NeuraLUT-Assemble, by 4.8 times in lookup tables; an encoder is up to 2.2 times the rest of a network. So a count says
nothing without its convention. ``published/jets.json`` has the rows, with the source of each and how it was read.

Our network (``benchmarks.jsc``) has no accuracy: its weights are random, so it is in no table with any of these.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.conventions import Convention, table

FILE = Path(__file__).parent / "published" / "jets.json"
COLUMNS = {
    "method": "method", "accuracy": "accuracy %", "lut": "LUT", "ff": "FF", "fmax_mhz": "Fmax MHz",
    "latency_ns": "latency ns", "source": "source",
}  # fmt: skip


def rows(content: dict[str, Any]) -> list[tuple[Convention, dict[str, object]]]:
    """The rows with their conventions; "-" is what a source does not state."""
    conventions = {name: Convention(**each) for name, each in content["conventions"].items()}
    return [
        (conventions[row["convention"]], {title: "-" if row[k] is None else row[k] for k, title in COLUMNS.items()})
        for row in content["rows"]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--together", nargs="+", metavar="NAME", help="one table of these methods")
    names = parser.parse_args().together
    content = json.loads(FILE.read_text())
    found = rows(content)
    if names:
        chosen = [row for row in found if any(name in str(row[1]["method"]) for name in names)]
        if not chosen:
            sys.exit(f"no method has {' or '.join(names)} in its name")
        try:
            report.show(*table("jet taggers", chosen))
        except ValueError as error:
            sys.exit(str(error))
        return
    for convention in dict.fromkeys(each for each, _ in found):
        report.show(*table("jet taggers", [row for row in found if row[0] == convention]))
    print("\n".join(content["about"]))


if __name__ == "__main__":
    main()
