"""The bit-exact emulator: the integer dataflow graph on batches of frames, with the host's steps around it."""

from collections.abc import Iterator

import numpy as np

from hw.graph import Graph

CHUNK_ELEMENTS = 1 << 20
"""Integers of the widest edge that are computed at a time: few enough to stay in the cache."""

Frames = np.ndarray | dict[str, np.ndarray]


class Emulator:
    """Runs a dataflow graph on the model's own inputs, in chunks so that memory stays bounded."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        widest = max(stream.elements for stream in graph.edges.values())
        self.chunk = max(1, CHUNK_ELEMENTS // widest)

    def run(self, frames: Frames) -> Frames:
        """What the model gives for frames ``(N, *shape)``; by name where it has several inputs or outputs.

        Raises BitfabricError (status 2) for frames that do not match the model's inputs.
        """
        parts = [self.graph.execute(chunk) for chunk in self._chunks(frames)]
        return self.graph.decode({edge: np.concatenate([part[edge] for part in parts]) for edge in parts[0]})

    def edges(self, frames: Frames) -> dict[str, np.ndarray]:
        """The integers of every edge for frames ``(N, *shape)``."""
        parts = [self.graph.execute(chunk, keep=True) for chunk in self._chunks(frames)]
        return {edge: np.concatenate([part[edge] for part in parts]) for edge in self.graph.edges}

    def _chunks(self, frames: Frames) -> Iterator[dict[str, np.ndarray]]:
        """Integers by input edge, some frames at a time."""
        given = self.graph.check(frames)
        for start in range(0, len(next(iter(given.values()))), self.chunk):
            yield self.graph.encode({name: values[start : start + self.chunk] for name, values in given.items()})
