"""Pruning by what a weight saves in hardware."""

import numpy as np
import pytest
import torch

from hw.lowering.lower import lower
from quant import (
    Pruning,
    TrainConfig,
    compression,
    create_model,
    export,
    fit,
    train_run,
)
from quant.compression.saving import cost_inputs
from quant.compression.selection import densities
from quant.compression.weights import compression_of, find_layers, latent_of
from quant.cost import LayerCost
from quant.errors import QuantError
from tests.quant.small_training import model_for, small


def test_layers_ranked_by_what_a_weight_saves():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(40, 20), torch.nn.Linear(20, 20))
    model[1].weight.data.mul_(100)  # the scale of a layer does not matter
    even = compression.prune(model, 0.5, savings={"0": 1.0, "1": 1.0})
    assert all(0.45 < density < 0.55 for density in densities(find_layers(even)).values())
    skewed = compression.prune(model, 0.5, savings={"0": 1.0, "1": 4.0})
    first, second = densities(find_layers(skewed)).values()
    assert first > 0.5 > second
    scores = {name: latent_of(layer).detach().abs() for name, layer in find_layers(model).items()}
    relative = {name: scores[name] / scores[name].mean() / {"0": 1.0, "1": 4.0}[name] for name in scores}
    kept = {name: compression_of(layer).mask for name, layer in find_layers(skewed).items()}
    best = {name: torch.zeros_like(kept[name]).scatter_(1, scores[name].argmax(1, keepdim=True), True) for name in kept}
    least = torch.cat([relative[name][kept[name] & ~best[name]] for name in kept]).min()
    assert torch.cat([relative[name][~kept[name]] for name in kept]).max() <= least


def half_a_lut(shape, bits, density=1.0, structure="unstructured"):
    """A cost model: half a lookup table for each weight bit, and twice as much where inputs have a sign."""
    weights = int(np.prod(shape.weights) * density)
    return LayerCost(weights * bits.weights * (1 + bits.signed_inputs) // 2, 0, 0, 0, cycles=7, rom_bits=weights)


def test_what_a_weight_saves():
    model = create_model("lenet5-w4a4", input_shape=(1, 28, 28), in_range=(-128, 127))
    found = compression.savings(model, half_a_lut, "lut", fraction=0.75)
    assert list(found) == list(find_layers(model))
    first, *rest = found.values()
    assert first == pytest.approx(4, rel=1e-2)
    assert rest == pytest.approx([2] * 4, rel=1e-2)
    assert compression.savings(model, half_a_lut, "rom_bits", layers="output") == {"output": 1.0}
    with pytest.raises(QuantError, match="save no lut in any layer"):  # 1 % is less than an estimate can tell
        compression.savings(model, half_a_lut, "lut", fraction=0.01)
    with pytest.raises(QuantError, match="zeros of structure columns save no cycles in any layer"):
        compression.savings(model, half_a_lut, "cycles", structure="columns")
    with pytest.raises(QuantError, match=r"layer hidden\.0\.linear has floating-point weights"):
        compression.savings(create_model("tfc-float"), half_a_lut, layers="hidden.0*")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tfc-wternarya2", {}),
        ("resnet8-w4a4", {"width": 0.25}),
        pytest.param("mobilenet-v1-w2a2", {"width": 0.125}, marks=pytest.mark.slow),
    ],
)
def test_the_layers_that_a_cost_model_is_asked_for(name, options, tmp_path):
    model = create_model(name, input_shape=(1, 8, 8), in_range=(0, 255), **options)
    export(model, tmp_path / "model.onnx")
    products, windows = [], {}
    for node in lower(tmp_path / "model.onnx"):
        if node.kernel.op == "sliding_window":
            windows[node.outputs[0]] = node.kernel
        elif node.kernel.op in ("matrix_vector", "depthwise"):
            products.append((node.kernel, windows.get(node.inputs[0])))
    wanted = []
    for kernel, window in products:
        [stream], [made] = kernel.inputs(), kernel.outputs()
        shape = None if window is None else (window.shape, window.kernel)
        # Codes that no sum of the layer before reaches are in no type of the graph, nor is -2 where no weight is: an
        # untrained network may have such layers.
        codes = made.shape[-1], kernel.weight_dtype.name
        widths = range(stream.dtype.bitwidth(), 9)
        wanted += [(*codes, width, stream.dtype.signed(), shape) for width in widths]
    for shape, bits in cost_inputs(model).values():
        names = {1: ("BIPOLAR",), 2: ("INT2", "TERNARY"), "ternary": ("TERNARY",)}
        types = names.get(bits.weights, (f"INT{bits.weights}",))
        window = ((*shape.image, shape.inputs), shape.kernel) if shape.kernel else None
        assert any((shape.outputs, name, bits.inputs, bits.signed_inputs, window) in wanted for name in types)


def test_training_that_saves_hardware(tmp_path):
    data = small()
    with pytest.raises(QuantError, match="pruning by lut needs a cost model"):
        fit(model_for(data, "tfc-w4a4"), data, TrainConfig(epochs=1, prune=Pruning(0.5, by="lut")))

    def expensive_output(shape, bits, density=1.0, structure="unstructured"):
        return LayerCost(int(density * np.prod(shape.weights) * (20 if shape.outputs == 10 else 1)), *[0] * 5)

    config = TrainConfig(epochs=2, prune=Pruning(0.5, by="lut"))
    run = train_run("tfc-w4a4", tmp_path, config, cost=expensive_output)
    assert run["savings"]["output"] == pytest.approx(20 * run["savings"]["hidden.1.linear"], rel=0.02)
    assert run["layers"][-1]["density"] < 0.2
    assert run["layers"][0]["density"] > run["layers"][-1]["density"]
    assert run["totals"]["density"] <= 0.5
    assert train_run("tfc-w4a4", tmp_path, config, cost=expensive_output)["cached"] is True
    assert train_run("tfc-w4a4", tmp_path, config, cost=half_a_lut)["cached"] is False
