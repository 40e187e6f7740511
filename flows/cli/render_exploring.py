"""The terminal output of ``bitfabric sensitivity``."""

from collections.abc import Mapping
from typing import Any

from flows.cli.console import out, print_warnings, say, show
from flows.cli.tables import Table


def sensitivities(result: Mapping[str, Any]) -> None:
    """Print the effects of all widths, and the front."""
    frames = "frames that the training held out" if result["held_out"] else "training frames"
    say(
        f"{result['frames']} {frames}: accuracy {result['accuracy']:.2%}, loss {result['loss']:.4f}; "
        f"{result['cost']['lut']:,} LUT at {result['fps']:,.0f} frames/s on {result['target']}"
    )
    if not result["held_out"]:
        print_warnings(["the run held no frames out, so what it learned is measured; train with --validation 0.1"])
    shown = Table("layer", "bits", "accuracy", "loss +", "curvature", "LUT", "BRAM")
    for each in result["effects"]:
        width = each["width"]
        shown.add_row(
            each["name"],
            f"{width}{' *' if each['present'] else ''}",
            f"{each['accuracy']:.2%}",
            f"{each['loss']:.4f}",
            f"{each['predicted']:.4f}",
            f"{each['cost']['lut']:,}",
            f"{each['cost']['bram']:,}",
        )
    show(shown)
    out.print()
    say("The best widths for their cost (the sum of the shares of LUT, FF, BRAM and DSP; * above: as trained):")
    best = Table("weights", "activations", "loss +", "LUT", "BRAM", "DSP", "of the device")
    for point in result["front"]:
        cost = point["cost"]
        best.add_row(
            " ".join(map(str, point["layers"].values())),
            " ".join(map(str, point["activations"].values())),
            f"{point['loss']:.4f}",
            f"{cost['lut']:,}",
            f"{cost['bram']:,}",
            f"{cost['dsp']:,}",
            f"{cost['share']:.1%}",
        )
    show(best)
