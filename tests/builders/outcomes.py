"""What becomes of damaged models: each must be refused in one line, or agree with its reference.

Tests and benchmarks run campaigns of seeds.
"""

import signal
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from hw import finn
from hw.host.errors import BitfabricError
from hw.ir.graph import Graph
from hw.lowering.gate.reading import read_file
from hw.lowering.gate.structure import node_names
from hw.lowering.lower import lower_model
from hw.lowering.qonnx import load
from hw.model import Finn
from hw.verification.reference import Reference, compare_with
from tests.builders.mutations import Mutant, mutant


class Hang(BaseException):
    """A case that took longer than its limit. No handler of exceptions may take it for a refusal."""


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant: ``refused`` in one line (``text``), ``equal`` to its reference, ``read`` if it is
    in FINN's dialect, large or degenerate.

    A ``large`` one is lowered, not executed: a frame has too many elements. A ``degenerate`` one differs from
    its reference, whose float32 arithmetic breaks down because of huge or tiny constants; a build would end with that.
    """

    result: str
    text: str = ""


DEGENERATE = 1e9
MOST_ELEMENTS = 1 << 18
"""Elements of all streams of a frame up to which a mutant is executed."""


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise Hang after that time."""

    def ring(number: int, frame: object) -> None:
        raise Hang(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def examine(damaged: Mutant, frames: int = 8, seconds: float = 60.0) -> Outcome:
    """Read, lower and execute a mutant on random frames; a model in FINN's dialect is only read.

    Raises AssertionError for a refusal that is not one short printable line or, of a structural mutation, names nothing
    of the model, and for integers that differ from the reference's by more than rounding; Hang for a case that takes
    longer than ``seconds``; and whatever else the packages let through.
    """
    with _limited(seconds):
        try:
            return _executed(damaged, frames)
        except BitfabricError as error:
            text = str(error)
    assert text.isprintable(), f"not one printable line: {text!r}"
    assert len(text) <= 800, text
    assert damaged.kind == "raw" or _names_something(damaged, text), f"names nothing of the model: {text}"
    return Outcome("refused", text)


def campaign(seeds: Iterable[int], of: tuple[bytes, ...] = ()) -> Counter[str]:
    """The outcomes of the mutants of these seeds, counted. Raises AssertionError for the first that fails."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        damaged = mutant(seed, of)
        try:
            outcome = examine(damaged)
        except (Exception, Hang) as error:
            raise AssertionError(f"seed {seed} ({damaged.kind}): {type(error).__name__}: {error}") from error
        counts[outcome.result] += 1
    return counts


def _executed(damaged: Mutant, frames: int) -> Outcome:
    proto = _parsed(damaged)
    node_names(proto.graph)
    if finn.is_finn(proto):
        assert Finn(proto, "m.onnx").graph.nodes
        return Outcome("read")
    model = load(proto)
    lowered = lower_model(model)
    graph = lowered.graph
    if sum(prod(stream.shape) for stream in graph.edges.values()) > MOST_ELEMENTS:
        return Outcome("large")
    reference = Reference(proto, model)
    compared = compare_with(graph, lowered, reference, _frames(graph, frames, damaged.seed))
    differs = f"{compared.describe()}: {compared.first_unexplained}"
    if compared.mismatches == compared.explained:
        return Outcome("equal")
    assert _degenerate(damaged), differs
    return Outcome("degenerate", differs)


def _degenerate(damaged: Mutant) -> bool:
    """Whether a constant is so large or small that float32 sums of the reference lose what is added to them."""
    graph = onnx.ModelProto.FromString(damaged.data).graph
    values = [numpy_helper.to_array(each).astype(np.float64) for each in graph.initializer]
    values += [np.array([attribute.f, *attribute.floats]) for node in graph.node for attribute in node.attribute]
    sizes = [np.abs(value) for value in values]
    return any(np.any(size > DEGENERATE) or np.any((size > 0) & (size < 1 / DEGENERATE)) for size in sizes)


def _parsed(damaged: Mutant) -> onnx.ModelProto:
    """The mutant as it is read from a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        path.write_bytes(damaged.data)
        return read_file(path)[0]


def _frames(graph: Graph, count: int, seed: int) -> dict[str, np.ndarray]:
    rng, result = np.random.default_rng(seed), {}
    for port in graph.inputs:
        if port.dtype.startswith("float"):
            result[port.name] = (rng.integers(-64, 64, (count, *port.shape)) / 16).astype(port.dtype)
            continue
        dtype = graph.edges[port.edge].dtype
        drawn = rng.integers(int(dtype.min()), int(dtype.max()), (count, *port.shape), endpoint=True)
        result[port.name] = np.where(drawn >= 0, 1, -1) if dtype.name == "BIPOLAR" else drawn
    return result


def _names_something(damaged: Mutant, text: str) -> bool:
    """Whether a refusal names a node, a tensor or the operator set, or says that the whole file is none."""
    graph = onnx.ModelProto.FromString(damaged.data).graph
    names = {str(name) for node in graph.node for name in (node.name, *node.output)}
    names |= {f"{node.op_type}_{number}" for number, node in enumerate(graph.node)}
    names |= {value.name for value in (*graph.input, *graph.output)} | {each.name for each in graph.initializer}
    general = (
        "node ",
        "input ",
        "output ",
        "initializer ",
        "tensor ",
        "opset",
        "no QONNX",
        "not a QONNX",
        "no network",
    )
    return any(name and name in text for name in names) or any(word in text for word in general)
