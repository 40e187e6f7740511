"""What an interrupted training left, in the error line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hw.host.errors import BitfabricError

INTERRUPTED = 130
"""Exit status of an interrupted command."""


class InterruptedTrainingError(BitfabricError):
    """A training that the user interrupted: says how to go on."""

    status = INTERRUPTED


@contextmanager
def resumable(out: Path, resume: bool) -> Iterator[None]:
    """Context of a training that keeps its state in the run folder ``out``, and goes on from there if ``resume``.

    Raises InterruptedTrainingError for an interrupt: it goes on from its last checkpoint, or starts again where none
    was saved. A checkpoint that was there before counts for a training that went on from it only.
    """
    before = {} if resume else _checkpoints(out)
    try:
        yield
    except KeyboardInterrupt:
        saved = _checkpoints(out).items() - before.items()
        again = "with --resume goes on from the last checkpoint" if saved else "starts again"
        why = "" if saved else " before its first checkpoint"
        raise InterruptedTrainingError(f"interrupted{why}; the same command {again}") from None


def _checkpoints(out: Path) -> dict[Path, int]:
    """The checkpoints of unfinished trainings, and when they were written."""
    return {path: path.stat().st_mtime_ns for path in (out / ".checkpoint").rglob("last.ckpt")}
