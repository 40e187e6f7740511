"""Estimates of a build without synthesis, in the form that ``bitfabric estimate --json`` prints."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.config import BuildConfig
from flows.planner import Plan
from hw.folding.energy import estimate_energy, parts_of_hardware
from hw.folding.search import Choice
from hw.host.errors import BitfabricError
from hw.ir.verdicts import branches, shares
from hw.lowering.input_types import InputTypes
from hw.model import Model


def estimate_build(
    model: str | os.PathLike[str] | Model,
    target: str,
    *,
    fps: float | None = None,
    folding: str | os.PathLike[str] | None = None,
    fill: bool = False,
    clock_mhz: float | None = None,
    parity: bool = False,
    exit_share: float = 1.0,
    limits: Mapping[str, int] | None = None,
    input_type: InputTypes | None = None,
) -> dict[str, Any]:
    """Cycles, latency and resources of a build without synthesis, as ``bitfabric estimate --json`` prints them.

    The options are those of BuildConfig; ``input_type`` are types of inputs that the model does not quantize
    (``hw.lowering.input_types``). Raises BitfabricError where the model cannot be lowered or does not fit.
    """
    config = BuildConfig(
        target, fps=fps, folding=None if folding is None else Path(folding), fill=fill, clock_mhz=clock_mhz,
        parity=parity, exit_share=exit_share, limits=limits or {},
    )  # fmt: skip
    plan = Plan(Model.open(model, input_type), config)
    summary = plan.estimate().to_json()
    return {
        "model": str(plan.model.path),
        **({"input_types": plan.model.input_types} if plan.model.input_types else {}),
        "target": target,
        "clock_mhz": summary["clock_mhz"],
        "fmax_mhz": {"estimated": summary["fmax_mhz"], "slowest": summary["slowest"]}
        | ({"uncalibrated": summary["uncalibrated"]} if summary["uncalibrated"] else {}),
        "fps": summary["fps"],
        "choice": summary["choice"],
        "host_link": summary["host_link"],
        "cycles": {"interval": summary["interval"], "latency": summary["latency"]},
        "resources": {
            name: {"estimated": used, "available": vars(plan.device.capacity)[name]}
            for name, used in summary["resources"].items()
        },
        "logic_cells": summary["logic_cells"],
        "energy": _energy(plan, summary["fps"] if fps is None else min(fps, summary["fps"])),
        "folding": summary["folding"],
        "fifos": summary["fifos"],
        "layers": summary["layers"],
        **{key: summary[key] for key in ("removed", "lookup", "exits") if key in summary},
        "warnings": summary["warnings"],
    }


def _energy(plan: Plan, fps: float) -> dict[str, Any]:
    """The proxy of the energy of a frame at a rate: its unit, the sum, the power, and the energy of every layer."""
    hardware, device, clock_mhz = plan.point.hardware, plan.device, plan.point.clock_mhz
    reach = shares(hardware, plan.config.exit_share) if branches(hardware) else None
    found = estimate_energy(parts_of_hardware(hardware, device, reach), device.energy, clock_mhz, fps)
    return {
        "unit": found.unit,
        "fps": fps,
        "value": found.value,
        "milliwatts": found.milliwatts,
        "layers": dict(found.layers),
    }


def pareto(
    model: str | os.PathLike[str] | Model,
    target: str,
    clock_mhz: float | None = None,
    input_type: InputTypes | None = None,
) -> dict[str, Any]:
    """The Pareto front of rate and resources on a target, of foldings that fit it (``Search.pareto_front``).

    FIFOs are not counted, since their depths follow from the folding. Raises BitfabricError where none fits.
    """
    plan = Plan(Model.open(model, input_type), BuildConfig(target, clock_mhz=clock_mhz))
    front = plan.pareto_front()
    if not front:
        raise BitfabricError(f"{plan.model.path.name} does not fit {target}: {plan.best.suggestion()}")
    return {
        "model": str(plan.model.path),
        "target": target,
        "clock_mhz": plan.clock_mhz,
        "available": vars(plan.device.capacity),
        "host_link_fps": plan.line_fps(),
        "pareto": [_point(choice, plan.clock_mhz) | removed for choice, removed in front],
    }


def _point(choice: Choice, clock_mhz: float) -> dict[str, Any]:
    return {
        "fps": clock_mhz * 1e6 / choice.interval,
        "interval": choice.interval,
        "estimated": vars(choice.used),
        "folding": {name: f.attributes for name, f in choice.folding.items()},
    }
