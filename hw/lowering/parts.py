"""The elements that Slice and Split take along an axis; source: the ONNX operator specification."""

from collections.abc import Sequence


def sliced(size: int, start: int, end: int, step: int) -> range:
    """The indices that Slice takes of an axis of ``size`` elements. Raises ValueError for a step of 0."""
    if step < 0 and start < 0:  # ONNX limits the start to the first element, Python to the one before it.
        start = max(start + size, 0)
    return range(size)[start:end:step]


def split_sizes(size: int, parts: int, given: Sequence[int] | None, rounds_up: bool) -> tuple[int, ...]:
    """The sizes of the ``parts`` of an axis of ``size`` elements: those ``given``, or equal ones.

    Where ``rounds_up`` (``num_outputs`` of opset 18), the last part is smaller if they cannot be equal. Raises
    ValueError, with what is wrong, for sizes that do not fit.
    """
    if given is None:
        each = -(-size // parts)
        given = (*(each,) * (parts - 1), size - each * (parts - 1))
        if given[-1] < each and (not rounds_up or given[-1] < 1):
            raise ValueError(f"{size} elements in {parts} equal parts")
    if len(given) != parts or sum(given) != size or min(given) < 0:
        raise ValueError(f"{size} elements in parts of {list(given)}, for {parts} outputs")
    return tuple(given)
