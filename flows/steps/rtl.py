"""``rtl``: the accelerator's SystemVerilog and memory files."""

from pathlib import Path

from flows.facts.fact import Facts
from flows.implementation import Implementation
from flows.steps.lower import GRAPH
from flows.steps.step import Step


class Generated(Facts):
    """The name of the top module, and the names of all files."""

    top: str
    files: tuple[str, ...]


class Rtl(Step[Generated]):
    """Writes the design's files."""

    name = "rtl"
    result = Generated

    def __init__(self, made: Implementation) -> None:
        self.made = made

    def inputs(self) -> list[object]:
        return self.made.key()

    def reads(self) -> tuple[str, ...]:
        return *GRAPH, "fold"

    def run(self, out: Path) -> Generated:
        self.made.rtl.write(out)
        return Generated(top=self.made.rtl.top, files=tuple(sorted(self.made.rtl.files)))
