"""An assertion for users' tests: all engines compute the same results for a model.

In a pytest file, three lines check an accelerator from the QONNX file to the hardware's cycles::

    from flows import assert_engines_agree

    def test_accelerator():
        assert_engines_agree("model.onnx")
"""

import os
from collections.abc import Sequence

import numpy as np

from flows.engines import ENGINES, find_engine
from flows.inputs import received, warn
from hw.host.errors import UsageError
from hw.ir.frames import Batch, chosen
from hw.lowering.input_types import InputTypes
from hw.model import Model
from hw.verification.reference import random_frames


def comparable() -> tuple[str, ...]:
    """The engines that can be compared with the emulator without a build; ``finn`` runs our graph in its dialect."""
    return tuple(name for name in ENGINES if find_engine(name).difference is not None)


def assert_engines_agree(
    model: str | os.PathLike[str] | Model,
    x: Batch | None = None,
    engines: Sequence[str] | None = None,
    *,
    seed: int = 0,
    clip: bool = False,
    input_type: InputTypes | None = None,
) -> None:
    """Run frames ``x`` (N, *shape), random ones by default, through engines; raise AssertionError where they differ.

    ``model`` is a QONNX or QDQ file or FINN's dataflow graph; ``engines`` are ``qonnx``, ``onnxruntime``, ``finn``,
    ``emulator`` and ``rtl`` by default. Integers must be equal, and the RTL's cycles those of the cycle model; against
    the model itself, at most 0.5 % of the elements may differ, by one code, within float32's rounding of a decision
    (``hw.verification.comparison``). The slower engines see only the first frames. ``clip`` is that of
    ``Accelerator.run``, ``input_type`` that of ``build``. Engines that are not available for this model raise
    BitfabricError; leave them out of ``engines``.
    """
    __tracebackhide__ = True
    known = comparable()
    names = known if engines is None else engines
    if unknown := sorted(set(names) - set(known)):
        raise UsageError(f"no engine {unknown[0]} to compare; there are {', '.join(known)}")
    opened = Model.open(model, input_type)
    most = max(find_engine(name).compared_frames for name in known)
    if x is None:
        frames = random_frames(opened.graph, most, seed)
    else:
        frames, read = received(opened.graph, x if isinstance(x, dict) else np.asarray(x), clip)
        for each in read:
            warn(each)
    for name in names:
        found = find_engine(name)
        if found.difference and (difference := found.difference(opened, chosen(frames, slice(found.compared_frames)))):
            raise AssertionError(f"{opened.path}: {name} and the emulator differ: {difference}")
