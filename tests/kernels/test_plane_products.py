"""Products in lookup tables instead of DSP blocks: what they compute, and that a search has them where DSPs are few."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw import finn, graph_file
from hw.fabric.resources import Resources
from hw.families import families, reference_device
from hw.families.ecp5 import ECP5
from hw.faults.soft_errors import SoftErrors
from hw.folding import choose
from hw.folding.search import Search
from hw.folding.tables import choices
from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding
from hw.kernels.depthwise.kernel import Depthwise
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.plane_depthwise.kernel import PlaneDepthwise
from hw.kernels.plane_matrix_vector.kernel import PlaneMatrixVector
from hw.kernels.shared.random_parameters import weights
from hw.passes.fold import apply_folding, current_folding
from hw.passes.lanes import insert_width_converters
from tests.builders.networks import perceptron
from tests.kernels.kernel_bench import alone, random_frames

DEVICE = reference_device(ECP5).capacity
INT8, UINT8 = DataType["INT8"], DataType["UINT8"]
PLANES = {MatrixVector: PlaneMatrixVector, Depthwise: PlaneDepthwise}
types = st.tuples(st.sampled_from(["INT", "UINT"]), st.integers(5, 17)).map(lambda each: "{}{}".format(*each))


@settings(max_examples=40, deadline=None)
@given(types, types, st.sampled_from([(1, 1), (2, 3), (3, 8), (6, 24)]), st.integers(0, 2**32))
def test_planes_of_every_width_make_the_product(weight, data, lanes, seed):
    """The arithmetic of the hardware, which the model of flipped bits repeats, against NumPy's."""
    rng = np.random.default_rng(seed)
    matrix = weights(rng, weight, (6, 24))
    kernel = PlaneMatrixVector(matrix, DataType[weight], DataType[data], (), *lanes)
    assert kernel.datapath in ("weight_planes", "input_planes")
    assert all(kernel.resources(family).dsp == 0 for family in families().values())
    x = random_frames(kernel.inputs()[0], 4, rng)
    (y,) = SoftErrors(alone(kernel)).damaged([]).nodes[0].kernel.execute(x)
    np.testing.assert_array_equal(y, x.astype(object) @ matrix.T.astype(object))


@pytest.mark.parametrize("kind", PLANES)
def test_they_are_offered_for_operands_that_suit_a_multiplier(kind):
    rng = np.random.default_rng(1)
    for weight, data in (("INT8", "UINT8"), ("INT5", "INT18"), ("INT4", "INT8"), ("INT8", "UINT4"), ("INT19", "INT8"),
                         ("BIPOLAR", "INT8"), ("INT8", "BIPOLAR"), ("UINT18", "INT8")):  # fmt: skip
        kernel = kind(weights(rng, weight, (4, 8)), DataType[weight], DataType[data])
        offered = [each for each in kernel.implementations() if isinstance(each, PLANES[kind])]
        assert len(offered) == (kernel.resources(ECP5).dsp > 0), (weight, data)
        for each in offered:
            assert type(each.plain()) is kind
            assert {other.interval for other in map(each.fold, each.foldings())} == {
                other.interval for other in map(kernel.fold, kernel.foldings())
            }
    with pytest.raises(BitfabricError, match=rf"^plane_{kind.op}: .* INT4 and inputs INT8 need no multipliers; use "):
        PLANES[kind](weights(rng, "INT4", (4, 8)), DataType["INT4"], INT8)


def _cost(used, but_dsps):
    shares = used / np.array([*vars(DEVICE).values()])
    return shares[:3].sum() if but_dsps else shares.sum()


def test_no_folding_within_a_few_dsps_is_cheaper():
    """Against all foldings: those of a budget of DSP blocks that is enough, as without planes; else the cheapest."""
    graph = perceptron(np.random.default_rng(5), [8, 4, 2], [("INT8", "INT6"), ("INT6", "UINT8")])
    nodes = [[(node.name, f) for f in choices(node.kernel, ECP5)] for node in graph]
    tables = [dict(each) for each in product(*nodes)]
    legal = []
    for table in tables:
        folded = insert_width_converters(apply_folding(graph, table))
        saves = any(node.kernel.saves_dsps for node in folded)
        used = np.array([*vars(choose.estimate_resources(folded, ECP5)).values()])
        legal.append((max(node.kernel.interval for node in folded), used, saves))
    search = Search(graph, ECP5, DEVICE)
    for cycles in sorted({interval for interval, *_ in legal})[::3]:
        usual = min(_cost(u, False) for t, u, saves in legal if t <= cycles and not saves)
        free = search.cheapest(cycles)
        assert free is not None
        assert free.cost == pytest.approx(usual)
        for dsps in {0, 1, free.used.dsp // 2, free.used.dsp}:
            found = search.cheapest(cycles, Resources(10**6, 10**6, 10**3, dsps))
            assert found is not None
            assert found.used.dsp <= dsps
            if dsps >= free.used.dsp:
                assert found.folding == free.folding
            else:
                least = min(_cost(u, True) for t, u, _ in legal if t <= cycles and u[3] <= dsps)
                used = np.array([*vars(found.used).values()])
                assert _cost(used, True) == pytest.approx(least)
    budget = Resources(2500, 2500, 8, 2)
    fastest = search.fastest(budget)
    limit = [*vars(budget).values()]
    assert fastest is not None
    assert fastest.interval == min(t for t, u, _ in legal if (u <= limit).all())


def test_files_keep_them_and_finn_gets_the_product(tmp_path):
    graph = alone(MatrixVector(weights(np.random.default_rng(4), "INT8", (32, 64)), INT8, UINT8))
    table = choose.for_rate(Search(graph, ECP5, DEVICE), 256, Resources(5000, 5000, 20, 0)).folding
    assert table["dut"].implementation == "plane_matrix_vector"
    folded = apply_folding(graph, table)
    graph_file.write(folded, tmp_path)
    back = graph_file.read(tmp_path)
    assert current_folding(back) == table
    frames = {"in0": random_frames(graph.edges["in0"], 3, np.random.default_rng(5))}
    np.testing.assert_array_equal(back.execute(frames)["out0"], graph.execute(frames)["out0"])
    written = finn.read(finn.write(finn.adapted(back))).nodes[0].kernel
    assert type(written) is MatrixVector
    by_hand = apply_folding(graph, {"dut": Folding(4, 8, implementation="plane_matrix_vector")})
    assert type(by_hand.nodes[0].kernel) is PlaneMatrixVector
