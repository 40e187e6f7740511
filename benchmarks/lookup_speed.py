"""A training step of lookup networks against float networks of the same widths and batch.

A step is forward pass, cross entropy, backward pass, Adam, and what follows an update: clipping, and new wires while
they are learned. The float network has as many inputs as the encoder has bits, a ReLU behind each layer of as many
neurons as the lookup network has tables, and a last layer of classes. The three take turns in one run. Times are those
of the processor, of all threads together, so that other work on the machine counts little.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch

from benchmarks import report
from quant import create_model
from quant.lookup.tables import TableLayer

CASES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("lookup-s", {"input_shape": (1, 8, 8), "in_range": (0, 16)}),
    ("lookup-m", {"input_shape": (1, 28, 28), "in_range": (0, 255)}),
    ("lookup-l", {"input_shape": (1, 28, 28), "in_range": (0, 255)}),
    ("lookup-m", {"input_shape": (1, 28, 28), "in_range": (0, 255), "tables": [2000, 1000]}),
)
BATCH = 100
ROUNDS = 6
USED = 2 / 3
"""Share of MNIST's pixels that carry information: the others are candidates of no wire."""


def _float_network(model: Any) -> torch.nn.Module:
    layers = [layer for layer in model.modules() if isinstance(layer, TableLayer)]
    widths = [model.input.outputs, *(layer.outputs for layer in layers)]
    hidden = [each for i, o in pairwise(widths) for each in (torch.nn.Linear(i, o), torch.nn.ReLU())]
    return torch.nn.Sequential(*hidden, torch.nn.Linear(widths[-1], model.classes))


def _stepper(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> Callable[[], None]:
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    layers = [layer for layer in model.modules() if isinstance(layer, TableLayer)]
    scheme = layers[0].scheme if layers else None

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        if scheme is not None:
            scheme.after_step(layers, optimizer)

    return step


def measure(name: str, options: dict[str, Any]) -> dict[str, float]:
    """Median milliseconds of a step: float, lookup with frozen wires, lookup while all wires are learned."""
    torch.manual_seed(0)
    frozen: Any = create_model(name, **options).train()
    learning: Any = create_model(name, **options).train()
    low, high = frozen.in_range
    x = torch.randint(low, high + 1, (BATCH, *frozen.input_shape)).float()
    y = torch.randint(0, frozen.classes, (BATCH,))
    for index, layer in enumerate(each for each in learning.modules() if isinstance(each, TableLayer)):
        used = USED if index == 0 and frozen.input_shape[-1] == 28 else 1
        layer.start_learning(torch.randperm(layer.inputs)[: round(used * layer.inputs)])
    steps = {
        "float": _stepper(_float_network(frozen), torch.rand(BATCH, frozen.input.outputs), y),
        "frozen": _stepper(frozen, x, y),
        "learning": _stepper(learning, x, y),
    }
    times: dict[str, list[float]] = {kind: [] for kind in steps}
    for step in steps.values():
        for _ in range(3):
            step()
    for _ in range(ROUNDS):
        for kind, step in steps.items():
            start = time.process_time()
            for _ in range(5):
                step()
            times[kind].append((time.process_time() - start) / 5 * 1e3)
    return {kind: statistics.median(values) for kind, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    threads = parser.parse_args().threads
    torch.set_num_threads(threads)
    rows, results = [], {}
    for name, options in CASES:
        found = measure(name, options)
        share = create_model(name, **options).scheme.wiring_share  # type: ignore[attr-defined]
        average = share * found["learning"] + (1 - share) * found["frozen"]
        ratios = {
            "frozen": found["frozen"] / found["float"],
            "learning": found["learning"] / found["float"],
            "average": average / found["float"],
        }
        label = name + (f" {options['tables']}" if "tables" in options else "")
        results[label] = {"batch": BATCH, "milliseconds": found, "of_float": ratios}
        milliseconds = [f"{value:.2f}" for value in found.values()]
        rows.append([label, *milliseconds, *(f"{value:.2f}" for value in ratios.values())])
    report.show(
        f"milliseconds of a training step of {BATCH} samples ({threads} threads), and multiples of the float network's",
        ["network", "float", "frozen", "learning", "x frozen", "x learning", "x average"],
        rows,
    )
    report.save("lookup_speed", {"threads": threads, "networks": results})


if __name__ == "__main__":
    main()
