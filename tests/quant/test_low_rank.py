"""Low rank: the factors are what their formulas say, and the network computes with them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.lowering.lower import lower
from hw.verification.reference import compare
from quant import compression, create_model, export, load_checkpoint, save_checkpoint, schemes, summary
from quant.compression import factors
from quant.compression.low_rank import low_rank
from quant.compression.restructure import renewed
from quant.errors import QuantError
from quant.layers import conv, linear

FLOAT = schemes.get("float")


def lenet(widths="w4a4", **options):
    torch.manual_seed(0)
    model = create_model(f"lenet5-{widths}", input_shape=(1, 16, 16), in_range=(0, 16), **options)
    x = torch.randint(0, 17, (48, 1, 16, 16), generator=torch.Generator().manual_seed(1)).float()
    for _ in range(32):
        model(x)
    return model.eval(), x


@settings(max_examples=20, deadline=None)
@given(sizes=st.tuples(*[st.integers(2, 6)] * 4), data=st.data())
def test_separable_filters_are_the_optimum(sizes, data):
    weight = torch.randn(sizes, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(sizes)))
    outputs, inputs, high, wide = sizes
    rank = data.draw(st.integers(1, min(inputs * high, outputs * wide)))
    vertical, horizontal = factors.separable(weight, rank)
    product = torch.einsum("okx,kcy->ocyx", horizontal[:, :, 0], vertical[..., 0])
    values = torch.linalg.svdvals(factors.separable_matrix(weight))
    assert float((weight - product).square().sum()) == pytest.approx(float(values[rank:].square().sum()), abs=1e-9)
    assert factors.parameters("separable", weight.shape, rank) == vertical.numel() + horizontal.numel()


@pytest.mark.parametrize("shape", [(5, 7), (4, 3, 5), (6, 2, 3, 3)])
def test_the_svd_is_the_optimum(shape):
    weight = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    first, second = factors.svd(weight, 3)
    product = second.flatten(1) @ first.flatten(1)
    values = torch.linalg.svdvals(weight.flatten(1)).square()
    assert float((weight.flatten(1) - product).square().sum()) == pytest.approx(float(values[3:].sum()))
    assert factors.parameters("svd", weight.shape, 3) == first.numel() + second.numel()
    for energy in (0.3, 0.9, 1.0):
        rank = factors.rank_for_energy("svd", weight, energy)
        assert values[:rank].sum() >= (energy - 1e-5) * values.sum()
        assert rank == 1 or values[: rank - 1].sum() < energy * values.sum()
    for budget in (0.4, 0.8, 1.0):
        rank = factors.rank_for_budget("svd", weight.shape, budget)
        assert rank == 1 or factors.parameters("svd", weight.shape, rank) <= budget * weight.numel()
        assert factors.parameters("svd", weight.shape, rank + 1) > budget * weight.numel()


def cp_product(found):
    b, y, x, a = (each.flatten(1) for each in found)
    return torch.einsum("or,rc,rh,rw->ochw", a, b, y, x)


def test_alternating_least_squares_finds_a_tensor_of_low_rank():
    torch.manual_seed(1)
    shapes = [(3, 4, 1, 1), (3, 1, 3, 1), (3, 1, 1, 3), (8, 3, 1, 1)]
    goal = cp_product([torch.randn(shape, dtype=torch.float64) for shape in shapes])
    found = factors.cp(goal, 3, sweeps=2000)
    assert [tuple(each.shape) for each in found] == shapes
    assert float((cp_product(found) - goal).norm() / goal.norm()) < 1e-3
    assert factors.parameters("cp", goal.shape, 3) == sum(each.numel() for each in found)
    errors = [float((cp_product(factors.cp(goal, rank)) - goal).norm()) for rank in (1, 2, 3)]
    assert errors == sorted(errors, reverse=True)
    rows, others = torch.randn(2, 5), torch.randn(3, 5)
    wanted = torch.stack([torch.kron(rows[:, r], others[:, r]) for r in range(5)], 1)
    torch.testing.assert_close(factors.khatri_rao([rows, others]), wanted)


class Bare(torch.nn.Module):
    """A network of float layers with geometry, as ``low_rank`` sees it."""

    changes = ()

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = conv(FLOAT, 3, 5, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), bias=True)
        self.dense = linear(FLOAT, 5, 6, bias=True)
        self.last = linear(FLOAT, 6, 2)

    def forward(self, x):
        return self.last(torch.relu(self.dense(torch.relu(self.conv(x)).mean((2, 3)))))


@pytest.mark.parametrize("form", ["separable", "svd", "cp"])
@pytest.mark.parametrize("norm", [False, True])
def test_factors_of_full_rank_compute_the_same(form, norm):
    model, x = Bare().eval(), torch.randn(40, 3, 9, 8, generator=torch.Generator().manual_seed(0))
    ranks = {"conv": {"separable": 9, "svd": 5, "cp": 40}[form], "dense": 5}
    small = low_rank(model, rank=ranks, form=form, norm=norm, x=x)
    assert len(small.conv) == (7 if form == "cp" else 3) + (norm and (3 if form == "cp" else 1))
    tolerance = 2e-2 if form == "cp" else 1e-3
    torch.testing.assert_close(small(x), model(x), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("form", "norm"), [("separable", True), pytest.param("cp", False, marks=pytest.mark.slow)])
def test_a_network_of_factors_is_stored_and_exported(form, norm, tmp_path):
    model, x = lenet()
    small = compression.low_rank(model, budget=0.5, form=form, norm=norm, x=x)
    assert summary(small).weights < 0.6 * summary(model).weights
    assert {row.act_bits for row in summary(small)} == {4}
    save_checkpoint(small, tmp_path / "c.pt")
    again = load_checkpoint(tmp_path / "c.pt")
    np.testing.assert_array_equal(again(x).detach(), small(x).detach())
    export(again, tmp_path / "model.onnx", x[:8].numpy())
    compared = compare(lower(tmp_path / "model.onnx"), tmp_path / "model.onnx", x[:8].numpy())
    assert compared.mismatches == compared.explained
    assert [row.weights for row in summary(renewed(small))] == [row.weights for row in summary(small)]


def test_factors_can_lose_channels():
    model, x = lenet()
    small = compression.low_rank(model, budget=0.5, layers="hidden.*", x=x)
    rank = small.hidden[0].linear.factor0.out_features
    slimmer = compression.slim(small, {"hidden.0.linear.factor0": rank // 2})
    assert slimmer.hidden[0].linear.factor1.in_features == rank // 2


def test_ranks_are_multiples():
    model, _ = lenet()
    for options, ranks in (
        ({"budget": 0.5}, (4, 24)),
        ({"budget": 0.5, "granularity": 5}, (5, 20)),
        ({"rank": 7}, (7, 7)),
    ):
        small = compression.low_rank(model, layers="hidden.*", **options)
        assert tuple(block.linear.factor0.out_features for block in small.hidden) == ranks
    full = compression.low_rank(model, layers="hidden.*", energy=0.5)
    assert all(block.linear.factor0.out_features % 4 == 0 for block in full.hidden)


def test_bad_requests():
    model, _ = lenet()
    for options, words in (
        ({}, "give one of rank, energy and budget"),
        ({"rank": 4, "budget": 0.5}, "give one of"),
        ({"budget": 1.5}, "budget=1.5 is not above 0"),
        ({"rank": 0}, "rank=0 of layer features.0.conv is no whole number"),
        ({"rank": 4, "form": "tucker"}, "no form 'tucker'"),
        ({"energy": 1.0}, "no layer gets smaller"),
    ):
        with pytest.raises(QuantError, match=words):
            compression.low_rank(model, **options)
    with pytest.raises(QuantError, match="1-bit weights"):
        compression.low_rank(create_model("tfc-w1a1"), budget=0.5)
    with pytest.raises(QuantError, match="is compressed"):
        compression.low_rank(compression.prune(model, 0.5), budget=0.5)
    light = create_model("mobilenet-v1-w4a4", width=1 / 8, input_shape=(1, 8, 8))
    with pytest.raises(QuantError, match="cannot be factored as separable"):
        compression.low_rank(light, budget=0.5, layers="pairs.0.depthwise.conv")
