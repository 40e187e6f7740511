"""Inputs of modules by place, where a network's code names them (``self.conv(input=x)``): hooks look there."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


def by_place(
    module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A forward pre-hook (``with_kwargs``) that gives a module its input as the first argument."""
    if not args and kwargs:
        first = next(iter(inspect.signature(module.forward).parameters))
        if first in kwargs:
            return (kwargs[first],), {name: value for name, value in kwargs.items() if name != first}
    return args, kwargs


@contextmanager
def inputs_by_place(*models: torch.nn.Module) -> Iterator[None]:
    """Context in which hooks of the modules of ``models`` find inputs by place."""
    modules = dict.fromkeys(module for model in models for module in model.modules())
    hooks = [each.register_forward_pre_hook(by_place, prepend=True, with_kwargs=True) for each in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
