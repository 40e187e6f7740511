"""Networks of one's own that call functions in any way: what is followed through them, and what is not."""

from collections.abc import Callable
from pathlib import Path

import brevitas.nn as qnn
import pytest
import torch
from torch.nn import functional

from quant import compression, summary
from quant.compression.channels import channels_of
from quant.cost import LayerCost
from quant.errors import QuantError
from quant.models.own import OwnNetwork
from quant.models.source import Source
from quant.schemes import get as scheme


class Halves(torch.nn.Module):
    """Two halves of the channels, one of them convolved, and the classes of what ``joined`` makes of both."""

    def __init__(self, parted: Callable, joined: Callable, size: int) -> None:
        super().__init__()
        self.parted, self.joined = parted, joined
        self.stem, self.side = qnn.QuantConv2d(1, 8, 3, padding=1), qnn.QuantConv2d(4, 4, 3, padding=1)
        self.act, self.more = qnn.QuantReLU(bit_width=4), qnn.QuantReLU(bit_width=4)
        self.last = qnn.QuantLinear(size, 3, bias=True, weight_bit_width=4)

    def forward(self, x):
        left, right = self.parted(self.act(self.stem(x)))
        return self.last(self.joined(self.more(self.side(left)), right))


def half_masked(x):
    x = x.clone()
    x[:, 0] = 0
    return x[:, :4], x[:, 4:]


def ends(x):
    return x[:, :4].amax(3, keepdim=True).expand(-1, -1, -1, 8), x.max(dim=1, keepdim=True)[0].expand(-1, 4, -1, -1)


PARTED = {
    "chunk": lambda x: x.chunk(2, 1),
    "split": lambda x: torch.split(x, split_size_or_sections=4, dim=1),
    "indices": lambda x: (x[:, :4], x[:, 4:]),
    "masked": half_masked,
    "maximum over an axis": ends,
}


def pooled(a, b):
    return functional.max_pool2d(input=torch.cat(tensors=[a, b], dim=1), kernel_size=8).flatten(1)


def dropped(x):
    x = functional.dropout2d(functional.interpolate(x, scale_factor=2), training=False)
    return functional.adaptive_avg_pool2d(x.flatten(2).unsqueeze(-1), 1).squeeze(-1).squeeze(-1)


JOINED = {
    "by name": (pooled, 8, 0),
    "by the last axis": (lambda a, b: torch.cat([a.mean((2, 3)), b.sum(dim=[2, 3])], dim=-1), 8, 6),
    "sum by name": (lambda a, b: torch.flatten(input=torch.add(input=a, other=b), start_dim=1), 4 * 64, 0),
    "squeezed": (lambda a, b: dropped(torch.cat([a, b], 1)), 8, 8),
    "padded": (lambda a, b: functional.pad(torch.cat([a, b], 1), (1, 1, 1, 1)).amax((2, 3)), 8, 0),
    "average by name": (lambda a, b: functional.avg_pool2d(torch.cat((a, b), 1), kernel_size=4).flatten(1), 8 * 4, 4),
}  # fmt: skip


def own(net: torch.nn.Module) -> OwnNetwork:
    """The module as a network of a user's own on frames of whole numbers."""
    made = OwnNetwork(net, "net", scheme("integer"), input_shape=(1, 8, 8), classes=3, in_range=(0, 16))
    made.source = Source(Path("net.py"), "net", b"")
    made(torch.randint(0, 17, (32, 1, 8, 8)).float())
    return made.eval()


def network(parted: Callable, joined: Callable, size: int) -> OwnNetwork:
    torch.manual_seed(0)
    return own(Halves(parted, joined, size))


@pytest.mark.parametrize("parted", PARTED)
@pytest.mark.parametrize("joined", JOINED)
def test_slimming_computes_what_the_network_does_without_the_channels(parted, joined):
    """Whatever can be removed; what a function reads that is not followed stays."""
    join, size, _ = JOINED[joined]
    model = network(PARTED[parted], join, size)
    x = torch.randint(0, 17, (16, 1, 8, 8)).float()
    found = {group.name: group for group in channels_of(model, x[:1]).groups() if group.fixed is None}
    assert "net.stem" not in found
    if joined != "sum by name":
        assert list(found) == ["net.side"]
    small = compression.slim(model, {name: [1, 2] for name in found})
    for name in found:
        layer = model.get_submodule(name)
        layer.weight.data[[0, 3]] = 0
    torch.testing.assert_close(small(x), model(x))


