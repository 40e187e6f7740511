"""Early exits: which frames every edge of a graph carries.

An edge of a graph with early exits (``hw.kernels.exit``) carries only the frames that have not left before it. The
emulator computes every edge for all frames; this module says which of them exist in hardware.
"""

from collections.abc import Mapping

import numpy as np

from hw.host.errors import BitfabricError
from hw.ir.graph import Graph

Verdicts = Mapping[str, np.ndarray]
"""By name of a node with a verdict, whether each frame leaves there, bool (frames,). What it says of frames that have
left before has no meaning."""


def branches(graph: Graph) -> bool:
    """Whether frames can leave the network early."""
    return any(node.kernel.verdict is not None for node in graph)


def verdicts(graph: Graph, integers: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The verdicts of frames, from the emulator's integers of every edge (``Graph.execute`` with ``keep``)."""
    return {
        node.name: integers[node.inputs[node.kernel.verdict]].reshape(-1) == 1
        for node in graph
        if node.kernel.verdict is not None
    }


def computed(graph: Graph, frames: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The verdicts of frames, from the integers of the inputs by edge; none for a graph without early exits."""
    return verdicts(graph, graph.execute(dict(frames), keep=True)) if branches(graph) else {}


def carried(graph: Graph, frames: int, given: Verdicts) -> dict[str, np.ndarray]:
    """By edge, which of ``frames`` frames it carries, bool (frames,).

    Raises BitfabricError for a node that would wait for a frame that has left before it.
    """
    every = np.ones(frames, bool)
    result = {port.edge: every for port in graph.inputs}
    for node in graph:
        verdict = node.kernel.verdict
        here = result[node.inputs[verdict or 0]]
        if verdict is None:
            needed: tuple[np.ndarray, ...] = (here,) * len(node.inputs)
            made: tuple[np.ndarray, ...] = (here,) * len(node.outputs)
        else:
            each = node.kernel.carried(given[node.name][here])
            needed, made = (tuple(_among(here, part) for part in side) for side in each)
        for edge, frames_there in zip(node.inputs, needed, strict=True):
            if not np.array_equal(result[edge], frames_there):
                raise BitfabricError(
                    f"{node.title} reads {edge}, which frames that left early do not have; end the exit before it"
                )
        result.update(zip(node.outputs, made, strict=True))
    return result


def _among(here: np.ndarray, part: np.ndarray) -> np.ndarray:
    """A mask of all frames, from one of the frames that are ``here``."""
    result = np.zeros(len(here), bool)
    result[here] = part
    return result


def shares(graph: Graph, going_on: float) -> dict[str, float]:
    """By node, the share of frames that it processes, where of those that reach an exit ``going_on`` go on."""
    result = {port.edge: 1.0 for port in graph.inputs}
    nodes = {}
    for node in graph:
        verdict = node.kernel.verdict
        nodes[node.name] = here = result[node.inputs[verdict or 0]]
        rest = verdict is not None and not node.kernel.carried(np.ones(1, bool))[1][0][0]
        result.update(dict.fromkeys(node.outputs, here * going_on if rest else here))
    return nodes
