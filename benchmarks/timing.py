"""The cycle model against Verilator and against FINN's estimates: the same cycles, and how long each takes.

TFC-w1a1 and CNV-w1a1, folded for a rate on the ECP5-85F, with FIFOs. The model and the RTL run the same frames; the
cycles of each beat that goes in or out must be equal. The model solves frames until they repeat. Verilator's time is
without its build. FINN's estimate is its
analytical one (``flows.finn.estimate`` for as many cycles), from the QONNX file on; it knows no FIFOs and no stalls.
"""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks import cnv, report, tfc
from flows.finn import estimate
from hw.families import find_device
from hw.folding import choose
from hw.lowering.lower import lower
from hw.passes.fifos import insert_fifos
from hw.passes.fold import apply_folding
from hw.passes.lanes import insert_width_converters
from hw.rtl.design import generate
from hw.simulation.verilator import build
from hw.timing.cycles import simulate, steady
from hw.timing.fifo_sizing import size_fifos

DEVICE = "lfe5u-85f"
NETWORKS: dict[str, tuple[Callable[[Path], Path], int, int]] = {
    "TFC-w1a1": (tfc.make, 896, 1024),
    "CNV-w1a1": (cnv.make, 29_411, 64),
}
"""How each is made, the cycles a frame that it is folded for, and the frames that are simulated."""


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What it gives, and the seconds of wall time that it takes."""
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def measure(path: Path, cycles: int, count: int) -> dict[str, Any]:
    """Cycles and seconds of a network."""
    device_ = find_device(DEVICE)
    graph = lower(path)
    connected = insert_width_converters(
        apply_folding(graph, choose.for_cycles(graph, cycles, device_.family, device_.capacity))
    )
    size_fifos(connected)  # compiled by now
    depths, sizing = timed(lambda: size_fifos(connected))
    hardware = insert_fifos(connected, depths)
    (port,), (out,) = hardware.inputs, hardware.outputs
    stream = hardware.edges[port.edge]
    frames = np.random.default_rng(0).integers(
        int(stream.dtype.min()), int(stream.dtype.max()), (count, *stream.shape), endpoint=True
    )
    frames = np.where(frames > 0, 1, -1) if stream.dtype.name == "BIPOLAR" else frames
    simulator, building = timed(lambda: build(generate(hardware, device_.family)))
    ran, running = timed(lambda: simulator.run({"s": frames}))
    simulate(hardware, count)
    trace, model = timed(lambda: simulate(hardware, count))
    periodic, analysis = timed(lambda: steady(hardware))
    _, accounts = timed(periodic.stall_breakdowns)
    finn, theirs = timed(lambda: estimate(path, target_cycles=cycles))
    ends = ran.taken["m"].reshape(count, -1)[:, -1]
    moved = [(ran.taken["s"], trace.taken[port.edge]), (ran.taken["m"], trace.taken[out.edge])]
    return {
        "frames": count,
        "beats": sum(len(taken) for taken in trace.taken.values()),
        "estimated": {"interval": periodic.interval, "latency": periodic.latency},
        "simulated": {"interval": int(ends[-1] - ends[-2]), "latency": int(ends[0] - ran.taken["s"][0] + 1)},
        "finn": {"interval": finn.max_cycles, "latency": finn.latency_cycles},
        "beats that differ": sum(int((rtl != ours).sum()) for rtl, ours in moved),
        "seconds": {
            "model, the same frames": model,
            "Verilator, the same frames": running,
            "Verilator's build, or finding it": building,
            "steady state and accounts": analysis + accounts,
            "FIFO sizing": sizing,
            "FINN's estimate": theirs,
        },
    }


def main() -> None:
    results = {}
    with TemporaryDirectory() as folder:
        for name, (make, cycles, count) in NETWORKS.items():
            results[name] = measure(make(Path(folder)), cycles, count)
    rows: list[list[object]] = []
    for name, got in results.items():
        for what in ("interval", "latency"):
            ours, theirs = got["estimated"][what], got["simulated"][what]
            rows.append([f"{name}, {what}", ours, theirs, ours - theirs, got["finn"][what]])
        rows.append([f"{name}, beats in and out that differ", "", "", got["beats that differ"], ""])
    report.show("Cycles", ["", "estimated", "RTL", "error", "FINN's estimate"], rows)
    times: list[tuple[str, float, float]] = []
    for name, got in results.items():
        seconds = got["seconds"]
        model, steady = seconds["model, the same frames"], seconds["steady state and accounts"]
        verilator = seconds["Verilator, the same frames"]
        times += [
            (f"{name}, Verilator / model, every beat of {got['frames']} frames", verilator, model),
            (f"{name}, Verilator, {got['frames']} frames / steady state and accounts", verilator, steady),
            (f"{name}, FINN's estimate / steady state and accounts", seconds["FINN's estimate"], steady),
        ]
    report.show(
        "Seconds",
        ["", "theirs", "ours", "ratio"],
        [[name, f"{theirs:.3f}", f"{ours:.4f}", f"{theirs / ours:,.0f}"] for name, theirs, ours in times],
    )
    sizes = [[name, f"{got['seconds']['FIFO sizing']:.2f}", got["beats"]] for name, got in results.items()]
    report.show("FIFO sizing", ["", "seconds", "beats of the traces"], sizes)
    report.save("timing", results)


if __name__ == "__main__":
    main()
