"""The open back end as steps of FINN's build flow: RTL, simulation and bitstream without Vivado.

For a FINN user's own ``DataflowBuildConfig``, after its folding (``step_apply_folding_config`` or
``step_minimize_bit_width``), as functions or by name::

    from flows.finn import steps
    cfg = DataflowBuildConfig(..., steps=[..., steps.step_open_rtl, steps.step_open_simulation])
    cfg = DataflowBuildConfig(..., steps=[..., "flows.finn.steps.step_open_simulation"])  # as in YAML

A step returns FINN's model unchanged. Its products are in ``open`` in the configuration's output folder, as
``bitfabric build`` leaves them. It raises, which ends FINN's build, where the integers of FINN's Python execution, the
emulator and the RTL differ, or the RTL's cycles differ from the cycle model.

The environment variable ``BITFABRIC_TARGET`` names the target (``ulx3s-85f``; a bitstream needs a board). Without it,
the target is the configuration's part or board, if ``bitfabric targets`` lists its device (xc7z020).
"""

import os
from pathlib import Path
from typing import Any

from flows.config import StepName
from flows.pipeline import build
from hw.families import devices
from hw.host.errors import UsageError


def step_open_rtl(model: Any, cfg: Any) -> Any:
    """The model's SystemVerilog and memory files, in ``open/build/rtl``."""
    return _built(model, cfg, "rtl")


def step_open_simulation(model: Any, cfg: Any) -> Any:
    """The RTL simulated with Verilator, against FINN's execution and the emulator, and to the cycle."""
    return _built(model, cfg, "simulate")


def step_open_bitstream(model: Any, cfg: Any) -> Any:
    """Synthesis, place and route, the bitstream (``open/build/place``), and the placed netlist simulated."""
    return _built(model, cfg, "netlist")


def _built(model: Any, cfg: Any, last: StepName) -> Any:
    folder = Path(cfg.output_dir) / "open"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    model.save(str(path))
    clock = 1000.0 / cfg.synth_clk_period_ns
    build(path, target=_target(cfg), out=folder / "build", clock_mhz=clock, stop_after=last)
    return model


def _target(cfg: Any) -> str:
    """The target's name. Raises UsageError where there is none."""
    if chosen := os.environ.get("BITFABRIC_TARGET"):
        return chosen
    part = cfg._resolve_fpga_part().lower()
    name = next((name for name in devices() if part.startswith(name)), None)
    if name is None:
        raise UsageError(
            f"{part} is no target of the open back end; set the environment variable BITFABRIC_TARGET to one that "
            "`bitfabric targets` lists, as ulx3s-85f",
        )
    return name
