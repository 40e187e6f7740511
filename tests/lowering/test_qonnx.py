"""Reading QONNX files: what is no QONNX model is refused in one line; batch sizes of every kind are read."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from hw.host.errors import BitfabricError
from hw.lowering.lower import lower, lower_model
from hw.lowering.qonnx import load
from hw.simulation.emulator import Emulator
from hw.verification.layers import drive
from hw.verification.reference import Reference
from tests.builders.qonnx_builder import Builder

WEIGHTS = np.random.default_rng(0).integers(-7, 8, (12, 5)).astype(np.float32)


def small(batch=1):
    b = Builder((batch, 3, 4))
    b.constants.append(numpy_helper.from_array(np.array([batch if isinstance(batch, int) else -1, 12]), "shape"))
    x = b.node("MatMul", b.quant(b.node("Reshape", "x", "shape"), 0.25, 4), b.quant(WEIGHTS, 0.5, 4))
    return b.model((x, (batch, 5)))


def refused(path):
    with pytest.raises(BitfabricError) as caught:
        load(path)
    assert caught.value.status == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_that_are_no_model(tmp_path):
    assert "no file" in refused(tmp_path / "missing.onnx")
    assert "is a folder" in refused(tmp_path)
    path = tmp_path / "model.onnx"
    whole = small().SerializeToString()
    for content in (b"", b"hello, this is text", whole[: len(whole) // 2], whole[:-3], np.random.bytes(500)):
        path.write_bytes(content)
        assert "damaged or not an ONNX file" in refused(path)
    path.write_bytes(whole)
    assert lower(path).nodes


def test_onnx_that_is_not_qonnx(tmp_path):
    path = tmp_path / "model.onnx"
    b = Builder((1, 12))
    onnx.save(b.model((b.node("Relu", b.node("MatMul", "x", WEIGHTS)), (1, 5))), path)
    assert "no quantizers (Quant" in refused(path)


def test_weights_in_a_second_file(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(small(), path, save_as_external_data=True, location="model.data", size_threshold=0)
    graph = lower(path)
    np.testing.assert_array_equal(graph.node("fc0").kernel.weights, np.round(WEIGHTS.T / 0.5).clip(-8, 7))
    (tmp_path / "model.data").unlink()
    assert "second file" in refused(path)


@pytest.mark.parametrize("batch", [1, 16, "N"])
def test_dynamic_and_fixed_batches(batch):
    model = small(batch)
    frames = np.random.default_rng(1).normal(size=(21, 3, 4)).astype(np.float32)
    graph = lower(model)
    assert graph.inputs[0].shape == (3, 4)
    np.testing.assert_array_equal(Emulator(graph).run(frames), Reference(model).run(frames))


@pytest.mark.parametrize(("batch", "stated"), [(1, 1), (16, 16), ("N", 1)])
def test_a_batch_in_the_shapes_of_all_operators(batch, stated):
    """Every constant shape that data are brought to has the batch size of the file."""
    b = Builder((batch, 2, 3, 3))
    for name, shape in (("sizes", [stated, 2, 6, 6]), ("flat", [stated, 72]), ("wide", [stated, 72])):
        b.constants.append(numpy_helper.from_array(np.array(shape, np.int64), name))
    large = b.node("Resize", b.quant("x", 0.25, 4), "", "", "sizes", mode="nearest", nearest_mode="floor",
                   coordinate_transformation_mode="asymmetric")  # fmt: skip
    flat = b.node("Expand", b.node("Reshape", large, "flat"), "wide")
    model = b.model((b.node("MatMul", flat, b.quant(np.tile(WEIGHTS, (6, 1)), 0.5, 4)), (batch, 5)))
    frames = np.random.default_rng(1).normal(size=(21, 2, 3, 3)).astype(np.float32)
    np.testing.assert_array_equal(Emulator(lower(model)).run(frames), Reference(model).run(frames))


@pytest.mark.parametrize("batch", [1, 2, "N"])
def test_layers_of_a_file_with_a_batch_are_driven_one_by_one(batch):
    """Parts of the model are executed with other batch sizes, too."""
    b = Builder((batch, 3, 4))
    b.constants.append(numpy_helper.from_array(np.array([1 if batch == "N" else batch, 12]), "shape"))
    first = b.quant(b.node("MatMul", b.quant("x", 0.25, 4), b.quant(WEIGHTS[:4, :4], 0.5, 4)), 0.5, 4)
    x = b.node("MatMul", b.node("Reshape", first, "shape"), b.quant(WEIGHTS, 0.5, 4))
    model = b.model((b.quant(x, 0.5, 6), (batch, 5)))
    reference = Reference(model)
    lowering = lower_model(reference.model)
    driven = drive(lowering.graph, lowering, reference)
    assert driven.wrong == {}
    assert driven.layers >= 2


def test_a_batch_that_is_computed():
    b = Builder(("N", 3, 4))
    for name, value in (("zero", 0), ("first", [0]), ("rest", [12])):
        b.constants.append(numpy_helper.from_array(np.array(value, np.int64), name))
    size = b.node("Unsqueeze", b.node("Gather", b.node("Shape", "x"), "zero"), "first")
    flat = b.node("Reshape", "x", b.node("Concat", size, "rest", axis=0))
    model = b.model((b.node("MatMul", b.quant(flat, 0.25, 4), b.quant(WEIGHTS, 0.5, 4)), ("N", 5)))
    frames = np.random.default_rng(1).normal(size=(7, 3, 4)).astype(np.float32)
    np.testing.assert_array_equal(Emulator(lower(model)).run(frames), Reference(model).run(frames))


def test_other_dynamic_sizes_are_refused():
    b = Builder((1, "width"))
    with pytest.raises(BitfabricError, match="x has a dynamic size width besides the batch"):
        load(b.model((b.quant("x", 0.25, 4), (1, "width"))))


def test_nameless_nodes_and_old_domains_are_read():
    model = small()
    for node in model.graph.node:
        node.name = ""
        node.domain = node.domain and "onnx.brevitas"
    del model.opset_import[:]
    model.opset_import.extend([helper.make_opsetid("", 13), helper.make_opsetid("onnx.brevitas", 1)])
    names = [node.name for node in load(model).graph.node]
    assert len(set(names)) == len(names)
    assert all(names)
