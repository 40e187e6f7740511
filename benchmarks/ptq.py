"""Post-training quantization against floating point and against Brevitas's own recipe.

``python -m benchmarks.ptq [ROW ...] [--seed K]`` trains a float network, quantizes it in several ways without training,
and trains the 4-bit ones further for some epochs; without arguments all rows and seeds. ``--page`` only writes the
table. Needs ``$BITFABRIC_DATA`` with MNIST and Fashion-MNIST, and for resnet8 the path of CIFAR-10 as JPEG files in
``$BITFABRIC_CIFAR10``. The results are kept in ``benchmarks/ptq/``, a file a row and seed, and ``benchmarks/PTQ.md`` is
made from them.

Brevitas's recipe is that of its example (``brevitas_examples.imagenet_classification.ptq``) with its graph mode:
BatchNorm merged, equalization, calibration on the same frames by mean squared error, bias correction; 4 bits per tensor
for all weights and activations. Its graph mode quantizes the input and the outputs with 4 bits, too.
"""

import argparse
import copy
import json
import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from quant import DataSet, TrainConfig, create_model, fit, load_data, quantize
from quant.metrics import accuracy
from quant.post_training.tracing import plain_modules

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "ptq", HERE / "PTQ.md"
SEEDS = (0, 1, 2)
FRAMES = 1024
"""Calibration frames."""


@dataclass(frozen=True)
class Row:
    """A float network: ``images`` of the training set, ``epochs``, and the epochs of training after quantization."""

    model: str
    data: str
    epochs: int
    further: int
    images: int | None = None


ROWS = {
    "lenet5-mnist": Row("lenet5", "mnist", 4, 1, images=15_000),
    "lenet5-fashion": Row("lenet5", "fashion-mnist", 5, 2, images=15_000),
    "resnet8-cifar10": Row("resnet8", "cifar10", 8, 4, images=15_000),
}
WAYS: dict[str, dict[str, Any]] = {
    "8 bits, power-of-two": {},
    "8 bits, free": {"scales": "free"},
    "4 bits, power-of-two": {"weight_bits": 4, "act_bits": 4},
    "4 bits, free": {"weight_bits": 4, "act_bits": 4, "scales": "free"},
    "4 bits, free, GPTQ": {"weight_bits": 4, "act_bits": 4, "scales": "free", "weights": "gptq"},
}
"""Quantizations per tensor, by the name of their column."""
TRAINED = ("4 bits, power-of-two", "4 bits, free")
BREVITAS = {"Brevitas, 4 bits, free": "float_scale", "Brevitas, 4 bits, power-of-two": "po2_scale"}


def data_of(row: Row) -> DataSet:
    source = os.environ.get("BITFABRIC_CIFAR10", row.data) if row.data == "cifar10" else row.data
    data = load_data(source)
    if row.images is None:
        return data
    chosen = torch.randperm(len(data.x_train), generator=torch.Generator().manual_seed(0))[: row.images].numpy()
    return replace(data, x_train=data.x_train[chosen], y_train=data.y_train[chosen])


def measure(row: Row, seed: int) -> dict[str, Any]:
    """Returns the accuracies on the test set, as fractions of 1."""
    data = data_of(row)
    torch.manual_seed(seed)
    network = create_model(
        row.model, scheme="float", input_shape=data.shape, classes=data.classes, in_range=(data.low, data.high)
    )
    trained = fit(network, data, TrainConfig(epochs=row.epochs, seed=seed))
    found: dict[str, Any] = {"float": trained.test_accuracy}
    print(f"float {trained.test_accuracy:.2%}, {trained.seconds:.0f} s", flush=True)
    chosen = torch.randperm(len(data.x_train), generator=torch.Generator().manual_seed(seed))[:FRAMES]
    frames = torch.as_tensor(data.x_train)[chosen].float().reshape(-1, *network.input_shape)
    test = torch.as_tensor(data.x_test).float().reshape(-1, *network.input_shape), torch.as_tensor(data.y_test)
    for name, scale in BREVITAS.items():
        found[name] = accuracy(by_brevitas(network, frames, scale), *test, batch_size=500)
        print(f"{name}: {found[name]:.2%}", flush=True)
    for name, settings in WAYS.items():
        quantized = quantize(network, frames, test=test, sensitivity=False, **settings)
        found[name] = quantized.accuracy
        print(f"{name}: {quantized.accuracy:.2%}", flush=True)
        if name in TRAINED:
            further = fit(quantized.model, data, TrainConfig(epochs=row.further, seed=seed))
            found[f"{name}, trained"] = further.test_accuracy
            print(f"{name}, trained: {further.test_accuracy:.2%}, {further.seconds:.0f} s", flush=True)
    return found


