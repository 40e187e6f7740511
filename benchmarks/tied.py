"""Tied weights: accuracy and memory by structure, beside a narrower network of as many values.
``python -m benchmarks.tied [DATA ...]`` trains what is missing and prints the tables; ``--table`` only prints.

The network is ``tfc-w4a4``; the last layer is dense. "circulant:8, tuned" is the dense network of the same seed, tied
by ``bitfabric compress --method tie`` and trained for as many epochs again. Every row is trained with three seeds that
are fixed here, and nothing is chosen on test frames. The results are kept in ``benchmarks/tied/``, a file for each data
set. MNIST needs ``$BITFABRIC_DATA``.

Logic is estimated for the ECP5-85F at one frame in 64 cycles (``--hardware`` estimates it again).

``--layers`` synthesises single layers of random weights for the ECP5: those of each structure, as the folding search
takes them, beside the dense implementation in the same number of cycles, with the resource model's errors.
"""

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from qonnx.core.datatype import DataType

from benchmarks import report
from benchmarks.conventions import Convention, table
from benchmarks.pruning import CLASSES, DEVICE, HIDDEN, PIXELS, hardware
from hw.families import reference_device
from hw.families.ecp5 import ECP5
from hw.folding.choose import estimate_resources, for_cycles
from hw.kernels.calibration import separate
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.passes.fold import apply_folding
from hw.rtl.design import generate
from hw.synth.yosys import synthesise
from quant import TrainConfig, Tying, compress_run, load_checkpoint, train_run
from quant.compression.forms import Tied
from quant.compression.ties import places
from quant.compression.weights import compression_of, find_layers
from quant.ties import ties
from tests.measured.table import error

RESULTS = Path(__file__).parent / "tied"
SEEDS = (0, 1, 2)
EPOCHS = {"digits": 50, "mnist": 3}
STRUCTURES = ("circulant:4", "circulant:8", "toeplitz:8", "hashed:4", "hashed:8", "hashed:8:8x8")
ROWS = ("dense", *STRUCTURES, "circulant:8, tuned", "narrower, 1/4", "narrower, 1/8")
CONVENTIONS = {
    data: Convention(data, "none: pixels of 8 bits", f"{DEVICE}, estimated by the resource model") for data in EPOCHS
}


@dataclass(frozen=True)
class Row:
    """A training of a structure, or of one of the networks to compare with."""

    data: str
    structure: str
    seed: int

    @property
    def name(self) -> str:
        """The row's key in the results."""
        return f"{self.structure}-{self.seed}"

    def options(self) -> dict[str, Any]:
        """The network's options: the largest widths with as few values as circulant blocks of 4 or 8."""
        if not self.structure.startswith("narrower"):
            return {}
        side = int(self.structure[-1])
        inputs = PIXELS[self.data]
        most = HIDDEN * (inputs + 2 * HIDDEN) // side + HIDDEN * CLASSES
        width = max(w for w in range(1, HIDDEN + 1) if w * (inputs + 2 * w + CLASSES) <= most)
        return {"hidden": (width,) * 3}


def rows(data: str) -> Iterator[Row]:
    """All rows of a data set; a dense network comes before what is made from it."""
    for seed in SEEDS:
        for structure in ROWS:
            yield Row(data, structure, seed)


def train(row: Row, runs: Path) -> dict[str, Any]:
    """Train a row in its folder of ``runs``."""
    folder, epochs = runs / row.name, EPOCHS[row.data]
    config = TrainConfig(
        epochs=epochs, seed=row.seed, tie=Tying(row.structure) if row.structure in STRUCTURES else None
    )
    if row.structure.endswith(", tuned"):
        dense = Row(row.data, "dense", row.seed)
        if not (runs / dense.name / "checkpoint.pt").exists():
            train(dense, runs)
        options = {"structure": row.structure.removesuffix(", tuned")}
        run = compress_run(runs / dense.name, folder, "tie", options=options, epochs=epochs,
                           progress=False, resume=True)  # fmt: skip
    else:
        run = train_run(
            "tfc-w4a4", folder, config, data=row.data, model_options=row.options(), progress=False, resume=True
        )
    return {"accuracy": run["accuracy"]["test"], "weights": run["totals"]["weights"], "values": _values(folder)}


def _values(folder: Path) -> int:
    """The number of trained values of all layers."""
    count = 0
    for layer in find_layers(load_checkpoint(folder / "checkpoint.pt")).values():
        form = compression_of(layer)
        count += form.values.numel() if isinstance(form, Tied) else layer.weight.numel()
    return count


