"""Pruning: accuracy and logic by density and criterion. ``python -m benchmarks.pruning [DATA ...]`` trains what is
missing and prints the tables; ``--table`` only prints.

The network is ``tfc-w4a4``. Every row is trained with three seeds that are fixed here (``seeds`` says how many of them
are there), and nothing is chosen on test frames. The results are kept in ``benchmarks/pruning/``, a file for each data
set, and ``PRUNING.md`` is made from them. MNIST needs ``$BITFABRIC_DATA``. Designs that exceed the device are estimated
all the same (it has 83,640 LUT).

Logic is estimated for the ECP5-85F: *unrolled* at one frame a cycle, and *folded* at one frame in 64 cycles.
Latency is in cycles; resources are the mean of the seeds. ``narrower`` is no pruning: all layers are as wide as the
same number of weights permits. ``--images`` builds designs of networks in ``--runs``, verified to the placed netlist:
images for the ULX3S-85F, folded and unrolled, and unrolled ones on the device alone.
"""

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import board_images, report
from benchmarks.conventions import Convention, table
from flows.config import BuildConfig
from flows.planner import Plan
from hw.folding.choose import estimate_resources
from hw.model import Model
from hw.timing.cycles import steady_state
from quant import TrainConfig, train_run
from quant.training.config import Pruning

RESULTS = Path(__file__).parent / "pruning"
IMAGES_FILE = RESULTS / "images.json"
PAGE = RESULTS.parent / "PRUNING.md"
SEEDS = (0, 1, 2)
DENSITIES = (1.0, 0.5, 0.25, 0.1)
EPOCHS = {"digits": 100, "mnist": 5}
DEVICE, CLOCK_MHZ, FOLD = "lfe5u-85f", 75.0, 64
HIDDEN, PIXELS, CLASSES = 64, {"digits": 64, "mnist": 784}, 10
CONVENTIONS = {
    data: Convention(data, "none: pixels of 8 bits", f"{DEVICE}, estimated by the resource model") for data in EPOCHS
}


@dataclass(frozen=True)
class Row:
    """A training: what is pruned, by which criterion, to which density (1 is the network itself)."""

    data: str
    criterion: str
    density: float
    seed: int

    @property
    def name(self) -> str:
        """The row's key in the results."""
        return f"{self.criterion}-{self.density:g}-{self.seed}"

    @property
    def weights(self) -> int:
        """Weights of a network that is not pruned, times the density."""
        return round(self.density * _weights(HIDDEN, PIXELS[self.data]))

    def pruning(self) -> Pruning | None:
        """The pruning during the training."""
        if self.density == 1 or self.criterion == "narrower":
            return None
        structure = self.criterion if self.criterion.startswith("bank-balanced") else "unstructured"
        jointly = self.criterion == "magnitude, all layers"
        return Pruning(fraction=1 - self.density, structure=structure, jointly=jointly)

    def options(self) -> dict[str, Any]:
        """The network's options: the widths at which a network without zeros has no more weights."""
        if self.criterion != "narrower":
            return {}
        width = max(w for w in range(1, HIDDEN + 1) if _weights(w, PIXELS[self.data]) <= self.weights)
        return {"hidden": (width,) * 3}


CRITERIA = ("magnitude", "magnitude, all layers", "bank-balanced:8x8", "narrower")


@dataclass(frozen=True)
class Picture:
    """A design that is placed and verified: a network at one frame in ``cycles`` of a clock, as the image of a board or
    on a device alone."""

    row: Row
    cycles: int
    clock_mhz: float
    target: str = "ulx3s-85f"

    @property
    def name(self) -> str:
        """The key in the results."""
        return f"{self.row.name} {self.target} {self.cycles}"


IMAGES = (
    Picture(Row("digits", "bank-balanced:8x8", 0.1, 2), 256, CLOCK_MHZ),
    Picture(Row("digits", "bank-balanced:8x8", 0.25, 1), 256, CLOCK_MHZ),
    Picture(Row("digits", "bank-balanced:8x8", 0.1, 2), 1, CLOCK_MHZ),
    Picture(Row("digits", "bank-balanced:8x8", 0.1, 2), 1, 100.0, DEVICE),
    Picture(Row("digits", "magnitude", 0.25, 0), 1, 100.0, DEVICE),
)


def _weights(width: int, inputs: int) -> int:
    return width * (inputs + 2 * width + CLASSES)


def rows(data: str) -> Iterator[Row]:
    """All rows of a data set."""
    for seed in SEEDS:
        yield Row(data, "dense", 1.0, seed)
        for density in DENSITIES[1:]:
            for criterion in CRITERIA:
                yield Row(data, criterion, density, seed)


def train(row: Row, folder: Path) -> dict[str, Any]:
    """Train a row and estimate its hardware."""
    config = TrainConfig(epochs=EPOCHS[row.data], seed=row.seed, prune=row.pruning())
    run = train_run("tfc-w4a4", folder, config, data=row.data, model_options=row.options(), progress=False, resume=True)
    return asdict(row) | {"accuracy": run["accuracy"]["test"], "density": run["totals"]["density"]}


