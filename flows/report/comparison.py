"""One HTML page for several builds: a table, and their rates against their logic."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flows.build_report import BuildReport
from flows.report.axes import log_axis
from flows.report.page import NAMES, environment, style, title
from hw.host.errors import UsageError
from hw.host.files import write_text


@dataclass(frozen=True)
class Compared:
    """A build as the page shows it. ``used`` are LUT, FF, BRAM and DSP, measured where ``measured``, with the shell.

    ``core`` is the rate of its core. ``best`` marks builds that no other one equals or beats in both LUT and ``core``,
    and beats in one.
    """

    folder: Path
    name: str
    report: BuildReport
    used: dict[str, int]
    measured: bool
    core: float
    accuracy: float | None
    mismatches: int
    best: bool


@dataclass(frozen=True)
class Point:
    """A build in the plot: its place in percent, and its description."""

    x: float
    y: float
    number: int
    label: str
    best: bool


def compare(folders: Sequence[Path], out: Path) -> Path:
    """Write the page of the builds in ``folders`` to ``out``; returns the path.

    Raises UsageError where a folder holds no finished build, is given twice, or the file cannot be written.
    """
    if len(set(map(Path.resolve, folders))) < len(folders):
        raise UsageError("a build is given twice: give each folder once")
    builds = [_compared(folder, BuildReport.read(folder)) for folder in folders]
    beaten = {
        id(a)
        for a in builds
        for b in builds
        if b.core >= a.core and b.used["lut"] <= a.used["lut"] and (b.core, b.used["lut"]) != (a.core, a.used["lut"])
    }
    builds = [replace(build, best=id(build) not in beaten) for build in builds]
    across, up = [max(1, build.used["lut"]) for build in builds], [build.core for build in builds]
    x_marks, x_at = log_axis(across)
    y_marks, y_at = log_axis(up)
    points = [
        Point(x_at(x), 100 - y_at(y), number, f"{build.name} on {build.report.target}: {y:,.0f} frames/s", build.best)
        for number, (x, y, build) in enumerate(zip(across, up, builds, strict=True), 1)
    ]
    page = environment().get_template("comparison.html")
    text = page.render(builds=builds, names=NAMES, points=points, x_marks=x_marks, y_marks=y_marks, style=style())
    write_text(out, text)
    return out


def _compared(folder: Path, report: BuildReport) -> Compared:
    counts = dict(report.resources)
    measured = counts["lut"].used is not None
    used = {
        key: count.used if measured and count.used is not None else count.estimated for key, count in counts.items()
    }
    accuracies = [check.accuracy for check in report.verified.values() if check.accuracy is not None]
    return Compared(
        folder=folder,
        name=title(report, folder),
        report=report,
        used=used,
        measured=measured,
        core=report.fps,
        accuracy=accuracies[0] if accuracies else None,
        mismatches=sum(check.mismatches or 0 for check in report.verified.values()),
        best=True,
    )
