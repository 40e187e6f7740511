"""A model file, read once: its bytes, its hash, its dataflow graph, and the reference that verifies the graph.

A *front end* handles one kind of model file. It decides whether it accepts a model, and provides the model's dataflow
graph and its reference.
``FRONTENDS`` lists those of this package. Another distribution adds one, a subclass of Frontend, through an entry point
of the group ``bitfabric.frontends``; it takes precedence.
"""

import hashlib
import os
from abc import ABC, abstractmethod
from functools import cache, cached_property
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import onnx
from qonnx.core.modelwrapper import ModelWrapper

from hw import finn, graph_file, plugins
from hw.finn.execution import execute
from hw.host.errors import BitfabricError, UsageError
from hw.host.files import parse_json
from hw.host.meaning import METADATA, Meaning
from hw.ir.frames import Batch, count
from hw.ir.graph import Graph
from hw.lowering import qonnx
from hw.lowering.gate.boundary import boundary
from hw.lowering.gate.reading import read_file
from hw.lowering.gate.structure import node_names
from hw.lowering.input_types import InputTypes, input_types, with_input_types
from hw.lowering.lower import LoweredModel, lower_model
from hw.passes.strip import strip
from hw.simulation.emulator import Emulator
from hw.verification import layers
from hw.verification.agreement import Agreement, Directed
from hw.verification.difference import first_difference
from hw.verification.reference import Reference, compare_with

ENTRY_POINTS = "bitfabric.frontends"
"""The group of entry points through which other distributions add front ends."""


class Executor(Protocol):
    """The reference of a model: it executes the model itself."""

    def run(self, frames: Batch, /) -> Batch:
        """The model's outputs for frames ``(N, *shape)``; each by name where there are several."""


class Frontend(ABC):
    """Base class of front ends. An instance holds one parsed model; each of its results is computed once.

    ``engine`` names the engine that executes the model itself. ``default_frames`` is the default limit on the number of
    frames on which the emulator is compared with that engine (None: all frames).
    """

    kind: ClassVar[str]
    engine: ClassVar[str]
    default_frames: ClassVar[int | None] = None
    folded: ClassVar[bool] = False
    """Whether the model file states a folding."""
    typed: ClassVar[bool] = False
    """Whether a user may give types to its inputs (``hw.lowering.input_types``)."""

    def __init__(self, proto: onnx.ModelProto, name: str) -> None:
        """``name`` names the model in errors. Raises UsageError for an incomplete model."""
        self.proto = proto
        self.name = name

    @classmethod
    @abstractmethod
    def accepts(cls, proto: onnx.ModelProto) -> bool:
        """Whether the model is of this kind."""

    @property
    @abstractmethod
    def graph(self) -> Graph:
        """The dataflow graph without FIFOs and width converters. Raises BitfabricError for what has no exact form."""

    @property
    @abstractmethod
    def reference(self) -> Executor:
        """What executes the model itself."""

    @abstractmethod
    def compare(self, graph: Graph, frames: Batch) -> Agreement:
        """Compare ``graph`` with the reference on frames ``(N, *shape)``.

        ``graph`` is this model's, or the hardware made of it: folded, with width converters and FIFOs. Raises
        BitfabricError where they differ by more than rounding explains.
        """

    def check_directed(self, graph: Graph) -> Directed | None:
        """Compare ``graph`` with the reference on inputs that are directed at what can be wrong in it.

        None where the reference cannot execute single layers. Raises BitfabricError as ``compare`` does.
        """
        return None


class Lowered(Frontend):
    """A model of ONNX's operators with quantizers. Its graph is the lowered one, not folded."""

    typed = True

    def __init__(self, proto: onnx.ModelProto, name: str) -> None:
        super().__init__(proto, name)
        self.wrapper: ModelWrapper = qonnx.load(proto, name)

    @cached_property
    def lowering(self) -> LoweredModel:
        """The graph, and how it was derived from the model."""
        return lower_model(self.wrapper)

    @property
    def graph(self) -> Graph:
        return self.lowering.graph

    @cached_property
    def reference(self) -> Reference:
        return Reference(self.proto, self.wrapper)

    def compare(self, graph: Graph, frames: Batch) -> Agreement:
        return compare_with(graph, self.lowering, self.reference, frames).agreement()

    def check_directed(self, graph: Graph) -> Directed | None:
        return layers.check_directed(graph, self.lowering, self.reference)


class Qonnx(Lowered):
    """A QONNX model. Its reference is qonnx's execution in float32."""

    kind = "qonnx"
    engine = "qonnx"

    @classmethod
    def accepts(cls, proto: onnx.ModelProto) -> bool:
        return not finn.is_finn(proto) and not qonnx.is_linear(proto)


class Qdq(Lowered):
    """A model with ONNX's own quantizers (QuantizeLinear, DequantizeLinear), as onnxruntime, PyTorch and Brevitas
    (QCDQ) write it, or with lookup tables and no quantizers. Its reference is ONNX Runtime, in float32 and without
    optimisation of the graph."""

    kind = "qdq"
    engine = "onnxruntime"

    @classmethod
    def accepts(cls, proto: onnx.ModelProto) -> bool:
        return not finn.is_finn(proto) and qonnx.is_linear(proto)


