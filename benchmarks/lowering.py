"""CPU seconds of lowering models of many nodes: a chain of element-wise nodes, many layers, and nodes that are unused.

Ends with status 1 where a figure is over its limit.
"""

import sys
import time

from benchmarks import report
from hw.lowering.lower import lower
from tests.builders import long_models

LIMIT = 3.0
"""CPU seconds of each model."""
MODELS = {
    "1,000 element-wise nodes": (long_models.elementwise, 1000),
    "200 layers": (long_models.layers, 200),
    "100,000 unused nodes": (long_models.dead, 100_000),
}


def measure() -> dict[str, float]:
    """CPU seconds by name, as in MODELS."""
    lower(long_models.layers(1))  # imports
    seconds = {}
    for name, (make, count) in MODELS.items():
        model, start = make(count), time.process_time()
        lower(model)
        seconds[name] = time.process_time() - start
    return seconds


def main() -> int:
    seconds = measure()
    rows = [[name, f"{taken:.2f}", f"{LIMIT:.0f}"] for name, taken in seconds.items()]
    report.show("Lowering of models of many nodes", ["", "CPU seconds", "limit"], rows)
    report.save("lowering", {"seconds": seconds, "limit": LIMIT})
    return int(any(taken > LIMIT for taken in seconds.values()))


if __name__ == "__main__":
    sys.exit(main())
