"""Published networks beside which our own are to be read: jet taggers (16 features, 5 classes) and MNIST.
``python -m benchmarks.published [jets] [mnist]`` prints a table for each convention; ``--together NAME ...`` one table
of the methods whose names contain one of these, which is refused where their conventions differ.

A count says nothing without its convention. Of the jets there are two releases, on which the same method differs by
about one percent in accuracy and, for NeuraLUT-Assemble, by 4.8 times in lookup tables; an encoder is up to 2.2 times
the rest of a network. ``published/*.json`` has the rows, with the source of each and how it was read.

Our jet network (``benchmarks.jsc``) has no accuracy: its weights are random, so it is in no table with any of these.
Our MNIST networks (``benchmarks.lookup``) are on a device with tables of four inputs, so they are in none either.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.conventions import Convention, table

FOLDER = Path(__file__).parent / "published"
DATA = {"jets": "jet taggers", "mnist": "MNIST"}
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
    parser.add_argument("data", nargs="*", metavar="DATA", help=f"{', '.join(DATA)} (default: all)")
    parser.add_argument("--together", nargs="+", metavar="NAME", help="one table of these methods")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.data if name not in DATA]:
        parser.error(f"no data {unknown[0]}; there are {', '.join(DATA)}")
    contents = {name: json.loads((FOLDER / f"{name}.json").read_text()) for name in arguments.data or DATA}
    found = {name: rows(content) for name, content in contents.items()}
    if names := arguments.together:
        every = [row for each in found.values() for row in each]
        chosen = [row for row in every if any(name in str(row[1]["method"]) for name in names)]
        if not chosen:
            sys.exit(f"no method has {' or '.join(names)} in its name")
        try:
            report.show(*table("published", chosen))
        except ValueError as error:
            sys.exit(str(error))
        return
    for name, content in contents.items():
        for convention in dict.fromkeys(each for each, _ in found[name]):
            report.show(*table(DATA[name], [row for row in found[name] if row[0] == convention]))
        print("\n".join(content["about"]))


if __name__ == "__main__":
    main()
