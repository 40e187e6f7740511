"""Hostile names of layers and edges in generated text: SystemVerilog, names of files, waveforms, FINN's dialect."""

import re

import numpy as np
from qonnx.core.datatype import DataType

from hw import finn
from hw.families.ecp5 import ECP5
from hw.ir.graph import Graph, Node, Port
from hw.ir.stream import Stream
from hw.kernels.fifo.kernel import Fifo
from hw.rtl.design import RtlDesign, generate, instances
from hw.simulation import verilator, waveform
from tests.builders.hostile_names import HOSTILE
from tests.builders.networks import perceptron

STREAM = Stream((4,), DataType["INT4"], 4)


def chain(names: tuple[str, ...]) -> Graph:
    """FIFOs in a row; each name is that of a node and of the edge that it writes."""
    edges = ("in", *names)
    nodes = [Node(name, Fifo(STREAM, 4), (edges[i],), (name,)) for i, name in enumerate(names)]
    return Graph(tuple(nodes), (Port("x", "in", (4,), "int8"),), (Port("y", names[-1], (4,), "int8"),))


def words(design: RtlDesign) -> list[str]:
    """The top module's text without the names that come from layers and edges."""
    return re.sub(r"\b([ue]\d+)_\w*?(?=_valid|_ready|_data|\b)", r"\1", design.files["accelerator.sv"]).split()


def test_hostile_names_change_names_only() -> None:
    usual = tuple(f"name{i}" for i in range(len(HOSTILE)))
    hostile, plain = generate(chain(HOSTILE), ECP5), generate(chain(usual), ECP5)
    assert words(hostile) == words(plain)
    assert hostile.files["accelerator.sv"].isascii()
    assert max(map(len, hostile.files["accelerator.sv"].splitlines())) < 400
    names = instances(chain(HOSTILE)).values()
    assert len(set(names)) == len(HOSTILE)
    verilator.lint(hostile)


def network() -> Graph:
    """Two dense layers with thresholds in between."""
    return perceptron(np.random.default_rng(0), [8, 8, 4], [("INT4", "INT2"), ("INT4", "INT2")])


def test_memory_files_of_hostile_layers_stay_in_the_folder() -> None:
    graph = network()
    for name in HOSTILE:
        nodes = tuple(Node(f"{name}{i}", n.kernel, n.inputs, n.outputs) for i, n in enumerate(graph))
        files = generate(Graph(nodes, graph.inputs, graph.outputs), ECP5).files
        assert sum(file.endswith(".hex") for file in files) >= 3
        assert all(re.fullmatch(r"\w[\w.]{0,200}", file, re.ASCII) for file in files)


def test_a_waveform_of_hostile_names_has_every_layer_under_a_name_of_its_own() -> None:
    names = ("a.b", "a_b", "a/b", "x\n$end", "module")
    header = ["$scope module TOP $end\n", " $scope module accelerator $end\n"]
    for instance in instances(chain(names)).values():
        header += [f"  $scope module {instance} $end\n", "  $upscope $end\n"]
    wires = re.findall(r"logic (e\d+_\w+_valid),", generate(chain(names), ECP5).files["accelerator.sv"])
    header += [f"  $var wire 1 {i} {wire} $end\n" for i, wire in enumerate(wires)] + ["$enddefinitions $end\n"]
    shown = "".join(waveform._renamed(iter(header), {}, {}))
    expected = ["a_b_2", "a_b", "a_b_3", "x__end", "module"]
    assert re.findall(r"\$scope module (\S+) \$end", shown)[2:] == expected
    assert re.findall(r"(\w+)_valid \$end", shown) == expected[:-1]


def test_a_waveform_has_scopes_of_the_users_names_beside_the_layers() -> None:
    header = ["$scope module TOP $end\n", " $scope module accelerator $end\n"]
    for number, layer in enumerate(("window", "conv", "conv_fifo")):
        header += [f"  $scope module u{number}_{layer} $end\n", f"   $var wire 1 {number} clk $end\n"]
        header += ["   $scope module u9_inner $end\n", "   $upscope $end\n", "  $upscope $end\n"]
    header += [" $upscope $end\n", "$upscope $end\n", "$enddefinitions $end\n"]
    for name in (*HOSTILE, "conv"):
        shown = "".join(waveform._renamed(iter(header), {}, {"window": name, "conv": name}))
        *comments, body = shown.partition("$scope")[0].splitlines(), shown
        assert [line[-5:] for line in comments[0]] == [" $end", " $end"]
        assert all(line.count("$") == 2 and line.isprintable() for line in comments[0])
        scopes = re.findall(r"\$scope module (\S+) \$end", body)
        alias = scopes[8]
        assert scopes == ["TOP", "accelerator", "window", "inner", "conv", "inner", "conv_fifo", "inner",
                          alias, "window", "inner", "conv", "inner"]  # fmt: skip
        assert re.fullmatch(r"[A-Za-z]\w*", alias, re.ASCII)
        assert alias not in ("window", "conv", "conv_fifo")
        assert body.count("$scope") == body.count("$upscope")


def test_layers_of_one_name_in_a_graph_of_finn_are_numbered() -> None:
    model = finn.write(finn.adapted(network()))
    for node in model.graph.node:
        node.name = "same"
    assert [node.name for node in finn.read(model)] == ["same_1", "same_2", "same_3"]


def test_finn_is_given_identifiers() -> None:
    graph = finn.adapted(network())
    renamed = tuple(Node(name, n.kernel, n.inputs, n.outputs) for name, n in zip(HOSTILE, graph, strict=False))
    for node in finn.write(Graph(renamed, graph.inputs, graph.outputs)).graph.node:
        assert re.fullmatch(r"[A-Za-z]\w*", node.name, re.ASCII)
