"""The check of the stream rule finds a path of gates: no path leads from what enters a kernel to `ready`, `valid` or
data that leave it. So kernels can be joined in any way without a loop of gates, and no path is longer than a kernel.

Every kernel's cases pass it in ``test_contract``.
"""

from dataclasses import replace

import pytest

from hw import kernels
from hw.families.ecp5 import ECP5
from hw.kernels.calibration import separate
from hw.rtl.design import generate
from tests.kernels.kernel_bench import gated


@pytest.mark.parametrize(
    ("op", "file", "right", "wrong", "path"),
    [
        ("add", "bf_stream_join.sv", "always_ff @(posedge clk) s_ready <= rst || fire ? '1 : ~here;",
         "assign s_ready = {INPUTS{fire}};", ("s0_ready", "s1_valid")),
        ("requant", "bf_requant.sv", "assign s_ready  = credit;", "assign s_ready = credit || m_ready;",
         ("s0_ready", "m0_ready")),
    ],
)  # fmt: skip
def test_a_path_of_gates_is_found(tmp_path, op, file, right, wrong, path):
    (_, first), *_ = kernels.cases(op).cases()
    design = generate(separate(first, first), ECP5)
    text = design.files[file].replace(right, wrong).replace("here = s_valid | ~s_ready", "here = s_valid")
    assert text != design.files[file]
    found = gated(replace(design, files=design.files | {file: text}), tmp_path)
    assert path[1] in found[path[0]]
