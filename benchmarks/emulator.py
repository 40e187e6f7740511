"""Speed of the emulator on TFC-w1a1 and CNV-w1a1 against FINN's Python execution of its dataflow graph and qonnx's.

All engines take the same float images and give the same logits; building their graphs is not measured. FINN runs as
its flow builds the graph, one frame at a time, and with a batch in the graph; qonnx with the batch in the graph.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks import cnv, report, tfc
from flows.finn import FinnDataflow
from hw.lowering.lower import lower
from hw.simulation.emulator import Emulator

QONNX_TARGET = 3
NETWORKS = {"TFC-w1a1": (tfc, 4096, 32, 20), "CNV-w1a1": (cnv, 64, 4, 40)}
"""Module of the network, frames (the batch, too), frames that FINN runs one at a time, and the target against FINN."""


def qonnx_engine(path: Path, batch: int) -> Callable[[np.ndarray], np.ndarray]:
    """qonnx's execution of the model itself, ``batch`` frames in the graph."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.util.cleanup import cleanup_model

    model = cleanup_model(ModelWrapper(str(path)), override_inpsize=batch)
    source, result = model.graph.input[0].name, model.graph.output[0].name

    def run(x: np.ndarray) -> np.ndarray:
        parts = [execute_onnx(model, {source: x[i : i + batch]})[result] for i in range(0, len(x), batch)]
        return np.concatenate(parts)

    return run


def measure(network: ModuleType, path: Path, count: int, single: int, runs: int) -> dict[str, dict[str, float]]:
    """Microseconds per frame of every engine: the median, the best and the worst of ``runs``, taken in turn."""
    x = network.frames(count)
    finn = FinnDataflow(path, count)
    engines: dict[str, tuple[Callable[[np.ndarray], Any], np.ndarray]] = {
        "emulator": (Emulator(lower(path)).run, x),
        "qonnx, batch in the graph": (qonnx_engine(path, count), x),
        "FINN, frame by frame": (FinnDataflow(path, 1).run, x[:single]),
    }
    if finn.batch > 1:  # FINN takes no batch into the graph of a convolutional network
        engines["FINN, batch in the graph"] = (finn.run, x)
    expected = engines["qonnx, batch in the graph"][0](x)
    for run, frames in engines.values():  # also warms up
        np.testing.assert_allclose(run(frames), expected[: len(frames)], rtol=0, atol=1e-4 * np.abs(expected).max())
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(runs):
        for name, (run, frames) in engines.items():
            started = time.perf_counter()
            run(frames)
            seconds[name].append((time.perf_counter() - started) / len(frames) * 1e6)
    return {n: {"median_us": median(s), "best_us": min(s), "worst_us": max(s)} for n, s in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    results: dict[str, Any] = {}
    for name, (network, count, single, target) in NETWORKS.items():
        with TemporaryDirectory() as folder:
            times = measure(network, network.make(Path(folder)), count, single, runs)
        ours = times["emulator"]["median_us"]
        ratios = {engine: entry["median_us"] / ours for engine, entry in times.items()}
        report.show(
            f"{name}, {count} frames, median of {runs} runs",
            ["engine", "us/frame", "best", "worst", "emulator is faster by"],
            [
                [
                    engine,
                    f"{e['median_us']:.2f}",
                    f"{e['best_us']:.2f}",
                    f"{e['worst_us']:.2f}",
                    f"{ratios[engine]:.1f}",
                ]
                for engine, e in times.items()
            ],
        )
        print(f"targets: {target} times FINN, {QONNX_TARGET} times qonnx")
        results[name] = {"frames": count, "times": times, "ratios": ratios}
    report.save("emulator", {"runs": runs, **results})


if __name__ == "__main__":
    main()
