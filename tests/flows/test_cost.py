"""The cost model of single layers against the estimates of the same layers in lowered networks."""

from math import gcd

import numpy as np
import pytest
import torch

from flows.cost import LAYER, WINDOW, HardwareCost, cost_on, layer_graph
from hw.boards.targets import find_target
from hw.fabric.resources import Resources
from hw.families import find_device
from hw.folding import choose
from hw.folding.search import Search
from hw.host.errors import UsageError
from hw.ir.kernel import Folding
from hw.model import Model
from hw.passes.lanes import insert_width_converters
from quant import create_model, export, summary
from quant.compression import prune, tie
from quant.cost import CostModel, LayerBits, LayerCost, LayerShape
from quant.errors import QuantError
from quant.structure import structure as read_structure

DEVICE = "lfe5u-85f"
CONV = LayerShape(8, 16, (3, 3), (10, 10), stride=(2, 2), padding=(1, 1))


def lowered(model, path) -> list[tuple[torch.nn.Module, dict]]:
    """The weight layers of a model, and the kernels that each is lowered to by the names of the cost model."""
    export(model, path)
    graph = Model.open(path).graph
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)]
    found: list[dict] = []
    window: dict = {}
    for node in graph:
        if node.kernel.op == "sliding_window":
            window = {WINDOW: node.kernel}
        elif node.kernel.op in ("matrix_vector", "depthwise"):
            found.append({**window, LAYER: node.kernel})
            window = {}
    return list(zip(layers, found, strict=True))


def shape_of(layer: torch.nn.Module, kernels: dict) -> LayerShape:
    if isinstance(layer, torch.nn.Linear):
        return LayerShape(layer.in_features, layer.out_features)
    if WINDOW not in kernels:  # 1 x 1
        return LayerShape(layer.in_channels, layer.out_channels, image=kernels[LAYER].prefix)
    return LayerShape(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        kernels[WINDOW].shape[:-1],
        layer.stride,
        layer.dilation,
        layer.padding,
        layer.groups,
    )


def bits_of(kernels: dict) -> LayerBits:
    [stream] = next(iter(kernels.values())).inputs()
    return LayerBits(kernels[LAYER].weight_dtype.bitwidth(), stream.dtype.bitwidth(), stream.dtype.signed())


def cost_of(kernels: dict) -> LayerCost:
    family = find_device(DEVICE).family
    used = [kernel.resources(family) for kernel in kernels.values()]
    [memory] = kernels[LAYER].rtl(family).memories.values()
    memories = memory if isinstance(memory, tuple) else (memory,)
    return LayerCost(
        *(sum(getattr(each, name) for each in used) for name in ("lut", "ff", "bram", "dsp")),
        cycles=max(kernel.interval for kernel in kernels.values()),
        rom_bits=sum(len(each.words) * each.width for each in memories),
        share=choose.cost(sum(used, Resources()), find_device(DEVICE).capacity),
    )


@pytest.mark.parametrize("name", ["lenet5-w1a1", "tfc-w1a1"])
def test_equals_the_estimate_of_a_binary_network(name, tmp_path):
    """The accumulators of binary layers do not depend on the weights, so every number is equal."""
    torch.manual_seed(0)
    model = create_model(name, input_shape=(1, 16, 16), in_range=(0, 255), in_bits=1)
    layers = lowered(model, tmp_path / "model.onnx")
    assert len(layers) in (4, 5)
    for layer, kernels in layers:
        assert HardwareCost(DEVICE)(shape_of(layer, kernels), LayerBits(1, 1, True)) == cost_of(kernels), layer


def test_is_the_estimate_of_a_wider_network_but_for_its_accumulators(tmp_path):
    torch.manual_seed(0)
    model = create_model("mobilenet-v1-w4a4", input_shape=(1, 8, 8), in_bits=4, in_range=(0, 15), width=0.125)
    for layer, kernels in lowered(model, tmp_path / "model.onnx"):
        found = HardwareCost(DEVICE)(shape_of(layer, kernels), bits_of(kernels))
        expected = cost_of(kernels)
        assert (found.bram, found.dsp, found.cycles, found.rom_bits) == (
            expected.bram,
            expected.dsp,
            expected.cycles,
            expected.rom_bits,
        ), layer


