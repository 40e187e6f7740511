"""The open back end as steps of FINN's build flow: RTL, simulation and bitstream without Vivado.

The steps go into a FINN user's ``DataflowBuildConfig``, as functions or by name, after the folding
(``step_apply_folding_config`` or ``step_minimize_bit_width``)::

    from flows.finn import steps
    cfg = DataflowBuildConfig(..., steps=[..., steps.step_open_rtl, steps.step_open_simulation])
    cfg = DataflowBuildConfig(..., steps=[..., "flows.finn.steps.step_open_simulation"])  # as in YAML

A step returns FINN's model unchanged. It writes the files of ``bitfabric build`` to the folder ``open`` in the
configuration's output folder. It raises BitfabricError, which ends FINN's build, if the integers of FINN's Python
execution, of the emulator and of the RTL differ, or if the RTL's cycles differ from the cycle model.

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
from hw.host.files import write_bytes


def step_open_rtl(model: Any, cfg: Any) -> Any:
    """Write the model's SystemVerilog and memory files to ``open/build/rtl``."""
    return _built(model, cfg, "rtl")


def step_open_simulation(model: Any, cfg: Any) -> Any:
    """Simulate the RTL with Verilator, and compare it with FINN's execution, the emulator and the cycle model."""
    return _built(model, cfg, "simulate")


def step_open_bitstream(model: Any, cfg: Any) -> Any:
    """Synthesise, place and route, write the bitstream (``open/build/place``), and simulate the placed netlist."""
    return _built(model, cfg, "netlist")


def _built(model: Any, cfg: Any, last: StepName) -> Any:
    folder = Path(cfg.output_dir) / "open"
    path = folder / "model.onnx"
    write_bytes(path, model.model.SerializeToString())
    clock = 1000.0 / cfg.synth_clk_period_ns
    build(path, target=_target(cfg), out=folder / "build", clock_mhz=clock, stop_after=last)
    return model


def _target(cfg: Any) -> str:
    """The name of the target. Raises UsageError for a part that is not a target."""
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
