"""Recognises lookup networks in ONNX's own operators, whoever wrote them (``docs/lookup-networks.md``).

A *table* is a Gather or GatherND of a constant at computed indices: it cannot be anything else that has a kernel. Its
indices are sums of bits times 1, 2, 4, ... plus the start of a row, spelled in any way (``hw.lowering.form_search``,
``hw.lowering.lookup_addresses``). The *counts* of the ones of each class are sums of the bits of tables, and *encoders*
are the comparisons that the bits come from. Each of them becomes one node, of the domain DOMAIN, that reads the tensor
its form starts from; what lies between is dropped where nothing else reads it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper
from qonnx.core.modelwrapper import ModelWrapper

from hw.lowering.form_search import COMPARISONS, Forms
from hw.lowering.joined_comparisons import Encoders
from hw.lowering.lookup_addresses import address
from hw.lowering.lookup_sites import COUNT, DOMAIN, ENCODER, TABLE, Site, table_nodes


@dataclass(eq=False)
class Recognised:
    """The ``sites`` of a model, by the names of the tensors that they compute, and the ``model`` in which each of them
    is one node."""

    model: ModelWrapper
    sites: dict[str, Site] = field(default_factory=dict)


def recognised(model: ModelWrapper) -> Recognised:
    """The lookup layers of a loaded model; the model itself where it has none."""
    tables = table_nodes(model.graph)
    if not tables:
        return Recognised(model)
    forms = Forms(model, frozenset(node.output[0] for node in tables))
    sites = {node.output[0]: Site(TABLE, node, address(forms, node)) for node in tables}
    for node in _live(model.graph, sites):
        if node.output[0] not in sites and _may_count(forms, node, sites):
            form = forms.of(node.output[0])
            if form.root != node.output[0] and _holds_bits(forms, form.root):
                sites[node.output[0]] = Site(COUNT, node, form)
    encoders = Encoders(forms)
    for site in list(sites.values()):
        starts = site.form.constant
        shared = site.kind == TABLE and len(np.unique(starts)) < starts.size
        for node in encoders.behind(site.form.root):
            name = node.output[0]
            image = shared or (name in sites and sites[name].image)
            sites[name] = Site(ENCODER, node, *encoders.read(name), image)
    return Recognised(_rewritten(model, sites), sites)


def _may_count(forms: Forms, node: onnx.NodeProto, sites: Mapping[str, Site]) -> bool:
    """Whether a node adds elements, or puts such sums, of bits that count alike, one after another."""
    if node.op_type != "Concat":
        return node.op_type == "ReduceSum"
    counts = [sites.get(name) for name in forms.data(node)]
    factors = [each.form.factors for each in counts if each is not None and each.kind == COUNT]
    return len(factors) == len(counts) and len(np.unique(np.concatenate([each[each != 0] for each in factors]))) == 1


def _holds_bits(forms: Forms, name: str) -> bool:
    """Whether a tensor is known to hold zeros and ones only: of tables, of comparisons, or of both joined."""
    node = forms.producers.get(name)
    if name in forms.bits or node is None:
        return name in forms.bits
    if node.op_type == "Concat":
        return all(_holds_bits(forms, forms.of(each).root) for each in node.input if each not in forms.constants)
    return node.op_type in COMPARISONS and len(forms.data(node)) == 1


def _live(graph: onnx.GraphProto, sites: Mapping[str, Site]) -> list[onnx.NodeProto]:
    """The nodes that an output depends on, in order, where each site reads the root of its form only."""
    needed = {value.name for value in graph.output}
    live = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            site = sites.get(node.output[0])
            needed.update(node.input if site is None else (site.form.root,))
            live.append(node)
    return live[::-1]


def _rewritten(model: ModelWrapper, sites: Mapping[str, Site]) -> ModelWrapper:
    """A copy of the model in which each site is one node, without what no output needs any more."""
    nodes = []
    for node in _live(model.graph, sites):
        site = sites.get(node.output[0])
        if site is not None:
            node = helper.make_node(site.kind, [site.form.root], list(node.output), name=node.name, domain=DOMAIN)
        nodes.append(node)
    proto = onnx.ModelProto()
    proto.CopyFrom(model.model)
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return ModelWrapper(proto, fix_missing_initializer_valueinfo=False)
