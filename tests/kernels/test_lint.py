"""Verilator, Yosys and Icarus Verilog read the SystemVerilog of every kernel's cases and of the boards' shell without a
warning."""

import os
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from hw import kernels
from hw.boards.image import SHELL
from hw.families import families
from hw.families.ecp5 import ECP5
from hw.kernels.calibration import separate
from hw.rtl.design import RtlDesign, generate
from hw.simulation import verilator
from hw.synth import yosys

SORRY = re.compile(r"\S+: sorry: constant selects in always_\* processes are not currently supported .*")
"""Icarus Verilog 11 makes such a process sensitive to the whole vector, which changes nothing but its speed."""


def cases(op: str, family: str) -> RtlDesign:
    """One design of all cases of a kernel."""
    cases = [kernel for _, kernel in kernels.cases(op).cases()]
    return generate(separate(*cases, *(kernel.with_parity() for kernel in cases)), families()[family])


def shell(top: str) -> RtlDesign:
    folder = files("hw.boards").joinpath("shell")
    names = SHELL if top in SHELL else [top, *PARTS.get(top, ())]
    return RtlDesign(top, {}, {}, {f"{name}.sv": folder.joinpath(f"{name}.sv").read_text() for name in names})


SHELL_TOPS = ("bf_link", "bf_power_on", "bf_uart_rx", "bf_uart_tx", "bf_spi", "bf_fifo245", "bf_fifo_sync")
PARTS = {"bf_spi": ("bf_crossing", "bf_reset_crossing"),
         "bf_fifo_sync": ("bf_crossing", "bf_reset_crossing", "bf_send_immediate")}  # fmt: skip
"""Modules that others instantiate."""
DESIGNS = {op: lambda op=op: cases(op, ECP5.name) for op in kernels.names()}
DESIGNS |= {f"{op} ice40": lambda op=op: cases(op, "ice40") for op in ("matrix_vector", "sliding_window", "threshold")}
DESIGNS["constant_threshold xc7"] = lambda: cases("constant_threshold", "xc7")
DESIGNS |= {f"shell {top}": lambda top=top: shell(top) for top in SHELL_TOPS}

every_design = pytest.mark.parametrize("name", DESIGNS)


@every_design
def test_verilator_has_no_warning(name):
    verilator.lint(DESIGNS[name]())


@every_design
def test_yosys_has_no_warning(name, tmp_path):
    design = DESIGNS[name]()
    design.write(tmp_path)
    script = f"read_slang --top {design.top} {' '.join(design.verilog)}\nhierarchy -check -top {design.top}\n"
    log = yosys.run_script(script, tmp_path, "lint", "reading the design").read_text()
    assert "0 errors, 0 warnings" in log
    assert "Warning" not in log


@every_design
def test_icarus_elaborates_without_a_warning(name, tmp_path):
    design = DESIGNS[name]()
    design.write(tmp_path)
    assert icarus(tmp_path, design.top, design.verilog) == []


def test_icarus_warns_of_widths_that_differ(tmp_path):
    text = (files("hw.kernels") / "cells" / "bf_delay.sv").read_text()
    (tmp_path / "bf_delay.sv").write_text(text)
    (tmp_path / "top.sv").write_text(
        "module top (input wire clk);\n  bf_delay #(.WIDTH(3)) d (.clk, .d(2'd0), .q());\nendmodule\n"
    )
    assert any("expects 3 bits, got 2" in line for line in icarus(tmp_path, "top", ["top.sv", "bf_delay.sv"]))


def test_the_table_of_modules_is_complete():
    root = Path(__file__).parents[2]
    table = set(
        re.findall(r"^\| `(bf_\w+)` \| .* \| `(.*)` \| .+ \|$", (root / "docs/modules.md").read_text(), re.MULTILINE)
    )
    folders = ("hw/kernels/**", "hw/boards/shell", "hw/ip_core/shell")
    sources = [file for folder in folders for file in root.glob(f"{folder}/*.sv")]
    assert table == {(file.stem, str(file.relative_to(root))) for file in sources}
    assert all(re.search(rf"^module {file.stem}\b", file.read_text(), re.MULTILINE) for file in sources)


def icarus(folder: Path, top: str, sources: list[str]) -> list[str]:
    """What Icarus Verilog says of a design."""
    if shutil.which("iverilog") is None:
        missing = "iverilog is missing; apt-get install iverilog"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    command = ["iverilog", "-g2012", "-t", "null", "-s", top, *sources]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    said = (done.stdout + done.stderr).splitlines()
    assert done.returncode == 0, said[:5]
    return [line for line in said if not SORRY.fullmatch(line)]
