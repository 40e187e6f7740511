"""The folder of an exported network: C source and header, a test with golden frames, constants for NumPy."""

import io
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from hw.fabric.identifiers import MAX_LENGTH, identifier
from hw.host.errors import UsageError
from hw.host.files import make_folder, write_bytes, write_json, write_text
from hw.host.interface import step_to_json
from hw.ir.graph import Graph, Port
from hw.portable.c_source import Code
from hw.portable.description import constants, element
from hw.portable.names import identifiers, is_reserved

MARK = "bitfabric-c.json"
"""A file that says that a folder is an exported network."""
MAKEFILE = """\
CFLAGS ?= -O2 -std=c99 -Wall -Wextra -pedantic

test: {name}_test
	./{name}_test

{name}_test: {name}.c {name}.h {name}_test.c
	$(CC) $(CFLAGS) -o $@ {name}.c {name}_test.c

.PHONY: test
"""


def write(
    name: str, graph: Graph, model: Mapping[str, str], golden: Mapping[str, np.ndarray], folder: Path
) -> list[Path]:
    """Write the integers of ``graph`` as the C function ``name`` and for NumPy; returns the files.

    ``model``: path and SHA-256 of the model. ``golden``: integer frames ``(N, *shape)`` of every input and output, by
    edge. The folder must be new, empty, or one that this function wrote. Raises UsageError where it is not, and for a
    name that is no identifier or has another meaning in C or in the code, and BitfabricError for a layer that has no
    C code.
    """
    check_folder(folder)
    if identifier(name) != name or len(name) > MAX_LENGTH // 2:
        raise UsageError(
            f"--name {name!r} is no name of a C function: letters, digits and _, beginning with a letter, at most "
            f"{MAX_LENGTH // 2}, and no keyword"
        )
    if is_reserved(name):
        raise UsageError(f"--name {name!r} is a name of C's library: choose another one, as {name}_network")
    code = Code(name, graph)
    content = {
        "name": name,
        "model": dict(model),
        "inputs": [_port(graph, port, code) for port in graph.inputs],
        "outputs": [_port(graph, port, code) for port in graph.outputs],
        "operations": [each.to_json() for each in code.operations],
    }
    texts = {
        f"{name}.h": code.header,
        f"{name}.c": code.source,
        f"{name}_test.c": code.test(golden),
    }
    if any(identifiers(text).count(name) > 1 for text in texts.values()):  # each has the function once
        raise UsageError(f"--name {name!r} is a name inside of the code itself: choose another one, as {name}_network")
    texts |= {
        "Makefile": MAKEFILE.format(name=name),
        "run_network.py": files("hw.portable").joinpath("run_network.py").read_text(encoding="utf-8"),
    }
    arrays = io.BytesIO()
    np.savez(arrays, **constants(code.operations))  # type: ignore[arg-type]
    make_folder(folder)
    for path, text in texts.items():
        write_text(folder / path, text)
    write_bytes(folder / f"{name}.npz", arrays.getvalue())
    write_json(folder / f"{name}.json", content)
    write_json(folder / MARK, {"name": name})
    return [folder / path for path in (*texts, f"{name}.npz", f"{name}.json")]


def _port(graph: Graph, port: Port, code: Code) -> dict[str, Any]:
    stream = graph.edges[port.edge]
    return {
        "name": port.name,
        "edge": port.edge,
        "argument": code.ports[port.edge],
        "shape": list(stream.shape),
        "layout": "NHWC without the batch, row-major",
        "type": stream.dtype.name,
        "c_type": f"{element(stream)}_t",
        "tensor": {"shape": list(port.shape), "type": port.dtype, "steps": [step_to_json(each) for each in port.steps]},
    }


def check_folder(folder: Path) -> None:
    """Raise UsageError for a folder with files that are no exported network's."""
    if folder.is_file():
        raise UsageError(f"{folder} is a file; choose a folder (-o)")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise UsageError(f"{folder} holds files that no export has written; choose another folder (-o)")
