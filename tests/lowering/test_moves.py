"""Moves of elements between layers: channel shuffles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.host.errors import BitfabricError
from hw.host.steps import run, step
from hw.lowering.layout_ops import (
    channels_of,
    element_order,
    gather,
    inverse,
    layout_of,
    permuted_channels,
    simplified,
    strides,
    through_layout_ops,
)
from hw.lowering.lower import lower, lower_model
from hw.lowering.qonnx import load
from hw.simulation.emulator import Emulator
from hw.verification.layers import drive
from hw.verification.reference import Reference, compare
from tests.builders.qonnx_builder import Builder
from tests.builders.random_moves import RandomMoves
from tests.lowering.test_lower import check
from tests.lowering.test_lower_images import conv, integers, names, weights

FREE = ("passes", "different scales", "pads with zeros", "no ratio of small integers", "different orders")
"""What random networks may be refused for."""


def shuffle(b, x, groups, channels, *spatial):
    x = b.node("Reshape", x, integers(b, 1, groups, channels // groups, *spatial))
    x = b.node("Transpose", x, perm=[0, 2, 1, *range(3, 3 + len(spatial))])
    return b.node("Reshape", x, integers(b, 1, channels, *spatial))


def driven(model):
    """Check a model as a whole and every layer at its own input; returns the graph."""
    graph, _ = check(model)
    loaded = load(model)
    result = drive(graph, lower_model(loaded), Reference(model, loaded))
    assert not result.wrong
    assert not result.left_out
    return graph


@pytest.mark.quick
def test_a_shuffle_between_grouped_convolutions_needs_no_hardware():
    b = Builder((1, 8, 6, 6))
    x = b.quant(conv(b, b.quant("x", 0.25, 6), weights(b, 8, 4, 1, 1), (1, 1), group=2), 0.125, 4, signed=0)
    x = b.quant(conv(b, shuffle(b, x, 2, 8, 6, 6), weights(b, 4, 4, 3, 3), group=2), 0.5, 4)
    graph = driven(b.model((x, (1, 4, 4, 4))))
    assert names(graph) == ["conv0", "conv0_threshold", "conv1_window", "conv1", "conv1_threshold"]


@pytest.mark.quick
def test_permuted_channels_pass_depthwise_layers_pools_sums_and_joins():
    b = Builder((1, 6, 6, 6))
    first = b.quant("x", 0.25, 4)
    x = shuffle(b, first, 3, 6, 6, 6)
    x = b.quant(conv(b, x, weights(b, 6, 1, 3, 3), group=6, pad=1), 0.25, 4)
    bn = (np.arange(1, 7) / 4, np.arange(-3, 3) / 8, np.zeros(6), np.ones(6))
    y = b.quant(b.batch_norm(shuffle(b, first, 3, 6, 6, 6), *bn), 0.5, 4)
    x = b.quant(b.node("Add", x, y), 0.5, 4)
    x = b.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = b.node("Concat", x, shuffle(b, x, 2, 6, 3, 3), axis=1)
    x = b.quant(b.node("AveragePool", x, kernel_shape=[2, 2]), 0.25, 6)
    x = conv(b, x, weights(b, 4, 12, 1, 1), (1, 1))
    driven(b.model((b.node("GlobalAveragePool", b.quant(x, 0.25, 6)), (1, 4, 1, 1))))


def test_sums_of_channels_in_different_orders_are_refused():
    b = Builder((1, 4, 3, 3))
    x = b.quant(conv(b, b.quant("x", 0.25, 4), weights(b, 4, 4, 1, 1), (1, 1)), 0.25, 4)
    total = b.node("Add", x, shuffle(b, x, 2, 4, 3, 3))
    with pytest.raises(BitfabricError, match=r"^Add_7: Add cannot be lowered: the channels of its inputs arrive"):
        lower(b.model((total, (1, 4, 3, 3))))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_random_moves_are_exact(seed):
    network = RandomMoves(np.random.default_rng(seed), dyadic=True)
    model, frames = network.model(), network.frames(8)
    try:
        graph = lower(model)
    except BitfabricError as error:
        if not any(text in str(error) for text in FREE):
            raise
        return
    np.testing.assert_array_equal(Emulator(graph).run(frames), Reference(model).run(frames))
    compared = compare(graph, model, frames)
    assert compared.mismatches == 0, compared.describe()


@pytest.mark.quick
@settings(deadline=None)
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple),
    seed=st.integers(0, 10**6),
)
def test_layout_operators_from_an_order(shape, seed):
    rng = np.random.default_rng(seed)
    made = [gather(axis + 1, rng.permutation(size)) for axis, size in enumerate(shape) if rng.random() < 0.5]
    made.append(step("Transpose", perm=(0, *(int(axis) + 1 for axis in rng.permutation(len(shape))))))
    made.append(step("Reshape", shape=(int(np.prod(shape)),)))
    made = made[: int(rng.integers(1, len(made) + 1))]
    order = element_order(made, shape)
    found = layout_of(order, shape)
    np.testing.assert_array_equal(element_order(found, shape), order)
    frames = rng.normal(size=(2, *shape))
    np.testing.assert_array_equal(run(inverse(found, shape), run(found, frames)), frames)
    np.testing.assert_array_equal(run(simplified(tuple(made), shape), frames), run(made, frames))
    operand = rng.normal(size=[1, *(size if rng.random() < 0.5 else 1 for size in shape)])
    whole = np.broadcast_to(through_layout_ops(operand, found, shape), (1, *order.shape))
    np.testing.assert_array_equal(whole, run(found, np.broadcast_to(operand, (1, *shape))))


@pytest.mark.quick
def test_strides_and_channels():
    assert strides(np.array([0, 3, 1, 4, 2, 5])) == ((3, 1), (2, 3))
    assert strides(np.array([3, 2, 1, 0])) == ((4, -1),)
    assert strides(np.array([0, 2, 1, 3, 4])) is None
    for axis in range(3):
        assert channels_of(permuted_channels(np.array([2, 0, 1]), 3, axis), 3).tolist() == [2, 0, 1]
