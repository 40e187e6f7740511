"""Graphs of other widths from one lowering, against the lowering of each network: convolutions of every kind."""

import copy
from math import prod

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.explore.retype import RetypingError, _ordered
from flows.explore.variants import lowered, new_network, new_variants, variants_of
from hw.families.ecp5 import ECP5
from quant import layers, schemes
from quant.models.network import model_inputs
from quant.models.staged import StagedNetwork
from quant.models.widths import activation_scheme, hidden_activations, weighted_layers, with_width

WIDTHS = 1, 2, "ternary", 4, 8
SATURATED = 2.0
"""Binary logarithm of how much larger activations are than their range, so that all of their codes are reached."""


class Convolutions(StagedNetwork):
    """Convolutions (kind, outputs, side, padding, pool), each with BatchNorm and an activation; a linear layer."""

    def __init__(self, shape, plan):
        super().__init__("convolutions", schemes.get("integer", weight_bits=4, act_bits=4), shape, 4, (0, 15), None)
        self.shape, self.plan = shape, plan
        channels, *sides = shape
        dimensions = len(sides)
        self.blocks = torch.nn.ModuleList()
        for kind, outputs, side, padding, pool in plan:
            groups = {"dense": 1, "grouped": 2}.get(kind, channels)
            outputs = {"depthwise": channels, "multiplied": 2 * channels}.get(kind, outputs)
            conv = layers.conv(
                self.scheme, channels, outputs, side, stride=1, padding=padding, groups=groups, dimensions=dimensions,
                bias=False,
            )  # fmt: skip
            sides = [each + 2 * padding - side + 1 for each in sides]
            largest = (torch.nn.MaxPool1d if dimensions == 1 else torch.nn.MaxPool2d)(2) if pool == "max" else None
            self.blocks.append(layers.block(self.scheme, conv, outputs, dimensions, pool=largest, batch_norm=True))
            if pool == "mean":
                self.blocks.append(layers.average_pool(self.scheme, 2, dimensions))
            sides = [each // 2 for each in sides] if pool else sides
            channels = outputs
        self.add_output(channels * prod(sides), False)

    def stages(self):
        return self.blocks

    def __repr__(self):
        return f"Convolutions({self.shape}, {self.plan})"

    def logits(self, x):
        return self.scale(self.output(x.flatten(1)))


@st.composite
def networks(draw):
    """A network with BatchNorm factors of both signs, and frames."""
    torch.manual_seed(draw(st.integers(0, 2**31)))
    shape = draw(st.sampled_from([(4, 8), (4, 6, 8)]))
    kinds, pools = ["dense", "grouped", "depthwise", "multiplied"], [None, "max", "mean"]
    plan = [
        (draw(st.sampled_from(kinds)), draw(st.sampled_from([4, 6])), draw(st.sampled_from([1, 3])), 1,
         draw(st.sampled_from(pools)) if number == 0 else None)
        for number in range(draw(st.integers(1, 2)))
    ]  # fmt: skip
    model = Convolutions(shape, plan)
    for block in model.blocks:
        if hasattr(block, "norm"):
            torch.nn.init.uniform_(block.norm.weight, 0.5, 1.5)
            block.norm.momentum = None  # the mean of all batches
            with torch.no_grad():
                block.norm.weight.mul_(torch.where(torch.rand_like(block.norm.weight) < 0.5, -1.0, 1.0))
    frames = np.random.default_rng(0).integers(0, 16, (64, *shape)).astype(np.float32)
    return seen(model, frames), frames


def seen(model, frames):
    """The network with the ranges of activations that saturate on these frames, whose means BatchNorm then has."""
    batch = torch.from_numpy(model_inputs(model, frames))
    model.train()
    with torch.no_grad():
        model(batch)
        for act in hidden_activations(model).values():
            scaled = act.act_quant.fused_activation_quant_proxy.tensor_quant
            if hasattr(scaled, "log_scale"):
                scaled.log_scale -= SATURATED
                scaled.collected.fill_(scaled.collect)  # as it is from now on
                scaled._collecting = False
        for block in model.blocks:
            if hasattr(block, "norm"):
                block.norm.reset_running_stats()
        model(batch)
    return model.eval()


@settings(max_examples=8, deadline=None)
@given(networks(), st.data())
def test_equals_the_lowered_network(network, data):
    """One or two dimensions, groups, depthwise layers also with several outputs a channel, pools, negative factors."""
    model, frames = network
    variants = variants_of(model)
    weights = {name: data.draw(st.sampled_from(WIDTHS)) for name in variants.layers}
    means = [f"blocks.{i}.act" for i, block in enumerate(model.blocks) if not hasattr(block, "norm")]
    activations = {  # the sign of a mean of what is not negative is constant
        name: data.draw(st.integers(2 if name in means else 1, 5)) for name in variants.activations
    }
    other, held = copy.deepcopy(model), weighted_layers(model)
    for name, width in weights.items():
        if width != variants.layers[name]:
            other.set_submodule(name, with_width(held[name], model.scheme, width))
    for name, bits in activations.items():
        other.set_submodule(name, layers.activation(activation_scheme(model.scheme, bits)))
    itself, made = lowered(seen(other, frames)), variants.graph(weights, activations)
    assert [(node.name, node.kernel.op) for node in made] == [(node.name, node.kernel.op) for node in itself]
    for mine, its in zip((node.kernel for node in made), (node.kernel for node in itself), strict=True):
        assert (mine.inputs(), mine.outputs(), mine.interval) == (its.inputs(), its.outputs(), its.interval)
        if mine.op == "threshold":
            assert mine.thresholds.shape == its.thresholds.shape
            continue
        assert mine.resources(ECP5) == its.resources(ECP5)
        if hasattr(mine, "weights"):
            np.testing.assert_array_equal(mine.weights, its.weights)


@pytest.mark.parametrize(("scheme", "widest"), [("integer", 8), ("fixed_point", 4)])
def test_activations_without_thresholds_are_lowered(scheme, widest):
    """Beyond some width, lowering multiplies or shifts instead of comparing: that is no graph of thresholds."""
    options = {"hidden": [6, 5], "input_shape": (16,), "classes": 3}
    frames = np.random.default_rng(0).integers(0, 16, (64, 16)).astype(np.float32)
    for name in ("tfc-w4a4", "tfc-w4a8"):
        variants = new_variants(name, options, frames, (2, 4), scheme=scheme)
        assert set(variants.activations.values()) == {int(name[-1])}
        for bits in (widest, widest + 1):
            widths = dict.fromkeys(variants.activations, bits)
            itself = lowered(new_network(name, {**options, "activation_widths": [bits, bits]}, frames, scheme=scheme))
            if bits > widest:
                assert "requant" in {node.kernel.op for node in itself}
                with pytest.raises(RetypingError, match=rf"thresholds up to {widest} bits: only a lowering"):
                    variants.graph(activations=widths)
                continue
            made = variants.graph(activations=widths)
            assert [node.kernel.op for node in made] == [node.kernel.op for node in itself]


def test_weights_of_another_module_are_no_order():
    held = np.arange(12).reshape(2, 6)
    assert _ordered(held, "plain", None, 9) is None  # no number of groups
    assert _ordered(held, "flattened", (2, 2, 2), 6) is None
    assert _ordered(held.reshape(3, 4), "plain", None, 8) is None  # 3 outputs have no 2 groups
    np.testing.assert_array_equal(
        _ordered(held.reshape(2, 1, 6), "plain", None, 12), [[*range(6), *[0] * 6], [*[0] * 6, *range(6, 12)]]
    )