def hardware(path: Path, kinds: Sequence[str] = ("unrolled", "folded")) -> dict[str, Any]:
    """Estimated resources and cycles, unrolled and folded, whether they fit the device or not."""
    result: dict[str, Any] = {}
    model = Model.open(path)
    for kind in kinds:
        cycles = {"unrolled": 1, "folded": FOLD}[kind]
        plan = Plan(model, BuildConfig(DEVICE, fps=CLOCK_MHZ * 1e6 / cycles, clock_mhz=CLOCK_MHZ))
        design = plan.point.hardware
        pace = steady_state(design)
        result[kind] = {
            **vars(estimate_resources(design, plan.device.family)),
            "interval": pace.interval,
            "latency": pace.latency,
        }
    return result


def build_image(picture: Picture, runs: Path) -> dict[str, Any]:
    """Build a design to the placed netlist; what it takes, and what every engine found."""
    run, clock = runs / picture.row.data / picture.row.name, picture.clock_mhz
    folder = runs / "images" / picture.name
    fps = clock * 1e6 / picture.cycles
    made = board_images.build_image(run / "model.onnx", picture.target, folder, fps=fps, clock_mhz=clock)
    return {**asdict(picture.row), "cycles": picture.cycles, **made}


def images_tables(results: dict[str, Any]) -> dict[str, list[tuple[Convention, dict[str, object]]]]:
    """The rows of the tables of designs, by target."""
    tables: dict[str, list[tuple[Convention, dict[str, object]]]] = {}
    for picture in IMAGES:
        if found := results.get(picture.name):
            around = "out of context" if picture.target == DEVICE else "with the board's shell"
            data = picture.row.data
            convention = Convention(data, "none: pixels of 8 bits", f"{picture.target}, placed, {around}")
            line = board_images.row(f"{picture.row.criterion} {100 * picture.row.density:g} %", found)
            tables.setdefault(picture.target, []).append((convention, line))
    return tables


def page(data: str, results: dict[str, Any]) -> list[dict[str, object]]:
    """The rows of a table: mean and range of the accuracies, mean of the logic."""
    lines: list[dict[str, object]] = []
    for criterion, density in [("dense", 1.0), *((c, d) for d in DENSITIES[1:] for c in CRITERIA)]:
        found = [each for seed in SEEDS if (each := results.get(Row(data, criterion, density, seed).name))]
        if not found:
            continue
        accuracies = [100 * each["accuracy"] for each in found]
        line: dict[str, object] = {
            "density": f"{100 * density:g} %",
            "criterion": criterion,
            "seeds": len(found),
            "test %": f"{mean(accuracies):.2f}",
            "from": f"{min(accuracies):.2f}",
            "to": f"{max(accuracies):.2f}",
        }
        for kind in ("unrolled", "folded") if all("unrolled" in each for each in found) else ():
            line[f"LUT {kind}"] = round(mean(each[kind]["lut"] for each in found))
            line[f"BRAM {kind}"] = round(mean(each[kind]["bram"] for each in found))
            line[f"latency {kind}"] = round(mean(each[kind]["latency"] for each in found))
        lines.append(line)
    return lines


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def _write(path: Path, results: dict[str, Any]) -> None:
    RESULTS.mkdir(exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(results, indent=1) + "\n")
    os.replace(partial, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", default=list(EPOCHS), help="digits, mnist")
    parser.add_argument("--runs", type=Path, help="folder of the trained networks (default: they are not kept)")
    parser.add_argument("--table", action="store_true", help="train nothing")
    parser.add_argument("--train", action="store_true", help="train only; a later call estimates the hardware")
    parser.add_argument("--hardware", action="store_true", help="estimate the hardware of the networks in --runs again")
    parser.add_argument("--images", nargs="*", metavar="NAME", help="build these designs (default: all) instead")
    arguments = parser.parse_args()
    if arguments.images is not None:
        if arguments.runs is None:
            parser.error("--images needs --runs, the folder of the trained networks")
        if unknown := sorted(set(arguments.images) - {picture.name for picture in IMAGES}):
            parser.error(f"no design {unknown[0]!r}; there are {', '.join(picture.name for picture in IMAGES)}")
        for picture in IMAGES:
            if not arguments.images or picture.name in arguments.images:
                made = build_image(picture, arguments.runs)
                _write(IMAGES_FILE, _read(IMAGES_FILE) | {picture.name: made})
    for data in arguments.data if arguments.images is None else ():
        path = RESULTS / f"{data}.json"
        results = _read(path)
        for row in () if arguments.table else rows(data):
            with TemporaryDirectory() as scratch:
                folder = (arguments.runs or Path(scratch)) / data / row.name
                if row.name not in results or (arguments.hardware and not folder.exists()):
                    results[row.name] = train(row, folder)
                if not arguments.train and (arguments.hardware or "unrolled" not in results[row.name]):
                    results[row.name] |= hardware(folder / "model.onnx")
            _write(path, results)
            print(f"{data} {row.name}: {100 * results[row.name]['accuracy']:.2f} %", flush=True)
    PAGE.write_text("\n".join(text()) + "\n")


def text() -> Iterator[str]:
    """All results as Markdown, after they are printed."""
    yield from ("# Pruning, as measured by `python -m benchmarks.pruning`", "")
    for paragraph in __doc__.split("\n\n")[1:]:
        yield from (" ".join(paragraph.split()).replace("``", "`"), "")
    tables = {
        data: [(CONVENTIONS[data], line) for line in page(data, _read(RESULTS / f"{data}.json"))] for data in EPOCHS
    }
    for name, found in (tables | images_tables(_read(IMAGES_FILE))).items():
        if found:
            shown = table(f"tfc-w4a4, {name}", found)
            report.show(*shown)
            yield from report.markdown(*shown)


if __name__ == "__main__":
    main()
