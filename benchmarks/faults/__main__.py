"""Run the campaign, or the parts that are named."""

import argparse
import sys
import time
from collections.abc import Callable

from benchmarks import report
from benchmarks.faults import disk, files, kills, links, mutants, networks
from benchmarks.faults.campaign import Part, write

PARTS: dict[str, Callable[[float, int], Part]] = {
    "files": files.run,
    "networks": networks.run,
    "mutants": mutants.run,
    "links": links.run,
    "kills": kills.run,
    "disk": disk.run,
}


def main() -> int:
    """Run the parts; the status is 1 if a case ended as none may."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--size", type=float, default=1.0, help="the share of the cases that is run")
    parser.add_argument("--seed", type=int, default=0, help="seed of the cases")
    parser.add_argument("--write", action="store_true", help="write the figures into docs/reliability.md")
    given = parser.parse_args()
    if unknown := sorted({*given.parts} - {*PARTS}):
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    results = {}
    for name in given.parts or PARTS:
        started = time.process_time()
        part = PARTS[name](given.size, given.seed)
        report.show(f"{name} ({time.process_time() - started:.0f} s of CPU)", part.columns, part.rows)
        print(*part.notes, sep="\n")
        for line in part.wrong:
            print(f"WRONG {name}: {line}")
        if given.write:
            write(part)
        results[name] = part.to_json()
    report.save("faults", {"size": given.size, "seed": given.seed, "parts": results})
    return int(any(part["wrong"] for part in results.values()))


if __name__ == "__main__":
    sys.exit(main())
