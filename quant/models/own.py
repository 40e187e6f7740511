"""Networks of a user's own, ``module.py:function``. Making one runs the user's file.

What fails there is one line with the file and the line number.
"""

import copy
import inspect
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from brevitas.proxy.quant_proxy import QuantProxyFromInjector
from brevitas.quant_tensor import QuantTensor

from quant.errors import QuantError
from quant.inputs_by_place import by_place
from quant.lookup.tables import TableLayer
from quant.models.network import Network
from quant.models.source import Source
from quant.schemes.float import Float
from quant.schemes.scheme import Scheme

DATA_OPTIONS = ("scheme", "input_shape", "classes", "in_range")
"""What a function is given if it has an argument of that name."""
_BY_NAME = ("weight_widths", "activation_widths", "low_rank", "early_exit")
"""Options of networks by name, which ``explore`` and ``--early-exit`` give, too."""


class OwnNetwork(Network):
    """A user's module as a network: it quantizes its input itself, codes where the data have a normalization."""

    def __init__(
        self, net: torch.nn.Module, name: str, scheme: Scheme, *, input_shape: tuple[int, ...], classes: int,
        in_range: tuple[int, int],
    ) -> None:  # fmt: skip
        super().__init__(name, scheme, input_shape, classes, in_range, encoder=torch.nn.Identity())
        self.net = net
        self.scale = torch.nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns what the user's module returns; of a ``QuantTensor`` its values, and samples as rows of numbers."""
        made = self.net(self.input(x))
        values = made.value if isinstance(made, QuantTensor) else made
        if isinstance(values, torch.Tensor) and values.shape[1:] == self.input_shape:
            values = values.flatten(1)  # of an autoencoder
        scaled: torch.Tensor = self.scale(values)
        return scaled


def own_network(source: Source, scheme: Scheme, options: Mapping[str, Any]) -> Network:
    """Returns the network that a user's function makes; the file is run, with its folder in the path of imports.

    The function gets those of DATA_OPTIONS and of ``options`` for which it has arguments. It returns a Network, or any
    module (N, *input_shape) float32 -> (N, classes) float32, or samples (N, *input_shape). One without any of
    Brevitas's quantizers gets the scheme ``float``.

    Raises QuantError for a file, a function or a network that fails, with the line, and (status 2) for options that the
    function does not have.
    """
    facts = {name: options[name] for name in DATA_OPTIONS if name in options}
    if missing := [name for name in DATA_OPTIONS[1:] if name not in options]:
        raise QuantError(f"model {source.name} needs the options {', '.join(missing)}", status=2)
    with _one_line(source):
        make = _function(source)
        parameters = inspect.signature(make).parameters.values()
    named = [each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    every = any(each.kind is each.VAR_KEYWORD for each in parameters)
    for option in options:
        if option not in named and option not in DATA_OPTIONS and not every:
            known = ", ".join(name for name in named if name not in DATA_OPTIONS) or "none"
            named_ones = ", which networks by name have (--list)" if option in _BY_NAME else ""
            raise QuantError(
                f"{source.name} has no option {option!r}{named_ones}: its options are {known}; its function may have "
                "an argument of that name",
                status=2,
            )
    given = {"scheme": scheme, **options}
    wanted = [each.name for each in parameters if each.name in named and each.default is each.empty]
    if missing := [name for name in wanted if name not in given]:
        raise QuantError(
            f"{source.name} needs {' and '.join(missing)}: give --model-option {missing[0]}=VALUE, or the argument a "
            "default",
            status=2,
        )
    with _one_line(source):
        made = make(**{name: value for name, value in given.items() if name in named or every})
    if not isinstance(made, torch.nn.Module):
        raise QuantError(f"{source.name} returns {type(made).__name__}, no network: return a torch.nn.Module")
    if isinstance(made, Network):
        network = made
    else:
        # A network without any quantizer is trained as float reference networks are, and not exported.
        network = OwnNetwork(made, source.name, scheme if _quantizes(made) else Float(), **facts)
    network.name, network.source = source.name, source
    for module in network.modules():
        module.register_forward_pre_hook(by_place, with_kwargs=True)
    _check(network, source)
    return network


def _quantizes(module: torch.nn.Module) -> bool:
    """Whether the module has a quantizer, or a layer of tables."""
    return any(
        isinstance(part, TableLayer) or (isinstance(part, QuantProxyFromInjector) and part.is_quant_enabled)
        for part in module.modules()
    )


def _function(source: Source) -> Any:
    module = ModuleType(f"bitfabric_own_{source.file.stem}")
    module.__file__ = str(source.file)
    sys.modules[module.__name__] = module  # dataclasses and pickle look it up there
    sys.path.insert(0, str(source.file.parent))
    try:
        exec(compile(source.content, str(source.file), "exec"), vars(module))
    finally:
        sys.path.remove(str(source.file.parent))
    found = getattr(module, source.function, None)
    if not callable(found):
        raise QuantError(f"{source.file} has no function {source.function}", status=2)
    return found


@contextmanager
def _one_line(source: Source) -> Iterator[None]:
    """Context in which an exception of the user's code becomes one line with the file and the line."""
    try:
        yield
    except (QuantError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        kind = type(error).__name__
        raise QuantError(f"{_place(source.file, error)}: {kind}{': ' if reason else ''}{reason}") from error


def _place(file: Path, error: BaseException) -> str:
    """The file and the line of an exception: the last frame in the file, or in its folder."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [each for each in frames if Path(each.filename) == file] or [
        each for each in frames if Path(each.filename).is_relative_to(file.parent)
    ]
    return f"{own[-1].filename}, line {own[-1].lineno}" if own else str(file)


def _check(network: Network, source: Source) -> None:
    """Calls a copy of the network once. Raises QuantError where it fails, or does not return one number a class."""
    frames = torch.zeros(2, *network.input_shape)
    with _one_line(source), torch.no_grad():
        output = copy.deepcopy(network).eval()(frames)
    shape = tuple(getattr(output, "shape", ()))
    if shape != (2, network.classes):
        what = f"an output of shape {shape}" if shape else f"a {type(output).__name__}"
        raise QuantError(
            f"{source.name} returns {what} for two frames of shape {network.input_shape}: return "
            f"(2, {network.classes}), a number for each class or value"
        )
