"""A graph that is written to files and read back is the same graph; anything else in the files is one line."""

import json
from dataclasses import is_dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw import graph_file, kernels
from hw.host.errors import BitfabricError, UsageError
from hw.host.steps import step
from hw.ir.graph import Graph, Port
from hw.kernels.calibration import separate
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.kernels.requant.kernel import Requant
from hw.lowering.lower import lower
from hw.simulation.emulator import Emulator
from tests.builders.random_images import RandomImages
from tests.builders.random_models import RandomModel
from tests.kernels.kernel_bench import random_frames


def files(graph: Graph, folder) -> dict[str, bytes]:
    folder.mkdir(exist_ok=True)
    graph_file.write(graph, folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def again(graph: Graph, folder) -> Graph:
    """The graph, written and read; writing that again gives the same bytes."""
    written = files(graph, folder / "a")
    read = graph_file.read(folder / "a")
    assert files(read, folder / "b") == written
    assert str(read) == str(graph)
    for one, other in zip((*graph.inputs, *graph.outputs), (*read.inputs, *read.outputs), strict=True):
        assert replace(one, steps=()) == replace(other, steps=())
        assert [step.op for step in one.steps] == [step.op for step in other.steps]
    assert [(n.name, n.inputs, n.outputs, type(n.kernel)) for n in graph] == [
        (n.name, n.inputs, n.outputs, type(n.kernel)) for n in read
    ]
    return read


def check_fields(read: Any, written: Any, name: str) -> None:
    """The fields of a kernel, and of the kernels and dataclasses among them, are those that were written."""
    for field, value in vars(written).items():
        if field in written.__dataclass_fields__:
            check_value(getattr(read, field), value, f"{name} {field}")


def check_value(found: Any, value: Any, name: str) -> None:
    assert type(found) is type(value), name
    if isinstance(value, np.ndarray):
        np.testing.assert_array_equal(found, value, err_msg=name, strict=True)
    elif isinstance(value, tuple):
        assert len(found) == len(value), name
        for one, other in zip(found, value, strict=True):
            check_value(one, other, name)
    elif is_dataclass(value):
        check_fields(found, value, name)
    else:
        assert found == value, name


@pytest.mark.parametrize("op", kernels.names())
def test_every_kernel_comes_back_with_every_field(op, tmp_path):
    rng = np.random.default_rng(0)
    for name, kernel in kernels.cases(op).cases():
        read = again(separate(kernel), tmp_path)
        [node] = [node for node in read if node.kernel.op == op]
        check_fields(node.kernel, kernel, name)
        frames = [random_frames(stream, 2, rng) for stream in kernel.inputs()]
        for one, other in zip(kernel.execute(*frames), node.kernel.execute(*frames), strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name, strict=True)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), images=st.booleans(), dyadic=st.booleans())
def test_random_networks_come_back_with_the_same_outputs(seed, images, dyadic, tmp_path_factory):
    network = (RandomImages if images else RandomModel)(np.random.default_rng(seed), dyadic)
    model, frames = network.model(), network.frames(5)
    try:
        graph = lower(model)
    except BitfabricError:
        return
    read = again(graph, tmp_path_factory.mktemp("graph"))
    np.testing.assert_array_equal(Emulator(read).run(frames), Emulator(graph).run(frames), strict=True)


def small() -> Graph:
    """Two layers with what is rare: addends beyond 64 bits, infinite attributes, numbers of NumPy's, strings."""
    dense = MatrixVector(np.array([[1, -2], [3, 1]]), DataType["INT3"], DataType["UINT4"])
    [stream] = dense.outputs()
    addend = np.array([2**70, -(2**70)], dtype=object)
    requant = Requant(np.array([2**40, 1]), addend, 62, "FLOOR", stream.dtype, DataType["INT8"], -128, 127)
    steps = (
        step("Clip", np.float32(-0.0), np.array(np.inf, np.float32)),
        step("Quant", 0.5, 0.0, bits=np.int64(4), signed=False, narrow=np.bool_(False), rounding_mode="ROUND"),
        step("Selu", gamma=float("nan"), alpha=float("-inf"), beta=np.float32(0.1)),
    )
    chain = graph_of(dense, requant)
    return replace(chain, inputs=(replace(chain.inputs[0], steps=steps),))


def graph_of(dense: MatrixVector, requant: Requant) -> Graph:
    from hw.ir.graph import Node
    from hw.ir.origin import Origin

    nodes = Node("fc.0", dense, ("x",), ("a",), Origin("/fc/MatMul", "fc")), Node("fc é", requant, ("a",), ("y",))
    return Graph(
        nodes,
        (Port("x", "x", (2,), "float32"),),
        (Port("y", "y", (2,), "INT8"), Port("z", "y", (2,), "int64"), Port("b", "y", (2,), "BIPOLAR")),
    )


def test_rare_values_come_back_with_their_types(tmp_path):
    graph = small()
    read = again(graph, tmp_path)
    assert read.nodes[1].kernel.addend.tolist() == [2**70, -(2**70)]
    assert read.nodes[1].kernel.addend.dtype == object
    for one, other in zip(graph.inputs[0].steps, read.inputs[0].steps, strict=True):
        assert repr(one.attributes) == repr(other.attributes)
        for a, b in zip(one.operands, other.operands, strict=True):
            assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def edit(*path_and_value):
    """A change of the JSON file at a path of keys."""
    *path, last, value = path_and_value

    def change(folder):
        content = json.loads((folder / "graph.json").read_text())
        place = content
        for key in path:
            place = place[key]
        place[last] = value
        (folder / "graph.json").write_text(json.dumps(content))

    return change


