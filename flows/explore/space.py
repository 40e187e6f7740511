"""The networks that are searched: which widths, sizes, densities and schemes there are."""

import itertools
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw.fabric import yaml_text
from hw.host.errors import UsageError
from hw.host.files import read_text

if TYPE_CHECKING:
    from quant.models.widths import Width

Choice = str | int | float
Params = Mapping[str, Choice]
"""A value for each dimension of the space, by name."""

USUAL: dict[str, tuple[Choice, ...]] = {
    "bits": (1, 2, 4, 8),
    "acts": (1, 2, 4, 8),
    "width": (0.5, 0.75, 1.0, 1.5),
    "prune": (0.0, 0.5, 0.75),
    "rank": (0.25, 0.5, 1.0),
    "scheme": ("integer", "learned_step"),
}
"""The choices of each dimension where none are stated."""


@dataclass(frozen=True)
class Space:
    """The choices of each dimension; a dimension without choices is as in the model's name.

    - ``bits``: widths of weights, 1 to 16 or "ternary", for each layer.
    - ``acts``: widths of hidden activations, 1 to 16, for each one.
    - ``width``: factors of all channels or hidden outputs.
    - ``prune``: fractions of zeros among the weights of layers of at least 2 bits.
    - ``rank``: shares of its weights that the two factors of each linear layer but the last have together; 1: the layer
      is not factored.
    - ``scheme``: quantization schemes whose widths may be chosen.
    - ``options``: values of further options of the network, by name.
    - ``uniform``: all layers have the same width of weights, and all activations have the same one.

    Raises UsageError for a space of one network only, and for choices out of range.
    """

    bits: tuple["Width", ...] = ()
    acts: tuple[int, ...] = ()
    width: tuple[float, ...] = ()
    prune: tuple[float, ...] = ()
    rank: tuple[float, ...] = ()
    scheme: tuple[str, ...] = ()
    options: Mapping[str, tuple[Choice, ...]] = field(default_factory=dict)
    uniform: bool = False

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, list):
                object.__setattr__(self, each.name, tuple(value))
        if not isinstance(self.uniform, bool):
            raise UsageError(f"uniform={self.uniform!r} of the space is neither true nor false")
        if not isinstance(self.options, Mapping):
            raise UsageError(f"options={self.options!r} of the space is no mapping of names to lists of values")
        for name, values in self.options.items():
            if isinstance(values, str) or not isinstance(values, Sequence) or not values:
                raise UsageError(f"option {name} of the space has no choices: give a list of values")
        object.__setattr__(self, "options", {name: tuple(values) for name, values in self.options.items()})
        rules: tuple[tuple[str, tuple[Any, ...], Callable[[Any], bool], str], ...] = (
            ("bits", self.bits, lambda v: v == "ternary" or _is_width(v), "are 1 to 16, or ternary"),
            ("acts", self.acts, _is_width, "are 1 to 16"),
            ("width", self.width, lambda v: _is_number(v) and 0 < v <= 16, "are factors above 0, up to 16"),
            ("prune", self.prune, lambda v: _is_number(v) and 0 <= v < 1, "are from 0 to below 1"),
            ("rank", self.rank, lambda v: _is_number(v) and 0 < v <= 1, "are shares above 0, up to 1"),
            ("scheme", self.scheme, lambda v: isinstance(v, str), "are names"),
        )
        for name, values, right, text in rules:
            for value in values:
                if not right(value):
                    raise UsageError(f"{name} of the space has {value!r}: its choices {text}")
            object.__setattr__(self, name, tuple(dict.fromkeys(values)))
        if max(map(len, self._choices.values()), default=0) < 2:
            raise UsageError(
                "the space holds one network only: give at least one dimension two choices, as --search bits,acts or a "
                "--space file with bits: [1, 2, 4]"
            )

    @property
    def _choices(self) -> dict[str, tuple[Choice, ...]]:
        named = {name: getattr(self, name) for name in USUAL}
        return named | {f"option.{name}": tuple(map(encoded, values)) for name, values in self.options.items()}

    def to_json(self) -> dict[str, Any]:
        """The space as values of JSON."""
        content: dict[str, Any] = json.loads(json.dumps({each.name: getattr(self, each.name) for each in fields(self)}))
        return content

    @classmethod
    def of(cls, dimensions: Sequence[str], file: Path | None = None) -> "Space":
        """The space of these dimensions with their usual choices, and with those of a YAML file.

        Raises UsageError for dimensions that there are not, and for a file that is no mapping of them.
        """
        chosen: dict[str, Any] = {}
        for name in dimensions:
            if name not in USUAL:
                raise UsageError(f"--search has no dimension {name!r}: choose {', '.join(USUAL)}")
            chosen[name] = USUAL[name]
        if file is not None:
            try:
                content = yaml_text.parse(read_text(file, kind="file of --space"))
            except ValueError as error:
                raise UsageError(f"--space {file} cannot be read: {error}") from None
            known = [each.name for each in fields(cls)]
            if not isinstance(content, dict):
                raise UsageError(f"--space {file} is no mapping of dimensions to choices, as bits: [1, 2, 4]")
            for name, value in content.items():
                if name not in known:
                    raise UsageError(f"--space {file} has no dimension {name!r}: there are {', '.join(known)}")
                if name not in ("options", "uniform") and (not isinstance(value, list) or not value):
                    raise UsageError(f"--space {file}: {name} has no choices: give a list, as {name}: [1, 2]")
                chosen[name] = value
        return cls(**chosen)


