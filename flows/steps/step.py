"""The interface of a build step."""

from abc import ABC, abstractmethod
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from flows.facts.fact import Facts

PACKAGES = ("numpy", "onnx", "qonnx", "scipy")
"""Python packages that every step depends on."""


R = TypeVar("R", bound=Facts, covariant=True)


class Step(ABC, Generic[R]):
    """One step of a build: computes files in its own folder, and a typed result, from declared inputs.

    The result may depend only on ``inputs``, on the products in ``reads``, on the code of the step's module and of its
    imports, and on the versions of Python, of the C++ compiler, of ``PACKAGES`` and of ``packages``. If none of these
    has changed, the step is not run again.
    """

    name: ClassVar[str]
    result: ClassVar[type[Facts]]
    packages: ClassVar[tuple[str, ...]] = ()
    """Further Python packages that the result depends on."""

    @abstractmethod
    def inputs(self) -> list[object]:
        """Everything else that the result depends on, as JSON-able values. It must be fast to compute."""

    def reads(self) -> tuple[str, ...]:
        """The products of earlier steps that the result depends on: paths in the build folder, or the name of a step
        for all of its files."""
        return ()

    @abstractmethod
    def run(self, out: Path) -> R:
        """Run the step: write its files to the folder ``out`` and return its result. Raises BitfabricError."""


@cache
def installed(package: str) -> str | None:
    """The version of an installed package; None where it is missing."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
