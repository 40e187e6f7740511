"""Binary and 2-bit networks on CIFAR-10, trained for as many CPU hours as they are given, or for the whole recipe.

``python -m benchmarks.cifar_binary [ROW ...] --hours H`` gives each row H hours of CPU time (of all threads of this
process) in all; ``--epochs 300`` trains the whole recipe, which takes a GPU (used where there is one). Both need
CIFAR-10: the path of the JPEG copy in ``$BITFABRIC_CIFAR10``, else ``cifar10`` in ``$BITFABRIC_DATA``. ``--page`` only
writes the page. Networks are in ``--runs``, which an interrupted command goes on from; results in
``benchmarks/cifar/``, from which ``benchmarks/CIFAR.md`` is made.

A learning rate that falls along a cosine is of no use if it is cut off. So the time of a training image is measured
first, and the epochs are those that fit into the hours, with the figures at the end; where fewer than LEAST epochs of
all images fit, it is LEAST epochs of fewer images. With more hours a finished row goes on: the weights of the last
cycle, a new cosine from the first rate (a warm restart; Loshchilov, Hutter, "SGDR", ICLR 2017), in the hours that
are added. A cycle is at least as long as all before it, or the restart would cost more than it brings; otherwise
the command says how many hours it takes.

Images are mirrored and shifted (flip-crop) in cycles of at least AUGMENTED passes over all images. Rows of several
steps share the hours of the first cycle, and the last step is what goes on.
"""

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from quant import DataSet, TrainConfig, create_model, fit, load_data, train_run
from quant.metrics import accuracy

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "cifar", HERE / "CIFAR.md"
RECIPE = 300
"""Epochs of the whole recipe: all training images, flip-crop, one cosine."""
LEAST, AUGMENTED = 5, 20
BATCH, SAMPLE = 50, 100
SLOWER = (3e-3, 3e-6)
"""Rates of 1-bit weights: those of the schemes suit the digits (``benchmarks.accuracy``)."""


@dataclass(frozen=True)
class Step:
    """A training: a network with options, its rates (None: the scheme's), and its share of the first cycle."""

    model: str
    options: tuple[tuple[str, Any], ...] = ()
    rates: tuple[float, float] | None = None
    share: float = 1.0


@dataclass(frozen=True)
class Row:
    """The steps of a network, each of which starts from the one before and learns from it, and a published accuracy of
    the same network in percent."""

    steps: tuple[Step, ...]
    published: str = ""


REACT = (("activation", "react"),)
NARROW = (("width", 0.25),)
ROWS = {
    "cnv-w1a1": Row((Step("cnv-w1a1", rates=SLOWER),), "84.22 (Brevitas)"),
    "cnv-w2a2": Row((Step("cnv-w2a2"),), "89.03 (Brevitas)"),
    "resnet20-w1a1": Row((Step("resnet20-w1a1", rates=SLOWER),)),
    "resnet20-w1a1-react": Row((Step("resnet20-float", REACT, share=0.5), Step("resnet20-w1a1", REACT, SLOWER, 0.5))),
    "resnet20-w2a2": Row((Step("resnet20-w2a2"),)),
    "vgg-small-w1a1-quarter": Row((Step("vgg-small-w1a1", NARROW, SLOWER),)),
    "vgg-small-w2a2-quarter": Row((Step("vgg-small-w2a2", NARROW),)),
    "vgg-small-w1a1": Row((Step("vgg-small-w1a1", rates=SLOWER),)),
    "vgg-small-w2a2": Row((Step("vgg-small-w2a2"),)),
}
DEFAULT = [name for name in ROWS if not name.startswith("vgg-small") or name.endswith("quarter")]
"""Rows that some CPU hours bring forward. VGG-Small at full width has 600 M multiply-adds an image: name it."""


