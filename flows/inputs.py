"""A user's frames as the model receives them, and what became of their values."""

import warnings
from collections.abc import Callable

import numpy as np

from flows.facts.checks import Inputs
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


def received(graph: Graph, frames: np.ndarray, clip: bool) -> tuple[np.ndarray, Inputs]:
    """Frames ``(N, *shape)`` for the graph's first input as the model receives them, and what became of their values.

    ``clip``: values that an input of an integer type cannot have are rounded and clipped, whatever their number. Raises
    UsageError for frames that do not match (see ``hw.ir.input_values``).
    """
    given, values = read_frames(graph.inputs[0], frames, clip)
    return given, facts(values)


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
