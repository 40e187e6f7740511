"""``lower``: the model as ``model.onnx``, and its exact integer dataflow graph, which all later commands read.

The graph is in ``graph.json`` and ``graph.safetensors`` (``hw.graph_file``), and as a table in ``graph.txt``.
"""

from pathlib import Path

from flows.facts.fact import Facts
from flows.steps.step import Step
from hw import graph_file
from hw.host.files import write_bytes, write_text
from hw.model import Model

GRAPH = (f"lower/{graph_file.JSON_FILE}", f"lower/{graph_file.ARRAY_FILE}")
"""The products that hold the graph."""


class Lowered(Facts):
    """The names of the graph's layers."""

    layers: tuple[str, ...]


class Lower(Step[Lowered]):
    """Copies the model into the build folder, and writes its graph."""

    name = "lower"
    result = Lowered

    def __init__(self, model: Model) -> None:
        self.model = model

    def inputs(self) -> list[object]:
        return [self.model.sha256]

    def run(self, out: Path) -> Lowered:
        write_bytes(out / "model.onnx", self.model.bytes, durable=False)
        graph_file.write(self.model.graph, out)
        write_text(out / "graph.txt", f"{self.model.graph}\n", durable=False)
        return Lowered(layers=tuple(node.name for node in self.model.graph))
