"""The cycles of a clock that a rate leaves for a frame."""

from math import floor

from hw.host.errors import UsageError

ROUNDING = 1e-9
"""What a quotient of floating-point numbers may lack of the whole number of cycles that a rate was computed from."""


def whole_cycles(fps: float, clock_mhz: float) -> int:
    """The whole cycles that a frame may take at ``fps`` frames per second; 0 for more than a frame a cycle."""
    return floor(clock_mhz * 1e6 / fps + ROUNDING)


def cycle_budget(fps: float, clock_mhz: float) -> int:
    """``whole_cycles``, at least 1.

    Raises UsageError for a rate that is no positive number, or more than a frame a cycle.
    """
    most = clock_mhz * 1e6
    if not 0 < fps <= most:
        raise UsageError(
            f"--fps {fps:.12g} is not above 0 and at most one frame a cycle ({most:.12g} frames/s at {clock_mhz:g} MHz)"
        )
    return whole_cycles(fps, clock_mhz)
