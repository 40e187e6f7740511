"""A layer with several implementations: the folding search chooses one, and files and graphs keep the choice."""

from dataclasses import fields, replace

import numpy as np
import pytest
from qonnx.core.datatype import DataType

from hw.fabric.resources import Resources
from hw.families.ecp5 import ECP5
from hw.folding import finn_json
from hw.folding.search import Search
from hw.host.errors import UsageError
from hw.ir.kernel import Folding
from hw.kernels.add.kernel import Add
from hw.passes.fold import apply_folding, current_folding
from tests.kernels.kernel_bench import alone

AVAILABLE = Resources(10_000, 10_000, 50, 20)


class Costly(Add):
    """A sum with another implementation."""

    op = "costly"

    def implementations(self):
        parameters = {field.name: getattr(self, field.name) for field in fields(self)}
        return tuple(self if type(self) is kind else kind(**parameters) for kind in (Costly, Cheap))


class Cheap(Costly):
    """The same sum for one lookup table per lane."""

    op = "cheap"

    def resources(self, family):
        return Resources(self.lanes, self.lanes)


@pytest.fixture
def graph():
    return alone(Costly((2, 6), (DataType["INT4"], DataType["INT4"])))


def test_the_search_chooses_the_cheapest_implementation(graph, tmp_path):
    choice = Search(graph, ECP5, AVAILABLE).cheapest(4)
    assert choice.folding == {"dut": Folding(3, implementation="cheap")}
    assert (choice.used, choice.interval) == (Resources(3, 3), 4)
    folded = apply_folding(graph, choice.folding)
    assert type(folded.node("dut").kernel) is Cheap
    assert current_folding(folded) == choice.folding
    finn_json.save(choice.folding, tmp_path / "folding.json", graph)
    assert finn_json.read(tmp_path / "folding.json", graph).table == choice.folding
    frames = {edge: np.arange(12).reshape(1, 2, 6) % 8 for edge in ("in0", "in1")}
    np.testing.assert_array_equal(folded.execute(frames)["out0"], graph.execute(frames)["out0"])
    back = apply_folding(folded, {"dut": replace(choice.folding["dut"], implementation="costly")})
    assert type(back.node("dut").kernel) is Costly
    assert current_folding(back)["dut"].implementation == ""


def test_an_unknown_implementation_is_refused(graph):
    with pytest.raises(UsageError, match=r"^layer dut: no implementation fast; there are costly, cheap$"):
        apply_folding(graph, {"dut": Folding(1, implementation="fast")})
