"""Quantization schemes, created by name: ``schemes.get("integer", weight_bits=2, act_bits=2)``.

A scheme is a frozen dataclass (``quant.schemes.scheme.Scheme``). It defines the Brevitas quantizers for the weights,
activations and biases of a layer, and the training rules of its publication.
"""

import builtins
import difflib
from dataclasses import fields
from importlib import import_module
from typing import Any, get_type_hints

from quant.errors import QuantError
from quant.option_types import check_option_types
from quant.schemes.scheme import Scheme

__all__ = [
    "Scheme",
    "get",
    "get_class",
    "list",
]

# name -> (module, class). A scheme's module imports torch and Brevitas, so it is imported on first use.
_SCHEMES = {
    "accumulator_aware": ("quant.schemes.accumulator_aware", "AccumulatorAware"),
    "binaryconnect": ("quant.schemes.binaryconnect", "BinaryConnect"),
    "binarynet": ("quant.schemes.binarynet", "BinaryNet"),
    "bwn": ("quant.schemes.bwn", "BWN"),
    "fixed_point": ("quant.schemes.fixed_point", "FixedPoint"),
    "float": ("quant.schemes.float", "Float"),
    "gupta": ("quant.schemes.gupta", "Gupta"),
    "hwgq": ("quant.schemes.hwgq", "HWGQ"),
    "integer": ("quant.schemes.integer", "Integer"),
    "lab": ("quant.schemes.loss_aware", "LossAware"),
    "learned_step": ("quant.schemes.learned_step", "LearnedStep"),
    "lookup": ("quant.schemes.lookup", "Lookup"),
    "own": ("quant.schemes.own", "Own"),
    "ternary_connect": ("quant.schemes.ternary_connect", "TernaryConnect"),
    "twn": ("quant.schemes.twn", "TWN"),
    "xnor": ("quant.schemes.xnor", "XNOR"),
}


def list() -> builtins.list[str]:
    """Returns the names of all schemes, sorted."""
    return sorted(_SCHEMES)


def get(name: str, **parameters: Any) -> Scheme:
    """Returns the scheme of that name with the given parameters.

    >>> get("integer", weight_bits=2, act_bits=4)
    Integer(weight_bits=2, act_bits=4)

    Raises QuantError (status 2) for an unknown name (with the closest match), an unknown parameter or an invalid value.
    """
    scheme = get_class(name)
    known = [field.name for field in fields(scheme)]
    for parameter in parameters:
        if parameter not in known:
            offered = ", ".join(known) or "none"
            raise QuantError(f"scheme {name} has no parameter {parameter!r}: its parameters are {offered}", status=2)
    check_option_types(f"scheme {name}", parameters, get_type_hints(scheme))
    return scheme(**parameters)


def get_class(name: str) -> type[Scheme]:
    """Returns the class of the scheme of that name. Raises QuantError (status 2) for an unknown name."""
    if name not in _SCHEMES:
        near = difflib.get_close_matches(name, _SCHEMES, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(list())}"
        raise QuantError(f"no scheme {name!r}: {hint}", status=2)
    module, class_name = _SCHEMES[name]
    found: type[Scheme] = getattr(import_module(module), class_name)
    return found