class Meter:
    """The CPU time of a row, of all threads of this process and the processes before it, in seconds.

    ``counting`` writes it to a file every few seconds, so that a killed training counts too.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.before = float(path.read_text()) if path.exists() else 0.0
        self.start = time.process_time()

    @property
    def seconds(self) -> float:
        """The CPU time so far."""
        return self.before + time.process_time() - self.start

    def write(self) -> None:
        """Writes the time."""
        write(self.path, f"{self.seconds:.1f}\n")

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Context in which the file is at most five seconds behind."""
        ended = threading.Event()

        def keep() -> None:
            while not ended.wait(5):
                self.write()

        thread = threading.Thread(target=keep, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self.write()


class EpochTimes(Callback):
    """CPU seconds of every epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        self.start = time.process_time()

    def on_train_epoch_end(self, *_: Any) -> None:
        self.seconds.append(time.process_time() - self.start)


def cost(step: Step, data: DataSet) -> tuple[float, float]:
    """CPU seconds of a training image and of a test image, measured on SAMPLE of them after as many to warm up."""
    few = replace(data, x_train=data.x_train[:SAMPLE], y_train=data.y_train[:SAMPLE],
                  x_test=data.x_test[:BATCH], y_test=data.y_test[:BATCH])  # fmt: skip
    model = create_model(step.model, **data.options, **dict(step.options))
    times = EpochTimes()
    fit(model, few, TrainConfig(epochs=2, batch_size=BATCH), progress=False, callbacks=[times])
    x, y = torch.tensor(few.x_train).float(), torch.tensor(few.y_train)
    start = time.process_time()
    accuracy(model, x.reshape(len(x), *model.input_shape), y)
    return times.seconds[1] / len(x), (time.process_time() - start) / len(x)


def shuffled(data: DataSet) -> DataSet:
    """The training images in an order that does not depend on the row: the copy is sorted by class."""
    order = torch.randperm(len(data.x_train), generator=torch.Generator().manual_seed(0)).numpy()
    return replace(data, x_train=data.x_train[order], y_train=data.y_train[order])


def fitting(seconds: float, costs: tuple[float, float], data: DataSet) -> tuple[int, int]:
    """Images and epochs of a training that takes so much CPU time with its figures on training and test set.

    The export runs 1,000 test images, and the check of the file as many twice. Exits where not one batch fits.
    """
    training, testing = costs
    tested = len(data.x_test) + 3000
    whole = len(data.x_train)
    epochs = int((seconds - (whole + tested) * testing) / (whole * training))
    if epochs >= LEAST:
        return whole, epochs
    images = int((seconds - tested * testing) / (LEAST * training + testing)) // BATCH * BATCH
    if images < BATCH:
        least = tested * testing + BATCH * (LEAST * training + testing)
        sys.exit(f"{seconds / 3600:.3f} CPU hours hold no training: give at least {least / 3600:.3f}")
    return min(images, whole), LEAST


def planned(row: Row, state: dict[str, Any], hours: float, spent: float, data: DataSet) -> dict[str, Any] | None:
    """The next cycle: for every step its images and epochs. None where the hours are spent."""
    cycles, left = state["cycles"], hours * 3600 - spent
    if cycles and left < spent:
        print(f"  {spent / 3600:.3f} CPU hours are spent: another cycle takes --hours {2 * spent / 3600:.2f} at least")
        return None
    steps = row.steps[-1:] if cycles else row.steps
    total, plan = sum(step.share for step in steps), []
    for step in steps:
        training, testing = state["costs"][step.model]
        if step is not row.steps[0]:
            training += state["costs"][row.steps[-2].model][1]  # the teacher's answer
        images, epochs = fitting(left * step.share / total, (training, testing), data)
        plan.append({"images": images, "epochs": epochs})
    return {"steps": plan, "done": []}


def measure(name: str, arguments: argparse.Namespace, data: DataSet, source: str) -> None:
    """Trains one more cycle of a row, or the rest of one, and writes the result."""
    row, folder, result = ROWS[name], arguments.runs / name, RESULTS / f"{name}.json"
    path = folder / "state.json"
    if not path.exists() and result.exists():
        sys.exit(f"{result} is of networks that {folder} does not hold: give their --runs, or remove the file")
    folder.mkdir(parents=True, exist_ok=True)
    state: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"cycles": [], "plan": None}
    meter = Meter(folder / "cpu_seconds")
    with meter.counting():
        if state["plan"] is None:
            if arguments.epochs is None:
                if "costs" not in state:
                    state["costs"] = {step.model: cost(step, data) for step in row.steps}
                state["plan"] = planned(row, state, arguments.hours, meter.seconds, data)
            else:
                steps = row.steps[-1:] if state["cycles"] else row.steps
                whole = {"images": len(data.x_train), "epochs": arguments.epochs}
                state["plan"] = {"steps": [whole for _ in steps], "done": []}
            write(path, json.dumps(state, indent=1))
        if state["plan"] is None:
            return
        for step in train(name, state, folder, data, source):
            state["plan"]["done"].append(step)
            write(path, json.dumps(state, indent=1))
        state["cycles"].append({"steps": state["plan"]["done"], "cpu_hours": round(meter.seconds / 3600, 4)})
        state["plan"] = None
        write(path, json.dumps(state, indent=1))
    RESULTS.mkdir(exist_ok=True)
    about = {"data": data.name, "device": "GPU" if torch.cuda.is_available() else "CPU"}
    write(result, json.dumps({"row": asdict(row), **about, **state}, indent=1) + "\n")
    reached = state["cycles"][-1]["steps"][-1]["test"]
    print(f"  {100 * reached:.2f} % on {len(data.x_test):,} test images, {meter.seconds / 3600:.3f} CPU hours in all")


def train(name: str, state: dict[str, Any], folder: Path, data: DataSet, source: str) -> Iterator[dict[str, Any]]:
    """The steps of a cycle that are not done yet, one by one as they are."""
    row, number, plan = ROWS[name], len(state["cycles"]), state["plan"]
    steps = row.steps[-1:] if number else row.steps
    for index in range(len(plan["done"]), len(steps)):
        step, images, epochs = steps[index], plan["steps"][index]["images"], plan["steps"][index]["epochs"]
        teacher = f"cycle0-step{len(row.steps) - 2}" if len(row.steps) > 1 and (index or number) else None
        start = f"cycle{number}-step{index - 1}" if index else None
        if number:
            before = state["cycles"][-1]["steps"]
            start = f"cycle{number - 1}-step{len(before) - 1}"
        passes = images * epochs / len(data.x_train)
        config = TrainConfig(
            epochs=epochs, batch_size=BATCH, learning_rate=step.rates,
            augment="flip-crop" if passes >= AUGMENTED else None,
        )  # fmt: skip
        print(f"  cycle {number + 1}, {step.model}: {images:,} images, {epochs} epochs", flush=True)
        began, out = time.perf_counter(), folder / f"cycle{number}-step{index}"
        run = train_run(
            step.model, out, config,
            data=source if images == len(data.x_train) else part_of(data, images, folder.parent),
            model_options=dict(step.options), start=start and folder / start, teacher=teacher and folder / teacher,
            progress=False, resume=any(out.rglob("last.ckpt")),
        )  # fmt: skip
        yield {
            "model": step.model, "images": images, "epochs": epochs, "augment": config.augment,
            "rates": run["fit"]["learning_rate"], "train": run["accuracy"]["train"], "test": run["accuracy"]["test"],
            "seconds": round(time.perf_counter() - began),
        }  # fmt: skip


def part_of(data: DataSet, images: int, folder: Path) -> Path:
    """A file with the first training images and all test images."""
    path = folder / f"{data.name}-{images}.npz"
    if not path.exists():
        partial = path.with_name(f".{os.getpid()}-{path.name}")
        np.savez(partial, x_train=data.x_train[:images], y_train=data.y_train[:images],
                 x_test=data.x_test, y_test=data.y_test)  # fmt: skip
        os.replace(partial, path)
    return path


def write(path: Path, content: str) -> None:
    """Replaces a file by a complete one."""
    partial = path.with_name(f".{os.getpid()}-{path.name}")
    partial.write_text(content)
    os.replace(partial, path)


def page() -> str:
    """All results as Markdown."""
    lines = [
        "# Binary networks on CIFAR-10",
        "",
        "Made by `python -m benchmarks.cifar_binary`: each network as far as the CPU hours that its row states, which "
        "include the measurement of the costs, all figures, the export and its check. Accuracy on all 10,000 test "
        f"images; one seed; nothing is chosen on them. The whole recipe has {RECIPE} epochs of 50,000 images; a row "
        "that has seen a small part of that says how far a CPU comes, not how good the network is.",
        "",
        "| network | CPU hours | training images x epochs | of the recipe | train % | test % | published % |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    names = set()
    for name, row in ROWS.items():
        path = RESULTS / f"{name}.json"
        if not path.exists():
            continue
        result = json.loads(path.read_text())
        names.add(result["data"])
        steps = [step for cycle in result["cycles"] for step in cycle["steps"]]
        seen = sum(step["images"] * step["epochs"] for step in steps)
        hours = result["cycles"][-1]["cpu_hours"]
        if result["device"] == "GPU":
            hours = f"GPU, {sum(step['seconds'] for step in steps) / 3600:.1f}"
        trained = ", then ".join(f"{step['images']:,} x {step['epochs']}" for step in steps)
        lines.append(
            f"| {name} | {hours} | {trained} | {100 * seen / (RECIPE * 50_000):.2f} % | {100 * steps[-1]['train']:.2f} "
            f"| {100 * steps[-1]['test']:.2f} | {row.published} |"
        )
    copy = "Images are a copy of CIFAR-10 as JPEG files of quality 75, train and test. " if names - {"cifar10"} else ""
    lines += [
        "",
        f"{copy}Published accuracies are another convention, beside which these are not to be compared: Brevitas's "
        "`bnn_pynq` examples, the original images, trained to the end on a GPU (CNV 1W1A and 2W2A).",
        "",
        "- `quarter`: a quarter of the channels (`--model-option width=0.25`), a sixteenth of the work. At full width "
        "VGG-Small has 600 million multiply-adds an image; its rows are trained where they are named.",
        "- `react`: ReActNet's layers in two steps; the first has real weights and activations, and the second starts "
        "from it and learns from it (`--start`, `--teacher`).",
        "",
        "More hours take up a row where it ended (a new cosine from the weights of the last one, at least as long as "
        "all before); a GPU trains the whole recipe:",
        "",
        "```",
        "python -m benchmarks.cifar_binary cnv-w1a1 --hours 2",
        f"python -m benchmarks.cifar_binary {' '.join(ROWS)} --epochs {RECIPE} --runs gpu/",
        "```",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"{', '.join(ROWS)} (default: {', '.join(DEFAULT)})")
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--hours", type=float, default=0.1, help="CPU hours of each row, of all cycles (default: 0.1)")
    amount.add_argument("--epochs", type=int, help="epochs of all images instead, as on a GPU")
    parser.add_argument("--runs", type=Path, default=Path("build/cifar"), help="folder of the trained networks")
    parser.add_argument("--page", action="store_true", help="only write the page")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.rows if name not in ROWS]:
        parser.error(f"no row {unknown[0]}; there are {', '.join(ROWS)}")
    if not arguments.page:
        source = os.environ.get("BITFABRIC_CIFAR10", "cifar10")
        data = shuffled(load_data(source))
        for name in arguments.rows or DEFAULT:
            print(name, flush=True)
            measure(name, arguments, data, source)
    write(PAGE, page())


if __name__ == "__main__":
    main()
