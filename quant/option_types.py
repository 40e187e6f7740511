"""Checks of options against the types that they are annotated with: what a user gives may be any value of JSON."""

import types
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Literal, Union, get_args, get_origin

from quant.errors import QuantError

__all__ = ["check_option_types"]

_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a word", type(None): "null"}
_SEVERAL = {bool: "true and false", int: "whole numbers", float: "numbers", str: "words"}


def check_option_types(owner: str, options: Mapping[str, Any], annotations: Mapping[str, Any]) -> None:
    """Raises QuantError (status 2) for the first option whose value is not of its annotated type.

    ``owner`` is whose options they are, for the message. Options without an annotation, and those of other types than
    JSON has, pass. A whole number is a number; true and false are none.

    >>> check_option_types("model m", {"width": 2, "hidden": [3, 4]}, {"width": float, "hidden": Sequence[int]})
    """
    for name, value in options.items():
        annotation = annotations.get(name, Any)
        if not _fits(value, annotation):
            raise QuantError(f"{owner}: {name}={value!r} is not {_said(annotation)}", status=2)


def _fits(value: Any, annotation: Any) -> bool:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return any(_fits(value, each) for each in inner)
    if origin is Literal:
        return value in inner if isinstance(value, str | int) else False
    if origin in (Sequence, list, tuple):
        if isinstance(value, str) or not isinstance(value, Sequence):
            return False
        each = inner[0] if origin is not tuple or inner[-1] is Ellipsis else None
        if each is None:
            return len(value) == len(inner) and all(map(_fits, value, inner))
        return all(_fits(element, each) for element in value)
    if annotation in (int, float):
        return isinstance(value, Integral if annotation is int else Real) and not isinstance(value, bool)
    return annotation not in _NAMES or isinstance(value, annotation)


def _said(annotation: Any) -> str:
    """A type in words."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(map(_said, inner))
    if origin is Literal:
        return " or ".join(map(str, inner))
    if origin in (Sequence, list, tuple):
        count = f"{len(inner)} " if origin is tuple and inner[-1] is not Ellipsis else ""
        return f"a list of {count}{_SEVERAL.get(inner[0], 'values')}"
    return _NAMES.get(annotation, str(annotation))
