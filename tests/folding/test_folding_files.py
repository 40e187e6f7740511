"""Folding files with the names of users and of FINN."""

import json
from dataclasses import replace
from itertools import permutations
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from hw.folding import finn_json
from hw.folding.branch_order import find_order
from hw.folding.finn_json import FoldingFile
from hw.host.errors import UsageError
from hw.ir.graph import Graph
from hw.ir.kernel import Folding
from hw.ir.origin import Origin
from hw.lowering.lower import lower
from hw.passes.fold import apply_folding, current_folding
from tests.builders.networks import perceptron
from tests.builders.qonnx_builder import Builder

pytestmark = pytest.mark.quick


def network(swapped: bool = False) -> onnx.ModelProto:
    """Windows, a pool, a branch and a dense layer, with names as TorchScript's exporter gives them.

    The module ``conv1`` becomes the layer ``conv0``, and ``body.0`` is called twice. ``swapped``: the addition reads
    its operands the other way round.
    """
    b = Builder((1, 2, 8, 8))
    rng = np.random.default_rng(0)

    def named(name: str, value: str) -> str:
        b.nodes[-1].name = name
        return value

    def layer(name: str, value: str, channels: int, size: int = 3) -> str:
        weights = rng.integers(-2, 2, (4, channels, size, size)).astype(np.float32)
        b.constants.append(numpy_helper.from_array(weights, f"w{len(b.nodes)}"))
        pads = [size // 2] * 4
        return named(name, b.node("Conv", value, b.quant(b.constants[-1].name, 1.0, 3), pads=pads))

    def act(name: str, value: str, scale: float = 4.0) -> str:
        return named(name, b.quant(b.node("Relu", value), scale, 4, signed=0))

    value = act("/act1/Quant", layer("/conv1/Conv", b.quant("x", 1.0, 4), 2))
    value = named("/pool/MaxPool", b.node("MaxPool", value, kernel_shape=[2, 2], strides=[2, 2]))
    left = act("/body/body.0/act/Quant", layer("/body/body.0/conv/Conv", value, 4))
    right = act("/body/body.0/act_1/Quant", layer("/body/body.0/conv_1/Conv", value, 4, 1))
    b.nodes[-1].name = "/body/body.0/act/Quant_1"
    value = act("/act2/Quant", named("/Add", b.node("Add", *((right, left) if swapped else (left, right)))))
    value = b.node("Flatten", value)
    weights = b.quant(rng.integers(-2, 2, (64, 4)), 1.0, 3)
    return b.model((named("/head/Gemm", b.node("MatMul", value, weights)), (1, 4)))


@pytest.fixture(scope="module")
def graph() -> Graph:
    return lower(network())


def read(graph: Graph, tmp_path, content: object) -> FoldingFile:
    """The content of a folding file for the graph; the folding is legal."""
    path = tmp_path / "f.json"
    path.write_text(json.dumps(content))
    found = finn_json.read(path, graph)
    apply_folding(graph, found.table)
    return found


def test_the_graph_is_what_these_tests_are_about(graph):
    assert [node.title for node in graph if len(node.kernel.foldings()) > 1 and node.origin.node] == [
        "conv0_window (conv1)", "conv0 (conv1)", "conv0_threshold (act1)", "pool0 (pool)",
        "conv1_window (body.0.conv)", "conv1 (body.0.conv)", "conv2 (body.0.conv_1)",
        "conv1_threshold (body.0.act)", "conv2_threshold (body.0.act)",
        "add0 (/Add)", "add0_threshold (act2)", "fc0 (head)",
    ]  # fmt: skip


def test_layers_are_found_by_the_users_names(graph, tmp_path):
    table = {"conv0_window": Folding(1, 2), "conv1": Folding(2, 4), "add0": Folding(4), "fc0": Folding(2, 8)}
    named = {"body.0.conv": {"PE": 2, "SIMD": 4}, "/Add": {"PE": 4}, "head": {"PE": 2, "SIMD": 8}}
    assert read(graph, tmp_path, {"conv0_window": {"SIMD": 2}, **named}).table == table


def test_files_hold_both_names_and_come_back(graph, tmp_path):
    table = current_folding(graph)
    finn_json.save(table, tmp_path / "all.json", graph)
    content = json.loads((tmp_path / "all.json").read_text())
    assert content["conv0"] == {"PE": 1, "SIMD": 1, "node": "/conv1/Conv", "module": "conv1"}
    assert content["add0"] == {"PE": 1, "SIMD": 1, "node": "/Add"}
    assert finn_json.read(tmp_path / "all.json", graph) == FoldingFile(table, "all.json")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        # conv1 is a layer of ours, and the user's name of another one.
        ({"conv1": {"PE": 2}}, r"conv1 is the name of conv1 \(body.0.conv\) and conv0 \(conv1\); give the name of the "
         r"model's node, /body/body.0/conv/Conv or /conv1/Conv"),
        ({"body.0.act": {"PE": 2}}, r"body.0.act is the name of conv1_threshold \(body.0.act\) and conv2_threshold"),
        ({"body.0.cnov": {"PE": 2}}, "no layer body.0.cnov; did you mean body.0.conv"),
        ({"zzz": {"PE": 2}}, r"no layer zzz; there are conv0_window \(conv1\), .* and \d+ more"),
        ({"head": {"PE": 3}, "fc0": {"PE": 3}}, r"layer fc0 \(head\) is given twice, as head and as fc0"),
        ({"head": {"PES": 3}}, "layer head: unknown key PES"),
        ({"fc0": {"PE": 3, "module": "tail"}}, r"layer fc0 is of the module tail, but that .* is fc0 \(head\)"),
        ({"fc0": {"PE": 3, "implementation": 3}}, "implementation must be a name, not 3"),
    ],
)  # fmt: skip
def test_names_that_mean_no_layer_or_several_are_refused(graph, tmp_path, content, words):
    with pytest.raises(UsageError, match=words) as caught:
        read(graph, tmp_path, content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "key"),
    [('{"fc0": {"PE": 2}, "head": {"PE": 2}, "fc0": {"PE": 4}}', "fc0"), ('{"fc0": {"PE": 2, "PE": 4}}', "PE")],
)
def test_a_key_given_twice_is_refused(graph, tmp_path, text, key):
    """JSON's reader takes the last value, and the user may mean the first."""
    (tmp_path / "folding.json").write_text(text)
    with pytest.raises(UsageError, match=f'the key "{key}" is given twice in one object') as caught:
        finn_json.read(tmp_path / "folding.json", graph)
    assert "\n" not in str(caught.value)


