"""The resource model against what synthesis counted: the grid that ``benchmarks.resources`` keeps, and a network."""

from collections import defaultdict

import numpy as np
import pytest

from benchmarks.kernels import grid
from benchmarks.measured import Table
from hw import fifo
from hw.folding import apply, connect, estimate, for_cycles
from hw.kernels.kernel import Resources
from hw.rtl import generate
from hw.synth import yosys
from hw.synth.family import ECP5, FAMILIES
from tests.hw.networks import perceptron


def test_every_kernel_of_the_grid_is_as_measured():
    """Blocks and multipliers of every case; lookup tables of every kernel's cases together."""
    kernels, measured = dict(grid()), Table("kernels", renew=False).rows
    totals = defaultdict(list)
    for (family, case), row in measured.items():
        used = kernels[case].resources(FAMILIES[family])
        assert (used.bram, used.dsp) == (row.bram, row.dsp), case
        totals[family, kernels[case].op].append((used.lut, row.lut))
    assert {op for _, op in totals} == {kernel.op for kernel in kernels.values()}
    for name, luts in totals.items():
        used, have = np.sum(luts, axis=0)
        assert used == pytest.approx(have, rel=0.15), name


def test_a_network_takes_what_the_model_says(tmp_path):
    graph = perceptron(np.random.default_rng(3), [48, 24, 10], [("UINT4", "INT4"), ("UINT2", "INT4")], arg_max=True)
    table = for_cycles(graph, 144, ECP5, Resources(24288, 24288, 56, 28))
    connected = connect(apply(graph, table))
    hardware = fifo.insert(connected, fifo.size(connected))
    used, expected = yosys.synthesise(generate(hardware, ECP5), ECP5, tmp_path).resources, estimate(hardware, ECP5)
    assert (used.bram, used.dsp) == (expected.bram, expected.dsp)
    assert used.lut == pytest.approx(expected.lut, rel=0.15)
