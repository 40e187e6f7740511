"""CPU seconds of the first command on a fresh machine, with nothing in the cache folder, and of the next one.

TFC-w1a1 on the ULX3S-85F. ``estimate`` is measured with an empty cache folder and again with what the first run left
there. The ``fold`` step of a build is measured with an empty cache folder, less the CPU time of the same command where
all of its steps are done. CPU seconds are those of the command and its children (the C++ compiler), user and system.
Ends with status 1 where a figure is over its limit.
"""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import report, tfc

TARGET, FPS = "ulx3s-85f", "1000000"
LIMITS = {"estimate, empty cache": 5.0, "estimate, again": 2.0, "the fold step of a build, empty cache": 3.0}
"""CPU seconds."""


def cpu_seconds(cache: Path, *arguments: object) -> float:
    """CPU seconds of ``bitfabric`` with these arguments and the cache folder ``cache``."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = "import sys; from flows.cli.main import main; sys.exit(main())"
    subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"BITFABRIC_CACHE": str(cache)}, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(folder: Path) -> dict[str, float]:
    """CPU seconds by name, as in LIMITS."""
    model, options = tfc.make(folder), ("--target", TARGET, "--fps", FPS)
    build = ("build", model, *options, "-o", folder / "build", "--stop-after", "fold")
    estimates = [cpu_seconds(folder / "cache", "estimate", model, *options) for _ in range(2)]
    cpu_seconds(folder / "cache", *build)
    without = cpu_seconds(folder / "cache", *build)  # both steps are found done
    shutil.rmtree(folder / "build" / "fold")
    fold = cpu_seconds(folder / "fresh", *build) - without
    return dict(zip(LIMITS, [*estimates, fold], strict=True))


def main() -> int:
    with TemporaryDirectory() as folder:
        seconds = measure(Path(folder))
    rows = [[name, f"{taken:.1f}", f"{LIMITS[name]:.0f}"] for name, taken in seconds.items()]
    report.show("Cold start, TFC-w1a1", ["", "CPU seconds", "limit"], rows)
    report.save("cold_start", {"seconds": seconds, "limits": LIMITS})
    return int(any(taken > LIMITS[name] for name, taken in seconds.items()))


if __name__ == "__main__":
    sys.exit(main())