def test_a_node_of_several_kernels_means_those_with_weights(graph, tmp_path):
    # As a convolution of a concatenation of unequal scales: two products, and their sum.
    names = ("conv0", "conv1", "add0")
    nodes = tuple(replace(n, origin=Origin("/c/Conv", "c")) if n.name in names else n for n in graph)
    several = replace(graph, nodes=nodes)
    with pytest.raises(
        UsageError, match=r"c is the name of conv0 \(c\) and conv1 \(c\); give the layer, conv0 or conv1"
    ):
        read(several, tmp_path, {"c": {"PE": 2}})
    one = tuple(replace(n, origin=Origin()) if n.name == "conv1" else n for n in nodes)
    assert read(replace(graph, nodes=one), tmp_path, {"/c/Conv": {"PE": 2}}).table == {"conv0": Folding(2)}


def test_a_module_beside_the_name_says_which_layer_is_meant(graph, tmp_path):
    entry = {"PE": 2, "SIMD": 1}
    assert read(graph, tmp_path, {"conv1": entry | {"module": "conv1"}}).table == {"conv0": Folding(2)}
    assert read(graph, tmp_path, {"conv1": entry | {"module": "body.0.conv"}}).table == {"conv1": Folding(2)}


MVAUS = {
    "MVAU_hls_0": {"PE": 4, "SIMD": 6},
    "MVAU_rtl_0": {"PE": 2, "SIMD": 12, "resType": "dsp"},
    "MVAU_rtl_1": {"PE": 2, "SIMD": 2},
    "MVAU_hls_1": {"PE": 1, "SIMD": 4},
}
WEIGHTS = {"conv0": Folding(4, 6), "conv1": Folding(2, 12), "conv2": Folding(2, 2), "fc0": Folding(1, 4)}


