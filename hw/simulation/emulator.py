"""The bit-exact emulator: executes the integer dataflow graph on batches of frames, and the host's steps around it."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
from threadpoolctl import ThreadpoolController

from hw.ir.frames import Batch
from hw.ir.graph import Graph
from hw.native.cores import cores

CHUNK_ELEMENTS = 1 << 21
"""Integers of the widest edge in one chunk, chosen so that a chunk fits the processor's cache."""


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


class Emulator:
    """Executes a dataflow graph on the model's own inputs, in chunks on all processors, with bounded memory.

    ``chunk``: the maximum number of frames in a chunk.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        widest = max(stream.elements for stream in graph.edges.values())
        self.chunk = max(1, CHUNK_ELEMENTS // widest)

    def run(self, frames: Batch) -> Batch:
        """The model's outputs for frames ``(N, *shape)``; by name if it has several inputs or outputs.

        Raises UsageError for frames that do not match the model's inputs.
        """
        return self.graph.decode(self._execute(frames, keep=False))

    def edges(self, frames: Batch) -> dict[str, np.ndarray]:
        """The integers of every edge, ``(N, *shape of the stream)``, for frames ``(N, *shape)`` of the model."""
        integers = self._execute(frames, keep=True)
        return {edge: integers[edge] for edge in self.graph.edges}

    def _execute(self, frames: Batch, keep: bool) -> dict[str, np.ndarray]:
        """The integers by edge: of the outputs, or of every edge with ``keep``."""
        given = self.graph.check(frames)
        count, workers = len(next(iter(given.values()))), cores()
        # Chunks of equal size, the same number for each processor.
        turns = -(-count // (self.chunk * workers))
        size = -(-count // (turns * workers))

        def part(start: int) -> dict[str, np.ndarray]:
            chunk = {name: values[start : start + size] for name, values in given.items()}
            return self.graph.execute(self.graph.enter(chunk), keep)

        # One thread per chunk: layers are too small for the threads of BLAS.
        with _blas().limit(limits=1), ThreadPoolExecutor(workers) as pool:
            parts = list(pool.map(part, range(0, count, size)))
        return {edge: np.concatenate([each[edge] for each in parts]) for edge in parts[0]}
