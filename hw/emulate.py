"""The bit-exact emulator: the integer dataflow graph on batches of frames, with the host's steps around it."""

from collections.abc import Iterator

import numpy as np

from hw.graph import Graph

CHUNK_ELEMENTS = 1 << 22
"""Integers of the widest edge that are computed at a time."""


class Emulator:
    """Runs a dataflow graph on the model's own inputs, in chunks so that memory stays bounded."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        widest = max(stream.elements for stream in graph.edges.values())
        self.chunk = max(1, CHUNK_ELEMENTS // widest)

    def run(self, frames: np.ndarray | dict[str, np.ndarray]) -> np.ndarray | dict[str, np.ndarray]:
        """What the model gives for frames ``(N, *shape)``; by name where it has several inputs or outputs.

        Raises BitfabricError (status 2) for frames that do not match the model's inputs.
        """
        parts = [self.graph.decode(self.graph.execute(chunk)) for chunk in self._chunks(frames)]
        if isinstance(parts[0], dict):
            return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return np.concatenate(parts)

    def edges(self, frames: np.ndarray | dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The integers of every edge for frames ``(N, *shape)``."""
        parts = [self.graph.execute(chunk, keep=True) for chunk in self._chunks(frames)]
        return {edge: np.concatenate([part[edge] for part in parts]) for edge in self.graph.edges}

    def _chunks(self, frames: np.ndarray | dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        integers = self.graph.encode(frames)
        count = len(next(iter(integers.values())))
        for start in range(0, count, self.chunk):
            yield {edge: values[start : start + self.chunk] for edge, values in integers.items()}
