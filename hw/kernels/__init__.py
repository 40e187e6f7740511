"""The kernels, found by their folders; kernels of other packages by an entry point.

A kernel is a package ``NAME`` with a module ``kernel``, in which one concrete subclass of ``Kernel`` has ``op`` NAME,
and a module ``cases``, beside the kernel's SystemVerilog. Another distribution adds kernels through entry points of the
group ``bitfabric.kernels``: the name is the kernel's ``op``, the value its class or the module that holds it.
"""

import inspect
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import ModuleType
from typing import Any, Protocol, cast

import numpy as np

from hw import plugins
from hw.host.errors import BitfabricError
from hw.ir.kernel import Kernel

ENTRY_POINTS = "bitfabric.kernels"
"""The group of entry points through which other distributions add kernels."""


def names() -> tuple[str, ...]:
    """The names of all kernels, sorted. No kernel is imported."""
    return tuple(sorted(_folders() | plugins.names(ENTRY_POINTS)))


def is_builtin(op: str) -> bool:
    """Whether the kernel of this name is one of this package."""
    return op in _folders()


def get(op: str) -> type[Kernel]:
    """The kernel class of this name.

    Raises BitfabricError for a name that is not among ``names()``, for one that several packages provide, and where the
    module does not hold exactly one kernel of this name.
    """
    if op in _folders():
        if op in plugins.names(ENTRY_POINTS):
            raise BitfabricError(f"an installed package provides a kernel {op}, which is built in; uninstall it")
        return _class(op, import_module(f"{__name__}.{op}.kernel"))
    if (found := plugins.find(ENTRY_POINTS, op)) is None:
        raise BitfabricError(f"no kernel {op}; there are {', '.join(names())}")
    return _class(op, found)


class Cases(Protocol):
    """The module ``cases`` of a kernel: what every check of kernels is run on. Seeds are fixed."""

    def cases(self) -> Iterable[tuple[str, Kernel]]:
        """Small kernels by name, which together reach every branch of the hardware."""
        ...

    def definition(self, kernel: Any, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        """What ``kernel.execute`` must return, by the plainest statement of it; of any integer type."""
        ...

    def grid(self) -> Iterable[tuple[str, Kernel]]:
        """Kernels of the sizes that networks have, by a name that begins with ``op``: the models of cost and clock are
        fitted to what synthesis makes of them."""
        ...


def cases(op: str) -> Cases:
    """The module ``cases`` beside the kernel of this name. Raises BitfabricError as ``get`` does."""
    package = import_module(get(op).__module__).__package__
    return cast(Cases, import_module(f"{package}.cases"))


class Damage(Protocol):
    """The module ``damage`` of a kernel: what it computes when bits of its memories are flipped.

    A kernel without memories has none, unless its results change with numbers beyond its input range."""

    def bits(self, kernel: Any) -> int:
        """Bits of the memories, as in the files of the RTL without parity bits."""
        ...

    def damaged(self, kernel: Any, flips: np.ndarray) -> Kernel:
        """The kernel with the bits ``flips`` flipped, (count,) int64 from 0 to ``bits`` - 1. Without flips its results
        are the kernel's, and, for codes at its inputs that the kernel was not made for, the hardware's."""
        ...


def damage(kernel: type[Kernel]) -> Damage | None:
    """The module ``damage`` beside a kernel class or one of its base classes; None where there is none."""
    for package in _packages(kernel):
        if (files(package) / "damage.py").is_file():
            return cast(Damage, import_module(f"{package}.damage"))
    return None


def source(name: str, kernel: type[Kernel]) -> Traversable:
    """The SystemVerilog file that ``kernel`` means by this name: beside its class, beside one of its base classes, or
    among the cells that kernels share. Raises BitfabricError where there is none."""
    for folder in (*map(files, _packages(kernel)), files(__name__) / "cells"):
        if (file := folder / name).is_file():
            return file
    raise BitfabricError(f"kernel {kernel.op}: no {name} beside {kernel.__module__}, nor among the cells of {__name__}")


def _packages(kernel: type[Kernel]) -> Iterator[str]:
    """The packages of a kernel class and of its base classes."""
    for cls in kernel.__mro__:
        if issubclass(cls, Kernel) and (package := import_module(cls.__module__).__package__):
            yield package


@cache
def _folders() -> frozenset[str]:
    """The kernels of this package."""
    return frozenset(folder.name for folder in files(__name__).iterdir() if (folder / "kernel.py").is_file())


def _class(op: str, module: ModuleType | type[Kernel]) -> type[Kernel]:
    """The one concrete kernel of this name that a module defines; a class is taken as it is."""
    where = module.__name__
    if isinstance(module, ModuleType):
        classes = [cls for _, cls in inspect.getmembers(module, inspect.isclass) if cls.__module__ == where]
    else:
        classes = [module]
    kernels = [c for c in classes if issubclass(c, Kernel) and not inspect.isabstract(c) and c.op == op]
    if len(kernels) != 1:
        raise BitfabricError(f"{where} holds {len(kernels)} kernels with op = {op!r}; it must be exactly one")
    return kernels[0]