ACROSS = {
    "pad": lambda x: functional.pad(x, (0, 0, 0, 0, 1, -1)),
    "max_pool3d": lambda x: functional.max_pool3d(x, (3, 1, 1), stride=1, padding=(1, 0, 0)),
}


@pytest.mark.parametrize("across", ACROSS)
def test_channels_that_a_function_shifts_or_pools_stay(across):
    model = network(PARTED["chunk"], lambda a, b: ACROSS[across](a).flatten(1), 4 * 64)
    with pytest.raises(QuantError, match=rf"^the channels of net\.side must all stay: {across} reads it; take another"):
        compression.slim(model, {"net.side": 1})


STATED = {
    "the last axis": lambda a, b: torch.cat([a, b], 1).view(-1, 8 * 64),
    "the channels": lambda a, b: torch.cat([a, b], 1).reshape(-1, 8, 64).flatten(1),
}


@pytest.mark.parametrize("stated", STATED)
def test_sizes_in_the_code_of_a_network_are_told(stated):
    model = network(PARTED["chunk"], STATED[stated], 8 * 64)
    with pytest.raises(
        QuantError, match=r"^the network states the size of what is made of net\.side, .* x\.flatten\(1\)"
    ):
        compression.slim(model, {"net.side": 2})
    assert not model.training


@pytest.mark.parametrize("joined", JOINED)
def test_widths_go_through_every_function(joined):
    join, size, added = JOINED[joined]
    whole, half, last = summary(network(PARTED["chunk"], join, size))
    assert (whole.act_bits, whole.signed_inputs) == (5, False)  # 0 to 16, as they are
    assert (half.act_bits, half.signed_inputs) == (4, False)
    assert last.act_bits == 4 + added


class Named(torch.nn.Module):
    """A module that is no network of this package, whose layers are called with their inputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = torch.nn.Conv2d(1, 6, 3), torch.nn.Conv2d(6, 3, 3)

    def forward(self, x):
        return self.last(input=torch.relu(input=self.first(input=x)))


def test_methods_take_modules_whose_layers_are_called_by_name():
    torch.manual_seed(0)
    model, x = Named(), torch.randn(8, 1, 8, 8)
    whole = model(x)
    assert [*compression.slim(model, {"first": 4}, frame=x[:1]).last.weight.shape] == [3, 4, 3, 3]
    for small in (
        compression.obs(model, x, 0.5),
        compression.product_quantize(model, clusters=4, inputs=x),
        compression.slim_by_lasso(model, x, 0.5, granularity=1),
    ):
        assert small(x).shape == whole.shape
    torch.testing.assert_close(model(x), whole)


class Twice(torch.nn.Module):
    """One layer for both halves of the frame."""

    def __init__(self) -> None:
        super().__init__()
        self.both, self.act = qnn.QuantLinear(32, 6, bias=True, weight_bit_width=4), qnn.QuantReLU(bit_width=3)
        self.last = qnn.QuantLinear(12, 10, bias=True, weight_bit_width=4)

    def forward(self, x):
        return self.last(torch.cat([self.act(self.both(each)) for each in (x.flatten(1) / 16).chunk(2, 1)], 1))


def test_a_layer_that_runs_twice_saves_twice():
    def cost(shape, bits, density=1.0, structure="unstructured"):
        weights = round(density * shape.inputs * shape.outputs)
        return LayerCost(bits.inputs * weights, 0, 0, 0, cycles=weights, rom_bits=weights)

    model = own(Twice())
    assert compression.savings(model, cost, "lut") == {"net.both": pytest.approx(10), "net.last": pytest.approx(3)}
    assert compression.savings(model, cost, "cycles") == {"net.both": pytest.approx(1), "net.last": pytest.approx(1)}
