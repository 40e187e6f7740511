"""FIFO bits of CNV-w1a1 and ResNet-20: as sized, by the textbook bound, and by FINN's default rule.

The textbook bound keeps a whole frame on every edge between kernels, which is always enough. FINN's
default (before it simulates) is two beats on every edge: ``inFIFODepths`` and ``outFIFODepths`` of
``finn/custom_op/fpgadataflow/hwcustomop.py``, of which ``finn/transformation/fpgadataflow/insert_fifo.py`` takes the
larger; with it a network may be slower, or stand still where branches meet. The intervals are those of the cycle model.
"""

import time
from collections.abc import Callable
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks import cnv, report
from hw.families import find_device
from hw.folding import choose
from hw.lowering.lower import lower
from hw.passes import fifos
from hw.passes.fold import apply_folding
from hw.passes.lanes import insert_width_converters
from hw.timing import fifo_sizing
from hw.timing.fifo_sizing import size_fifos
from quant import create_model, export

DEVICE, SHALLOW = "lfe5u-85f", 2


def resnet20(folder: Path) -> Path:
    """ResNet-20-w4a4 for CIFAR-10 with random weights, as ``benchmarks.cnv`` makes its network."""
    torch.manual_seed(0)
    network = create_model("resnet20-w4a4", input_shape=cnv.SHAPE, in_range=(0, cnv.HIGHEST)).train()
    with torch.no_grad():
        for seed in range(3):
            network(torch.from_numpy(cnv.frames(16, seed)))
    export(network.eval(), folder / "resnet20.onnx", cnv.frames(4))
    return folder / "resnet20.onnx"


NETWORKS: dict[str, tuple[Callable[[Path], Path], int]] = {
    "CNV-w1a1": (cnv.make, 29_411),
    "ResNet-20-w4a4": (resnet20, 100_000),
}
"""How each is made, and the cycles a frame that it is folded for."""


def main() -> None:
    ecp5, rows = find_device(DEVICE), []
    results: dict[str, Any] = {}
    with TemporaryDirectory() as folder:
        for name, (make, cycles) in NETWORKS.items():
            graph = lower(make(Path(folder)))
            graph = insert_width_converters(
                apply_folding(graph, choose.for_cycles(graph, cycles, ecp5.family, ecp5.capacity))
            )
            if not results:
                size_fifos(graph)  # compiled by now
            start = time.process_time()
            sized = size_fifos(graph)
            seconds = time.process_time() - start
            streams = fifos.streams(graph)
            for rule, depths in {
                "sized": sized,
                "textbook": {edge: max(SHALLOW, stream.beats) for edge, stream in streams.items()},
                "FINN's default": dict.fromkeys(streams, SHALLOW),
            }.items():
                bits = sum(depth * streams[edge].width for edge, depth in depths.items())
                reached = fifo_sizing.interval(graph, depths)
                results[f"{name}, {rule}"] = {"bits": bits, "fifos": len(depths), "interval": str(reached)}
                rows.append([f"{name}, {rule}", len(depths), bits, "deadlock" if reached == inf else int(reached)])
            results[f"{name}, sized"]["seconds"] = seconds
            rows.append([f"{name}, seconds of CPU to size", "", f"{seconds:.1f}", ""])
    report.show("FIFOs", ["", "FIFOs", "bits", "interval"], rows)
    report.save("fifo_bits", results)


if __name__ == "__main__":
    main()
