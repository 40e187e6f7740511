"""Checks of scheme parameters. Every error names the scheme, the parameter and its valid values."""

from collections.abc import Iterable

from quant.errors import QuantError


def check_bits(scheme: str, name: str, bits: int, low: int, high: int = 16) -> None:
    """Raises QuantError (status 2) unless ``bits`` is a whole number from ``low`` to ``high``."""
    if isinstance(bits, bool) or not isinstance(bits, int) or not low <= bits <= high:
        raise QuantError(f"scheme {scheme}: {name}={bits!r} is not a whole number from {low} to {high}", status=2)


def check_weight_bits(scheme: str, weight_bits: int | str, act_bits: int, known: tuple[int | str, ...] = (1,)) -> None:
    """Raises QuantError (status 2) unless ``weight_bits`` is one of ``known``."""
    if weight_bits not in known:
        offered = " or ".join("ternary" if bits == "ternary" else f"{bits}-bit" for bits in known)
        raise QuantError(
            f"scheme {scheme} has {offered} weights, not {weight_bits}: name the model -w{known[0]}a{act_bits}",
            status=2,
        )


def check_choice(scheme: str, name: str, value: object, choices: tuple[object, ...]) -> None:
    """Raises QuantError (status 2) unless the parameter's value is one of ``choices``."""
    if value not in choices:
        offered = " or ".join(map(repr, choices))
        raise QuantError(f"scheme {scheme}: {name}={value!r} is not {offered}", status=2)


def check_rounding(scheme: str, rounding: str, known: Iterable[str]) -> None:
    """Raises QuantError (status 2) unless ``rounding`` is one of ``known``."""
    names = tuple(known)
    if rounding not in names:
        raise QuantError(f"scheme {scheme}: rounding={rounding!r} is none of {', '.join(names)}", status=2)
