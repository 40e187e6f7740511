"""The base class of layers of tables: latent tables, wires, and the state in which wires are learned."""

from collections.abc import Callable
from numbers import Integral
from typing import Any, Literal, get_args

import torch

from quant.errors import QuantError
from quant.lookup.function import Lookup, multilinear
from quant.lookup.scores import WireScores
from quant.lookup.wiring import Wiring, fixed_wires, random_wires
from quant.schemes.lookup import Lookup as LookupScheme

Gradient = Literal["finite", "multilinear"]
"""How tables are trained. ``finite``: the forward pass of a training is that of the hardware, gradients are finite
differences of the latent tables. ``multilinear``: a training computes with numbers from 0 to 1, the mean of each table
for independent bits, and only evaluation and hardware compute with bits. On the digits (``lookup-s``, validation part
of 0.2, mean of seeds 0 to 3) ``finite`` reaches 98.5 % and ``multilinear`` 97.9 %, at 3.8 times the time."""

MOST_FAN_IN = 8


class TableLayer(torch.nn.Module):
    """``outputs`` tables, each of which reads ``fan_in`` of ``inputs`` bits.

    - ``tables``: latent entries (outputs, 2**fan_in); an entry is 1 in hardware where the latent one is above 0.
    - ``wires``: (fan_in, outputs) int64; wire 0 is the lowest bit of the address.

    Raises QuantError (status 2) for a fan-in outside 2 to 8, sizes below 1 or not whole, an unknown wiring or gradient,
    and wires to no input.
    """

    tables: torch.nn.Parameter
    wires: torch.Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        fan_in: int,
        wiring: Wiring | Any,
        gradient: Gradient,
        scheme: LookupScheme | None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        for what, size in (("inputs", inputs), ("outputs", outputs), ("fan_in", fan_in)):
            if isinstance(size, bool) or not isinstance(size, Integral):
                raise QuantError(f"{name}: {what}={size!r} is not a whole number", status=2)
        if not 2 <= fan_in <= MOST_FAN_IN:
            raise QuantError(
                f"{name}: a fan-in of {fan_in} is outside 2 to {MOST_FAN_IN}: take 4 or 6, as the tables of FPGAs have",
                status=2,
            )
        if inputs < 1 or outputs < 1:
            raise QuantError(f"{name}: {outputs} tables of {inputs} inputs are wired to nothing: at least 1", status=2)
        if gradient not in get_args(Gradient):
            raise QuantError(f"{name}: no gradient {gradient!r}: choose {' or '.join(get_args(Gradient))}", status=2)
        self.inputs, self.outputs, self.fan_in, self.gradient = inputs, outputs, fan_in, gradient
        self.scheme = LookupScheme() if scheme is None else scheme
        if isinstance(wiring, str):
            if wiring not in get_args(Wiring):
                raise QuantError(
                    f"{name}: no wiring {wiring!r}: choose {', '.join(get_args(Wiring))}, or give the wires", status=2
                )
            self.wiring: str = wiring
            wires = random_wires(fan_in, outputs, torch.arange(inputs))
        else:
            self.wiring = "fixed"
            wires = fixed_wires(name, wiring, inputs, outputs, fan_in)
        self.register_buffer("wires", wires)
        self.tables = torch.nn.Parameter(torch.empty(outputs, 2**fan_in).uniform_(-0.3, 0.3))
        # Whether the wires are those of a training, or were loaded: a further training keeps them.
        self.wired = self.wiring == "fixed"
        # Set by a training (quant.training.lookup), which keeps it in its checkpoints.
        self.scores: WireScores | None = None
        self.observers: list[Callable[[torch.Tensor, torch.Tensor], None]] = []
        self._checked: set[bool] = set()  # the modes, training or not, whose first input was found to be bits

    def extra_repr(self) -> str:
        return f"{self.inputs}, {self.outputs}, fan_in={self.fan_in}, wiring={self.wiring}"

    def codes(self) -> torch.Tensor:
        """The entries of the tables in hardware, (outputs, 2**fan_in) bool."""
        return self.tables.detach() > 0

    def rows(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the bits that the tables choose from, (inputs, M), of the layer's input."""
        raise NotImplementedError

    def in_file(self, y: torch.Tensor) -> torch.Tensor:
        """Returns the layer's output as the tensor that an exported file reads from the tables."""
        return y

    def lookup(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the outputs (outputs, M) of bits (inputs, M); rows are the layer's inputs and outputs.

        Raises QuantError for another number of inputs, and where the first input of a training, or of an evaluation,
        has values other than 0 and 1.
        """
        if len(x) != self.inputs:
            raise QuantError(f"{type(self).__name__}: its input has {len(x)} bits, not {self.inputs}", status=2)
        if self.training not in self._checked:
            self._check_bits(x)
            self._checked.add(self.training)
        if self.gradient == "multilinear" and self.training:
            y = multilinear(x, self.tables, self.wires, self.scores)
        else:
            y = Lookup.apply(x, self.tables, self.wires, self.scores if self.training else None)
        for observe in self.observers:
            observe(x, y)
        return y

    @torch.no_grad()
    def _check_bits(self, x: torch.Tensor) -> None:
        if self.gradient == "multilinear" and self.training:
            wrong, wanted = x[~((x >= 0) & (x <= 1))], "numbers from 0 to 1"
        else:
            wrong, wanted = x[(x != 0) & (x != 1)], "bits, 0 and 1"
        if len(wrong):
            raise QuantError(
                f"{type(self).__name__}: its input holds {float(wrong[0]):g}, and tables read {wanted}: put a "
                "Thermometer in front, or a quantizer of one bit whose scale is 1 (for -1 and 1, (x + 1) / 2 behind it)"
            )

    def flat_tables(self) -> torch.Tensor:
        """The entries of all tables in a row, for an export: that of output o at address a is ``o * 2**fan_in + a``."""
        return self.codes().flatten().to(self.tables.dtype)

    def read(self, bits: torch.Tensor) -> torch.Tensor:
        """Returns the outputs for gathered bits (..., outputs, fan_in), in the operators that an exported file has."""
        # The quantizers of an export pass values as they are. What is traced is right, but an address must exist: the
        # values are changed where a trace does not see it.
        bits.detach().numpy()[...] = 0
        powers = torch.tensor([2.0**j for j in range(self.fan_in)], dtype=bits.dtype)
        rows = torch.arange(self.outputs) * 2**self.fan_in
        return self.flat_tables()[torch.matmul(bits, powers).long() + rows]

    @torch.no_grad()
    def start_wiring(self, candidates: torch.Tensor) -> None:
        """Draws the wires anew among ``candidates`` (C,), inputs that carry information."""
        self.wires.copy_(random_wires(self.fan_in, self.outputs, candidates))

    @torch.no_grad()
    def start_learning(self, candidates: torch.Tensor) -> None:
        """Learns the wires among ``candidates`` (C,), from now on, until ``stop_learning``."""
        self.start_wiring(candidates)
        self.scores = WireScores.start(self.wires, candidates, self.inputs)

    @torch.no_grad()
    def rewire(self) -> None:
        """Wires each input of a table to the candidate with the best score."""
        if self.scores is not None:
            self.wires.copy_(self.scores.wires().view_as(self.wires))

    def stop_learning(self) -> None:
        """Freezes the wires."""
        self.scores = None

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self.wired = True