def encoded(value: Any) -> Choice:
    """A value of an option as a choice: lists are JSON text, as storages hold single values."""
    return value if isinstance(value, str | int | float) else json.dumps(value)


def _is_width(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 16


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True)
class Dimensions:
    """The dimensions of a space for a network of these layers and activations."""

    space: Space
    layers: tuple[str, ...]
    activations: tuple[str, ...]

    @cached_property
    def choices(self) -> dict[str, tuple[Choice, ...]]:
        """By dimension its choices: ``bits`` and ``acts`` are one for each layer and activation, unless uniform."""
        found: dict[str, tuple[Choice, ...]] = {}
        for name, values in self.space._choices.items():
            if not values:
                continue
            if name in ("bits", "acts") and not self.space.uniform:
                places = self.layers if name == "bits" else self.activations
                found |= {f"{name}.{place}": values for place in places}
            else:
                found[name] = values
        return found

    @property
    def size(self) -> int:
        """The number of networks."""
        return prod(map(len, self.choices.values()))

    def every(self) -> Iterator[dict[str, Choice]]:
        """All networks, in order."""
        for values in itertools.product(*self.choices.values()):
            yield dict(zip(self.choices, values, strict=True))

    def some(self, count: int, seed: int) -> list[dict[str, Choice]]:
        """At most ``count`` different networks besides ``smallest``: all that there are, or else random ones."""
        if self.size <= count + 1:
            return [params for params in self.every() if params != self.smallest()]
        drawn, found = random.Random(seed), {params_key(self.smallest()): self.smallest()}
        while len(found) <= count:
            params = {name: drawn.choice(values) for name, values in self.choices.items()}
            found.setdefault(params_key(params), params)
        return list(found.values())[1:]

    def uniform(self, bits: Choice, acts: Choice) -> dict[str, Choice]:
        """The network with these widths everywhere, and for all else the choice that changes least."""
        found: dict[str, Choice] = {}
        for name, values in self.choices.items():
            kind = name.partition(".")[0]
            nearest = {"bits": bits, "acts": acts, "width": 1.0, "prune": 0.0, "rank": 1.0}.get(kind, values[0])
            found[name] = nearest if nearest in values else values[0]
        return found

    def smallest(self) -> dict[str, Choice]:
        """The network that is expected to be cheapest: the least of everything, the most zeros."""

        def least(name: str, values: tuple[Choice, ...]) -> Choice:
            if name == "prune":
                return max(values)  # type: ignore[type-var]
            if name.partition(".")[0] in ("bits", "acts", "width", "rank"):
                return min(values, key=lambda value: 1.6 if value == "ternary" else float(value))
            return values[0]

        return {name: least(name, values) for name, values in self.choices.items()}

    def layer_widths(self, params: Params) -> list["Width"] | None:
        """The width of each layer's weights; None where the space does not choose them."""
        if not self.space.bits:
            return None
        return [self._chosen(params, "bits", name) for name in self.layers]  # type: ignore[misc]

    def activation_widths(self, params: Params) -> list[int] | None:
        """The width of each activation; None where the space does not choose them."""
        if not self.space.acts:
            return None
        return [int(self._chosen(params, "acts", name)) for name in self.activations]

    def _chosen(self, params: Params, dimension: str, place: str) -> Choice:
        layer = place.rpartition(".factor")[0] or place  # the factors of a layer have its width
        name = dimension if self.space.uniform else f"{dimension}.{layer}"
        if name not in params:
            raise UsageError(
                f"an option of the space changes the layers of the network: {dimension} by layer are not those of "
                f"{place}; give uniform: true, or leave the option out"
            )
        return params[name]


def params_key(params: Params) -> str:
    """A short hash of a network's params."""
    return sha256(json.dumps(dict(params), sort_keys=True).encode()).hexdigest()[:16]


def described(params: Params) -> str:
    """A network's choices in words; those by layer as a list."""
    found: dict[str, list[str]] = {}
    for name, value in params.items():
        kind, _, place = name.partition(".")
        found.setdefault(place if kind == "option" else kind, []).append(str(value))
    return "; ".join(f"{name} {' '.join(values)}" for name, values in found.items())
