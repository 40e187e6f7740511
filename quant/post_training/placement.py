"""Where a float network's graph needs quantizers, and their insertion.

- What a layer or an average pool reads is quantized behind the function, layer or input that gives it, so that maxima
  and moves between are on few bits. Other functions still read the values without quantization, and neither a sum nor
  a pool is quantized before a layer: the layer reads its integers.
- The operands of a sum pass quantizers with one common scale.
- The operands of a concatenation are quantized with one common scale. Concatenations of concatenations share it.
- Nothing is quantized behind the last layer.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from quant.errors import QuantError
from quant.function_tensors import tensors_in
from quant.layers import Activation
from quant.post_training.operators import is_linear_or_relu, kind_of, name_of, remedy
from quant.post_training.tracing import GraphModule, map_arg


@dataclass(eq=False)
class Site:
    """One quantizer of ``node``: for ``reader`` alone, or for all readers that need integers (None).

    ``what`` is "act", "sum" or "input". Sites of one ``group`` get one scale. ``by_table`` is whether the values come
    from a function that hardware computes with a table or thresholds. ``values`` are those of an input, whose functions
    the host computes, such as a normalization.
    """

    node: Any
    reader: Any
    what: str
    signed: bool
    name: str
    group: Any = None
    by_table: bool = False
    values: torch.Tensor | None = None
    call: Any = None


@dataclass(eq=False)
class _Facts:
    """What one execution on the calibration frames shows of each node."""

    live: set[Any] = field(default_factory=set)  # depends on the input, and is a tensor or several
    lowest: dict[Any, float] = field(default_factory=dict)
    kinds: dict[Any, str] = field(default_factory=dict)
    inputs: dict[Any, list[torch.Tensor]] = field(default_factory=dict)  # the input, and functions of it alone


class Placement:
    """The quantizers of a graph, ``sites``, and ``kinds`` of its nodes (``operators.kind_of``).

    ``batches`` (N, ...) are executed to find what depends on the input, and what is never negative. Raises QuantError
    for an operation that cannot be computed with integers, naming the module.
    """

    def __init__(self, graph: GraphModule, batches: Sequence[torch.Tensor]) -> None:
        self.graph, self.modules = graph, dict(graph.named_modules())
        facts = _Facts()
        for batch in batches:
            _observe(graph, batch, self.modules, facts)
        self.kinds, self._live, self._lowest, self._inputs = facts.kinds, facts.live, facts.lowest, facts.inputs
        self.sites: list[Site] = []
        self._behind: dict[Any, Site] = {}
        for node in graph.graph.nodes:
            if self.kinds.get(node) in ("layer", "pool"):
                self._reads_integers(node)
        for node in graph.graph.nodes:
            if self.kinds.get(node) == "concat":
                self._reads_common_scale(node)
        for node in graph.graph.nodes:
            if self.kinds.get(node) == "sum":
                for index, operand in enumerate(self._operands(node)):
                    self._add(operand, node, "sum", True, f"{node.name}_quant_{index}", group=node)
        for site in self.sites:
            if site.group is not None:
                together = [each for each in self.sites if each.group is site.group]
                site.signed = any(each.signed for each in together)
                site.by_table = any(each.by_table for each in together)

    def insert(self, make: Callable[[Site], Activation]) -> None:
        """Inserts the quantizers into the graph: ``make(site)`` returns a new one."""
        # Those of single readers first: the others then find them among the readers.
        for site in sorted(self.sites, key=lambda site: site.reader is None):
            self.graph.add_submodule(site.name, make(site))
            every = self.kinds[site.node] == "input"
            users = [user for user in site.node.users if every or self._wants_integers(user)]
            with self.graph.graph.inserting_after(site.node):
                call = self.graph.graph.call_module(site.name, args=(site.node,))
            self.kinds[call], site.call = "quantizer", call
            for user in users if site.reader is None else [site.reader]:
                user.replace_input_with(site.node, call)
        self.graph.graph.lint()
        self.graph.recompile()

    def groups(self) -> dict[Any, list[Site]]:
        """Returns the sites that have one scale in common, by the sum or concatenation that they are for."""
        found: dict[Any, list[Site]] = {}
        for site in self.sites:
            if site.group is not None:
                found.setdefault(site.group, []).append(site)
        return found

    def share(self, sites: list[Site], module: Activation) -> None:
        """Makes one quantizer of those of a group."""
        for site in sites:
            self.graph.delete_submodule(site.name)
        name = self._free(f"{sites[0].group.name}_quant")
        self.graph.add_submodule(name, module)
        for site in sites:
            site.name = site.call.target = name
        self.graph.recompile()

    def _operands(self, node: Any) -> list[Any]:
        """The operands of a node that depend on the input, each once."""
        found: list[Any] = []

        def collect(value: Any) -> None:
            if isinstance(value, tuple | list):
                for each in value:
                    collect(each)
            elif value in self._live:
                found.append(value)

        for value in (*node.args, *node.kwargs.values()):
            if isinstance(value, tuple | list) or hasattr(value, "op"):
                collect(value)
        return list(dict.fromkeys(found))

    def _producer(self, node: Any) -> Any:
        while self.kinds[node] == "move":
            node = self._operands(node)[0]
        return node

    def _reads_integers(self, node: Any) -> None:
        producer = self._producer(self._operands(node)[0])
        if self.kinds[producer] not in ("sum", "concat", "pool"):
            self._quantize_behind(producer, node)

    def _reads_common_scale(self, node: Any) -> None:
        group = self._group(node)
        for index, operand in enumerate(self._operands(node)):
            producer = self._producer(operand)
            kind = self.kinds[producer]
            if kind == "concat":
                group = self._join(group, self._group(producer))
            elif kind in ("sum", "pool") or producer in self._inputs:
                if producer in self._inputs:
                    self._quantize_behind(producer, node)
                signed = kind == "sum" or self._lowest[producer] < 0
                self._add(operand, node, "act", signed, f"{node.name}_quant_{index}", group=group)
            else:
                site = self._quantize_behind(producer, node)
                group = self._join(group, site.group) if site.group is not None else group
                site.group = group

    def _group(self, node: Any) -> Any:
        node.meta.setdefault("group", node)
        return node.meta["group"]

    def _join(self, first: Any, second: Any) -> Any:
        if first is not second:
            for site in self.sites:
                if site.group is second:
                    site.group = first
            for node in self.graph.graph.nodes:
                if node.meta.get("group") is second:
                    node.meta["group"] = first
        return first

    def _quantize_behind(self, producer: Any, reader: Any) -> Site:
        if producer in self._behind:
            return self._behind[producer]
        kind = self.kinds[producer]
        if kind == "scores":
            raise QuantError(
                f"{producer.name} ({self._describe(producer)}) is computed by the host, and {reader.name} reads it: "
                "class scores can only be the network's last step"
            )
        signed = self._lowest[producer] < 0 or kind == "layer"
        path = producer.target if producer.op == "call_module" else producer.name
        values = torch.cat(self._inputs[producer]) if producer in self._inputs else None
        site = self._add(producer, None, "act" if values is None else "input", signed, f"{path}_quant")
        site.values = values
        self._behind[producer] = site
        return site

    def _wants_integers(self, node: Any) -> bool:
        kind = self.kinds.get(node)
        if kind == "move":
            return any(self._wants_integers(user) for user in node.users)
        return kind in ("layer", "pool", "sum", "concat", "quantizer")

    def _add(self, node: Any, reader: Any, what: str, signed: bool, name: str, group: Any = None) -> Site:
        site = Site(node, reader, what, signed, self._free(name), group, self._by_table(node))
        self.sites.append(site)
        return site

    def _by_table(self, node: Any) -> bool:
        node = self._producer(node)
        while self.kinds[node] == "function":
            if not is_linear_or_relu(node, self.modules):
                return True
            node = self._producer(self._operands(node)[0])
        return False

    def _free(self, name: str) -> str:
        taken = {site.name for site in self.sites} | self.modules.keys()
        while name in taken:
            name += "_"
        return name

    def _describe(self, node: Any) -> str:
        return type(self.modules[node.target]).__name__ if node.op == "call_module" else name_of(node)


@torch.no_grad()
def _observe(graph: GraphModule, frames: torch.Tensor, modules: dict[str, nn.Module], facts: _Facts) -> None:
    """Executes the graph on frames, and adds to ``facts``."""
    values = dict[Any, Any]()
    uses = {node: len(node.users) for node in graph.graph.nodes}

    for node in graph.graph.nodes:
        operands = [each for each in node.all_input_nodes if each in facts.live]
        kind = kind_of(node, modules, len(operands))
        if kind is None or (kind == "product" and not _one_source(node, facts)):
            described = type(modules[node.target]).__name__ if node.op == "call_module" else name_of(node)
            module = modules[node.target] if node.op == "call_module" else None
            place = node.target if node.op == "call_module" else node.name
            raise QuantError(f"{place} ({described}) cannot be quantized for hardware: {remedy(module, described)}")
        facts.kinds[node] = "function" if kind == "product" else kind
        args, kwargs = map_arg((node.args, node.kwargs), lambda operand: values[operand])
        if node.op == "placeholder":
            value = frames
        elif node.op == "get_attr":
            value = graph
            for part in node.target.split("."):
                value = getattr(value, part)
        elif node.op == "call_module":
            value = modules[node.target](*args, **kwargs)
        elif node.op == "call_function":
            value = node.target(*args, **kwargs)
        elif node.op == "call_method":
            value = getattr(args[0], node.target)(*args[1:], **kwargs)
        else:
            break
        values[node] = value
        tensors = list(tensors_in(value))
        if node.op == "placeholder" or (operands and tensors):
            facts.live.add(node)
            facts.lowest[node] = min(facts.lowest.get(node, math.inf), *(float(each.min()) for each in tensors))
            if node.op == "placeholder" or (
                facts.kinds[node] in ("function", "move") and all(each in facts.inputs for each in operands)
            ):
                facts.inputs.setdefault(node, []).append(torch.cat([each.flatten(1) for each in tensors], 1))
        for operand in node.all_input_nodes:
            uses[operand] -= 1
            if not uses[operand]:
                values.pop(operand, None)


def _one_source(node: Any, facts: _Facts) -> bool:
    """Whether a product's operands are functions of one tensor, as those of ``x * sigmoid(x)`` are."""

    def sources(operand: Any) -> set[Any]:
        if facts.kinds[operand] != "function":
            return {operand}
        live = [each for each in operand.all_input_nodes if each in facts.live]
        return set().union(*(sources(each) for each in live)) | {operand}

    operands = [each for each in node.all_input_nodes if each in facts.live]
    first, second = (sources(each) for each in (operands[0], operands[-1]))
    return bool(first & second)
