"""Net2Net: a wider or deeper network that computes what a trained one does, from which a training goes on.

Chen, Goodfellow, Shlens, "Net2Net: accelerating learning via knowledge transfer", ICLR 2016. Both are for float
networks: a 1-bit weight cannot be divided among copies, and no 1-bit layer is the identity. Quantize the result instead
(``quant.fit`` of a quantized network with ``start``).
"""

from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from quant.compression.channels import channels_of, network_frame
from quant.compression.restructure import functions_of, norms_of
from quant.compression.weights import find_layers
from quant.errors import QuantError
from quant.models import create_model
from quant.models.mlp import MLP
from quant.models.network import Network

__all__ = ["deepen", "widen"]


@torch.no_grad()
def widen(network: Network, *, noise: float = 0.01, seed: int = 0, **options: object) -> Network:
    """Returns the network that ``create_model`` makes with other ``options``, as ``width=2`` or ``hidden=(128, 128)``.

    Its first channels are those of ``network``; the further ones are copies of some of them, drawn at random. The
    weights that read a channel are divided by its number of copies, so that the outputs stay the same (section 2.1,
    equation 4). ``noise`` times their standard deviation is then added to the weights of the copies, so that they can
    learn to differ; with 0 the outputs are equal but for rounding.

    Raises QuantError (status 2) for a quantized or changed network, and where ``options`` leave fewer channels or
    layers.
    """
    _check_float(network, "widen")
    wide = create_model(network.name, network.scheme, **{**network.options, **options})
    frame = network_frame(network, None, "widen")
    before, after = channels_of(network, frame), channels_of(wide, frame)
    if list(before.of) != list(after.of):
        raise QuantError(
            f"widen: options {options} change the layers of {network.name}, not only their widths", status=2
        )
    random = torch.Generator().manual_seed(seed)
    maps: dict[str, torch.Tensor] = {}
    for group in before.groups():
        count, wanted = group.channels, after.of[group.name].channels
        if wanted < count or (group.fixed and wanted != count):
            raise QuantError(f"widen: layer {group.name} has {count} channels, and {wanted} with {options}", status=2)
        maps[group.name] = torch.cat([torch.arange(count), torch.randint(count, (wanted - count,), generator=random)])
    layers, small = find_layers(wide), find_layers(network)
    norms, small_norms = norms_of(wide), norms_of(network)
    functions, small_functions = functions_of(wide), functions_of(network)
    for name, parts in before.inputs.items():
        inputs = before.chosen(parts, maps)
        if name in norms:
            for key, value in small_norms[name].state_dict().items():
                getattr(norms[name], key).copy_(value[inputs] if value.dim() else value)
            continue
        if name in functions:
            for number, old in zip(functions[name].numbers(), small_functions[name].numbers(), strict=True):
                number.copy_(old[inputs])
            continue
        layer, old = layers[name], small[name]
        depthwise = name not in before.of
        outputs = inputs if depthwise else maps[before.of[name].name]
        weight = old.weight[outputs]
        if not depthwise:
            copies = torch.bincount(inputs)[inputs]
            weight = weight[:, inputs] / copies.view(1, -1, *[1] * (weight.dim() - 2))
        new = torch.zeros(len(outputs), dtype=torch.bool)
        new[old.weight.shape[0] :] = True
        shake = torch.randn(weight.shape, generator=random) * weight.std() * noise
        layer.weight.copy_(weight + shake * new.view(-1, *[1] * (weight.dim() - 1)))
        if old.bias is not None:
            layer.bias.copy_(old.bias[outputs])
    return wide.eval()


@torch.no_grad()
def deepen(network: MLP, after: int, x: torch.Tensor) -> MLP:
    """Returns a fully connected network with one more hidden layer, behind the hidden layer ``after`` (from 0).

    The new layer is the identity: unit weights, and a BatchNorm whose gain and offset undo its statistics, which are
    those of ``x`` (N, *input_shape), samples of the training set (section 2.2 and appendix A of the paper). It follows
    a ReLU, so that its own changes nothing.

    Raises QuantError (status 2) for a quantized or changed network, for one without such layers, and for a layer that
    it does not have.
    """
    _check_float(network, "deepen")
    if not isinstance(network, MLP):
        raise QuantError(
            f"deepen: {network.name} is no network of fully connected hidden layers, as tfc-float", status=2
        )
    if not 0 <= after < len(network.hidden):
        raise QuantError(f"deepen: after={after} is none of the {len(network.hidden)} hidden layers, from 0", status=2)
    blocks: Any = network.hidden
    widths = [block.linear.out_features for block in blocks]
    widths.insert(after + 1, widths[after])
    deep: Any = create_model(network.name, network.scheme, **{**network.options, "hidden": widths})
    for index, block in enumerate(deep.hidden):
        if index != after + 1:
            block.load_state_dict(blocks[index - (index > after)].state_dict())
    deep.output.load_state_dict(network.output.state_dict())
    values = network.eval().input(x.reshape(len(x), *network.input_shape))
    for block in blocks[: after + 1]:
        values = block(values)
    new = deep.hidden[after + 1]
    torch.nn.init.eye_(new.linear.weight)
    if new.linear.bias is not None:
        new.linear.bias.zero_()
    norm = getattr(new, "norm", None)
    if isinstance(norm, _BatchNorm):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(values.mean(0))
        norm.running_var.copy_(values.var(0))
        norm.weight.copy_((norm.running_var + norm.eps).sqrt())
        norm.bias.copy_(norm.running_mean)
    return deep.eval()


def _check_float(network: Network, what: str) -> None:
    if network.scheme.quantizes or network.changes:
        kind = "quantized" if network.scheme.quantizes else "changed by a compression"
        raise QuantError(
            f"{what}: {network.name} is {kind}, and its function cannot be kept: {what} the float network before",
            status=2,
        )
    if network.options.get("early_exit") is not None:
        raise QuantError(
            f"{what}: {network.name} has early exits, whose thresholds would not be kept: {what} it without, and start "
            "one with early exits from it",
            status=2,
        )
