"""What a build step is."""

from abc import ABC, abstractmethod
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from flows.build_report import Facts

PACKAGES = ("numpy", "onnx", "qonnx", "scipy")
"""Python packages that every step depends on."""


R = TypeVar("R", bound=Facts, covariant=True)


class Step(ABC, Generic[R]):
    """One step of a build: from declared inputs to files in a folder of its own, and a typed result.

    The result may depend on nothing but ``inputs``, the code of the step's module and of what it imports, and the
    versions of ``PACKAGES`` and of ``packages``: a step for which none of these has changed is not run again.
    """

    name: ClassVar[str]
    result: ClassVar[type[Facts]]
    packages: ClassVar[tuple[str, ...]] = ()
    """Further Python packages that the result depends on."""

    @abstractmethod
    def inputs(self) -> list[object]:
        """Everything else that the result depends on, as JSON-able values. It must be cheap."""

    @abstractmethod
    def run(self, out: Path) -> R:
        """Do the step: write its files into the folder ``out`` and return its result. Raises BitfabricError."""


@cache
def installed(package: str) -> str | None:
    """The version of an installed package; None where it is missing."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
