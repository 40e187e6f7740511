"""CPU seconds of the costs of 1,000 networks that differ in the widths of their layers, with one lowering each.

One core computes them. The limit is that of all three networks together, on two cores: ends with status 1 beyond it.
"""

import random
import sys
import time

import numpy as np

from benchmarks import report
from flows.explore.cost_table import CostTable
from flows.explore.variants import new_variants

CORES = 2
LIMIT = 60.0
"""Seconds on CORES cores."""
NETWORKS = 1000
WIDTHS = 1, 2, 4, 8
MODELS = {
    "tfc": ("ulx3s-85f", 100_000, {"input_shape": (1, 28, 28), "in_range": (0, 255)}),
    "lenet5": ("ulx3s-85f", 10_000, {"input_shape": (1, 28, 28), "in_range": (0, 255)}),
    "cnv": ("xc7z045", 1_000, {"input_shape": (3, 32, 32), "in_range": (0, 255)}),
}


def measure(name: str) -> tuple[float, int]:
    """CPU seconds of the lowering and of all costs, and the number of kernels that were costed."""
    target, fps, options = MODELS[name]
    drawn = random.Random(0)
    frames = np.random.default_rng(0).integers(0, 256, (64, *options["input_shape"])).astype(np.float32)
    start = time.process_time()
    variants = new_variants(f"{name}-w4a4", options, frames, WIDTHS)
    table = CostTable(target, fps)
    for _ in range(NETWORKS):
        layers = {each: drawn.choice(WIDTHS) for each in variants.layers}
        activations = {each: drawn.choice(WIDTHS) for each in variants.activations}
        table.cost(variants.graph(layers, activations))
    return time.process_time() - start, len(table)


def main() -> int:
    import torch

    import quant.models.network

    torch.set_num_threads(1)
    assert quant.models.network  # imported before the clock starts
    names = sys.argv[1:] or list(MODELS)
    found = {name: measure(name) for name in names}
    rows = [[name, MODELS[name][0], "1", f"{entries}", f"{seconds:.1f}"] for name, (seconds, entries) in found.items()]
    total = sum(seconds for seconds, _ in found.values())
    rows.append([f"all (limit: {LIMIT:.0f} s on {CORES} cores)", "", "", "", f"{total:.1f} of {LIMIT * CORES:.0f}"])
    heads = ["network", "target", "lowerings", "kernels costed", "CPU seconds"]
    report.show(f"Costs of {NETWORKS:,} networks", heads, rows)
    seconds = {name: each[0] for name, each in found.items()}
    report.save("explore", {"seconds": seconds, "limit": LIMIT, "cores": CORES})
    return int(total > LIMIT * CORES)


if __name__ == "__main__":
    sys.exit(main())
