"""FINN's build configuration: reads a user's file, and writes a configuration that FINN's own class has checked."""

import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from flows.finn import workspace
from hw.fabric import yaml_text
from hw.host.errors import UsageError
from hw.host.files import parse_json, read_text, write_text

EXACT = (
    "step_create_dataflow_partition",
    "step_specialize_layers",
    "step_apply_folding_config",
    "step_minimize_bit_width",
    "step_generate_estimate_reports",
    "step_generate_hardware",
    "step_create_stitched_ip",
    "step_measure_rtlsim_performance",
    "step_out_of_context_synthesis",
    "step_prepare_synthesis",
    "step_synthesize_bitfile",
    "step_make_driver",
    "step_deployment_package",
)
"""FINN's build steps for a graph in its dialect: the steps of its default flow after the front end."""
DONE = frozenset({
    "step_qonnx_to_finn", "step_tidy_up", "step_streamline", "step_convert_to_hw", "step_minimize_bit_width_initial",
    "step_target_fps_parallelization",
})  # fmt: skip
"""FINN's build steps that such a graph does not need; a user's configuration may list them."""
VIVADO_FROM = "step_generate_hardware"
"""The first build step of FINN's that needs Vivado: it generates code, then synthesises it."""
CODE = "step_hw_codegen"
"""FINN's build step that only generates code."""


def read(path: Path) -> dict[str, Any]:
    """Read a user's configuration (YAML or JSON). Raises UsageError, also for a key that FINN does not know."""
    try:
        text = read_text(path, kind="configuration file")
        content = parse_json(text) if path.suffix == ".json" else yaml_text.parse(text)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{path} cannot be read as YAML or JSON ({reason})") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path} holds no settings by name; a FINN configuration is KEY: VALUE")
    known = list(_config().__dataclass_fields__)
    for key in content:
        if key not in known:
            near = get_close_matches(str(key), known, 1)
            hint = f"; did you mean {near[0]}?" if near else "; see FINN's DataflowBuildConfig for what there is"
            raise UsageError(f"{path}: FINN knows no setting {key}{hint}")
    return content


def _config() -> Any:
    workspace.builder()
    from finn.builder.build_dataflow_config import DataflowBuildConfig

    return DataflowBuildConfig


def write(values: dict[str, Any], path: Path) -> Any:
    """Write a configuration as YAML and return FINN's object of it. Raises UsageError where FINN rejects it."""
    write_text(path, yaml.safe_dump(values, sort_keys=False))
    try:
        config = _config().construct_from(path)
        config._resolve_fpga_part()
        workspace.builder().resolve_build_steps(config, partial=False)
    except Exception as error:  # mashumaro and FINN raise exceptions of any type on invalid values
        reason = " ".join(str(error).split())
        raise UsageError(f"FINN does not take the configuration {path}: {reason}") from None
    return config


def part_of(board: str | None, part: str | None) -> tuple[str, str | None, str | None]:
    """FPGA part, board, and shell flow of the board. Raises UsageError for a board or part that FINN does not know."""
    workspace.builder()
    from finn.util.basic import alveo_part_map, part_map, pynq_part_map

    if (board is None) == (part is None):
        raise UsageError("give either --board (as Pynq-Z2) or --part (as xc7z020clg400-1)")
    if board is None:
        assert part is not None
        if not re.fullmatch(r"x[cq][a-z0-9]+(-[a-z0-9]+)*", part, re.IGNORECASE):
            raise UsageError(f"{part} is no AMD part; FINN builds for such as xc7z020clg400-1")
        return part, None, None
    if board not in part_map:
        near = get_close_matches(board, list(part_map), 2, 0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"it knows {', '.join(part_map)}"
        raise UsageError(f"FINN knows no board {board}; {hint}")
    shell = "vivado_zynq" if board in pynq_part_map else "vitis_alveo" if board in alveo_part_map else None
    return part_map[board], board, shell
