"""Finds kernels: those of this package by their folders, those of other packages by entry points.

The folder of a kernel NAME is a package that contains the kernel's SystemVerilog, a module ``kernel`` with exactly one
concrete subclass of ``Kernel`` whose ``op`` is NAME, and a module ``cases``. Other distributions add kernels through
entry points of the group ``bitfabric.kernels``: the entry point's name is the kernel's ``op``, and its value is the
class or the module that defines it.
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
    """Whether this package defines the kernel of this name."""
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
    """Interface of a kernel's module ``cases``: the kernels on which every test of kernels runs. Seeds are fixed."""

    def cases(self) -> Iterable[tuple[str, Kernel]]:
        """Pairs (name, kernel) of small kernels that together reach every branch of the hardware."""
        ...

    def definition(self, kernel: Any, *frames: np.ndarray) -> tuple[np.ndarray, ...]:
        """The expected result of ``kernel.execute``, computed in the simplest way; of any integer type."""
        ...

    def grid(self) -> Iterable[tuple[str, Kernel]]:
        """Pairs (name, kernel) of kernels of realistic sizes; the names begin with ``op``.

        The models of resources and clock frequency are fitted to the synthesis results of these kernels.
        """
        ...


def cases(op: str) -> Cases:
    """The module ``cases`` beside the kernel of this name. Raises BitfabricError as ``get`` does."""
    package = import_module(get(op).__module__).__package__
    return cast(Cases, import_module(f"{package}.cases"))


class Damage(Protocol):
    """Interface of a kernel's module ``damage``: a model of the kernel with flipped bits in its memories.

    A kernel without memories has this module only if out-of-range inputs change its results (its sums wrap around).
    """

    def bits(self, kernel: Any) -> int:
        """Total bits of the memories, as in the memory files of the RTL, without parity bits."""
        ...

    def damaged(self, kernel: Any, flips: np.ndarray) -> Kernel:
        """The kernel with the bits ``flips`` flipped, (count,) int64 from 0 to ``bits`` - 1.

        Without flips it equals the kernel on valid input codes, and the hardware on all input codes.
        """
        ...


def damage(kernel: type[Kernel]) -> Damage | None:
    """The module ``damage`` beside a kernel class or one of its base classes; None where there is none."""
    for package in _packages(kernel):
        if (files(package) / "damage.py").is_file():
            return cast(Damage, import_module(f"{package}.damage"))
    return None


def source(name: str, kernel: type[Kernel]) -> Traversable:
    """The SystemVerilog file ``name`` of a kernel.

    It is searched in the folder of the kernel's class, in those of its base classes, and in ``cells``, which holds the
    modules that kernels share. Raises BitfabricError where there is none.
    """
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
    """The concrete kernel class of this name: ``module`` itself if it is a class, else the one that it defines.

    Raises BitfabricError unless there is exactly one.
    """
    where = module.__name__
    if isinstance(module, ModuleType):
        classes = [cls for _, cls in inspect.getmembers(module, inspect.isclass) if cls.__module__ == where]
    else:
        classes = [module]
    kernels = [c for c in classes if issubclass(c, Kernel) and not inspect.isabstract(c) and c.op == op]
    if len(kernels) != 1:
        raise BitfabricError(f"{where} holds {len(kernels)} kernels with op = {op!r}; it must be exactly one")
    return kernels[0]
