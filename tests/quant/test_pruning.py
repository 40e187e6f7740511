"""Pruning by structures: which weights become zero, and what is refused."""

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quant import (
    Pruning,
    TrainConfig,
    compression,
    fit,
    layers,
    schemes,
)
from quant.compression.selection import densities, prune_layers
from quant.compression.structures import from_matrix, tile, to_matrix
from quant.compression.weights import compression_of, find_layers, latent_of, weight_of
from quant.errors import QuantError
from quant.structure import structure
from tests.quant.compressed import pruned_matrix
from tests.quant.small_training import model_for, small

few = settings(max_examples=25, deadline=None)


def at_most(layer, fraction: float, text: str):
    """The layer with ``fraction`` pruned, or as much as the refusal says is possible."""
    try:
        return compression.prune(layer, fraction, structure=text)
    except QuantError as error:
        most = re.search(r"leaves an output without an input: prune at most (\S+) of layer", str(error))
        return compression.prune(layer, float(most[1]), structure=text)


@few
@given(st.data())
def test_structures_prune_what_they_say(data):
    mh, channels, kernel = (data.draw(st.integers(*size), label) for label, size in
                            (("outputs", (2, 12)), ("channels", (1, 8)), ("kernel", (1, 3))))  # fmt: skip
    text = data.draw(st.sampled_from(["unstructured", "columns", "blocks:4x3", "bank-balanced:2x4", "1:4", "2:4"]))
    fraction = data.draw(st.sampled_from([0.0, 0.3, 0.5, 0.75]))
    torch.manual_seed(data.draw(st.integers(0, 99)))
    layer = torch.nn.Conv1d(channels, mh, kernel, bias=False)
    kind = structure(text)
    if kind.fraction is not None:
        fraction = kind.fraction
    small = at_most(layer, fraction, text)
    mask, magnitude = pruned_matrix(small).numpy(), to_matrix(layer.weight.detach()).abs().numpy()
    mw = channels * kernel
    assert mask.shape == (mh, mw)
    assert mask.any(1).all()
    assert torch.equal(weight_of(small) != 0, compression_of(small).mask)
    pe, simd = tile(kind, mask.shape)
    if text == "unstructured":
        assert (~mask).sum() == min(round(fraction * mask.size), mask.size - mh)
        best = np.zeros_like(mask)
        best[np.arange(mh), magnitude.argmax(1)] = True
        assert best[mask].any()
        assert mask[best].all()
        assert magnitude[~mask].max(initial=0) <= magnitude[mask & ~best].min(initial=np.inf)
    elif text == "columns":
        assert (mask == mask[0]).all()
        norms = np.square(magnitude).sum(0)
        assert norms[~mask[0]].max(initial=0) <= norms[mask[0]].min()
    elif kind.kind == "blocks":
        blocks = mask.reshape(mh // pe, pe, mw // simd, simd)
        assert (blocks == blocks[:, :1, :, :1]).all()
    elif kind.kind == "bank-balanced":
        groups = mask.reshape(mh // pe, pe, mw // simd, simd)
        assert (groups == groups[:, :1]).all()
        counts = groups[:, 0].sum(1)  # (group, bank)
        assert (counts == counts[0, 0]).all()
        norms = np.square(magnitude.reshape(groups.shape)).sum(1)
        kept = groups[:, 0]
        worst = np.where(kept, norms, np.inf).min(1)
        assert (np.where(kept, 0, norms).max(1) <= worst).all()
    else:
        full = mw - mw % kind.m
        counts = mask[:, :full].reshape(mh, -1, kind.m).sum(2)
        assert (counts == kind.n).all()
        assert (mask[:, full:].sum(1) == min(kind.n, mw - full)).all()


def test_the_window_is_in_the_order_of_the_hardware():
    weight = torch.arange(2 * 3 * 2 * 2).view(2, 3, 2, 2)
    assert to_matrix(weight)[0].tolist() == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]
    assert torch.equal(from_matrix(to_matrix(weight), weight.shape), weight)


@pytest.mark.parametrize("text", ["unstructured", "bank-balanced:4x4", "blocks:2x8", "columns", "2:4"])
def test_pruning_again_keeps_the_zeros(text):
    torch.manual_seed(0)
    layer = torch.nn.Linear(64, 16)
    fractions = [0.5] if text == "2:4" else [0.25, 0.5, 0.8]
    small, before = layer, None
    for fraction in fractions:
        small = compression.prune(small, fraction, structure=text)
        mask = compression_of(small).mask
        assert before is None or not bool((mask & ~before).any())
        # no score is better than another twice: the same in steps and at once
        assert float(mask.float().mean()) == pytest.approx(1 - fraction, abs=0.04)
        before = mask
    assert torch.equal(compression_of(compression.prune(small, fractions[-1], structure=text)).mask, before)


def test_a_criterion_of_your_own():
    layer = torch.nn.Linear(30, 10)
    scores = torch.rand(10, 30)
    small = compression.prune(layer, 0.5, score=lambda name, layer: scores)
    assert torch.equal(
        compression_of(small).mask.flatten(), torch.zeros(300).scatter(0, scores.flatten().topk(150).indices, 1).bool()
    )
    with pytest.raises(QuantError, match=r"finite, at least 0 and of shape \(10, 30\)"):
        compression.prune(layer, 0.5, score=lambda name, layer: scores - 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fraction": 1.0}, "fraction=1.0"),
        ({"structure": "3:2"}, "1 <= N < M"),
        ({"structure": "rows"}, "no structure 'rows'"),
        ({"structure": "blocks:0x4"}, "no structure"),
        ({"structure": "columns:4x4"}, "no structure"),
        ({"structure": "blocks:"}, "no structure"),
        ({"structure": "2:4", "fraction": 0.75}, "not that of structure 2:4, which leaves 2 of 4: give 0.5"),
        ({"structure": "2:4", "jointly": True}, "prunes all layers alike"),
        ({"by": "energy"}, "no criterion 'energy': choose size, lut, cycles, rom_bits"),
        ({"begin": 0.5, "end": 0.5}, "0 <= begin < end <= 1"),
        ({"every": 0}, "every=0"),
        ({"lasso": -1.0}, "lasso=-1.0"),
        ({"structure": "1:4", "lasso": 0.1}, "unless it is N:M"),
        ({"decay": "quadratic"}, "choose hyperbolic or exponential"),
        ({"decay_rate": 0.0}, "decay_rate=0.0"),
    ],
)
def test_bad_settings_of_pruning(options, message):
    with pytest.raises(QuantError, match=message) as caught:
        Pruning(**options)
    assert caught.value.status == 2


