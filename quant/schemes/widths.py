"""Widths that schemes have by their nature."""

from quant.errors import QuantError


def check_weight_bits(scheme: str, weight_bits: int | str, act_bits: int, known: tuple[int | str, ...] = (1,)) -> None:
    """QuantError (status 2) unless the scheme knows weights of that width."""
    if weight_bits not in known:
        offered = " or ".join("ternary" if bits == "ternary" else f"{bits}-bit" for bits in known)
        raise QuantError(
            f"scheme {scheme} has {offered} weights, not {weight_bits}: name the model -w{known[0]}a{act_bits}",
            status=2,
        )


def check_choice(scheme: str, name: str, value: object, choices: tuple[object, ...]) -> None:
    """QuantError (status 2) unless the parameter's value is one of ``choices``."""
    if value not in choices:
        offered = " or ".join(map(repr, choices))
        raise QuantError(f"scheme {scheme}: {name}={value!r} is not {offered}", status=2)