class Finn(Frontend):
    """A model in FINN's dataflow dialect. Its graph has FINN's folding; its reference is FINN's Python execution."""

    kind = "finn"
    engine = "finn"
    default_frames = 4
    folded = True

    @classmethod
    def accepts(cls, proto: onnx.ModelProto) -> bool:
        return finn.is_finn(proto)

    @cached_property
    def graph(self) -> Graph:
        with boundary(self.name):
            return strip(finn.read(self.proto))

    @property
    def reference(self) -> Executor:
        return self

    def run(self, frames: Batch) -> np.ndarray:
        """FINN's execution for frames ``(N, *shape)``. Raises BitfabricError where FINN is missing, and UsageError for
        several inputs."""
        return execute(self.proto, frames, self.name)

    def compare(self, graph: Graph, frames: Batch) -> Agreement:
        got = np.asarray(Emulator(graph).run(frames))
        if difference := first_difference(got, self.run(frames)):
            raise BitfabricError(f"the emulator differs from FINN's execution of its graph: {difference}")
        return Agreement(count(frames), got.size)


FRONTENDS: tuple[type[Frontend], ...] = (Finn, Qonnx, Qdq)
"""The front ends of this package, in order of precedence."""


@cache
def frontends() -> tuple[type[Frontend], ...]:
    """All front ends: those of other distributions, then ``FRONTENDS``."""
    return (*plugins.find_all(ENTRY_POINTS).values(), *FRONTENDS)


class Model:
    """A model file. Each property is computed at its first access and kept.

    ``bytes``: the contents of the file; for a model with weights in a second file, or with types of inputs that a user
    gave, those of one file with all of it. ``lowered``: the folder with the model's dataflow graph (``hw.graph_file``)
    where a build has lowered it; None where the graph is that of the front end.
    """

    def __init__(self, path: Path, data: bytes, frontend: Frontend | None = None, lowered: Path | None = None) -> None:
        """``frontend`` is that of the parsed file; None: the file is parsed at the first use of the front end."""
        self.path = path
        self.bytes = data
        self.lowered = lowered
        if frontend is not None:
            self.frontend = frontend

    @classmethod
    def open(cls, source: "str | os.PathLike[str] | Model", input_type: InputTypes | None = None) -> "Model":
        """The model in a file; a Model is returned unchanged.

        ``input_type`` are types of inputs that the model does not quantize (``hw.lowering.input_types``). Raises
        UsageError for a file that is missing, damaged, or of a kind that no front end accepts, and for a type that an
        input cannot have.
        """
        if isinstance(source, Model):
            if not input_type:
                return source
            path, proto, data = source.path, source.proto, source.bytes
        else:
            path = Path(source)
            proto, data = read_file(path)
        with boundary(str(path)):
            node_names(proto.graph)
            frontend = next(each for each in frontends() if each.accepts(proto))
            if input_type:
                if not frontend.typed:
                    raise UsageError(f"{path} states the types of its inputs itself; leave --input-type out")
                proto = with_input_types(proto, input_type)
                data = proto.SerializeToString()
                frontend = next(each for each in frontends() if each.accepts(proto))
            return cls(path, data, frontend(proto, str(path)))

    @classmethod
    def built(cls, path: Path, lowered: Path) -> "Model":
        """A model file of a build, whose graph is read from the folder ``lowered``. The file is not parsed before its
        reference is needed."""
        return cls(path, path.read_bytes(), lowered=lowered)

    def with_graph_of(self, lowered: Path) -> "Model":
        """The same model, whose graph is read from the folder ``lowered`` when it is needed."""
        return type(self)(self.path, self.bytes, self.frontend, lowered)

    @cached_property
    def frontend(self) -> Frontend:
        """The front end, with the parsed file."""
        return Model.open(self.path).frontend

    @cached_property
    def sha256(self) -> str:
        """Hash of ``bytes``, in hexadecimal."""
        return hashlib.sha256(self.bytes).hexdigest()

    @property
    def kind(self) -> str:
        """The name of the model's kind: ``qonnx``, ``qdq``, ``finn``, or that of another distribution's front end."""
        return self.frontend.kind

    @property
    def proto(self) -> onnx.ModelProto:
        """The ONNX model as stored in the file. Do not modify it."""
        return self.frontend.proto

    @property
    def input_types(self) -> dict[str, str]:
        """The types that a user gave to inputs, by name."""
        return input_types(self.proto)

    @cached_property
    def meaning(self) -> Meaning:
        """What the numbers of frames and outputs mean, as the file's metadata states. Raises UsageError where it is
        damaged."""
        text = next((each.value for each in self.proto.metadata_props if each.key == METADATA), "{}")
        try:
            return Meaning.from_json(parse_json(text))
        except (ValueError, AttributeError) as error:
            reason = str(error).splitlines()[0]
            raise UsageError(
                f"{self.path}: its metadata {METADATA} is damaged ({reason}); export the model again"
            ) from None

    @cached_property
    def graph(self) -> Graph:
        """The dataflow graph: lowered from QONNX, not folded; or as FINN folded it, without FIFOs and converters.

        That of a build is read from its files. Raises BitfabricError for what has no exact form here, and UsageError
        for damaged files.
        """
        return self.frontend.graph if self.lowered is None else graph_file.read(self.lowered)

    @property
    def reference(self) -> Executor:
        """What executes the model itself."""
        return self.frontend.reference
