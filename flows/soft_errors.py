"""Accuracy with soft errors: the emulator with flipped bits in the memories of weights, thresholds and requants."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flows.accelerator import Accelerator
from flows.inputs import OnInputs, received, warn
from hw.faults.soft_errors import SoftErrors
from hw.host.meaning import classes
from hw.simulation.emulator import Emulator


def sweep(
    accelerator: Accelerator,
    frames: np.ndarray,
    labels: np.ndarray | None,
    counts: Sequence[int],
    trials: int = 10,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, count: None,
    clip: bool = False,
    on_inputs: OnInputs = warn,
) -> dict[str, Any]:
    """Run the frames with each number of ``counts`` flipped bits, in ``trials`` random choices of the bits.

    The bits of a trial follow from ``seed``, its number of flips and its index alone, so a row does not depend on the
    other rows.

    ``clip`` and ``on_inputs`` are those of ``Accelerator.run``.

    Returns ``bits`` (of all memories), ``layers`` (bits by layer), ``left_out`` (layers with memories that cannot be
    flipped), and ``rows``: for every count ``flips``, the fraction of frames with a ``changed`` class and, with labels,
    the ``accuracy``, each as mean, minimum and maximum over the trials. Raises UsageError for more flips than bits.
    """
    errors = SoftErrors(accelerator.hardware)
    given, inputs = received(accelerator.graph, frames, clip)
    for each in inputs:
        on_inputs(each)
    right = classes(Emulator(accelerator.hardware).run(given))
    rows: list[dict[str, Any]] = []
    for i, count in enumerate(counts):
        changed, accuracy = [], []
        for trial in range(trials):
            damaged = errors.random(count, np.random.default_rng((seed, count, trial)))
            got = classes(Emulator(damaged).run(given))
            changed.append(float(np.mean(got != right)))
            if labels is not None:
                accuracy.append(float(np.mean(got == labels)))
            progress(i * trials + trial + 1, len(counts) * trials)
        spread = {"changed": _spread(changed)} | ({"accuracy": _spread(accuracy)} if accuracy else {})
        rows.append({"flips": count, **spread})
    return {"bits": errors.bits, "layers": errors.layers, "left_out": errors.left_out, "trials": trials, "rows": rows}


def _spread(values: list[float]) -> dict[str, float]:
    return {"mean": float(np.mean(values)), "least": min(values), "greatest": max(values)}