def by_brevitas(network: torch.nn.Module, frames: torch.Tensor, scale: str) -> torch.nn.Module:
    """Returns the network that Brevitas's own recipe makes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from brevitas.graph.quantize import preprocess_for_quantize
        from brevitas_examples.imagenet_classification.ptq import ptq_common

        model = preprocess_for_quantize(
            plain_modules(network), equalize_iters=20, equalize_merge_bias=True, merge_bn=True, relu6_to_relu=True
        )
        model = ptq_common.quantize_model(
            model, backend="fx", weight_bit_width=4, act_bit_width=4, bias_bit_width=32,
            weight_quant_granularity="per_tensor", act_quant_percentile=99.99, act_quant_type="sym",
            scale_factor_type=scale, quant_format="int", weight_narrow_range=True, weight_param_method="mse",
            act_param_method="mse",
        )  # fmt: skip
        batches = [(batch, torch.zeros(len(batch))) for batch in frames.split(64)]
        with torch.no_grad():
            model.eval()
            model(frames[:64])
            ptq_common.calibrate(batches, model)
            ptq_common.apply_bias_correction(batches, model)
    return model.eval()


def write_page() -> None:
    """Writes the table of all results so far."""
    results: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(RESULTS.glob("*.json")):
        results.setdefault(path.stem.rpartition("-")[0], []).append(json.loads(path.read_text()))
    lines = [
        "# Post-training quantization", "",
        f"Made by `python -m benchmarks.ptq`. Test accuracy in percent; one scale a tensor; {FRAMES:,} calibration "
        "frames; residual sums have 8 bits. Trained: from the quantized network, for the epochs named. CIFAR-10 is a "
        "copy as JPEG files, so its figures are not comparable with published ones. Networks are trained for as long "
        "as two cores allow.", "",
    ]  # fmt: skip
    for name, row in ROWS.items():
        made = results.get(name, [])
        if not made:
            continue
        images = "all images" if row.images is None else f"{row.images:,} images"
        lines += [
            f"## {row.model}, {row.data}", "",
            f"Float network: {row.epochs} epochs on {images}; further training: {row.further} epochs. "
            f"{len(made)} seeds.", "", "| | accuracy | lowest | highest | below float |", "|---|---|---|---|---|",
        ]  # fmt: skip
        for column in made[0]["accuracy"]:
            values = [100 * each["accuracy"][column] for each in made]
            below = sum(100 * each["accuracy"]["float"] for each in made) / len(made) - sum(values) / len(values)
            mean = sum(values) / len(values)
            lines.append(f"| {column} | {mean:.2f} | {min(values):.2f} | {max(values):.2f} | {below:.2f} |")
        lines.append("")
    PAGE.write_text("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"{', '.join(ROWS)} (default: all)")
    parser.add_argument("--seed", type=int, help=f"one of the seeds (default: {', '.join(map(str, SEEDS))})")
    parser.add_argument("--page", action="store_true", help="only write the page")
    given = parser.parse_args()
    for name in [] if given.page else given.rows or ROWS:
        for seed in SEEDS if given.seed is None else (given.seed,):
            print(f"{name}, seed {seed}", flush=True)
            row = copy.copy(ROWS[name])
            RESULTS.mkdir(exist_ok=True)
            content = {"row": vars(row), "seed": seed, "accuracy": measure(row, seed)}
            (RESULTS / f"{name}-{seed}.json").write_text(json.dumps(content, indent=1) + "\n")
    write_page()


if __name__ == "__main__":
    main()
