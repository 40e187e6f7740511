"""The result of a comparison of two engines that found no error."""

from dataclasses import dataclass

MAX_EXPLAINED = 0.005
"""The largest share of elements that may differ from a float32 reference by its rounding."""


@dataclass(frozen=True)
class Agreement:
    """Counts of a comparison. ``mismatches`` includes the ``explained`` ones, which are all of them.

    - ``frames``, ``elements``: what was compared;
    - ``mismatches``: elements that differ; ``mismatched_frames``: the frames that they are in;
    - ``explained``: mismatches of one code that float32 rounding of the reference explains;
    - ``arg_max_changes``: frames whose class differs;
    - ``rounded``: floating-point outputs that differ from the reference by no more than its rounding.
    """

    frames: int
    elements: int
    mismatches: int = 0
    explained: int = 0
    arg_max_changes: int = 0
    mismatched_frames: int = 0
    rounded: int = 0
