"""What is read: the rules give the shapes of ONNX's own inference, and unused parts are left out."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession

from hw.host.errors import BitfabricError
from hw.lowering.gate.inference import RULES
from hw.lowering.gate.site import Site, Tensor
from hw.lowering.gate.spatial import RULES as SPATIAL
from hw.lowering.lower import HANDLERS, JOINS, lower
from hw.lowering.node_steps import TRANSLATIONS
from hw.lowering.qonnx import load
from hw.verification.reference import compare, random_frames
from tests.builders.every_operator import models
from tests.builders.qonnx_builder import Builder
from tests.lowering.gate.small_models import dense, image, node, two_readers


@pytest.mark.quick
def test_every_operator_that_is_lowered_has_a_rule():
    """And only those, except for Shape and Size, which are always constants, and GatherND, which becomes a Gather."""
    lowered = {*HANDLERS, *JOINS, *TRANSLATIONS}
    assert set(RULES) - lowered == {("", "Shape"), ("", "Size"), ("", "GatherND")}
    assert lowered - set(RULES) == set()


@pytest.mark.quick
def test_unused_parts_are_left_out():
    """A dead node, an input that nothing reads, an output of a node that nothing reads, unused constants."""
    model = image()
    model.graph.input.append(helper.make_tensor_value_info("unused", TensorProto.STRING, []))
    model.graph.initializer.append(numpy_helper.from_array(np.array([b"text"], object), "words"))
    model.graph.node.append(helper.make_node("Loop", ["x"], ["dead"], name="dead"))
    node(model, "MaxPool_4").output.append("indices")
    prepared = load(model)
    assert [value.name for value in prepared.graph.input] == ["x"]
    assert "dead" not in [each.name for each in prepared.graph.node]
    assert "words" not in [each.name for each in prepared.graph.initializer]
    assert str(lower(model)) == str(lower(image()))
    frames = random_frames(lower(model), 20)
    assert compare(lower(model), model, frames).mismatches == 0


@pytest.mark.quick
@pytest.mark.parametrize("declared", [None, ("N", "classes"), (1, 77)])
def test_an_output_has_the_shape_that_is_computed(declared):
    """Whatever the file declares: nothing, names, or another one."""
    model = dense()
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("t6", TensorProto.FLOAT, declared))
    assert lower(model).outputs[0].shape == (3,)


@pytest.mark.quick
@pytest.mark.parametrize(("bits", "use"), [(16, "weights"), (32, "bias")])
def test_widest_weights_and_biases(bits, use):
    assert lower(two_readers(bits, use)).nodes


@pytest.mark.quick
@pytest.mark.parametrize("seed", range(len(models())))
def test_shapes_are_those_of_onnx(seed):
    """Node by node, ONNX's own shape inference agrees with the rules."""
    prepared = load(onnx.ModelProto.FromString(models()[seed]))
    constants = {each.name: each for each in prepared.graph.initializer}
    infos = {v.name: v for v in (*prepared.graph.input, *prepared.graph.value_info, *prepared.graph.output)}
    for each in prepared.graph.node:
        if each.domain:
            continue
        names = {*filter(None, each.input)}
        outputs = [onnx.ValueInfoProto(name=name) for name in each.output]
        graph = helper.make_graph([each], "one", [infos[name] for name in names], outputs,
                                  [constants[name] for name in names if name in constants])  # fmt: skip
        inferred = onnx.shape_inference.infer_shapes(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), strict_mode=True, data_prop=True
        )
        for value in inferred.graph.output:
            assert value.type == infos[value.name].type, each.name


sizes = st.integers(1, 4)


@given(st.data(), st.sampled_from(["Conv", "MaxPool", "AveragePool"]), st.integers(1, 2))
@settings(max_examples=100, deadline=None)
def test_windows_are_those_of_onnx(data, op, rank):
    """The number of windows for any kernel, stride, dilation, padding and ceil_mode, or a refusal where there is none.

    ONNX Runtime leaves out windows that start in the padding in every opset; ONNX's own inference does so from 22 on.
    It computes as many, once the pads are numbers: ``auto_pad`` with dilations it refuses, or takes for other pads.
    """
    draw = data.draw
    spatial = draw(st.lists(st.integers(1, 12), min_size=rank, max_size=rank))
    kernel, strides, dilations = (draw(st.lists(sizes, min_size=rank, max_size=rank)) for _ in range(3))
    attributes: dict = {"kernel_shape": kernel, "strides": strides, "dilations": dilations}
    mode = draw(st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if mode == "NOTSET":
        pads = [draw(st.integers(0, size - 1)) for size in kernel] * 2
        attributes["pads"] = pads
    attributes["auto_pad"] = mode
    if op != "Conv":
        attributes["ceil_mode"] = draw(st.integers(0, 1))
    b = Builder((1, 2, *spatial))
    b.node(op, "x", *([np.ones((3, 2, *kernel))] if op == "Conv" else []), **attributes)
    info = helper.make_tensor_value_info("t0", TensorProto.FLOAT, None)
    graph = helper.make_graph(b.nodes, "one", b.inputs, [info], b.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)])
    shape = (1, 2, *spatial)
    site = Site(b.nodes[0], (Tensor(shape, 1, data=True), *(Tensor((3, 2, *kernel), 1) for _ in b.constants)), 22)
    try:
        rule = SPATIAL[op](site)[0][0]
    except BitfabricError:
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        padded = [n + 2 * p for n, p in zip(spatial, attributes.get("pads", [0] * rank)[:rank], strict=True)]
        if mode.startswith("SAME"):
            strided = any(s > r + 1 for s, r in zip(strides, reach, strict=True))
            assert strided or (op != "Conv" and any(r // 2 >= k for r, k in zip(reach, kernel, strict=True)))
        else:
            assert any(r > n for r, n in zip(reach, padded, strict=True))
        return
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph.output[0].type.tensor_type.shape
    assert tuple(dim.dim_value for dim in inferred.dim) == rule
    model.graph.node[0].CopyFrom(b.nodes[0])
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.zeros(shape, np.float32)})[0].shape == rule
