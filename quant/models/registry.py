"""The registry of model families, and the parser of model names."""

import difflib
import fnmatch
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, Any, get_type_hints

from quant import schemes
from quant.errors import QuantError
from quant.models.source import Source, find_source, is_own
from quant.option_types import check_option_types
from quant.schemes.scheme import Scheme

if TYPE_CHECKING:
    from quant.models.network import Network

# family -> module of its builder, a function named like the family with underscores for dashes. The module imports
# torch, so it is imported when the family is first used.
_MODULES = {
    **dict.fromkeys(("tfc", "sfc", "lfc", "lenet-300-100", "jsc-mlp", "kws-mlp", "ad-mlp"), "quant.models.mlp"),
    **dict.fromkeys(("alexnet", "cnv", "lenet5", "lenet5-caffe", "vgg-small", "vgg16", "vgg19"), "quant.models.plain"),
    **dict.fromkeys(("all-cnn-c", "nin", "squeezenet"), "quant.models.pooled"),
    **dict.fromkeys(("resnet8", "resnet20", "resnet56", "resnet110"), "quant.models.resnet"),
    **dict.fromkeys(("mobilenet-v1", "mobilenet-v2"), "quant.models.mobilenet"),
    **dict.fromkeys(("lookup-s", "lookup-m", "lookup-l"), "quant.models.lookup"),
}
# family -> its only scheme; the names of these families have no widths
_ONLY_SCHEMES = dict.fromkeys(("lookup-s", "lookup-m", "lookup-l"), "lookup")
# family -> builder that was passed to ``register_model``
_REGISTERED: dict[str, Callable[..., "Network"]] = {}
# options of every family that describe the data
_DESCRIPTIONS = ("normalization", "class_names", "feature_names", "targets")
# options of every family that select widths by layer (``quant.models.widths``)
_WIDTHS = ("weight_widths", "activation_widths")
# the option of every family that factors its linear layers (``quant.compression.factored``)
_LOW_RANK = "low_rank"
# the option of every family of blocks in a row that adds early exits (``quant.models.staged``)
_EXITS = "early_exit"
_LISTED = ("w1a1", "w1a2", "w2a2", "wternarya2", "w4a4", "w8a8", "w16a16", "float")


def register_model(build: Callable[..., "Network"]) -> Callable[..., "Network"]:
    """Decorator that adds the family ``build(scheme, **options)``, named like the function with dashes for underscores.

    The function's return annotation is the network's class. The options are the keyword-only arguments of that class,
    except ``name``.
    """
    _REGISTERED[build.__name__.replace("_", "-")] = build
    return build


def families() -> list[str]:
    """Returns the names of the model families, sorted."""
    return sorted({*_MODULES, *_REGISTERED})


def builder(family: str) -> Callable[..., "Network"]:
    """Returns the function ``build(scheme, **options)`` of a family that ``families`` lists."""
    if family in _REGISTERED:
        return _REGISTERED[family]
    build: Callable[..., Network] = getattr(import_module(_MODULES[family]), family.replace("-", "_"))
    return build


def list_models(pattern: str = "*") -> list[str]:
    """Returns the model names that match a shell pattern, sorted. Widths that are not listed work as well.

    Lookup networks have no widths.
    """
    names = (
        name
        for family in families()
        for name in ([family] if family in _ONLY_SCHEMES else [f"{family}-{widths}" for widths in _LISTED])
    )
    return sorted(fnmatch.filter(names, pattern))


def create_model(name: str | Source, scheme: str | Scheme | None = None, **options: Any) -> "Network":
    """Returns a new network by name, initialized from torch's random numbers.

    ``scheme`` replaces the scheme that the widths in the name select: a scheme's name (the scheme then gets these
    widths) or a scheme object. ``options`` are passed to the family's network: ``input_shape`` (or ``in_features``),
    ``classes``, etc. Those of a data set are ``DataSet.options``, with its normalization and names
    (``Network.describe_data``). ``weight_widths`` and ``activation_widths`` are lists of the widths of every layer and
    of every hidden activation, in the network's order, in place of those in the name (``quant.models.widths``).
    ``low_rank`` replaces the linear layers but the last by two factors with this share of their weights
    (``quant.compression.factored.factor_dense``); each factor then has a width of its own.
    ``early_exit`` is the number of a block, or a list of them, behind which a network of blocks in a row has an early
    exit (``quant.models.staged``).

    A name ``module.py:function`` is a network of one's own: the file is run, and the function gets what it has
    arguments for (``quant.models.own``).

    >>> create_model("tfc-w1a2", input_shape=(1, 8, 8)).name
    'tfc-w1a2'

    Raises QuantError (status 2) for an unknown family, widths, scheme or option, and QuantError for a file that fails.
    """
    source = find_source(name) if isinstance(name, str) and is_own(name) else name
    name = source.name if isinstance(source, Source) else source
    chosen = scheme if isinstance(scheme, Scheme) else choose_scheme(name, scheme)
    if "in_features" in options:
        options["input_shape"] = (options.pop("in_features"),)
    described = {option: options[option] for option in _DESCRIPTIONS if option in options}
    given = {option: value for option, value in options.items() if option not in described}
    if isinstance(source, Source):
        from quant.models.own import own_network

        network = own_network(source, chosen, given)
    else:
        widths = {option: given.pop(option) for option in _WIDTHS if option in given}
        exits, share = given.pop(_EXITS, None), given.pop(_LOW_RANK, None)
        network = _of_family(name, chosen, given)
        if share is not None:
            from quant.compression.factored import factor_dense

            factor_dense(network, share)
        if widths:
            from quant.models.widths import apply_widths

            apply_widths(network, **widths)
        if exits is not None:
            _add_exits(network, exits)
    network.describe_data(tuple(options.get("input_shape", network.input_shape)), **described)
    network.options = options
    return network


