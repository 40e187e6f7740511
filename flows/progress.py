"""Progress displays: the steps of a build, and progress bars, on standard error or below a notebook's cell."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from rich.progress import ProgressColumn, Task
from rich.text import Text

from flows.evidence import RECORDS
from flows.terminal import Terminal
from hw.host.files import read_json
from hw.host.text import one_line

err = Terminal(stderr=True)


class _Time(ProgressColumn):
    """The seconds of a step so far, and those that are left if it takes as long as before."""

    def render(self, task: Task) -> Text:
        passed = task.elapsed or 0.0
        left = "" if task.total is None else f", about {max(0.0, task.total - passed):.0f} s left"
        return Text(f"{passed:.0f} s{left}")


class Watch:
    """Shows the steps of a build while they run: on standard error, or below a notebook's cell.

    ``folder`` is that of the build: where a step was done there before, its time then is the estimate of what is left.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._status: Any = None
        self._cell: Any = None
        self._lines: list[str] = []

    @property
    def visible(self) -> bool:
        """Whether standard error is a terminal or a notebook."""
        return err.is_terminal or err.is_jupyter

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._rest()

    def _rest(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def __call__(self, name: str, cached: bool, seconds: float | None) -> None:
        if seconds is None:
            self._begin(name)
            return
        self._rest()
        note = "unchanged" if cached else f"{seconds:.1f} s"
        if err.is_jupyter:
            self._lines.append(f"done {name:<11} {note}")
            self._in_cell("")
        else:
            err.print(Text.assemble("  ", ("done", "green"), f" {name:<11} {note}"))

    def warn(self, warning: str) -> None:
        """Shows a warning between two steps."""
        self._rest()
        if err.is_jupyter:
            self._lines.append(f"warning: {warning}")
            self._in_cell("")
        else:
            err.print(Text(one_line(f"warning: {warning}"), style="yellow"), soft_wrap=True)

    def _begin(self, step: str) -> None:
        if err.is_jupyter:
            self._in_cell(f"{step} ...")
        elif err.is_terminal:
            from rich.progress import Progress as Bar
            from rich.progress import SpinnerColumn, TextColumn

            self._status = Bar(SpinnerColumn(), TextColumn("{task.description}"), _Time(), console=err, transient=True)
            self._status.add_task(step, total=self._expected(step))
            self._status.start()

    def _expected(self, step: str) -> float | None:
        """The seconds that a step took in this folder before; None where it is new."""
        if self.folder is None:
            return None
        try:
            return float(read_json(self.folder / RECORDS / f"{step}.json")["seconds"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _in_cell(self, last: str) -> None:
        # rich's own display in notebooks needs ipywidgets, and leaves nothing in a saved notebook.
        from IPython.display import display

        text = {"text/plain": "\n".join([*self._lines, last]).rstrip()}
        if self._cell is None:
            self._cell = display(text, raw=True, display_id=True)
        else:
            self._cell.update(text, raw=True)


def told(line: str) -> None:
    """Shows a line about what is done, on standard error."""
    err.print(Text(one_line(line)), soft_wrap=True)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Shows a message while the context is active, if standard error is a terminal."""
    if not err.is_terminal:
        yield
        return
    with err.status(f"{what} ..."):
        yield


class Progress:
    """A progress bar on standard error; call it with the number of finished frames and of all frames."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=err, transient=True)
        self._task = self._bar.add_task("frames", total=None)

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, done: int, count: int) -> None:
        self._bar.update(self._task, completed=done, total=count)


@contextmanager
def shown(
    watch: Callable[[str, bool, float | None], None] | None, folder: Path
) -> Iterator[Callable[[str, bool, float | None], None]]:
    """The callback for the steps of the build in ``folder``: ``watch``, or else a display if there is a viewer."""
    if watch is not None:
        yield watch
        return
    with Watch(folder) as own:
        yield own if own.visible else lambda name, cached, seconds: None