def test_a_budget_of_cycles_is_the_folding_searchs_choice():
    device = find_device(DEVICE)
    bits = LayerBits(2, 4)
    found = HardwareCost(DEVICE, cycles=400)(CONV, bits)
    choice = choose.for_rate(Search(layer_graph(CONV, bits), device.family, device.capacity), 400)
    assert (found.lut, found.ff, found.bram, found.dsp) == tuple(vars(choice.used).values())
    assert found.cycles == choice.interval <= 400
    slow = HardwareCost(DEVICE)(CONV, bits)
    assert slow.cycles > found.cycles
    assert slow.lut < found.lut


def test_a_given_folding():
    table = {LAYER: Folding(pe=4, simd=8), WINDOW: Folding(simd=8)}
    found = HardwareCost(DEVICE, folding=table)(CONV, LayerBits(4, 4))
    assert found.cycles == 25 * (72 // 8) * (16 // 4)
    converted = HardwareCost(DEVICE, folding={LAYER: Folding(pe=4, simd=8)})(CONV, LayerBits(4, 4))
    graph = layer_graph(CONV, LayerBits(4, 4))
    assert converted.lut > found.lut - choose.estimate_resources(graph, find_device(DEVICE).family).lut
    assert [node.kernel.op for node in insert_width_converters(graph)] == ["sliding_window", "matrix_vector"]


def test_density_and_structure():
    cost: CostModel = HardwareCost(DEVICE)
    shape = LayerShape(64, 32)
    dense = cost(shape, LayerBits(4, 4))
    assert cost(shape, LayerBits(4, 4), 1.0, "unstructured") is dense  # kept
    for structure in ("unstructured", "outputs"):
        thin = cost(shape, LayerBits(4, 4), 0.25, structure)
        assert thin.cycles < dense.cycles / 2  # a sparse product
        assert thin.rom_bits < dense.rom_bits
    [node] = layer_graph(shape, LayerBits(1, 1, True), 0.25, "outputs").nodes
    assert node.kernel.weight_dtype.name == "TERNARY"
    assert (node.kernel.weights != 0).any(axis=1).sum() == 8


def test_costs_of_a_network_are_those_of_its_weights():
    """Ties, and zeros where they are: the weights of the summary are those that hardware will have, not drawn ones."""
    cost = HardwareCost(DEVICE, cycles=80)
    dense = create_model("tfc-w4a4")
    tied, pruned = tie(dense, "circulant:8"), prune(dense, 0.75, structure="bank-balanced:8x8")
    whole, ties, zeros = (summary(each, cost) for each in (dense, tied, pruned))
    assert whole.costs["rom_bits"] == whole.memory_bits == ties.memory_bits
    assert ties.costs["rom_bits"] < whole.costs["rom_bits"] / 5
    assert zeros.costs["lut"] < whole.costs["lut"] / 2
    codes = tied.hidden[0].linear.quant_weight().int().numpy()
    [node] = layer_graph(LayerShape(64, 64), LayerBits(4, 8), integers=codes).nodes
    np.testing.assert_array_equal(node.kernel.weights, codes)


def test_what_zeros_save_at_a_rate():
    """What a bank-balanced matrix needs is its density."""
    bits, wide = LayerBits(4, 4), LayerShape(64, 64)
    structured = HardwareCost(DEVICE)
    dense, thin = structured(wide, bits, 1.0, "bank-balanced:4x4"), structured(wide, bits, 0.25, "bank-balanced:4x4")
    assert dense.cycles == 16 * 16
    assert thin.cycles == 16 * 4
    assert thin.rom_bits == 16 * 4 * (4 * 4 * 4 + 4 * 4)  # weights, and the columns of the banks
    folded = HardwareCost(DEVICE, cycles=64)
    dense, thin = folded(wide, bits), folded(wide, bits, 0.25, "bank-balanced:4x4")
    assert thin.rom_bits < dense.rom_bits / 3
    assert thin.lut < dense.lut / 2


def test_the_folding_of_a_structure():
    """Without a budget and a folding, the layer has the lanes of the structure, and the window as many."""
    cost = HardwareCost(DEVICE)
    for text, pe, simd in (
        ("unstructured", 1, 1),
        ("blocks:4x8", 4, 8),
        ("bank-balanced:16x16", 16, 8),
        ("columns", 1, 1),
    ):
        dense = cost(CONV, LayerBits(4, 4), 1.0, text)
        table = {LAYER: Folding(pe, simd), WINDOW: Folding(simd=simd)}
        assert dense == HardwareCost(DEVICE, folding=table)(CONV, LayerBits(4, 4))


@pytest.mark.parametrize("shape", [LayerShape(64, 32), LayerShape(8, 16, (3, 3), (6, 6)), LayerShape(5, 6)])
@pytest.mark.parametrize("text", ["unstructured", "outputs", "columns", "blocks:4x4", "bank-balanced:4x4", "1:4"])
def test_drawn_zeros_have_the_structure(shape, text):
    for density in (0.25, 0.5):
        graph = layer_graph(shape, LayerBits("ternary", 4), density, text)
        dense = layer_graph(shape, LayerBits("ternary", 4))
        drawn, all_ = (each.node(LAYER).kernel.weights for each in (graph, dense))
        kept = drawn != 0
        np.testing.assert_array_equal(drawn[kept], all_[kept])
        gone = (all_ != 0) & ~kept
        assert gone.any()
        kind = read_structure(text)
        mh, mw = drawn.shape
        pe, simd = gcd(kind.pe, mh), gcd(kind.simd, mw)
        groups = kept.reshape(mh // pe, pe, mw // simd, simd)
        if text == "unstructured":
            assert kept.sum() <= density * mh * mw + 1
        elif text == "outputs":
            assert kept.any(1).sum() == mh - round((1 - density) * mh)
        elif text == "columns":
            assert kept.any(0).sum() <= mw - round((1 - density) * mw)
        elif kind.kind == "blocks":
            assert groups.any((1, 3)).sum() <= mh * mw // pe // simd * density + 1
        elif kind.kind == "bank-balanced":
            assert groups.any(1).sum(1).max() <= max(1, mw // simd - round((1 - density) * (mw // simd)))
        else:
            assert kept[:, : mw - mw % 4].reshape(mh, -1, 4).sum(2).max() <= 4 - round((1 - density) * 4)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (lambda: HardwareCost("ulx4s"), "ulx4s"),
        (lambda: HardwareCost(DEVICE, 10, {LAYER: Folding()}), "not both"),
        (
            lambda: HardwareCost(DEVICE, 1)(CONV, LayerBits(4, 4)),
            r"^a convolution 3x3 of 8 inputs and 16 outputs at 10x10: no folding reaches an interval of 1 cycles",
        ),
        (lambda: HardwareCost(DEVICE)(CONV, LayerBits(4, 4), 1.5), "density=1.5"),
        (lambda: LayerShape(0, 4), "below 1"),
        (lambda: LayerShape(4, 4, (3, 3)), "as many as the kernel has axes"),
        (lambda: LayerShape(4, 8, groups=2), "depthwise"),
        (lambda: LayerBits(17, 4), "weights=17"),
    ],
)
def test_bad_requests(request_, message):
    with pytest.raises((UsageError, QuantError), match=message) as caught:
        request_()
    assert caught.value.status == 2


def test_a_rate_that_is_computed_from_cycles_has_these_cycles():
    clock_mhz = find_target("ulx3s-85f").device.clock_mhz
    assert all(cost_on("ulx3s-85f", clock_mhz * 1e6 / cycles).cycles == cycles for cycles in range(1, 2000))


def test_a_rate_is_above_0_and_at_most_a_frame_a_cycle():
    assert [cost_on("icebreaker", fps).cycles for fps in (None, 40e6, 13e6, 0.5)] == [None, 1, 3, 80_000_000]
    for fps in (0, -5, float("nan"), float("inf"), 40.1e6):
        with pytest.raises(
            UsageError, match=r"^--fps \S+ is not above 0 and at most one frame a cycle \(40000000 frames/s"
        ):
            cost_on("icebreaker", fps)
