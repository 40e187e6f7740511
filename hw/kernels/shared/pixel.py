"""Pixel parallelism: beats of several neighbouring positions of an image, with all channels of each."""

from collections.abc import Sequence

from hw.host.errors import BitfabricError


def counts(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Legal numbers of positions per beat, except 1: the divisors of the innermost spatial axis of (*spatial, C)."""
    width = shape[-2] if len(shape) > 1 else 1
    return tuple(n for n in range(2, width + 1) if width % n == 0)


def check(op: str, pixels: int, legal: Sequence[int], **parallel: tuple[int, int]) -> None:
    """Check the number of positions per beat of a kernel ``op``.

    Several positions per beat require full parallelism in the other dimensions, given in ``parallel`` as
    name=(parallelism, full parallelism). Raises BitfabricError where they have less, and for a number of positions that
    is neither 1 nor in ``legal``.
    """
    if pixels == 1:
        return
    if pixels not in legal:
        raise BitfabricError(f"{op}: pixels={pixels}; legal here: {', '.join(map(str, (1, *legal)))}")
    for name, (value, full) in parallel.items():
        if value != full:
            raise BitfabricError(
                f"{op}: pixels={pixels} needs all of a position at a time, {name}={full}, not {name}={value}"
            )
