"""Low rank: the factors are what their formulas say, and the network computes with them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.lowering.lower import lower
from hw.verification.reference import compare
from quant import compression, create_model, export, load_checkpoint, save_checkpoint, schemes, summary
from quant.compression import factors
from quant.compression.clusters import distance, subspace_clusters
from quant.compression.low_rank import low_rank
from quant.compression.restructure import renewed
from quant.compression.weights import compression_of, find_layers
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
    """A torch module of float layers with geometry."""

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


FORMS = [("separable", True), ("grouped", False), pytest.param("cp", False, marks=pytest.mark.slow)]


@pytest.mark.parametrize(("form", "norm"), FORMS)
def test_a_network_of_factors_is_stored_and_exported(form, norm, tmp_path):
    model, x = lenet()
    small = compression.low_rank(model, budget=0.5, form=form, norm=norm, x=x)
    assert sum(row.nonzeros for row in summary(small)) < 0.6 * summary(model).weights
    assert {row.act_bits for row in summary(small)} == {4}
    save_checkpoint(small, tmp_path / "c.pt")
    again = load_checkpoint(tmp_path / "c.pt")
    np.testing.assert_array_equal(again(x).detach(), small(x).detach())
    export(again, tmp_path / "model.onnx", x[:8].numpy())
    compared = compare(lower(tmp_path / "model.onnx"), tmp_path / "model.onnx", x[:8].numpy())
    assert compared.mismatches == compared.explained
    new = renewed(small)
    assert [row.weights for row in summary(new)] == [row.weights for row in summary(small)]
    assert form != "grouped" or all(
        torch.equal(a.mask, b.mask)
        for a, b in zip(*(map(compression_of, factors_of(net)) for net in (new, small)), strict=True)
    )


def factors_of(model):
    return [layer for name, layer in find_layers(model).items() if "factor" in name]


@settings(max_examples=20, deadline=None)
@given(sizes=st.tuples(*[st.integers(4, 9)] * 2), side=st.integers(1, 3), rank=st.integers(1, 2), data=st.data())
def test_grouped_factors_are_the_optimum_of_each_block(sizes, side, rank, data):
    generator = torch.Generator().manual_seed(sum(sizes) + side)
    weight = torch.randn(*sizes, side, side, dtype=torch.float64, generator=generator)
    outputs, inputs = (torch.randperm(n, generator=generator) % 2 for n in sizes)
    first, second = factors.grouped(weight, rank, inputs, outputs)
    product = second.flatten(1) @ first.flatten(1)
    lost = 0.0
    for h in range(2):
        for g in range(2):
            block = weight[outputs == h][:, inputs == g].flatten(1)
            lost += float(torch.linalg.svdvals(block)[rank:].square().sum())
    assert float((weight.flatten(1) - product).square().sum()) == pytest.approx(lost, abs=1e-9)
    masks = factors.block_masks(rank, inputs, outputs, 4)
    assert all(not each[~mask.expand(each.shape)].any() for each, mask in zip((first, second), masks, strict=True))
    count = sum(int(mask.expand(each.shape).sum()) for each, mask in zip((first, second), masks, strict=True))
    assert factors.parameters("grouped", weight.shape, rank, groups=2) == count


@settings(max_examples=20, deadline=None)
@given(count=st.integers(4, 17), groups=st.integers(2, 3), banks=st.sampled_from([1, 2, 4]), seed=st.integers(0, 99))
def test_clusters_have_equal_sizes_and_no_more_error_than_neighbours(count, groups, banks, seed):
    rows = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))
    found = subspace_clusters(rows, groups, 1, banks)
    for members in (found, *(found[bank::banks] for bank in range(banks))):
        sizes = torch.bincount(members, minlength=groups)
        assert sizes.max() - sizes.min() <= 1
    if banks == 1:
        assert distance(rows, found, 1) <= distance(rows, torch.arange(count) * groups // count, 1) + 1e-9


def test_clusters_of_different_subspaces_are_found():
    generator = torch.Generator().manual_seed(0)
    bases = torch.randn(2, 2, 12, generator=generator)
    members = torch.randperm(16, generator=generator) % 2
    rows = torch.stack([torch.randn(2, generator=generator) @ bases[each] for each in members])
    found = subspace_clusters(rows, 2, 2)
    assert torch.equal(found, members) or torch.equal(found, 1 - members)


def test_grouped_factors_of_full_rank_compute_the_same_in_another_order():
    torch.manual_seed(0)
    parts = [conv(FLOAT, 4, 6, 3, bias=True), torch.nn.BatchNorm2d(6), torch.nn.ReLU(), torch.nn.Flatten()]
    model = torch.nn.Sequential(*parts, linear(FLOAT, 6 * 9, 8), torch.nn.ReLU(), linear(FLOAT, 8, 4)).eval()
    torch.nn.init.normal_(parts[1].running_mean)
    x = torch.randn(5, 4, 5, 5)
    small = low_rank(model, rank={"0": 3, "4": 4, "6": 2}, form="grouped", layers=["0", "4", "6"], x=x)
    torch.testing.assert_close(small(x), model(x), rtol=1e-3, atol=1e-3)
    for name, half in (("0", 3), ("4", 4)):
        reads = compression_of(small.get_submodule(f"{name}.factor1")).mask.flatten(1)
        assert (reads[:half] == reads[0]).all()
        assert (reads[half:] == ~reads[0]).all()


def test_hardware_leaves_out_what_other_clusters_read(tmp_path):
    """Both factors take half of the cycles with several outputs and inputs at a time."""
    torch.manual_seed(0)
    model = create_model("tfc-w4a4", hidden=(32, 32), input_shape=(1, 8, 8))
    x = torch.randint(0, 17, (48, 64)).float()
    model(x)
    small = compression.low_rank(model.eval(), rank=2, form="grouped", layers="hidden.1.*", x=x)
    export(small, tmp_path / "model.onnx", x[:8].numpy())
    kernels = [n.kernel for n in lower(tmp_path / "model.onnx").nodes if n.kernel.op == "matrix_vector"]
    for kernel, (pe, simd) in zip(kernels[1:3], ((2, 8), (8, 4)), strict=True):
        folded = replace(kernel, pe=pe, simd=simd)
        sparse = next(k for k in folded.implementations() if k.op == "sparse_matrix_vector")
        assert (sparse.pe, sparse.simd, 2 * sparse.interval) == (pe, simd, folded.interval)


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
        ({"energy": 0.9, "form": "grouped"}, "give rank or budget, not energy"),
        ({"rank": 4, "groups": 3}, "groups=3 is for form grouped, not separable"),
        ({"rank": 1, "form": "grouped", "groups": 1}, "groups=1 is no whole number"),
        ({"rank": 9, "form": "grouped", "layers": "features.1.*"}, "from 1 to 8"),
        ({"energy": 1.0}, "no layer gets smaller"),
    ):
        with pytest.raises(QuantError, match=words):
            compression.low_rank(model, **options)
    one = torch.nn.Sequential(linear(schemes.get("integer"), 16, 16))
    with pytest.raises(QuantError, match=r"no layer but the last one, 0, can be factored, .*: choose it"):
        compression.low_rank(one, rank=2)
    assert len(find_layers(compression.low_rank(one, rank=2, layers="0", x=torch.randn(4, 16)))) == 2
    with pytest.raises(QuantError, match="1-bit weights"):
        compression.low_rank(create_model("tfc-w1a1"), budget=0.5)
    with pytest.raises(
        QuantError, match="has pruned weights, which factoring would undo: choose other layers, or take"
    ):
        compression.low_rank(compression.prune(model, 0.5), budget=0.5)
    light = create_model("mobilenet-v1-w4a4", width=1 / 8, input_shape=(1, 8, 8))
    with pytest.raises(QuantError, match="cannot be factored as separable"):
        compression.low_rank(light, budget=0.5, layers="pairs.0.depthwise.conv")


@pytest.mark.parametrize("form", ["separable", "cp"])
@pytest.mark.parametrize(
    ("kernel", "dimensions"), [((1, 1), 2), ((3, 1), 2), ((1, 3), 2), ((3,), 1)], ids=["1x1", "3x1", "1x3", "3"]
)
def test_convolutions_without_two_axes_are_factored_by_the_svd(form, kernel, dimensions):
    """Their products of full rank compute the same, with stride, padding and bias."""
    layer = conv(
        FLOAT, 6, 5, kernel=kernel, dimensions=dimensions, bias=True,
        stride=tuple(2 if side > 1 else 1 for side in kernel), padding=tuple(side // 2 for side in kernel),
    )  # fmt: skip
    model = torch.nn.Sequential(layer).eval()
    x = torch.randn(4, 6, *[7] * dimensions, generator=torch.Generator().manual_seed(0))
    small = low_rank(model, rank=5, form=form, layers="0", x=x)
    assert [tuple(each.weight.shape) for each in find_layers(small).values()] == [
        (5, 6, *kernel), (5, 5, *[1] * dimensions),
    ]  # fmt: skip
    torch.testing.assert_close(small(x), model(x), rtol=1e-3, atol=1e-3)


def test_pointwise_convolutions_are_factored_by_default():
    light = create_model("mobilenet-v2-w4a4", width=1 / 4, input_shape=(1, 8, 8))
    small = compression.low_rank(light, budget=0.5)
    factored = {name.rpartition(".")[0] for name in find_layers(small) if "factor" in name}
    pointwise = {name for name, layer in find_layers(light).items() if max(layer.weight.shape[2:], default=0) == 1}
    assert len(factored & pointwise) > len(pointwise) / 2
    assert sum(row.weights for row in summary(small)) < 0.7 * summary(light).weights


@pytest.mark.parametrize("share", [0.1, 0.5, 1])
def test_new_networks_of_low_rank(share, tmp_path):
    """The factors have at most the share of each layer's weights, but the last, and come back from a checkpoint."""
    whole = create_model("tfc-w4a4", hidden=[32, 24])
    model = create_model("tfc-w4a4", hidden=[32, 24], low_rank=share)
    for index, width in enumerate((64 * 32, 32 * 24)):
        layers = [each for each in model.hidden[index].linear.modules() if isinstance(each, torch.nn.Linear)]
        assert len(layers) == (1 if share == 1 else 2)
        assert sum(each.weight.numel() for each in layers) <= share * width
    assert model.output.weight.shape == whole.output.weight.shape
    assert model(torch.zeros(2, 64)).shape == (2, 10)
    save_checkpoint(model.eval(), tmp_path / "checkpoint.pt")
    x = torch.randint(0, 16, (8, 64)).float()
    torch.testing.assert_close(load_checkpoint(tmp_path / "checkpoint.pt")(x), model(x), rtol=0, atol=0)


@pytest.mark.parametrize("share", [0, 1.5, "half", True])
def test_wrong_shares(share):
    with pytest.raises(QuantError, match=r"low_rank=.* is not a share of the weights"):
        create_model("tfc-w4a4", low_rank=share)


def test_no_linear_layers_to_factor():
    with pytest.raises(QuantError, match="at least two linear layers"):
        create_model("all-cnn-c-w4a4", low_rank=0.5)
