"""A user's frames as the model receives them, and what became of their values."""

import warnings
from collections.abc import Callable

import numpy as np

from flows.facts.checks import Inputs
from hw.host.errors import UsageError
from hw.ir.frames import Batch
from hw.ir.graph import Graph
from hw.ir.input_values import InputValues, read_frames, too_few

OnInputs = Callable[[Inputs], None]
"""A callback with what became of the values of frames."""


class InputWarning(UserWarning):
    """Frames that may not be what the model was trained on."""


def warn(inputs: Inputs) -> None:
    """Warn a user of Python of values that were altered, or of frames of too few codes.

    What the model's own quantizer clips is clipped by its reference too, and is no reason to warn at every run.
    """
    if inputs.doubtful and (inputs.declared or too_few(inputs.codes, inputs.possible_codes)):
        warnings.warn(inputs.statement, InputWarning, stacklevel=3)


def received(graph: Graph, frames: Batch, clip: bool) -> tuple[Batch, tuple[Inputs, ...]]:
    """Frames ``(N, *shape)``, by name for several inputs, as the model receives them, and what became of the values of
    each input.

    ``clip``: values that an input of an integer type cannot have are rounded and clipped, whatever their number. Raises
    UsageError for frames that do not match (see ``hw.ir.input_values``).
    """
    if len(graph.inputs) == 1 and not isinstance(frames, dict):
        given, values = read_frames(graph.inputs[0], frames, clip)
        return given, (facts(values),)
    names = [port.name for port in graph.inputs]
    if not isinstance(frames, dict) or sorted(frames) != sorted(names):
        got = ", ".join(frames) if isinstance(frames, dict) else "one array"
        raise UsageError(f"the model has the inputs {', '.join(names)}; given: {got}")
    read = {port.name: read_frames(port, np.asarray(frames[port.name]), clip) for port in graph.inputs}
    if len({len(values) for values, _ in read.values()}) > 1:
        raise UsageError("the inputs hold different numbers of frames")
    return {name: values for name, (values, _) in read.items()}, tuple(facts(values) for _, values in read.values())


def facts(values: InputValues) -> Inputs:
    """The values as facts of a build."""
    return Inputs(
        name=values.name,
        type=values.dtype,
        declared=values.declared,
        values=values.values,
        fractions=values.fractions,
        out_of_range=values.out_of_range,
        codes=values.codes,
        possible_codes=values.possible_codes,
        least=values.least,
        greatest=values.greatest,
        doubtful=values.doubtful,
        statement=values.statement,
    )
