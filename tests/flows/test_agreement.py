"""The helper for users' tests, and our lowering beside FINN's on the same files."""

import numpy as np
import pytest

from flows.agreement import assert_engines_agree
from flows.finn import difference
from hw import finn
from hw.host.errors import BitfabricError
from hw.verification.reference import Reference
from tests.builders.qonnx_builder import Builder
from tests.flows.test_conv_networks import TINY, Case
from tests.flows.test_finn_dialect import model_of

slow = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("agreement")


def test_engines_agree(folder, monkeypatch):
    path = model_of(Case("tfc-w1a1", 1, options={"input_shape": (1, 4, 4)}), folder)
    assert_engines_agree(path)
    assert_engines_agree(path, np.zeros((3, 16), np.float32), ["finn"])
    with pytest.raises(BitfabricError, match="no engine board"):
        assert_engines_agree(path, engines=["board"])
    # One threshold too high in what FINN is given: FINN's integers differ, and the test says where.
    write = finn.write

    def wrong(graph):
        model = write(graph)
        weights = next(each for each in model.graph.initializer if each.name.endswith("_weights"))
        weights.raw_data = np.frombuffer(weights.raw_data, np.float32).__neg__().tobytes()
        return model

    monkeypatch.setattr(finn, "write", wrong)
    with pytest.raises(AssertionError, match=r"finn and the emulator differ: frame \d, element \["):
        assert_engines_agree(path, engines=["finn"])


CASES = [
    Case("tfc-w1a1", 1, options={"input_shape": (1, 4, 4)}),
    pytest.param(Case("tfc-w2a2", 1), marks=slow),
    pytest.param(Case("lenet5-w8a8", 1, "fixed_point", {"weight_bits": 8, "act_bits": 8}), marks=slow),
    pytest.param(Case("resnet8-w4a4", 1, options={**TINY, "width": 1 / 8}), marks=slow),
    pytest.param(Case("cnv-w1a1", 1), marks=slow),
    pytest.param(Case("cnv-w1a2", 1), marks=slow),
    pytest.param(Case("cnv-w2a2", 1), marks=slow),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_differences_from_finn_are_explained(case, folder):
    found = difference.compare(model_of(case, folder))
    assert found.points > 0
    assert found.unexplained == []


def test_ties_are_counted(folder):
    """A grid of eighths quantized to halves: every fourth sum is a tie, and those that round down to even differ."""
    rng = np.random.default_rng(0)
    b = Builder((1, 8))
    x = b.quant("x", 0.5, 4)
    x = b.node("MatMul", x, b.quant(rng.integers(-3, 4, (8, 4)) / 4, 0.25, 3))
    x = b.quant(b.node("Relu", x), 0.25 * 2, 4, signed=0)
    x = b.node("MatMul", x, b.quant(rng.integers(-3, 4, (4, 3)) / 4, 0.25, 3))
    path = folder / "ties.onnx"
    path.write_bytes(b.model((x, (1, 3))).SerializeToString())
    found = difference.compare(path)
    assert found.unexplained == []
    assert found.ties > 0
    assert found.rounding == 0
    # Ours is the model's: every output equal on frames that meet these ties.
    frames = (rng.integers(-8, 8, (500, 8)) / 2).astype(np.float32)
    assert_engines_agree(path, frames, ["qonnx", "finn"])
    assert len(np.unique(Reference(path).run(frames), axis=0)) > 50


def test_narrow_accumulators_are_counted(folder):
    """Popcounts of 100 bits with weights half and half: FINN's INT7 ends at 63, a threshold of 80 is lost."""
    b = Builder((1, 100))
    x = b.node("BipolarQuant", "x", 1.0)
    signs = np.where(np.arange(100) < 50, 1.0, -1.0)[:, None]
    x = b.node("MatMul", x, b.node("BipolarQuant", b.constant(signs), 1.0))
    x = b.node("BipolarQuant", b.node("Add", x, np.array([-59.0])), 1.0)
    x = b.node("MatMul", x, b.node("BipolarQuant", b.constant([[1.0, -1.0]]), 1.0))
    path = folder / "narrow.onnx"
    path.write_bytes(b.model((x, (1, 2))).SerializeToString())
    found = difference.compare(path)
    assert (found.points, found.narrowed, found.unexplained) == (1, 1, [])
    assert_engines_agree(path, engines=["qonnx", "finn", "rtl"])