def test_a_rounded_fraction_is_that_of_the_structure():
    """Two thirds are no decimal number; a third of a percent beside is another fraction."""
    assert Pruning(0.667, structure="1:3").fraction == Pruning(structure="1:3").target == structure("1:3").fraction
    small = compression.prune(torch.nn.Linear(48, 2), 0.6667, structure="1:3")
    assert (pruned_matrix(small).reshape(-1, 3).sum(1) == 1).all()
    with pytest.raises(QuantError, match=r"fraction=0\.67 of layer .*: give 0\.6667 \(density 0\.3333\), or another"):
        compression.prune(torch.nn.Sequential(torch.nn.Linear(48, 2)), 0.67, structure="1:3")


def test_what_cannot_be_pruned():
    data = small()
    with pytest.raises(
        QuantError, match=r"training diverged: layer hidden.* after step .* smaller learning rate than 1e"
    ):
        fit(model_for(data, "tfc-w4a4"), data, TrainConfig(epochs=2, learning_rate=1e30, prune=Pruning(0.5)))
    with pytest.raises(QuantError, match="at most 0 of layer 0, take a structure of smaller parts, or"):
        compression.prune(torch.nn.Sequential(torch.nn.Linear(8, 4)), structure="blocks:4x8")
    with pytest.raises(QuantError, match="layers has no name or pattern: give some of 0, or None"):
        compression.prune(torch.nn.Sequential(torch.nn.Linear(8, 4)), 0.5, layers=[])
    # Refused before the first step: the message has the fraction asked for, not one of the schedule.
    with pytest.raises(
        QuantError,
        match=r"fraction=0\.99 .* an output without an input: prune at most 0\.9843 of layer hidden\.1\.linear, or",
    ):
        fit(model_for(data, "tfc-w4a4"), data, TrainConfig(epochs=1, prune=Pruning(0.99, layers="hidden.1.*")))
    model = torch.nn.Sequential(layers.depthwise(schemes.get("integer"), 8, 3))
    with pytest.raises(QuantError, match="layer 0 is a convolution in groups"):
        compression.prune(model, 0.5, structure="columns")
    assert math.isclose(densities(find_layers(compression.prune(model, 0.5)))["0"], 0.5, abs_tol=0.01)
    with pytest.raises(QuantError, match="layers='x' matches none"):
        fit(model_for(data, "tfc-w4a4"), data, TrainConfig(epochs=1, prune=Pruning(0.5, layers="x")))
    with pytest.raises(QuantError, match="structure 2:4 prunes all layers alike"):
        compression.prune(torch.nn.Linear(8, 4), structure="2:4", jointly=True)
    joint = torch.nn.Linear(8, 4)
    mask = compression.prune(joint, 0.5)
    prune_layers({"": mask}, {"": latent_of(mask).detach().abs()}, 0.875, structure("unstructured"))
    assert bool((pruned_matrix(mask).sum(1) == 1).all())


@pytest.mark.parametrize("method", ["unstructured", "blocks:4x2", "bank-balanced:2x8", "columns", "obs"])
@pytest.mark.parametrize("fraction", [0.8, 0.9])
def test_a_refusal_names_every_layer_and_what_it_proposes_is_possible(method, fraction):
    torch.manual_seed(0)
    parts = (64, 24), (24, 4), (4, 1), (1, 6), (6, 40)
    model = torch.nn.Sequential(*(torch.nn.Linear(*sizes) for sizes in parts))

    def pruned(fraction, **options):
        if method == "obs":
            return compression.obs(model, torch.randn(64, 64), fraction)
        return compression.prune(model, fraction, structure=method, **options)

    with pytest.raises(QuantError, match=f"^fraction={fraction} .*leaves an output without an input") as refusal:
        pruned(fraction)
    most = {name: float(share) for share, name in re.findall(r"(\S+) of layer (\d)", str(refusal.value))}
    assert most
    assert max(most.values()) < fraction
    small = pruned(dict.fromkeys("01234", fraction) | most)
    assert all((pruned_matrix(layer).any(1)).all() for layer in small)
    if "jointly" in str(refusal.value):
        assert sum(densities(find_layers(pruned(fraction, jointly=True))).values()) < 5
    elif method != "obs":
        with pytest.raises(QuantError, match="of the 5 layers together, or choose other layers"):
            pruned(fraction, jointly=True)
