"""Forward and backward pass of quantized networks against the same networks in float and in plain Brevitas.

The three take turns in one run. Brevitas's are its stock layers and quantizers as its own example models use them:
1 bit ``SignedBinary...Const``, more bits ``Int8WeightPerTensorFloat`` and ``Uint8ActPerTensorFloat`` of that width.
"""

import argparse
import copy
import statistics
import time
from typing import Any

import torch
from brevitas import nn as qnn
from brevitas.quant import (
    Int8WeightPerTensorFloat,
    SignedBinaryActPerTensorConst,
    SignedBinaryWeightPerTensorConst,
    Uint8ActPerTensorFloat,
)

from benchmarks import report
from quant import create_model, layers

CASES: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("tfc-w1a1", {"input_shape": (1, 28, 28), "in_range": (0, 255)}, 100),
    ("tfc-w4a4", {"input_shape": (1, 28, 28), "in_range": (0, 255)}, 100),
    ("lfc-w1a1", {"input_shape": (1, 28, 28), "in_range": (0, 255)}, 100),
    ("lfc-w4a4", {"input_shape": (1, 28, 28), "in_range": (0, 255)}, 100),
    ("cnv-w1a1", {}, 50),
    ("cnv-w2a2", {}, 50),
)
ROUNDS = 8


def _brevitas_act(bits: int) -> torch.nn.Module:
    if bits == 1:
        return qnn.QuantIdentity(act_quant=SignedBinaryActPerTensorConst)
    return qnn.QuantReLU(act_quant=Uint8ActPerTensorFloat.let(bit_width=bits))


def _brevitas_layer(layer: Any) -> torch.nn.Module:
    bits = int(layer.quant_weight().bit_width)
    quant = SignedBinaryWeightPerTensorConst if bits == 1 else Int8WeightPerTensorFloat.let(bit_width=bits)
    if isinstance(layer, layers.Linear):
        return qnn.QuantLinear(layer.in_features, layer.out_features, layer.bias is not None, weight_quant=quant)
    return qnn.QuantConv2d(
        layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, layer.dilation,
        layer.groups, bias=layer.bias is not None, weight_quant=quant,
    )  # fmt: skip


def _float_layer(layer: Any) -> torch.nn.Module:
    if isinstance(layer, layers.Linear):
        return torch.nn.Linear(layer.in_features, layer.out_features, layer.bias is not None)
    return torch.nn.Conv2d(
        layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, layer.dilation,
        layer.groups, layer.bias is not None,
    )  # fmt: skip


def twin(model: torch.nn.Module, kind: str) -> torch.nn.Module:
    """The same network of ``float`` or ``brevitas`` layers."""
    other = copy.deepcopy(model)
    kinds = (layers.Linear, layers.Conv2d, layers.Activation, layers.ReluActivation)
    for path, module in [(path, module) for path, module in other.named_modules() if isinstance(module, kinds)]:
        parent, name = other.get_submodule(path.rpartition(".")[0]), path.rpartition(".")[2]
        made: torch.nn.Module
        if isinstance(module, layers.Linear | layers.Conv2d):
            made = _float_layer(module) if kind == "float" else _brevitas_layer(module)
        else:
            bits = int(module.act_quant.fused_activation_quant_proxy.tensor_quant.bits)
            is_input = isinstance(parent, layers.InputQuant)
            made = (torch.nn.Identity() if is_input else torch.nn.ReLU()) if kind == "float" else _brevitas_act(bits)
        setattr(parent, name, made)
    return other.train()


def _step(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
    torch.nn.functional.cross_entropy(model(x), y).backward()
    for parameter in model.parameters():
        parameter.grad = None


def measure(name: str, options: dict[str, Any], batch: int) -> dict[str, float]:
    """Median milliseconds of a step for each of the three."""
    torch.manual_seed(0)
    model = create_model(name, **options).train()
    low, high = model.in_range
    x = torch.randint(low, high + 1, (batch, *model.input_shape)).float()
    y = torch.randint(0, model.classes, (batch,))
    models = {"float": twin(model, "float"), "brevitas": twin(model, "brevitas"), "bitfabric": model}
    for each in models.values():
        for _ in range(3):
            _step(each, x, y)
    start = time.perf_counter()
    _step(models["float"], x, y)
    repeats = max(1, round(0.15 / (time.perf_counter() - start)))
    times: dict[str, list[float]] = {kind: [] for kind in models}
    for _ in range(ROUNDS):
        for kind, each in models.items():
            start = time.perf_counter()
            for _ in range(repeats):
                _step(each, x, y)
            times[kind].append((time.perf_counter() - start) / repeats * 1e3)
    return {kind: statistics.median(values) for kind, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    threads = parser.parse_args().threads
    torch.set_num_threads(threads)
    results: dict[str, dict[str, Any]] = {}
    for name, options, batch in CASES:
        found = measure(name, options, batch)
        ratios = {
            "of_float": found["bitfabric"] / found["float"],
            "of_brevitas": found["bitfabric"] / found["brevitas"],
        }
        results[name] = {"batch": batch, "milliseconds": found, **ratios}
    report.show(
        f"milliseconds of a forward and backward pass, {threads} threads",
        ["network", "batch", "float", "Brevitas", "bitfabric", "of float", "of Brevitas"],
        [
            [name, r["batch"], *(f"{v:.2f}" for v in r["milliseconds"].values()),
             f"{r['of_float']:.2f}", f"{r['of_brevitas']:.2f}"]
            for name, r in results.items()
        ],
    )  # fmt: skip
    report.save("training_speed", {"threads": threads, "networks": results})


if __name__ == "__main__":
    main()
