"""Model files: what kind they are, what is made of them, and front ends of other distributions."""

import hashlib

import numpy as np
import onnx
import pytest

from hw import finn
from hw import model as models
from hw.host.errors import UsageError
from hw.lowering.lower import lower
from hw.model import Agreement, Finn, Frontend, Model, Qonnx
from tests.builders.qonnx_builder import Builder


def network() -> onnx.ModelProto:
    build = Builder((1, 12))
    x = build.quant("x", 1.0, 4, signed=0)
    weights = build.quant(np.random.default_rng(0).normal(size=(12, 3)), 0.5, 3, narrow=1)
    return build.model((build.node("MatMul", x, weights), (1, 3)))


@pytest.fixture
def path(tmp_path):
    onnx.save(network(), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_a_qonnx_file(path):
    model = Model.open(path)
    assert (model.kind, model.frontend.folded, type(model.frontend)) == ("qonnx", False, Qonnx)
    assert model.bytes == path.read_bytes()
    assert model.sha256 == hashlib.sha256(model.bytes).hexdigest()
    assert str(model.graph) == str(lower(path))
    assert model.graph is model.graph
    assert model.reference is model.reference
    assert Model.open(model) is model
    frames = np.random.default_rng(0).integers(0, 16, (8, 12)).astype(np.float32)
    assert model.frontend.compare(model.graph, frames) == Agreement(8, 8 * 15)


def test_finns_graph(path, tmp_path):
    onnx.save(finn.write(finn.adapted(lower(path))), tmp_path / "finn.onnx")
    model = Model.open(tmp_path / "finn.onnx")
    assert (model.kind, model.frontend.folded, type(model.frontend)) == ("finn", True, Finn)
    assert [node.kernel.op for node in model.graph] == [node.kernel.op for node in lower(path)]


def test_weights_in_a_second_file_belong_to_the_model(tmp_path):
    def save(folder, proto):
        folder.mkdir()
        onnx.save(proto, folder / "m.onnx", save_as_external_data=True, location="weights", size_threshold=0)
        return Model.open(folder / "m.onnx")

    proto = network()
    first, same = save(tmp_path / "a", network()), save(tmp_path / "b", network())
    largest = max(proto.graph.initializer, key=lambda each: each.ByteSize())
    largest.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(largest), largest.name))
    other = save(tmp_path / "c", proto)
    assert first.sha256 == same.sha256 != other.sha256
    (tmp_path / "whole.onnx").write_bytes(first.bytes)
    assert str(Model.open(tmp_path / "whole.onnx").graph) == str(first.graph)


@pytest.mark.parametrize(
    ("content", "message"), [(None, "no file .*m.onnx"), (b"\xff\xff", "damaged or not an ONNX file")]
)
def test_bad_files_are_refused_when_they_are_opened(tmp_path, content, message):
    if content is not None:
        (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        Model.open(tmp_path / "m.onnx")
    assert "\n" not in str(caught.value)


class Doubled(Frontend):
    """A front end of another distribution: a QONNX model under another producer's name."""

    kind = "doubled"
    engine = "doubled"

    def __init__(self, proto, name):
        super().__init__(proto, name)
        self.inner = Qonnx(proto, name)

    @classmethod
    def accepts(cls, proto):
        return proto.producer_name == "doubled"

    @property
    def graph(self):
        return self.inner.graph

    @property
    def reference(self):
        return self.inner.reference

    def compare(self, graph, frames):
        return self.inner.compare(graph, frames)


def test_a_front_end_of_another_distribution_is_asked_first(path, tmp_path, monkeypatch):
    monkeypatch.setattr(models.plugins, "find_all", lambda group: {"d": Doubled})
    models.frontends.cache_clear()
    try:
        proto = onnx.load(path)
        proto.producer_name = "doubled"
        onnx.save(proto, tmp_path / "doubled.onnx")
        model = Model.open(tmp_path / "doubled.onnx")
        assert (model.kind, str(model.graph)) == ("doubled", str(lower(path)))
        assert Model.open(path).kind == "qonnx"
    finally:
        monkeypatch.undo()
        models.frontends.cache_clear()
