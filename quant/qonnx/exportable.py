"""Functions that PyTorch's exporter lacks, or leaves a part of out."""

from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_ADAPTIVE = {getattr(functional, f"adaptive_{kind}_pool{axes}d"): axes for kind in ("avg", "max") for axes in (1, 2, 3)}


class Exportable(TorchFunctionMode):
    """Within it, functions are called in a form that PyTorch's exporter writes, or refused with a remedy.

    The exporter knows no ``channel_shuffle``, leaves ``divisor_override`` out, and has no adaptive pools whose windows
    differ. Raises ValueError for the last two.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if "input" in given and func in (torch.channel_shuffle, *_ADAPTIVE):
            args, given = (given["input"], *args), {name: value for name, value in given.items() if name != "input"}
        if func is torch.channel_shuffle:
            return _shuffled(*args, **given)
        if func in (functional.avg_pool2d, functional.avg_pool3d) and (
            given.get("divisor_override") or (len(args) > 6 and args[6])
        ):
            raise ValueError("divisor_override: leave it out, and multiply by window / divisor behind the pool")
        if func in _ADAPTIVE:
            _check_adaptive(_ADAPTIVE[func], *args, **given)
        return func(*args, **given)


def _shuffled(x: torch.Tensor, groups: int) -> torch.Tensor:
    sizes = [int(each) for each in x.shape[1:]]
    apart = x.reshape(-1, groups, sizes[0] // groups, *sizes[1:])
    return apart.transpose(1, 2).reshape(-1, *sizes)


def _check_adaptive(axes: int, x: torch.Tensor, output_size: Any, *_: Any, **__: Any) -> None:
    sizes = [int(each) for each in x.shape[-axes:]]
    wanted = output_size if isinstance(output_size, tuple | list) else (output_size,) * axes
    if any(want is not None and size % int(want) for size, want in zip(sizes, wanted, strict=True)):
        have, want = (" x ".join(map(str, each)) for each in (sizes, wanted))
        raise ValueError(f"its windows of {have} to {want} differ in size: ask for sizes that divide the input's")
