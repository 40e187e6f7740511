"""The bit-exact emulator: the integer dataflow graph on batches of frames, with the host's steps around it."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
from threadpoolctl import ThreadpoolController

from hw.ir.frames import Batch
from hw.ir.graph import Graph

CHUNK_ELEMENTS = 1 << 21
"""Integers of the widest edge that are computed at a time: few enough to stay in the cache."""


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


class Emulator:
    """Runs a dataflow graph on the model's own inputs, in chunks: memory stays bounded, and every processor works.

    ``chunk`` is the most frames that one thread works on at a time.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        widest = max(stream.elements for stream in graph.edges.values())
        self.chunk = max(1, CHUNK_ELEMENTS // widest)

    def run(self, frames: Batch) -> Batch:
        """What the model gives for frames ``(N, *shape)``; by name where it has several inputs or outputs.

        Raises UsageError for frames that do not match the model's inputs.
        """
        return self.graph.decode(self._execute(frames, keep=False))

    def edges(self, frames: Batch) -> dict[str, np.ndarray]:
        """The integers of every edge for frames ``(N, *shape)``."""
        integers = self._execute(frames, keep=True)
        return {edge: integers[edge] for edge in self.graph.edges}

    def _execute(self, frames: Batch, keep: bool) -> dict[str, np.ndarray]:
        """Integers by edge: the outputs', or every edge's with ``keep``."""
        given = self.graph.check(frames)
        count, workers = len(next(iter(given.values()))), os.cpu_count() or 1
        # As many chunks for each processor, of one size.
        turns = -(-count // (self.chunk * workers))
        size = -(-count // (turns * workers))

        def part(start: int) -> dict[str, np.ndarray]:
            chunk = {name: values[start : start + size] for name, values in given.items()}
            return self.graph.execute(self.graph.enter(chunk), keep)

        # One thread for each chunk: BLAS's own threads wait for each other on layers as small as these.
        with _blas().limit(limits=1), ThreadPoolExecutor(workers) as pool:
            parts = list(pool.map(part, range(0, count, size)))
        return {edge: np.concatenate([each[edge] for each in parts]) for edge in parts[0]}
