"""CPU seconds and memory of ``bitfabric estimate`` for networks on large images.

CPU seconds are those of the command and its children, user and system, with the solvers compiled before; memory is the
largest resident set of the command. Ends with status 1 where a figure is over its limit.
"""

import os
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx

from benchmarks import large_networks, report


@dataclass(frozen=True)
class Case:
    """A network, its target, whether it fits, and the limits: CPU seconds, and bytes of memory."""

    make: Callable[[], onnx.ModelProto]
    target: str
    fits: bool = True
    seconds: float = 10
    memory: int = 10**9


CASES = {
    "MobileNet-v1, 224 x 224": Case(large_networks.mobilenet, "xc7z045"),
    "U-Net, 256 x 256": Case(large_networks.unet, "xc7z045"),
    "separable, 512 x 512": Case(large_networks.separable, "xc7z045"),
    "ResNet-18, 224 x 224": Case(large_networks.resnet18, "lfe5u-85f", fits=False, seconds=5),
}


def run(path: Path, target: str) -> dict[str, Any]:
    """What ``bitfabric estimate --json`` computes, in this process."""
    from flows.estimates import estimate_build
    from hw.host.errors import BitfabricError

    cycles, said = None, ""
    try:
        cycles = estimate_build(path, target)["cycles"]
    except BitfabricError as error:
        said = str(error)
    used, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "seconds": sum(each.ru_utime + each.ru_stime for each in (used, children)),
        "memory": 1024 * used.ru_maxrss,
        "cycles": cycles,
        "said": said,
    }


def measure(name: str, folder: Path) -> dict[str, Any]:
    """The figures of a case, by a process of its own."""
    case, path = CASES[name], folder / f"{len(os.listdir(folder))}.onnx"
    onnx.save(case.make(), path)
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(run, (path, case.target))


def main() -> int:
    names = sys.argv[1:] or list(CASES)
    rows: list[list[object]] = []
    results: dict[str, Any] = {}
    with TemporaryDirectory() as folder:
        for name in (each for each in CASES if any(each.startswith(asked) for asked in names)):
            case, got = CASES[name], measure(name, Path(folder))
            got["ok"] = got["seconds"] <= case.seconds and got["memory"] <= case.memory
            got["ok"] &= (got["cycles"] is not None) == case.fits
            results[name] = got
            cycles = got["cycles"] or {"interval": got["said"], "latency": ""}
            taken = f"{got['seconds']:.1f} of {case.seconds:.0f}"
            rows.append([name, taken, f"{got['memory'] / 1e9:.2f} of {case.memory / 1e9:.0f}", *cycles.values()])
    report.show("Estimates of large networks", ["", "CPU seconds", "GB", "interval", "latency"], rows)
    report.save("large", results)
    return int(not all(got["ok"] for got in results.values()))


if __name__ == "__main__":
    sys.exit(main())
