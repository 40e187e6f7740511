"""C++ functions of this package, compiled when they are first called and called through ctypes.

A library is compiled once by the system's C++ compiler and kept in the cache (``hw.native.cache``) by the hash of its
sources, flags, compiler and processor.
"""

import ctypes
import functools
import hashlib
import platform
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from threading import Lock
from typing import Any, Self, get_type_hints

import numpy as np

from hw.host.errors import ToolError
from hw.native import cache
from hw.native.compiler import compiler, run

FLAGS = ("-std=c++17", "-O2", "-shared", "-fPIC")
ARRAYS = "array.hpp"
"""The header that every library may include."""


class Library:
    """The C++ sources ``names`` of ``package`` as one shared library; ``headers`` are files that they include.

    With ``native`` the compiler may use all instructions of this machine's processor.
    """

    def __init__(self, package: str, names: Sequence[str], headers: Sequence[str] = (), native: bool = False) -> None:
        self.package, self.names, self.headers = package, tuple(names), tuple(headers)
        self._lock = Lock()
        self.flags = (*FLAGS, "-O3", "-march=native") if native else FLAGS

    def function(self, name: str, *arguments: Any, result: Any = None) -> Callable[..., Any]:
        """The function ``name``, declared ``extern "C"``; ``arguments`` and ``result`` are ctypes types.

        The first call compiles the library. Raises ToolError then where there is no compiler, or no place to
        write to.
        """
        bound: list[Any] = []

        def call(*values: Any) -> Any:
            if not bound:
                with self._lock:  # threads that call at the same time wait for one compilation
                    entry = getattr(self._loaded, name)
                entry.argtypes, entry.restype = arguments, result
                bound.append(entry)
            return bound[0](*values)

        return call

    @cached_property
    def _loaded(self) -> ctypes.CDLL:
        place = self.build()
        try:
            return ctypes.CDLL(str(place))
        except OSError as error:
            raise ToolError(f"cannot load {place} ({error}); delete it, and it is compiled again") from None

    def build(self) -> Path:
        """The shared library, compiled if it is not in the cache."""
        folder = files(self.package)
        texts = {name: folder.joinpath(name).read_text() for name in (*self.names, *self.headers)}
        texts[ARRAYS] = files("hw.native").joinpath(ARRAYS).read_text()
        instructions = processor() if "-march=native" in self.flags else platform.machine()
        content = repr((sorted(texts.items()), self.flags, compiler(), instructions))
        stem = Path(self.names[0]).stem

        def make(folder: Path) -> None:
            # One unit, so that the standard library's headers are read once.
            unit = "".join(f'#include "{name}"\n' for name in self.names)
            for name, text in (texts | {"unit.cc": unit}).items():
                (folder / name).write_text(text, encoding="utf-8")
            run([compiler(), *self.flags, "unit.cc", "-o", f"{stem}.so"], folder, "the C++ compiler")

        key = f"{stem}-{hashlib.sha256(content.encode()).hexdigest()[:32]}"
        return cache.entry("native", key, make) / f"{stem}.so"


@functools.cache
def processor() -> str:
    """The processor's instruction sets, for code that only runs on processors like this one."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


class Struct:
    """Base of frozen dataclasses that C++ functions take as a struct of arrays.

    Every field is a contiguous array, annotated with its dtype: ``Annotated[np.ndarray, np.int64]``. In C++ it is an
    ``Array<T>``: the address and the number of elements. The arrays may be changed, but not replaced.
    """

    @cached_property
    def _as_parameter_(self) -> Any:
        rows = []
        struct: Any = type(self)
        for name, dtype in _dtypes(struct).items():
            array = getattr(self, name)
            if array.dtype != dtype or not array.flags.c_contiguous:
                raise TypeError(f"{struct.__name__}.{name} must be a contiguous array of {dtype}")
            rows.append((array.ctypes.data, array.size))
        self.__dict__["_rows"] = table = np.array(rows, np.int64)
        return ctypes.c_void_p(table.ctypes.data)

    @classmethod
    def from_param(cls, value: Self) -> Any:
        """The pointer that ctypes passes."""
        if not isinstance(value, cls):
            raise TypeError(f"expected {cls.__name__}, not {type(value).__name__}")
        return value._as_parameter_


@functools.cache
def _dtypes(struct: type) -> dict[str, np.dtype]:
    hints = get_type_hints(struct, include_extras=True)
    return {name: np.dtype(hint.__metadata__[0]) for name, hint in hints.items()}


def array(dtype: Any, dimensions: int = 1) -> Any:
    """The ctypes type of a contiguous array, passed as a pointer to its first element."""
    return np.ctypeslib.ndpointer(dtype, ndim=dimensions, flags="C_CONTIGUOUS")
