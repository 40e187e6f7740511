"""Speed of the emulator on TFC-w1a1 against FINN's Python execution of its dataflow graph and qonnx's execution.

All engines take the same float images and give the same logits; building their graphs is not measured. FINN runs as
its flow builds the graph, one frame at a time, and with a batch in the graph; qonnx with the batch in the graph.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks import report, tfc
from flows.finn import Engine
from hw.emulate import Emulator
from hw.lower import lower

FINN_TARGET, QONNX_TARGET = 20, 3
SINGLE = 32
"""Frames that FINN runs one at a time; its time per frame does not depend on how many there are."""


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


def measure(path: Path, count: int, batch: int, runs: int) -> dict[str, dict[str, float]]:
    """Microseconds per frame of every engine: the median, the best and the worst of ``runs``, taken in turn."""
    x = tfc.frames(count)
    engines: dict[str, tuple[Callable[[np.ndarray], Any], np.ndarray]] = {
        "emulator": (Emulator(lower(path)).run, x),
        "qonnx, batch in the graph": (qonnx_engine(path, batch), x),
        "FINN, batch in the graph": (Engine(path, batch).run, x),
        "FINN, frame by frame": (Engine(path, 1).run, x[:SINGLE]),
    }
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
    parser.add_argument("--frames", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=4096, help="frames in the graph of FINN and qonnx")
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        times = measure(tfc.make(Path(folder)), options.frames, options.batch, options.runs)
    ours = times["emulator"]["median_us"]
    ratios = {name: entry["median_us"] / ours for name, entry in times.items()}
    report.show(
        f"TFC-w1a1, {options.frames} frames, batch {options.batch}, median of {options.runs} runs",
        ["engine", "us/frame", "best", "worst", "emulator is faster by"],
        [
            [name, f"{e['median_us']:.2f}", f"{e['best_us']:.2f}", f"{e['worst_us']:.2f}", f"{ratios[name]:.1f}"]
            for name, e in times.items()
        ],
    )
    print(f"targets: {FINN_TARGET} times FINN, {QONNX_TARGET} times qonnx")
    report.save("emulator", {"options": vars(options), "times": times, "ratios": ratios})


if __name__ == "__main__":
    main()
