"""The feature maps of a network in a forward pass, and which ones of student and teacher are compared."""

from collections.abc import Sequence
from typing import Any

import torch
from brevitas.nn.quant_layer import QuantWeightBiasInputOutputLayer

from quant import layers
from quant.errors import QuantError
from quant.models.network import Network

__all__ = ["Features", "Pair", "pairs_of_sizes", "points"]

Pair = tuple[str, str]
"""The names of a module of the student and of one of the teacher."""


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
        def keep(_module: Any, _inputs: Any, output: torch.Tensor) -> None:
            self._outputs[name] = output

        return keep

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._outputs[name]

    def close(self) -> None:
        """Removes what keeps the outputs from the network."""
        for hook in self._hooks:
            hook.remove()


def _some(modules: dict[str, torch.nn.Module]) -> str:
    named = [name for name in modules if name and name.count(".") < 2]
    return ", ".join(named[:12]) + (", ..." if len(named) > 12 else "")


@torch.no_grad()
def points(network: Network, x: torch.Tensor) -> dict[str, tuple[int, ...]]:
    """Returns the modules whose outputs are compared, in the order of a forward pass, with shapes (channels, ...).

    They are the BatchNorms and the residual sums: there, a 1-bit network still has real values. A network without them
    has its layers instead, except the last one.
    """
    found: dict[str, tuple[int, ...]] = {}
    named = dict(network.named_modules())
    chosen = [n for n, m in named.items() if n.rpartition(".")[2] == "norm" or isinstance(m, layers.Add)]
    if not chosen:
        kinds = QuantWeightBiasInputOutputLayer
        chosen = [n for n, m in named.items() if isinstance(m, kinds) and n != "output"]

    def note(name: str) -> Any:
        def keep(_module: Any, _inputs: Any, output: torch.Tensor) -> None:
            found.setdefault(name, tuple(output.shape[1:]))

        return keep

    hooks = [named[name].register_forward_hook(note(name)) for name in chosen]
    training = network.training
    try:
        network.eval()(x[:2].reshape(-1, *network.input_shape))
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
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