def cut(name, size):
    def change(folder):
        (folder / name).write_bytes((folder / name).read_bytes()[:size])

    return change


FIELDS = ("nodes", 0, "fields")
DAMAGE = [
    (cut("graph.json", 100), "graph.json is damaged: it cannot be read"),
    (cut("graph.safetensors", 4), "graph.safetensors is damaged: it cannot be read"),
    (cut("graph.safetensors", 100), "graph.safetensors is damaged: it cannot be read .*its header is cut off"),
    (cut("graph.safetensors", -1), "graph.safetensors is damaged: .* is not where its header says"),
    (lambda folder: (folder / "graph.json").write_text("[" * 100_000), "graph.json is damaged: it cannot be read"),
    (lambda folder: (folder / "graph.json").write_text("[]"), "it holds no dataflow graph"),
    (lambda folder: (folder / "graph.json").unlink(), "graph.json is damaged: it cannot be read"),
    (lambda folder: (folder / "graph.safetensors").unlink(), "graph.safetensors is damaged: it cannot be read"),
    (edit("version", 1), "has version 1, this bitfabric reads 2; build again"),
    (edit("nodes", {}), "it has no list of nodes"),
    (edit("nodes", 0, "name", 1), "a node has no name"),
    (edit("nodes", 0, "kernel", "nix"), r"node fc\.0: no kernel nix; there are "),
    (edit("nodes", 0, "kernel", "shared"), r"node fc\.0: no kernel shared; "),
    (edit("nodes", 0, "kernel", ["x"]), r"node fc\.0: it names no kernel"),
    (edit("nodes", 0, "origin", None), r"node fc\.0: its origin is no node and module"),
    (edit("nodes", 0, "origin", {"node": "n", "module": 1}), "the names of its origin must be strings"),
    (edit("nodes", 0, "inputs", "x"), "its inputs are not a list of edges"),
    (edit("nodes", 0, "inputs", ["x", "z"]), "has 1 inputs and 1 outputs, not 2 and 1"),
    (edit("nodes", 0, "inputs", ["nix"]), "reads nix, which nothing before it writes"),
    (edit(*FIELDS, "pf", 1), "MatrixVector has the fields weights, .*, not .*pf"),
    (edit(*FIELDS, "pe", 3), "pe=3 does not divide the 2 outputs"),
    (edit(*FIELDS, "pe", "x"), r"node fc\.0: TypeError: "),
    (edit(*FIELDS, "pe", None), r"node fc\.0: TypeError: "),
    (edit(*FIELDS, "weights", {"array": ["nix", "int64"]}), "graph.safetensors has no array 'nix'"),
    (edit(*FIELDS, "weights", {"array": ["fc.0.weights", "float32"]}), "is stored as int8, which is no float32"),
    (edit(*FIELDS, "weights", {"array": ["fc.0.weights", "uint8"]}), "holds integers that are no uint8"),
    (edit(*FIELDS, "weights", {"array": ["fc.0.weights", "object"]}), "which is no object"),
    (edit(*FIELDS, "weights", {"integers": [[2, 3], [1]]}), r"node fc\.0: ValueError: cannot reshape"),
    (edit(*FIELDS, "weights", {"integers": [[1], [1.5]]}), "an array of integers holds something else"),
    (edit(*FIELDS, "weights", {"pickle": "x"}), "pickle is no kind of value"),
    (edit(*FIELDS, "weight_dtype", {"datatype": "INTX"}), r"node fc\.0: "),
    (edit(*FIELDS, "weight_dtype", {"dataclass": ["Path", {}]}), "has no dataclass 'Path'"),
    (edit("inputs", 0, "shape", [0]), r"input x: its shape is \[0\]"),
    (edit("inputs", 0, "dtype", "complex"), "input x: "),
    (edit("inputs", 0, "edge", None), "input x: its edge and data type must be strings"),
    (edit("inputs", 0, "steps", None), "input x: it has no list of steps"),
    (edit("inputs", 0, "steps", 0, "op", "System"), "input x: the host has no operator 'System'"),
    (edit("inputs", 0, "steps", 0, "operands", [1]), "an operand of Clip is no array"),
    (edit("inputs", 0, "steps", 0, "attributes", [1]), "the attributes of Clip are not pairs"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGE)
def test_damaged_files_are_refused_in_one_line(damage, message, tmp_path):
    graph_file.write(small(), tmp_path)
    damage(tmp_path)
    with pytest.raises(UsageError, match=message) as caught:
        graph_file.read(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path))
    assert str(caught.value).endswith("; build again")


def test_a_field_of_another_kind_is_refused_at_writing(tmp_path):
    chain = small()
    odd = replace(chain.inputs[0], steps=(step("Clip", low=object()),))
    with pytest.raises(BitfabricError, match=r"x\.0\.attributes\.0\.1 is a object, which cannot be stored"):
        graph_file.write(replace(chain, inputs=(odd,)), tmp_path)
