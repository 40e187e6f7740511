"""The resource model against what synthesis counted: the tables in ``tests/measured/resources``, and a network."""

from collections import defaultdict

import numpy as np
import pytest

from hw.fabric.resources import Resources
from hw.families import families, find_family, reference_device
from hw.families.ecp5 import ECP5
from hw.folding.choose import estimate_resources, for_cycles
from hw.kernels.calibration import COMPANION, grid
from hw.kernels.constant_network import cases as constant_network
from hw.passes.fifos import insert_fifos
from hw.passes.fold import apply_folding
from hw.passes.lanes import insert_width_converters
from hw.rtl.design import generate
from hw.synth import yosys
from hw.timing.fifo_sizing import size_fifos
from tests.builders.networks import perceptron
from tests.measured import resources
from tests.measured.networks import NETWORKS
from tests.measured.table import error

SMALL = ("tfc-w1a1", "tfc-w2a2", "jsc-mlp-w16a16", "kws-mlp-w2a2")


def test_every_kernel_of_the_grid_is_as_measured():
    """Blocks and multipliers of every case; lookup tables of every kernel's cases together, and on average."""
    kernels, measured = dict(grid()) | {"the companion": COMPANION}, resources.kernels().rows
    assert set(measured) == {(family, case) for family in families() for case in kernels}
    totals = defaultdict(list)
    for (family, case), row in measured.items():
        used = resources.synthesised(kernels[case], find_family(family))
        assert (used.bram, used.dsp) == (row.bram, row.dsp), (family, case)
        totals[family, kernels[case].op].append((used.lut, row.lut))
    for name, luts in totals.items():
        used, have = np.sum(luts, axis=0)
        assert abs(error(used, have)) <= 15, name
        assert np.mean([abs(error(*pair)) for pair in luts]) <= 12, name


def test_flip_flops_and_tables_of_networks_in_logic_are_those_that_something_reads():
    """The networks of the grid have zeros in whole columns. On 7 series registers in series become lookup tables."""
    measured = resources.kernels().rows
    for case, kernel in constant_network.grid():
        for family in families():
            used, row = resources.synthesised(kernel, find_family(family)), measured[family, case]
            assert abs(error(used.ff, row.ff)) <= (20 if family == "xc7" else 5), (family, case)
            assert abs(error(used.lut, row.lut)) <= 13, (family, case)


@pytest.mark.parametrize("name", [n if n in SMALL else pytest.param(n, marks=pytest.mark.slow) for n in NETWORKS])
def test_networks_are_as_measured(name, tmp_path):
    """Lookup tables of whole networks within 15 %, block RAM and multipliers exactly, for every family."""
    graph, measured = resources.hardware(name, tmp_path), resources.whole_networks().rows
    for family in NETWORKS[name].families:
        used, row = estimate_resources(graph, find_family(family)), measured[family, name]
        assert (used.bram, used.dsp) == (row.bram, row.dsp), family
        assert abs(error(used.lut, row.lut)) <= 15, family


def test_a_network_takes_what_the_model_says(tmp_path):
    graph = perceptron(np.random.default_rng(3), [48, 24, 10], [("UINT4", "INT4"), ("UINT2", "INT4")], arg_max=True)
    table = for_cycles(graph, 144, ECP5, Resources(24288, 24288, 56, 28))
    connected = insert_width_converters(apply_folding(graph, table))
    design = insert_fifos(connected, size_fifos(connected))
    used, expected = (
        yosys.synthesise(generate(design, ECP5), reference_device(ECP5), tmp_path).resources,
        estimate_resources(design, ECP5),
    )
    assert (used.bram, used.dsp) == (expected.bram, expected.dsp)
    assert used.lut == pytest.approx(expected.lut, rel=0.15)
