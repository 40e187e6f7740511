"""Early exits in ONNX's own operators: the forms that are read, their hardware, and what is refused by name."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from hw.host.errors import BitfabricError
from hw.ir.verdicts import computed, shares
from hw.lowering.lower import lower, lower_model
from hw.simulation.emulator import Emulator
from hw.verification.layers import check_directed
from hw.verification.reference import Reference, compare
from tests.builders.two_heads import FORMS, frames_for, two_heads


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_graph(form):
    """Outputs as qonnx executes the model, some frames leave and some go on, and only the last head's layers lie
    behind the exit."""
    model = two_heads(form)
    graph, x = lower(model), frames_for(model, 200)
    compared = compare(graph, model, x)
    assert compared.mismatches == 0
    assert [node.kernel.op for node in graph if node.kernel.op in ("margin", "exit", "merge")] == [
        "margin", "exit", "merge",
    ]  # fmt: skip
    threshold = next(node.kernel.threshold for node in graph if node.kernel.op == "margin")
    assert threshold == 2  # codes: the least whole number that is 1.5 or more
    leaves = computed(graph, graph.encode(x))["exit0"]
    assert 0.1 < leaves.mean() < 0.9
    behind = {graph.node(name).origin.node for name, share in shares(graph, 0.5).items() if share < 1}
    assert {"fc1_node", "fc2_node", "head1_node"} <= behind
    assert not {"fc0_node", "head0_node", "first_node"} & behind


def test_onnx_quantizers_and_onnx_runtime():
    """A file without QONNX: ONNX Runtime's outputs, without its optimisation of graphs."""
    model = two_heads(qdq=True, threshold=2.0)  # at a margin of codes, where the scale is a power of two
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    x = frames_for(model, 100)
    expected = np.concatenate([session.run(None, {"x": frame[None]})[0] for frame in x])
    graph = lower(model)
    np.testing.assert_array_equal(Emulator(graph).run(x), expected)
    assert {node.kernel.op for node in graph} >= {"margin", "exit", "merge"}


def test_layers_are_driven_at_the_threshold():
    """A verdict that is wrong by one code is found at the layer's own inputs."""
    model = two_heads()
    reference = Reference(model)
    lowering = lower_model(reference.model)
    counts = check_directed(lowering.graph, lowering, reference)
    assert counts.left_out == ()
    margin = next(node for node in lowering.graph if node.kernel.op == "margin")
    for change in (-1, 1):
        wrong = type(margin.kernel)(4, margin.kernel.input_dtype, margin.kernel.threshold + change)
        with pytest.raises(BitfabricError, match="differs from the QONNX reference in layer merge0"):
            check_directed(lowering.graph.with_kernels({margin.name: wrong}), lowering, reference)


def nested() -> onnx.ModelProto:
    """Three heads: the last head of one decision is the result of another, of eight values between them."""
    outer, inner = two_heads(), two_heads(seed=3, features=8)
    graph = onnx.GraphProto()
    graph.CopyFrom(outer.graph)
    del graph.node[-1:]
    for each in inner.graph.initializer:
        made = graph.initializer.add()
        made.CopyFrom(each)
        made.name = f"in_{each.name}"
    for node in inner.graph.node:
        if node.output[0] != "codes":
            one = graph.node.add()
            one.CopyFrom(node)
            one.name = f"in_{node.name}"
            one.input[:] = ["hidden2" if name == "codes" else f"in_{name}" for name in node.input]
            one.output[:] = [f"in_{name}" for name in node.output]
    graph.node.append(helper.make_node("Where", ["below", "first", "in_y"], ["y"], name="y_node"))
    return helper.make_model(graph, opset_imports=outer.opset_import, ir_version=8)


def test_an_exit_behind_an_exit():
    model = nested()
    graph, x = lower(model), frames_for(model, 150)
    assert compare(graph, model, x).mismatches == 0
    assert [node.kernel.op for node in graph].count("exit") == 2
    assert min(shares(graph, 0.5).values()) == 0.25


def test_near_misses_are_refused_by_name():
    def unsorted(model):
        top = next(node for node in model.graph.node if node.op_type == "TopK")
        top.attribute.append(helper.make_attribute("sorted", 0))
        return model

    def rewired(model, node, index, name):
        next(each for each in model.graph.node if each.name == node).input[index] = name
        return model

    def read_too(model):
        model.graph.output.append(helper.make_tensor_value_info("hidden2", onnx.TensorProto.FLOAT, [1, 8]))
        return model

    cases = {
        "no difference of the largest value": lambda: unsorted(two_heads()),
        "its confidence is that of last, but frames leave with first": lambda: two_heads(top_of="last"),
        "first and last have different scales; put one quantizer": lambda: two_heads(last_scale=0.25),
        "head1 is not quantized": lambda: rewired(two_heads(), "y_node", 2, "head1"),
        "no margin reaches its threshold": lambda: two_heads(threshold=40),
        "every frame leaves": lambda: two_heads(threshold=-1),
        "compares no difference of two values": lambda: rewired(two_heads(), "below_node", 0, "top1"),
        "its threshold is no constant number": lambda: rewired(two_heads(), "below_node", 1, "top2"),
        "frames that leave early have no fc3_threshold.*, but output hidden2 reads it too": lambda: read_too(
            two_heads()
        ),
        "the exit saves nothing": lambda: rewired(two_heads(), "y_node", 2, "first"),
    }
    for words, make in cases.items():
        with pytest.raises(BitfabricError, match=words):
            lower(make())
