"""Images of trained networks for boards, built and verified to the netlist, for the benchmarks that train them."""

from pathlib import Path
from typing import Any

from flows import build

RTL_FRAMES, NETLIST_FRAMES = 16, 1


def build_image(model: Path, board: str, folder: Path, *, fps: float, clock_mhz: float) -> dict[str, Any]:
    """Build the image of a model in a run folder, verified on the run's test frames; what it takes, and what every
    engine found."""
    run = model.parent
    made = build(
        model, board, folder, fps=fps, clock_mhz=clock_mhz, frames=run / "x_test.npy",
        labels=run / "y_test.npy", rtl_frames=RTL_FRAMES, netlist_frames=NETLIST_FRAMES,
    ).report  # fmt: skip
    return {
        "clock_mhz": made.clock_mhz,
        "fmax_mhz": made.fmax_mhz.placed,
        "estimated_fmax_mhz": made.fmax_mhz.estimated,
        "interval": made.cycles.interval.model_dump(mode="json"),
        "latency": made.cycles.latency.model_dump(mode="json"),
        "resources": made.resources.model_dump(mode="json"),
        "logic_cells": made.logic_cells and made.logic_cells.model_dump(mode="json"),
        "link_fps": made.host_link and made.host_link.fps,
        "verified": {
            name: {
                "frames": each.frames,
                "mismatches": each.mismatches,
                "accuracy": each.accuracy,
                "stage": each.stage,
            }
            for name, each in made.verified.items()
        },
    }


def row(network: str, found: dict[str, Any]) -> dict[str, object]:
    """A row of a table of images. LUT and logic cells count the board's shell; "-" is what a family does not count."""
    cells = found.get("logic_cells")
    checked = (
        f"{each.get('stage') or ''} {name}".strip() + f" {each['mismatches']} of {each['frames']}"
        for name, each in found["verified"].items()
    )
    return {
        "network": network,
        "cycles a frame": found["interval"]["simulated"],
        "latency": found["latency"]["simulated"],
        "LUT": found["resources"]["lut"]["used"],
        "logic cells": f"{cells['used']:,} of {cells['available']:,}" if cells else "-",
        "BRAM": found["resources"]["bram"]["used"],
        "Fmax MHz": f"{found['fmax_mhz']:.1f}",
        "of": f"{found['clock_mhz']:g}",
        "mismatches": ", ".join(checked),
    }
