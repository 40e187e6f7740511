"""Cores of single kernels: the one file with all memories gives what the kernel gives, under Icarus Verilog."""

import os
import shutil
import subprocess

import numpy as np
import pytest

from hw import kernels
from hw.families.ecp5 import ECP5
from hw.ip_core.core import IpCore
from hw.ip_core.package import BuildFacts, write
from hw.rtl.design import RtlDesign, generate
from hw.simulation import verilator
from tests.kernels.kernel_bench import alone, random_frames

NOT_BY_ICARUS = {("requant", "parity"), ("sliding_window", "serial")}
"""Cases that Icarus 11 does not compute, and Verilator does."""
QUICK = ("lookup_network", "threshold")
BY_VERDICT = ("exit", "merge")
"""Kernels that by themselves give, or take, not one frame for each frame."""


@pytest.mark.parametrize("op", [
    pytest.param(op, marks=[] if op in QUICK else [pytest.mark.slow]) for op in kernels.names() if op not in BY_VERDICT
])  # fmt: skip
def test_the_core_of_a_kernel_gives_what_the_kernel_gives(op, tmp_path):
    if shutil.which("iverilog") is None:
        missing = "iverilog is missing; apt-get install iverilog"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    rng = np.random.default_rng(0)
    facts = BuildFacts("0", {"path": "none", "sha256": "0" * 64}, "none", 100.0, 10_000, 10_000)
    tried = 0
    for index, (name, kernel) in enumerate(kernels.cases(op).cases()):
        if (op, name) in NOT_BY_ICARUS or (op in QUICK and index > 3):
            continue
        graph = alone(kernel)
        design = generate(graph, ECP5)
        frames = {port.edge: random_frames(graph.edges[port.edge], 3, rng) for port in graph.inputs}
        values = frames | graph.execute(frames)
        edges = [*(port.edge for port in graph.inputs), *graph.output_edges]
        wires = dict(zip(edges, (*design.inputs, *design.outputs), strict=True))
        core = IpCore("dut", "dut_", graph, design, 1, with_registers=index % 2 == 0)
        write(core, facts, {wires[edge]: values[edge] for edge in edges}, tmp_path / str(index))
        if index == 0:
            verilator.lint(RtlDesign("dut", {}, {}, {"dut.sv": core.source}))
        done = subprocess.run(
            ["make", "icarus"], cwd=tmp_path / str(index) / "sim", capture_output=True, text=True, timeout=300
        )
        assert "PASS: 3 frames" in done.stdout, (name, done.stdout[-1000:], done.stderr[-1000:])
        tried += 1
    assert tried > 0
