"""The results of engines and of flipped bits as text."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.facts.checks import Inputs
from hw.host.text import one_line

if TYPE_CHECKING:
    from hw.ir.frames import Batch

from flows.cli import console
from flows.cli.tables import Table


def ran(result: dict[str, Any], outputs: "Batch") -> None:
    """Print the result of a run, and the outputs if they were not written to a file."""
    line = f"{result['engine']}: {console.plural(result['frames'], 'frame')} in {result['seconds']:.2f} s"
    if "accuracy" in result:
        line += f", accuracy {result['accuracy']:.2%}"
    console.say(line)
    for inputs in (result["inputs"], *result.get("other_inputs", ())):
        console.print_inputs(Inputs.model_validate(inputs))
    if "classes" in result:
        _classes(result)
    if "board" in result:
        told = {"cycles": "cycles a frame", "frames": "frames", "stalls": "stalls", "errors": "link errors",
                "parity_errors": "cycles with a wrong parity", "resent": "frames sent again"}  # fmt: skip
        said = (f"{result['board'][key]:,} {what}" for key, what in told.items() if key in result["board"])
        console.say("board: " + ", ".join(said))
    if "trace" in result:
        console.say(f"waveform {one_line(result['trace'])}")
    if "output" in result:
        named = outputs.items() if isinstance(outputs, dict) else []
        shapes = "".join(f" {one_line(name)} {values.shape}" for name, values in named)
        console.say(f"outputs {one_line(result['output'])}{':' if shapes else ''}{shapes}")
    else:
        import numpy as np

        for name, values in outputs.items() if isinstance(outputs, dict) else [("", outputs)]:
            console.out.print(
                f"{one_line(name)} {np.array2string(values, threshold=40, edgeitems=4)}".strip(), soft_wrap=True
            )


def replayed(facts: dict[str, Any]) -> None:
    """Print the result of a benchmark inside an image."""
    console.say(
        f"board: {console.plural(facts['frames'], 'frame')} of {facts['distinct']} different ones in "
        f"{console.plural(facts['cycles'], 'cycle')} at {facts['clock_hz'] / 1e6:g} MHz: {facts['fps']:,.0f} frames/s, "
        "counted by the image"
    )
    console.say(f"checksum of all outputs {facts['checksum']:08x}, as the emulator's")
    if facts["host_link_fps"]:
        console.say(f"the host link feeds at most {facts['host_link_fps']:,.0f} frames/s")


_FIGURES = {"rmse": "RMSE", "mae": "MAE", "r2": "R²", "error": "error", "auc": "AUC", "accuracy": "accuracy"}


def figures_line(figures: dict[str, float]) -> str:
    """The figures of a task (``quant.scores``) in a line."""
    return ", ".join(f"{_FIGURES[name]} {value:.4g}" for name, value in figures.items())


_WIDE = 20
"""Largest number of classes whose confusion matrix is printed."""


def _classes(result: dict[str, Any]) -> None:
    """Print how many frames have each class, and the confusion matrix where there are labels."""
    from collections import Counter

    if result.get("figures"):
        console.say(figures_line(result["figures"]))
    if "anomaly_scores" in result:
        each = sorted(result["anomaly_scores"])
        middle, last = each[len(each) // 2], each[-1]
        console.say(f"anomaly scores from {each[0]:.4g} to {last:.4g}, half of them up to {middle:.4g}")
    if "classes" not in result:
        return
    counts = Counter(map(str, result["classes"])).most_common()
    said = ", ".join(f"{one_line(name)} {count:,}" for name, count in counts[:_WIDE])
    console.say(f"classes: {said}{', ...' if len(counts) > _WIDE else ''}")
    matrix, names = result.get("confusion", []), [one_line(name) for name in result.get("class_names", [])]
    if 1 < len(matrix) <= _WIDE:
        table = Table("label \\ class", *names)
        for name, row in zip(names, matrix, strict=True):
            table.add_row(name, *(f"{count:,}" if count else "-" for count in row))
        console.show(table)
    elif matrix:
        wrong = [(row[j], names[i], names[j]) for i, row in enumerate(matrix) for j in range(len(row)) if i != j]
        worst = [each for each in sorted(wrong, key=lambda each: -each[0])[:5] if each[0]]
        told = ", ".join(f"{label} as {found} {count:,}" for count, label, found in worst)
        console.say(f"most confused: {told or 'none'}")


def exported(folder: Path, files: list[Path]) -> None:
    """Print the files of an export, those of one folder in a line."""
    console.say(f"{one_line(folder)}:")
    groups: dict[Path, list[str]] = {}
    for path in sorted(files):
        groups.setdefault(path.relative_to(folder).parent, []).append(path.name)
    for group, names in groups.items():
        place = "" if group == Path() else f"{one_line(group)}/: "
        console.say(f"  {place}{one_line(', '.join(names))}")


def flipped(result: dict[str, Any]) -> None:
    """Print the accuracy for each number of flipped bits."""
    scored = any("accuracy" in row for row in result["rows"])
    table = Table("flips", "changed", *(("accuracy", "least", "greatest") if scored else ()))
    for row in result["rows"]:
        accuracy = row.get("accuracy", {})
        table.add_row(f"{row['flips']:,}", f"{row['changed']['mean']:.2%}", *(f"{v:.2%}" for v in accuracy.values()))
    console.show(table)
    left = f"; left out: {one_line(', '.join(result['left_out']))}" if result["left_out"] else ""
    line = f"of {result['bits']:,} bits of weights, thresholds and requants, {result['trials']} trials each{left}"
    console.say(line)
    console.print_inputs(Inputs.model_validate(result["inputs"]))
