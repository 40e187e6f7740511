"""Exported networks in C and in NumPy: every kernel's cases and random graphs give the emulator's integers."""

import ctypes
import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hw import kernels
from hw.host.errors import BitfabricError, UsageError
from hw.ir.graph import Graph
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.portable import package
from hw.portable.c_source import Code
from hw.portable.description import element, operations
from hw.portable.run_network import Network
from tests.builders.networks import random_graph
from tests.kernels.kernel_bench import alone, random_frames

WRITTEN = (
    "matrix_vector", "depthwise", "sliding_window", "threshold", "requant", "table", "max_pool", "accumulate_pool",
    "add", "concat", "fork", "upsample", "select", "reorder", "arg_max", "thermometer", "lookup_layer",
    "popcount_class", "fifo", "width_converter", "margin", "exit", "merge", "expert_matrix_vector", "lookup_network",
    "folded_lookup_network", "constant_network",
)  # fmt: skip
CHOSEN = (
    "coded_matrix_vector", "constant_matrix", "constant_threshold", "plane_depthwise", "plane_matrix_vector",
    "sparse_matrix_vector", "sparse_window", "tied_matrix_vector",
)  # fmt: skip
FRAMES = 6


def library(graphs: dict[str, Graph], folder: Path) -> ctypes.CDLL:
    """The C functions of graphs, by name, in one library; every warning is an error."""
    for name, graph in graphs.items():
        code = Code(name, graph)
        (folder / f"{name}.h").write_text(code.header)
        (folder / f"{name}.c").write_text(code.source)
    options = ["-std=c99", "-O1", "-Wall", "-Wextra", "-pedantic", "-Werror", "-Wno-type-limits", "-shared", "-fPIC",
               "-fsanitize=undefined", "-fno-sanitize-recover=all", "-static-libubsan"]  # fmt: skip
    sources = [f"{name}.c" for name in graphs]
    command = ["cc", *options, *sources, "-o", "all.so"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[:3000]
    return ctypes.CDLL(str(folder / "all.so"))


def run_c(lib: ctypes.CDLL, name: str, graph: Graph, frames: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Integers ``(N, elements)`` by output edge."""
    size = sum(stream.elements * 8 + 8 for stream in graph.edges.values())
    memory = ctypes.create_string_buffer(size)
    count = len(next(iter(frames.values())))
    outs = {e: np.empty((count, graph.edges[e].elements), element(graph.edges[e])) for e in graph.output_edges}
    ins = {p.edge: np.ascontiguousarray(frames[p.edge], element(graph.edges[p.edge])) for p in graph.inputs}
    for i in range(count):
        arguments = [x[i : i + 1].ctypes.data_as(ctypes.c_void_p) for x in (*ins.values(), *outs.values())]
        lib[name](memory, *arguments)
    return outs


def numpy_network(name: str, graph: Graph, folder: Path) -> Network:
    golden = {p.edge: np.zeros((1, *graph.edges[p.edge].shape), np.int64) for p in (*graph.inputs, *graph.outputs)}
    package.write(name, graph, {}, golden, folder / name)
    return Network(folder / name / f"{name}.json")


def check(graphs: dict[str, Graph], folder: Path, rng: np.random.Generator) -> None:
    lib = library(graphs, folder)
    for name, graph in graphs.items():
        frames = {p.edge: random_frames(graph.edges[p.edge], FRAMES, rng) for p in graph.inputs}
        expected = {edge: values.reshape(FRAMES, -1) for edge, values in graph.execute(frames).items()}
        found = run_c(lib, name, graph, frames)
        plain = numpy_network(name, graph, folder).run(frames)
        for edge, values in expected.items():
            np.testing.assert_array_equal(found[edge], values, err_msg=f"{name} in C: {graph}")
            np.testing.assert_array_equal(plain[edge], values, err_msg=f"{name} in NumPy: {graph}")


def test_every_kernel_in_c_and_numpy(tmp_path):
    rng = np.random.default_rng(5)
    graphs = {}
    for op in WRITTEN:
        for index, (_, kernel) in enumerate(kernels.cases(op).cases()):
            graphs[f"{op}_{index}"] = alone(kernel)
    check(graphs, tmp_path, rng)


def test_every_kernel_of_a_graph_before_folding_has_c_code():
    """The others are implementations, which a folding puts in the place of one that is written."""
    assert sorted((*WRITTEN, *CHOSEN)) == [op for op in kernels.names() if kernels.is_builtin(op)]


def test_random_graphs_in_c_and_numpy(tmp_path):
    rng = np.random.default_rng(6)
    check({f"graph{i}": random_graph(rng, steps=5) for i in range(4)}, tmp_path, rng)


def test_what_has_no_c_code_and_bad_names_are_refused(tmp_path, monkeypatch):
    graph = alone(next(kernel for _, kernel in kernels.cases("matrix_vector").cases()))
    golden = {p.edge: np.zeros((1, *graph.edges[p.edge].shape), np.int64) for p in (*graph.inputs, *graph.outputs)}
    for name in ("1a", "a-b", "int", ""):
        with pytest.raises(UsageError, match=r"^--name '.*' is no name of a C function: letters"):
            package.write(name, graph, {}, golden, tmp_path / "new")
    for name in ("memcpy", "printf", "sinf", "int8_t", "uint_fast16_t", "stdint", "INT8_MAX"):
        with pytest.raises(UsageError, match=f"^--name '{name}' is a name of C's library: choose another"):
            package.write(name, graph, {}, golden, tmp_path / "new")
    for name in ("memory", "i", "op0", "y"):
        with pytest.raises(UsageError, match=f"^--name '{name}' is a name inside of the code itself: choose another"):
            package.write(name, graph, {}, golden, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine.c").touch()
    with pytest.raises(UsageError, match="holds files that no export has written"):
        package.write("a", graph, {}, golden, tmp_path / "used")
    monkeypatch.setattr(MatrixVector, "op", "of_another_package")
    with pytest.raises(BitfabricError, match=r"^dut is computed by of_another_package, which export-c does not write"):
        operations(graph)


def test_names_of_tensors_that_are_no_c_names(tmp_path):
    graph = random_graph(np.random.default_rng(8), steps=3)
    inputs = tuple(replace(port, name="*/ int") for port in graph.inputs)
    outputs = tuple(replace(port, name=("memory", "i")[i]) for i, port in enumerate(graph.outputs))
    check({"named": replace(graph, inputs=inputs, outputs=outputs)}, tmp_path, np.random.default_rng(9))


def test_the_numpy_runner_stands_alone(tmp_path):
    """It imports nothing but NumPy, and the JSON file names everything that it reads."""
    graph = random_graph(np.random.default_rng(10), steps=3)
    network = numpy_network("alone", graph, tmp_path)
    text = (tmp_path / "alone" / "run_network.py").read_text()
    assert set(re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE)) == {"json", "pathlib", "numpy"}
    content = json.loads((tmp_path / "alone" / "alone.json").read_text())
    named = {f"{op['name']}.{key}" for op in content["operations"] for key in op["arrays"]}
    assert named == set(network.arrays)
    weights = next(op for op in content["operations"] if op["op"] == "matrix_vector")["name"]
    node = graph.node(weights)
    np.testing.assert_array_equal(network.arrays[f"{weights}.weights"], node.kernel.weights)