def _add_exits(network: "Network", after: Any) -> None:
    from quant.models.staged import StagedNetwork

    if not isinstance(network, StagedNetwork):
        raise QuantError(
            f"early_exit={after!r}: {network.name} has no blocks in a row that end in activations: take tfc, lenet5, "
            "cnv, resnet8 or mobilenet-v1, for example",
            status=2,
        )
    network.add_exits(after)


def _of_family(name: str, scheme: Scheme, options: Mapping[str, Any]) -> "Network":
    family, _ = _parts(name)
    _check_scheme(name, scheme.name)
    build = builder(family)
    known = _options(build)
    for option in options:
        if option not in known:
            raise QuantError(f"model {name} has no option {option!r}: its options are {', '.join(known)}", status=2)
    check_option_types(f"model {name}", options, get_type_hints(get_type_hints(build)["return"].__init__))
    return build(scheme, name=name, **options)


def choose_scheme(name: str, scheme: str | None = None, parameters: Mapping[str, Any] | None = None) -> Scheme:
    """Returns the scheme of a model name: the one that its widths select, or ``scheme`` with these widths.

    ``parameters`` override the scheme's parameters. A name without widths (``tfc``) takes its scheme from ``scheme``
    and ``parameters`` alone. A network of one's own has the scheme ``own``, unless another is given.

    Raises QuantError (status 2) for an unknown family, widths, scheme or parameter.
    """
    parameters = parameters or {}
    if is_own(name):
        return schemes.get(scheme or "own", **parameters)
    family, widths = _parts(name)
    if family in _ONLY_SCHEMES:
        _check_scheme(name, scheme or _ONLY_SCHEMES[family])
        return schemes.get(_ONLY_SCHEMES[family], **parameters)
    if not widths and scheme is not None:
        return schemes.get(scheme, **parameters)
    if widths == "float":
        return schemes.get(scheme or "float", **parameters)
    match = re.fullmatch(r"w(\d+|ternary)a(\d+)", widths)
    if match is None:
        raise QuantError(
            f"model {name!r}: a name ends in the widths of weights and activations, as in {family}-w1a1, or in float, "
            f"as in {family}-float",
            status=2,
        )
    weight_bits: int | str = match[1] if match[1] == "ternary" else int(match[1])
    act_bits = int(match[2])
    if scheme is None:
        if act_bits == 1 != weight_bits:
            raise QuantError(
                f"model {name!r}: signs as activations go with 1-bit weights, as {family}-w1a1; for others name "
                f"{family}-w{weight_bits}a2, with widths of activations (--model-option activation_widths=[1,...])",
                status=2,
            )
        if weight_bits == 1:
            scheme = "binarynet" if act_bits == 1 else "binaryconnect"
        else:
            scheme = "integer" if weight_bits == "ternary" or max(int(weight_bits), act_bits) <= 8 else "fixed_point"
    chosen = schemes.get_class(scheme).from_bits(weight_bits, act_bits)
    if not parameters:
        return chosen
    described = chosen.describe()
    return schemes.get(described.pop("name"), **{**described, **parameters})


def _check_scheme(name: str, scheme: str) -> None:
    """Raises QuantError (status 2) for widths or a scheme that a family with an only scheme does not have."""
    family, widths = _parts(name)
    only = _ONLY_SCHEMES.get(family)
    if only is not None and widths:
        raise QuantError(f"model {name!r}: {family} has tables of bits and no widths: take {family}", status=2)
    if only is not None and scheme != only:
        raise QuantError(
            f"model {family} has tables for weights, which scheme {scheme} does not quantize: take its own scheme, "
            f"{only}, or another model",
            status=2,
        )


def _parts(name: str) -> tuple[str, str]:
    """Splits a model name into family and widths; the family itself may contain dashes."""
    for family in sorted(families(), key=len, reverse=True):  # lenet5-caffe before lenet5
        if name == family or name.startswith(f"{family}-"):
            return family, name[len(family) + 1 :]
    near = difflib.get_close_matches(name, list_models(), n=3, cutoff=0.3)
    raise QuantError(f"no model {name!r}: did you mean {' or '.join(near or list_models('tfc-*')[:3])}?", status=2)


def _options(build: Callable[..., "Network"]) -> list[str]:
    arguments = signature(get_type_hints(build)["return"]).parameters.values()
    return [a.name for a in arguments if a.kind is a.KEYWORD_ONLY and a.name != "name"]
