"""Finds the encoders of a lookup network: comparisons of one tensor's elements with constants, joined by Concat or not.

A thermometer may be one comparison with all levels, or one for each level, whose results are joined along the features
or along an axis of their own. Comparisons of one tensor that a Concat joins are one encoder, whatever moves their
operands and results.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import onnx

from hw.lowering.form_search import COMPARISONS, Forms
from hw.lowering.linear_form import LinearForm
from hw.lowering.lookup_sites import Comparisons
from hw.lowering.node_attributes import attribute


@dataclass(frozen=True, eq=False)
class _Bits:
    """A tensor whose elements are comparisons of elements of ``root`` with constants, or their complements.

    Arrays of the tensor's shape: ``sources`` are the row-major positions in the root; ``numbers``, ``elements`` and
    ``inverted`` are those of ``Comparisons``.
    """

    root: str
    nodes: tuple[onnx.NodeProto, ...]
    sources: np.ndarray
    numbers: np.ndarray
    elements: np.ndarray
    inverted: np.ndarray


class Encoders:
    """The encoders among the tensors of ``forms``."""

    def __init__(self, forms: Forms) -> None:
        self.forms = forms
        self._known: dict[str, _Bits | None] = {}

    def behind(self, name: str) -> Iterable[onnx.NodeProto]:
        """The last nodes of the encoders that a tensor of bits comes from, through concatenations."""
        node = self.forms.producers.get(name)
        if node is None or name in self.forms.bits:
            return
        if self._of_root(name) is not None:
            yield node
        elif node.op_type == "Concat":
            for each in node.input:
                if each not in self.forms.constants:
                    yield from self.behind(self.forms.of(each).root)

    def read(self, name: str) -> tuple[LinearForm, Comparisons]:
        """What each bit of an encoder compares, with the shape of its output, and by which comparison."""
        bits = self._of_root(name)
        assert bits is not None
        shape = bits.sources.shape
        form = LinearForm(bits.root, bits.sources[..., None], np.ones((*shape, 1)), np.zeros(shape))
        flat = (each.ravel() for each in (bits.numbers, bits.elements, bits.inverted))
        return form, Comparisons(bits.nodes, *flat)

    def _of(self, name: str) -> _Bits | None:
        """A tensor as comparisons; None where it is anything else."""
        if name in self.forms.constants:
            return None
        form = self.forms.of(name)
        bits = self._of_root(form.root)
        if bits is None or form.factors.shape[-1] != 1 or np.any(form.sources < 0):
            return None
        factors, places = form.factors[..., 0], form.sources[..., 0]
        inverted = (factors == -1) & (form.constant == 1)
        if not np.all(inverted | ((factors == 1) & (form.constant == 0))):
            return None
        sources, numbers, elements = (each.ravel()[places] for each in (bits.sources, bits.numbers, bits.elements))
        return _Bits(bits.root, bits.nodes, sources, numbers, elements, bits.inverted.ravel()[places] ^ inverted)

    def _of_root(self, name: str) -> _Bits | None:
        """The same for a tensor at which the search for forms ends."""
        if name not in self._known:
            node = self.forms.producers.get(name)
            found = None
            if node is not None and name not in self.forms.bits:
                if node.op_type in COMPARISONS and len(self.forms.data(node)) == 1:
                    found = self._compared(node)
                elif node.op_type == "Concat":
                    found = self._joined(node)
            self._known[name] = found
        return self._known[name]

    def _compared(self, node: onnx.NodeProto) -> _Bits:
        """The result of one comparison."""
        shape = self.forms.shapes[node.output[0]]
        form = self.forms.of(self.forms.data(node)[0], only_moves=True).broadcast(shape)
        zeros = np.zeros(shape, np.int64)
        places = np.arange(zeros.size).reshape(shape)
        return _Bits(form.root, (node,), form.sources[..., 0], zeros, places, np.zeros(shape, bool))

    def _joined(self, node: onnx.NodeProto) -> _Bits | None:
        """A Concat of comparisons of one tensor, within each frame."""
        shapes = [self.forms.shapes[each] for each in (*node.input, *node.output)]
        axis = int(attribute(node, "axis", 1)) % len(shapes[0])
        if not axis or any(each[:1] != (1,) for each in shapes):
            return None
        parts: list[_Bits] = []
        nodes: dict[str, onnx.NodeProto] = {}
        for name in node.input:
            part = self._of(name)
            if part is None or part.root != (parts or [part])[0].root:
                return None
            nodes.update((each.output[0], each) for each in part.nodes)
            order = {name: number for number, name in enumerate(nodes)}
            places = [order[each.output[0]] for each in part.nodes]
            parts.append(replace(part, numbers=np.array(places)[part.numbers]))
        sources, numbers, elements, inverted = (
            np.concatenate([getattr(part, field) for part in parts], axis)
            for field in ("sources", "numbers", "elements", "inverted")
        )
        return _Bits(parts[0].root, tuple(nodes.values()), sources, numbers, elements, inverted)
