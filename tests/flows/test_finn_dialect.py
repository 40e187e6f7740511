"""FINN's dataflow dialect against FINN: it executes and builds what we write, and we run what it makes, alike."""

import numpy as np
import onnx
import pytest

from flows import build
from flows.finn import frontend
from flows.verify import check_rtl
from hw import finn
from hw.families.ecp5 import ECP5
from hw.finn.execution import calling_finn
from hw.host.errors import BitfabricError
from hw.lowering.lower import lower
from hw.passes.lanes import insert_width_converters
from hw.rtl.design import generate
from hw.simulation.emulator import Emulator
from hw.verification.reference import random_frames
from quant import export
from tests.builders.qonnx_builder import Builder
from tests.builders.random_images import RandomImages
from tests.builders.random_models import RandomModel
from tests.flows.test_conv_networks import TINY, Case, network

slow = pytest.mark.slow
PART = "xc7z020clg400-1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("dialect")


def model_of(case: Case, folder) -> str:
    path = folder / f"{case}.onnx"
    made = network(case)
    low, high = made.in_range
    frames = np.random.default_rng(0).integers(int(low), int(high), (4, *made.input_shape), endpoint=True)
    export(made.eval(), path, frames.astype(np.float32))
    return str(path)


@pytest.mark.parametrize("seed", range(8))
def test_finn_executes_what_we_write(seed):
    rng = np.random.default_rng(seed)
    source = RandomImages(rng, bool(seed % 2)) if seed % 2 else RandomModel(rng, bool(seed % 3), seed == 0)
    try:
        graph = lower(source.model())
        model = finn.write(finn.adapted(graph))
    except BitfabricError:
        pytest.skip("FINN has no form for this network")
    x = source.frames(3)
    np.testing.assert_array_equal(finn.execute(model, x), Emulator(graph).run(x))


CASES = [
    Case("tfc-w1a1", 1, options={"input_shape": (1, 4, 4)}),
    pytest.param(
        Case("resnet8-w8a8", 1, "fixed_point", {"weight_bits": 8, "act_bits": 8}, {**TINY, "width": 1 / 8}), marks=slow
    ),
    pytest.param(Case("tfc-w2a2", 1), marks=slow),
    pytest.param(Case("lenet5-w8a8", 1, "fixed_point", {"weight_bits": 8, "act_bits": 8}), marks=slow),
    pytest.param(Case("cnv-w1a1", 1), marks=slow),
    pytest.param(Case("cnv-w1a2", 1), marks=slow),
    pytest.param(Case("cnv-w2a2", 1), marks=slow),
    pytest.param(Case("resnet8-w4a4", 1, options={**TINY, "width": 1 / 4}), marks=slow),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_finns_graph_runs_here_and_ours_there(case, folder):
    path = model_of(case, folder)
    made = frontend.dataflow(path)
    theirs, ours = finn.read(made), lower(path)
    x = random_frames(ours, 8 if "cnv" in case.model else 200)
    low, high = network(case).in_range
    x = np.random.default_rng(1).integers(int(low), int(high), x.shape, endpoint=True).astype(np.float32)
    few = x[: 1 if "cnv" in case.model else 4]
    got = Emulator(theirs).run(x)
    np.testing.assert_array_equal(got[: len(few)], finn.execute(made.model, few))
    again = finn.read(finn.write(theirs))
    np.testing.assert_array_equal(Emulator(again).run(x), got)
    # The way back: what we write of our own lowering, ties and all.
    adapted = finn.write(finn.adapted(ours))
    np.testing.assert_array_equal(finn.execute(adapted, few), Emulator(ours).run(few))
    np.testing.assert_array_equal(Emulator(finn.read(adapted)).run(x), Emulator(ours).run(x))


def residual() -> onnx.ModelProto:
    """Two paths that meet in a sum of equal scales, and an average of the whole image."""
    b, rng = Builder((1, 2, 4, 4)), np.random.default_rng(0)

    def conv(x: str, size: int) -> str:
        weights = b.quant(rng.integers(-7, 8, (2, 2, size, size)) / 8, 0.125, 4)
        return b.node("Conv", x, weights, kernel_shape=[size, size], pads=[size // 2] * 4)

    def relu(x: str) -> str:
        return b.quant(b.node("Relu", x), 0.25, 4, signed=0)

    x = relu(conv(b.quant("x", 0.25, 4), 3))
    x = relu(b.node("Add", b.quant(conv(relu(conv(x, 3)), 1), 0.25, 6), b.quant(x, 0.25, 6)))
    x = b.node("Flatten", b.node("AveragePool", x, kernel_shape=[4, 4]))
    return b.model((b.node("MatMul", x, b.quant(rng.integers(-7, 8, (2, 3)) / 8, 0.125, 4)), (1, 3)))


def test_residual_network_of_finns_streamlining(folder):
    path = folder / "residual.onnx"
    onnx.save(residual(), path)
    made = frontend.dataflow(path)
    graph = finn.read(made)
    assert {"fork", "add", "accumulate_pool"} <= {node.kernel.op for node in graph}
    x = np.random.default_rng(1).normal(size=(50, 2, 4, 4)).astype(np.float32)
    got = Emulator(graph).run(x)
    np.testing.assert_array_equal(got[:3], finn.execute(made.model, x[:3]))
    hardware = insert_width_converters(graph)
    checked, _ = check_rtl(hardware, ECP5, graph.encode(x[:3]), generate(hardware, ECP5))
    assert checked["mismatches"] == 0
    assert len(np.unique(got, axis=0)) > 20


def test_build_of_finns_graph(folder, tmp_path):
    """FINN's graph, folded by FINN, as MODEL: the same integers in FINN, the emulator and RTL, at FINN's folding."""
    path = model_of(CASES[0], folder)
    made = _folded_by_finn(path)
    model = tmp_path / "finn.onnx"
    made.save(str(model))
    accelerator = build(model, target="ulx3s-85f", out=tmp_path / "build", stop_after="simulate", rtl_frames=8)
    verified = accelerator.report.verified
    assert {name: each.mismatches for name, each in verified.items()} == {"finn": 0, "emulator": 0, "rtl": 0}
    assert accelerator.cycles.interval.estimated == accelerator.cycles.interval.simulated <= 64
    folding = accelerator.report.folding
    for layer in made.get_nodes_by_op_type("MVAU_hls"):
        of_finn = finn.dialect.attributes(layer)
        assert folding[layer.name] == {"PE": of_finn["PE"], "SIMD": of_finn["SIMD"]}
    x = random_frames(accelerator.graph, 5)
    np.testing.assert_array_equal(accelerator.run(x, "finn"), accelerator.run(x))
    with pytest.raises(BitfabricError, match="use --engine finn"):
        accelerator.run(x, "qonnx")


def _folded_by_finn(path):
    """The part for hardware of FINN's graph, behind its own specialisation, folding, width converters and FIFOs."""
    from finn.transformation.fpgadataflow.insert_dwc import InsertDWC
    from finn.transformation.fpgadataflow.insert_fifo import InsertFIFO
    from finn.transformation.fpgadataflow.set_folding import SetFolding
    from finn.transformation.fpgadataflow.specialize_layers import SpecializeLayers
    from qonnx.transformation.general import GiveUniqueNodeNames

    model = frontend.partition(frontend.dataflow(path))
    with calling_finn(path):
        inserted = (InsertDWC(), InsertFIFO(create_shallow_fifos=True), SpecializeLayers(PART))
        for step in (SpecializeLayers(PART), SetFolding(64), *inserted, GiveUniqueNodeNames()):
            model = model.transform(step)
    return model