def test_finns_names_are_matched_by_order_and_what_is_fused_keeps_up(graph, tmp_path):
    # As FINN's flow leaves them: thresholds in MVAUs, except after the addition; the input's quantizer in hardware.
    content = {
        "Defaults": {"mem_mode": ["internal_decoupled", ["MVAU"]]},
        "Thresholding_rtl_0": {"PE": 2},
        "FMPadding_rtl_0": {"SIMD": 2},
        "ConvolutionInputGenerator_rtl_0": {"SIMD": 2, "parallel_window": 0},
        "MVAU_hls_0": MVAUS["MVAU_hls_0"],
        "StreamingMaxPool_hls_0": {"PE": 1},
        "DuplicateStreams_hls_0": {"PE": 2},
        "ConvolutionInputGenerator_rtl_1": {"SIMD": 4, "parallel_window": 1},
        "MVAU_rtl_0": MVAUS["MVAU_rtl_0"],
        "MVAU_rtl_1": MVAUS["MVAU_rtl_1"],
        "AddStreams_hls_0": {"PE": 1, "inFIFODepths": [2, 2]},
        "Thresholding_rtl_1": {"PE": 4},
        "StreamingFIFO_rtl_0": {"depth": 32, "impl_style": "rtl"},
        "StreamingFIFO_rtl_1": {"depth": 2, "impl_style": "rtl"},
        "MVAU_hls_1": MVAUS["MVAU_hls_1"],
    }
    found = read(graph, tmp_path, content)
    fork = next(node.name for node in graph if node.kernel.op == "fork")
    assert found.table == WEIGHTS | {
        "conv0_window": Folding(1, 2), "conv1_window": Folding(1, 36), "pool0": Folding(1), fork: Folding(2),
        "add0": Folding(1), "add0_threshold": Folding(4),
        # 64 pixels of 4 channels in at most 192 cycles, as the slowest layer, conv0's window, needs.
        **{name: found.table[name] for name in ("conv0_threshold", "conv1_threshold", "conv2_threshold")},
    }  # fmt: skip
    folded = apply_folding(graph, found.table)
    given = max(node.kernel.interval for node in folded if not node.name.endswith("_threshold"))
    for name in ("conv0_threshold", "conv1_threshold", "conv2_threshold"):
        kernel = folded.node(name).kernel
        assert kernel.interval <= given
        assert kernel.pe == 1 or kernel.fold(Folding(kernel.pe // 2)).interval > given
    assert found.settings == {"conv1": {"resType": "dsp"}, "add0": {"inFIFODepths": [2, 2]}}
    assert list(found.remarks) == [
        "f.json: these settings of FINN's have no effect here: PE (1), SIMD (1), depth (2), impl_style (2), "
        "inFIFODepths (1), mem_mode of Defaults (1), resType (1)",
        "f.json: FMPadding_rtl_0, StreamingFIFO_rtl_0, StreamingFIFO_rtl_1: FIFOs, width converters and padding follow "
        "from the folding",
        "f.json: Thresholding_rtl_0: the host quantizes the input",
    ]


def test_quantizers_of_their_own_and_windows_of_pools_are_matched_too(graph, tmp_path):
    # As the writer of our graphs names them.
    content = MVAUS | {f"Thresholding_rtl_{i}": {"PE": pe} for i, pe in enumerate((1, 2, 4, 2))}
    content |= {"ConvolutionInputGenerator_rtl_0": {"SIMD": 1}, "ConvolutionInputGenerator_rtl_1": {"SIMD": 2},
                "ConvolutionInputGenerator_rtl_2": {"SIMD": 4}, "Pool_hls_0": {"PE": 2}}  # fmt: skip
    found = read(graph, tmp_path, content)
    assert {name: found.table[name] for name in ("conv0_window", "pool0", "conv1_window")} == {
        "conv0_window": Folding(1, 1), "pool0": Folding(2), "conv1_window": Folding(1, 4),
    }  # fmt: skip
    names = ("conv0_threshold", "conv1_threshold", "conv2_threshold", "add0_threshold")
    assert [found.table[name].pe for name in names] == [1, 2, 4, 2]
    assert any("the pool forms its windows itself" in remark for remark in found.remarks)


@pytest.mark.parametrize("swapped", [False, True])
def test_quantizers_are_matched_in_the_order_of_the_file_that_lists_them(swapped, tmp_path):
    graph = lower(network(swapped))
    ours = [node.name for node in graph if node.kernel.op in ("matrix_vector", "threshold")]
    lanes = {"conv0_threshold": 1, "conv1_threshold": 2, "conv2_threshold": 4, "add0_threshold": 1}
    finns = [
        "conv0",
        "conv0_threshold",
        "conv1",
        "conv1_threshold",
        "conv2",
        "conv2_threshold",
        "add0_threshold",
        "fc0",
    ]
    assert ours != finns  # Ours has the quantizers of branches where the branches meet.
    for order in (ours, finns):
        content, counts = {}, {"MVAU": 0, "Thresholding": 0}
        for name in order:
            operator = "Thresholding" if name in lanes else "MVAU"
            content[f"{operator}_{counts[operator]}"] = {"PE": lanes.get(name, 1)}
            counts[operator] += 1
        table = read(graph, tmp_path, content).table
        assert {name: table[name].pe for name in lanes} == lanes


def test_a_graph_of_finns_has_layers_of_its_names(tmp_path):
    rng = np.random.default_rng(1)
    graph = perceptron(rng, [8, 4, 2], [("UINT4", "INT4"), ("UINT2", "INT4")])
    origins = {"fc0": "MVAU_hls_0", "act0": "MVAU_hls_0", "fc1": "MVAU_rtl_0"}
    names = {"fc0": "MVAU_hls_0", "act0": "MVAU_hls_0_threshold", "fc1": "MVAU_rtl_0"}
    nodes = tuple(replace(node, name=names[node.name], origin=Origin(origins[node.name])) for node in graph)
    content = {"MVAU_hls_0": {"PE": 2, "SIMD": 4, "mac_resource": "dsp"}, "MVAU_rtl_0": {"SIMD": 2}}
    found = read(replace(graph, nodes=nodes), tmp_path, content | {"StreamingFIFO_rtl_0": {"depth": 4}})
    assert found.table == {
        "MVAU_hls_0": Folding(2, 4), "MVAU_hls_0_threshold": Folding(2), "MVAU_rtl_0": Folding(1, 2),
    }  # fmt: skip
    assert found.unused == {"mac_resource": 1, "depth": 1}


def test_parallel_branches_are_matched_by_what_fits_and_doubts_are_said(graph, tmp_path):
    folds = {"conv0": Folding(4, 6), "conv2": Folding(1, 4), "conv1": Folding(2, 12), "fc0": Folding(1, 4)}
    lanes = {f"MVAU_{i}": {"PE": each.pe, "SIMD": each.simd} for i, each in enumerate(folds.values())}
    found = read(graph, tmp_path, lanes)  # 12 of conv1's 36 inputs do not divide the 4 of conv2.
    assert {name: found.table[name] for name in folds} == folds
    assert found.remarks == ()
    lanes["MVAU_2"] = {"PE": 2, "SIMD": 2}
    found = read(graph, tmp_path, lanes)
    assert (found.table["conv1"], found.table["conv2"]) == (Folding(1, 4), Folding(2, 2))
    assert found.remarks == (
        "f.json: MVAU_1 and MVAU_2 are taken for conv1 (body.0.conv) and conv2 (body.0.conv_1), which are on parallel "
        "branches; the other order fits, too",
    )


@given(st.integers(0, 2**32), st.integers(1, 6))
def test_an_order_is_found_where_there_is_one(seed, size):
    rng = np.random.default_rng(seed)
    edges = ["x"]
    nodes = []
    for number in range(
        size
    ):  # Each reads the input or an earlier layer; streams that several read do not matter here.
        nodes.append(SimpleNamespace(name=f"n{number}", inputs=(str(rng.choice(edges)),), outputs=(f"e{number}",)))
        edges.append(f"e{number}")
    before = {}
    of_edge = {"x": frozenset()}
    for node in nodes:
        before[node.name] = of_edge[node.inputs[0]]
        of_edge[node.outputs[0]] = before[node.name] | {node.name}
    allowed = rng.integers(0, 3, (size, size)) > 0

    def legal(order) -> bool:
        return all(
            allowed[place, int(node.name[1:])] and not before[node.name] & {later.name for later in order[place:]}
            for place, node in enumerate(order)
        )

    orders = [list(order) for order in permutations(nodes) if legal(order)]
    found = find_order(nodes, before, lambda place, node: bool(allowed[place, int(node.name[1:])]))
    assert found == (orders[0] if orders else None)


@pytest.mark.parametrize("old", ["StreamingFCLayer_Batch", "MatrixVectorActivation", "MVAU"])
def test_finns_older_names_and_partial_files(graph, tmp_path, old):
    found = read(graph, tmp_path, {f"{old}_1": {"PE": 2, "SIMD": 12}, f"{old}_3": {"PE": 4}})
    assert (found.table["conv1"], found.table["fc0"]) == (Folding(2, 12), Folding(4, 1))
    assert not {"conv0", "conv2"} & set(found.table)


def test_defaults_are_for_operators_or_for_all_layers_that_they_fit(graph, tmp_path):
    content = {"Defaults": {"PE": [2, ["MVAU_hls", "MVAU_rtl"], 4, ["Thresholding"]], "SIMD": [4, ["all"]]}}
    table = read(graph, tmp_path, content | {"conv0": {"SIMD": 2}}).table
    assert {name: table[name] for name in ("conv0", "conv1", "conv1_window", "conv1_threshold")} == {
        "conv0": Folding(2, 2), "conv1": Folding(2, 4), "conv1_window": Folding(1, 4), "conv1_threshold": Folding(4),
    }  # fmt: skip
    assert "add0" not in table


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"MVAU_hls_4": {"PE": 1}}, r"MVAU_hls_4 is number 5 of the layers of weights, and the model has 4: conv0"),
        ({"MVAU_hls_1": {"PE": 3}}, r"MVAU_hls_1 is layer conv1 \(body.0.conv\): .*3 does not divide the 4 outputs"),
        ({"MVAU_hls_1": {"PE": 0}}, r"MVAU_hls_1, layer conv1 \(body.0.conv\): PE must be a positive integer, not 0"),
        ({"VVAU_hls_0": {"PE": 1}}, "VVAU_hls_0 is number 1 of the depthwise layers, and the model has 0: none"),
        (MVAUS | {"MVAU_rtl_2": {"PE": 1}}, "MVAU_rtl_2 is number 5|so that their order"),
        ({"MVAU_hls_1": {}, "MVAU_rtl_0": {}, "MVAU_hls_0": {}}, "numbered 1, 0, so that their order"),
        ({"MVAU_hls_0": {}, "MVAU_rtl_0": {}}, "it has 2 layers of weights of several operators.*the model has 4"),
        ({"MVAU_0": {}, "Thresholding_0": {}, "Thresholding_1": {}}, "it has 2 quantizers, .* the model has 4, 1 of"),
        ({"ConvolutionInputGenerator_rtl_0": {"SIMD": 1}}, "it has 1 sliding windows, .* has 2, or 3 with those of"),
        ({"ConvolutionInputGenerator_0": {}, "ConvolutionInputGenerator_1": {"SIMD": 2, "parallel_window": 1}},
         "whole windows of 2 of 4 channels"),
        ({"Defaults": {"PE": [3, ["MVAU"]]}}, r"Defaults for layer conv0 \(conv1\): .*3"),
        ({"Defaults": {"PE": [3]}}, "the default of PE is a list of values and operators"),
        ({"Defaults": {"PE": [3, [4]]}}, "the default of PE is for operators by name"),
    ],
)  # fmt: skip
def test_what_does_not_fit_names_finns_entry_and_the_layer(graph, tmp_path, content, words):
    with pytest.raises(UsageError, match=words) as caught:
        read(graph, tmp_path, content)
    assert "\n" not in str(caught.value)