def page(results: dict[str, Any], data: str) -> list[dict[str, object]]:
    """The rows of a table: mean and range of the accuracies, mean of the logic."""
    lines: list[dict[str, object]] = []
    for structure in ROWS:
        found = [each for seed in SEEDS if (each := results.get(Row(data, structure, seed).name))]
        if not found:
            continue
        accuracies = [100 * each["accuracy"] for each in found]
        line: dict[str, object] = {
            "structure": structure,
            "values": found[0]["values"],
            "seeds": len(found),
            "test %": f"{mean(accuracies):.2f}",
            "from": f"{min(accuracies):.2f}",
            "to": f"{max(accuracies):.2f}",
        }
        for name in ("lut", "bram", "interval"):
            known = [each["folded"][name] for each in found if "folded" in each]
            line[name.upper() if name != "interval" else "cycles"] = round(mean(known)) if known else "-"
        lines.append(line)
    return lines


@dataclass(frozen=True)
class Layer:
    """A layer of random weights of a structure: convolutions over images have 3 x 3 positions."""

    structure: str
    outputs: int
    inputs: int
    bits: int = 4
    cycles: int = 512
    positions: int = 1

    def product(self) -> MatrixVector:
        """The layer without folding; inputs have as many bits as the weights, without a sign if they are 4."""
        rng, side = np.random.default_rng(0), round(self.positions**0.5)
        limit = (1 << self.bits - 1) - 1
        shape = (self.outputs, self.inputs, side, side) if side > 1 else (self.outputs, self.inputs)
        if self.structure.startswith("values:"):
            values = rng.choice(np.arange(-limit, limit + 1), int(self.structure.split(":")[1]), replace=False)
            weights = values[rng.integers(len(values), size=shape)]
        else:
            found = places(ties(self.structure), shape)
            assert found is not None
            weights = rng.integers(-limit, limit + 1, found.count)[found.index]
            weights = weights if found.sign is None else weights * found.sign
        matrix = weights.transpose(0, 2, 3, 1).reshape(self.outputs, -1) if side > 1 else weights
        dtype = DataType[f"INT{self.bits}"]
        return MatrixVector(matrix, dtype, DataType["UINT4"] if self.bits == 4 else dtype)


LAYERS = (
    Layer("circulant:8", 128, 128),
    Layer("circulant:8", 128, 128, cycles=4096),
    Layer("toeplitz:8", 128, 128, cycles=1024),
    Layer("hashed:8:4x4", 128, 128, cycles=1024),
    Layer("p4", 32, 64, cycles=1152, positions=9),
    Layer("values:4", 64, 256, cycles=1024),
    Layer("values:16", 64, 128, bits=8, cycles=512),
)


def layers() -> list[list[object]]:
    """The rows of the table of single layers."""
    capacity, rows = reference_device(ECP5).capacity, []
    for layer in LAYERS:
        graph = separate(layer.product())
        for plain in (False, True):
            folded = apply_folding(graph, for_cycles(graph, layer.cycles, ECP5, capacity, plain=plain))
            kernel, guess = folded.nodes[0].kernel, estimate_resources(folded, ECP5)
            with TemporaryDirectory() as folder:
                made = synthesise(generate(folded, ECP5), reference_device(ECP5), Path(folder)).resources
            rows.append([
                layer.structure, f"{layer.outputs}x{layer.inputs * layer.positions} w{layer.bits}", kernel.op,
                f"{kernel.folding.pe}x{kernel.folding.simd}", kernel.interval, made.lut, made.bram, made.dsp,
                f"{error(guess.lut, made.lut):+.0f}", guess.bram - made.bram,
            ])  # fmt: skip
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", default=list(EPOCHS), help="digits, mnist")
    parser.add_argument("--runs", type=Path, help="folder of the trained networks (default: they are not kept)")
    parser.add_argument("--table", action="store_true", help="train nothing")
    parser.add_argument("--hardware", action="store_true", help="estimate the hardware of the networks in --runs again")
    parser.add_argument("--layers", action="store_true", help="synthesise single layers instead")
    arguments = parser.parse_args()
    if arguments.layers:
        columns = [
            "structure",
            "layer",
            "kernel",
            "PE x SIMD",
            "cycles",
            "LUT",
            "BRAM",
            "DSP",
            "model LUT %",
            "BRAM off",
        ]
        report.show("single layers on the ECP5, by Yosys", columns, layers())
        return
    for data in arguments.data:
        path = RESULTS / f"{data}.json"
        results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        with TemporaryDirectory() as scratch:
            runs = (arguments.runs or Path(scratch)) / data
            for row in () if arguments.table else rows(data):
                if row.name not in results or (arguments.hardware and not (runs / row.name).exists()):
                    results[row.name] = train(row, runs)
                if arguments.hardware or "folded" not in results[row.name]:
                    results[row.name]["folded"] = hardware(runs / row.name / "model.onnx", ("folded",))["folded"]
                RESULTS.mkdir(exist_ok=True)
                partial = path.with_suffix(f".{os.getpid()}")
                partial.write_text(json.dumps(results, indent=1) + "\n")
                os.replace(partial, path)
                print(f"{data} {row.name}: {100 * results[row.name]['accuracy']:.2f} %", flush=True)
        lines = [(CONVENTIONS[data], line) for line in page(results, data)]
        if lines:
            report.show(*table(f"tfc-w4a4, {data}", lines))


if __name__ == "__main__":
    main()
