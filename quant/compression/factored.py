"""Layers that are products of smaller ones: a plan, in plain values, says which, and replaces them in a network.

A plan has, by the name of a layer, the ``form`` (``quant.compression.factors``), the ``rank``, whether a BatchNorm is
between (``norm``), and for "grouped" the clusters of ``inputs`` and ``outputs``.
"""

from collections.abc import Mapping
from typing import Any

import torch

from quant import layers as layer_factory
from quant.compression import factors
from quant.compression.forms import Pruned
from quant.compression.weights import Layer, attach, find_layers
from quant.errors import QuantError


def replace_layers(model: torch.nn.Module, plan: Mapping[str, Mapping[str, Any]]) -> None:
    """Replaces layers, in place, by the factors that ``plan`` states, with new weights."""
    replace(model, plan)
    mask(model, plan)


def factor_dense(model: torch.nn.Module, share: float) -> None:
    """Replaces the linear layers of a new network but the last, in place, by two factors each, which together have at
    most the ``share`` of the layer's weights (``factors.rank_for_budget``); a layer that would not get smaller stays.

    The rank is a multiple of 4 from 4 on. Between the factors is the scheme's signed quantizer, after a BatchNorm where
    the layer has no bias. Raises QuantError (status 2) for a share that is not above 0 and at most 1, and for a network
    without such layers.
    """
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise QuantError(f"low_rank={share!r} is not a share of the weights, above 0 and at most 1", status=2)
    dense = [name for name, layer in find_layers(model).items() if isinstance(layer, torch.nn.Linear)][:-1]
    if not dense:
        raise QuantError("low_rank is for networks with at least two linear layers", status=2)
    plan = {}
    for name in dense:
        layer = find_layers(model)[name]
        rank = factors.rank_for_budget("svd", layer.weight.shape, share)
        rank = rank // 4 * 4 or rank
        if share < 1 and factors.parameters("svd", layer.weight.shape, rank) < layer.weight.numel():
            plan[name] = {"form": "svd", "rank": rank, "norm": layer.bias is None}
    replace_layers(model, plan)


def replace(model: torch.nn.Module, plan: Mapping[str, Mapping[str, Any]]) -> None:
    """``replace_layers`` without the zeros of grouped factors."""
    for name, each in plan.items():
        parent, _, child = name.rpartition(".")
        blocks = (max(each["inputs"]) + 1) * (max(each["outputs"]) + 1) if "inputs" in each else 1
        layer = find_layers(model)[name]
        if not hasattr(layer, "scheme"):
            raise QuantError(
                f"layer {name} has quantizers of its own and no scheme to make its factors of: choose layers of "
                "quant.layers (--layers), or another method",
                status=2,
            )
        made = _factored(layer, each["form"], blocks * each["rank"], each["norm"])
        setattr(model.get_submodule(parent), child, made)


def mask(model: torch.nn.Module, plan: Mapping[str, Mapping[str, Any]]) -> None:
    """Gives the factors of "grouped" their zeros."""
    for name, each in plan.items():
        if "inputs" not in each:
            continue
        made = list(find_layers(model, f"{name}.*").values())
        inputs, outputs = torch.tensor(each["inputs"]), torch.tensor(each["outputs"])
        masks = factors.block_masks(each["rank"], inputs, outputs, made[0].weight.dim())
        for layer, kept in zip(made, masks, strict=True):
            attach(layer, Pruned(kept.expand(layer.weight.shape).clone()))


def _factored(layer: Layer, form: str, rank: int, norm: bool) -> torch.nn.Sequential:
    """Returns the factors of a layer: children ``factor0``, ``norm0``, ``act0``, ``factor1``, ..."""
    scheme, bias = layer.scheme, layer.bias is not None
    if isinstance(layer, torch.nn.Linear):
        made: list[Any] = [
            layer_factory.linear(scheme, layer.in_features, rank),
            layer_factory.linear(scheme, rank, layer.out_features, bias),
        ]
        axes = 0
    else:
        axes = len(layer.kernel_size)
        geometry = {name: getattr(layer, name) for name in ("stride", "padding", "dilation")}
        if layer.padding_mode != "zeros":
            raise QuantError(f"a convolution with padding mode {layer.padding_mode} cannot be factored", status=2)

        def along(*kept: int) -> dict[str, Any]:
            """The kernel and geometry along some axes; 1 along the others."""
            neutral = {"stride": 1, "padding": 0, "dilation": 1}
            sizes = {key: tuple(value[a] if a in kept else neutral[key] for a in range(axes))
                     for key, value in geometry.items()}  # fmt: skip
            return {"kernel": tuple(layer.kernel_size[a] if a in kept else 1 for a in range(axes)), **sizes}

        def conv(inputs: int, outputs: int, *kept: int, groups: int = 1, last: bool = False) -> Any:
            return layer_factory.conv(
                scheme, inputs, outputs, dimensions=axes, groups=groups, bias=bias and last, **along(*kept)
            )

        inputs, outputs = layer.in_channels, layer.out_channels
        if form in ("svd", "grouped"):
            made = [conv(inputs, rank, *range(axes)), conv(rank, outputs, last=True)]
        elif form == "separable":
            made = [conv(inputs, rank, 0), conv(rank, outputs, 1, last=True)]
        else:
            made = [
                conv(inputs, rank),
                conv(rank, rank, 0, groups=rank),
                conv(rank, rank, 1, groups=rank),
                conv(rank, outputs, last=True),
            ]
    sequence = torch.nn.Sequential()
    for index, factor in enumerate(made):
        sequence.add_module(f"factor{index}", factor)
        if index < len(made) - 1:
            if norm:
                sequence.add_module(f"norm{index}", scheme.norm(rank, axes))
            sequence.add_module(f"act{index}", layer_factory.signed_activation(scheme))
    return sequence.train(layer.training)
