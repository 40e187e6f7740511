"""The feature maps of a network in a forward pass, and which ones of student and teacher are compared."""

from collections.abc import Sequence
from typing import Any

import torch
from brevitas.nn.quant_layer import QuantWeightBiasInputOutputLayer
from brevitas.quant_tensor import QuantTensor
from torch import nn

from quant import layers
from quant.errors import QuantError
from quant.models.network import Network

__all__ = ["Features", "Pair", "pairs_of_sizes", "points"]

Pair = tuple[str, str]
"""The names of a module of the student and of one of the teacher."""

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_LAYERS = (
    QuantWeightBiasInputOutputLayer, nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d,
)  # fmt: skip


class Features:
    """Keeps the outputs of some modules of a network from each forward pass on, until ``close``.

    ``self[name]`` is the output of a module in the last pass, with its gradients. Raises QuantError (status 2) for
    modules that the network does not have.
    """

    def __init__(self, network: Network, names: Sequence[str]) -> None:
        modules = dict(network.named_modules())
        for name in names:
            if name not in modules:
                raise QuantError(
                    f"{network.name} has no module {name!r} to compare: its modules are {_some(modules)}", status=2
                )
        self._outputs: dict[str, torch.Tensor] = {}
        self._hooks = [modules[name].register_forward_hook(self._keeper(name)) for name in dict.fromkeys(names)]

    def _keeper(self, name: str) -> Any:
        def keep(_module: Any, _inputs: Any, output: torch.Tensor | QuantTensor) -> None:
            self._outputs[name] = _values(output)

        return keep

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._outputs[name]

    def close(self) -> None:
        """Removes what keeps the outputs from the network."""
        for hook in self._hooks:
            hook.remove()


def _values(output: torch.Tensor | QuantTensor) -> torch.Tensor:
    values: torch.Tensor = output.value if isinstance(output, QuantTensor) else output
    return values


def _some(modules: dict[str, torch.nn.Module]) -> str:
    named = [name for name in modules if name and name.count(".") < 2]
    return ", ".join(named[:12]) + (", ..." if len(named) > 12 else "")


@torch.no_grad()
def points(network: Network, x: torch.Tensor) -> dict[str, tuple[int, ...]]:
    """Returns the modules whose outputs are compared, in the order of a forward pass, with shapes (channels, ...).

    They are the BatchNorms and the residual sums: there, a 1-bit network still has real values. In a network of a
    user's own, and in one without them, layers without a BatchNorm behind them are such, too, except the last one.
    """
    found: dict[str, tuple[int, ...]] = {}
    named = dict(network.named_modules())
    chosen = [n for n, m in named.items() if n.rpartition(".")[2] == "norm" or isinstance(m, layers.Add)]
    own = not chosen
    if own:
        kinds = (*_NORMS, *_LAYERS)
        chosen = [n for n, m in named.items() if isinstance(m, kinds) and not n.startswith("heads.")]

    def note(name: str) -> Any:
        def keep(_module: Any, _inputs: Any, output: torch.Tensor | QuantTensor) -> None:
            found.setdefault(name, tuple(_values(output).shape[1:]))

        return keep

    hooks = [named[name].register_forward_hook(note(name)) for name in chosen]
    training = network.training
    try:
        network.eval()(x[:2].reshape(-1, *network.input_shape))
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    if own and found:
        norms = {name: isinstance(named[name], _NORMS) for name in found}
        following = [*zip(found, [*found][1:], strict=False)]
        normed = [one for one, next_ in following if norms[next_] and not norms[one] and found[one] == found[next_]]
        found = {name: shape for name, shape in found.items() if name not in normed}
        if not norms[last := [*found][-1]]:
            del found[last]  # the layer of the outputs
    if not found:
        raise QuantError(
            f"{network.name} has no hidden layer whose features could be compared: take terms of the outputs, as soft "
            "and logits",
            status=2,
        )
    return found


def pairs_of_sizes(student: dict[str, tuple[int, ...]], teacher: dict[str, tuple[int, ...]]) -> list[Pair]:
    """Returns, for each size of feature map that both have, the last point of each: where its group of layers ends.

    Maps of one position are left out. Raises QuantError (status 2) where no size is common.
    """
    ends = [{shape[1:]: name for name, shape in each.items() if len(shape) > 1} for each in (student, teacher)]
    found = [(name, ends[1][size]) for size, name in ends[0].items() if size in ends[1] and max(size) > 1]
    if not found:
        raise QuantError(
            "student and teacher have no feature maps of equal size: name the layers to compare, or take other terms "
            "than attention and selectivity, as hint",
            status=2,
        )
    return found
